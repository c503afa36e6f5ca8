"""OZ Optics DD-100-MC: a motorized attenuator on a serial line (9600 8N1).

Dialect: ``pylablib`` 1.4.5 (DD100) and QMI 0.54.2 (``dd100mc.py``): a reply is lines and ``Done``.
After power-on the attenuation is unknown until the first set or homing: ``open`` closes it, which
is both. Not tried on hardware.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from photonlink.hal.codecs.lines import LineCodec, Probe
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import IdentityError, InstrumentError
from photonlink.hal.facets import Attenuates, Identity
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="ozoptics.dd100mc",
    title="OZ Optics DD-100-MC: motorized attenuator",
    driver="Dd100mc",
    facets=("Attenuates",),
    transports=("serial", "tcp"),
    evidence="manual",
    emulator="ozoptics-dd100mc",
    settings={"motion_s": 5.0},
    case={"place": "alice.attenuator", "steady": ("max_attenuation_db", 60.0)},
)


class Dd100mc(Driver, Attenuates):
    """One attenuator. ``open`` and ``close`` turn it to its highest attenuation."""

    class Settings(DriverSettings):
        """Deadline of motion."""

        motion_s: float = Field(30.0, gt=0, le=60, description="deadline of a turn of the motor")

    PARAMS = (
        Param("attenuation_db", float, "attenuation, insertion loss included", "D ATTEN:", "A{}",
              "dB", limits=(0.0, 100.0), family="insertion loss to its highest", tolerance=0.02),
        Param("closed", bool, "at its highest attenuation; an attenuation opens it",
              "D ATTEN:", "A{}", only=(True,)),
        Param("max_attenuation_db", float, "highest attenuation", "CD MAX ATTEN:", unit="dB"),
        Param("insertion_loss_db", float, "lowest attenuation", "CD IL:", unit="dB", poll="once"),
    )  # fmt: skip
    OFF = (Off("closed", True, "highest attenuation"),)
    PACE_S = 0.1
    CODEC = partial(
        LineCodec,
        status="^Done$",
        tail=True,
        refusal="^Error!$",
        sets_answer=True,
        quiet_s=0.15,
        resync=Probe("CD", "(?i)MAX ATTEN:.*"),
    )
    _max_db = 100.0

    async def identify(self) -> Identity:
        """The instrument has no identity; it is recognised by its configuration text."""
        text = await self.codec.ask("CD", str)
        if "MAX ATTEN" not in text.upper():
            raise IdentityError("another instrument answers here", where=self.name, seen=text[:80])
        self._max_db = await self.params.get_float("max_attenuation_db")
        words = text.split("\n")[0].split()
        return Identity("OZ Optics", "DD-100-MC", words[-1] if len(words) > 1 else "")

    async def read(self, param: Param) -> Value:
        question, _, prefix = param.get.partition(" ")
        text: str = await self.codec.ask(question, str)
        found = [line[len(prefix) :] for line in text.upper().split("\n") if _is(line, prefix)]
        if len(found) != 1 or found[0].strip() == "UNKNOWN":
            raise InstrumentError(
                f"{param.name}: not known to the instrument",
                where=self.name, seen=text[:80], hint="Set an attenuation, or home it",
            )  # fmt: skip
        if param.name == "closed":
            db = self.params["attenuation_db"].parse(found[0], self.name)
            return float(db) >= self._max_db - 0.02
        return param.parse(found[0], self.name)

    async def write(self, param: Param, value: Value) -> None:
        db = self._max_db if param.name == "closed" else float(value)
        await self.codec.ask(f"A{db:.2f}", str, timeout_s=self.settings.motion_s)

    def command_bytes(self, param: Param, value: Value) -> bytes:
        return f"\r\nA{self._max_db:.2f}\r\n".encode("ascii")

    async def set_attenuation_db(self, value: float, channel: int = 1) -> None:
        await self.set("attenuation_db", value)

    async def attenuation_db(self, channel: int = 1) -> float:
        return await self.params.get_float("attenuation_db")


def _is(line: str, prefix: str) -> bool:
    return line.strip().startswith(prefix)
