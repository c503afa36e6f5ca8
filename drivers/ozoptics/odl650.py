"""OZ Optics ODL-650-MC: a motorized optical delay line on a serial line (9600 8N1).

Dialect: ``pnpq`` 0.2.1 (``odl_ozoptics_650ml.py``): a reply is the command again, lines, ``Done``.
32768/5.08 steps per millimetre of optical path, 0 to 200 mm. Not tried on hardware.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from pydantic import Field

from photonlink.hal.codecs.lines import LineCodec, Probe
from photonlink.hal.driver import Driver
from photonlink.hal.errors import IdentityError, InstrumentError
from photonlink.hal.facets import DelaysLight, Identity, Reading
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="ozoptics.odl650",
    title="OZ Optics ODL-650-MC: motorized delay line",
    driver="Odl650",
    facets=("DelaysLight",),
    transports=("serial", "tcp"),
    evidence="manual",
    emulator="ozoptics-odl650",
    settings={"motion_s": 5.0},
    case={"place": "bob.delay", "steady": ("homed", False)},
)
STEPS_PER_PS = 32768 / 5.08 * 0.299792458


class Odl650(Driver, DelaysLight):
    """One delay line. It must be homed after power-on; ``open`` and ``close`` move nothing."""

    class Settings(DriverSettings):
        """Deadline of motion."""

        motion_s: float = Field(60.0, gt=0, le=600, description="deadline of a move, and of homing")

    PARAMS = (
        Param("homed", bool, "the position is known", "S?", poll="fast"),
        Param("delay_ps", float, "delay beyond the shortest way", "S?", "S{}", "ps",
              limits=(0.0, 667.0), tolerance=0.01),
    )  # fmt: skip
    CODEC = partial(
        LineCodec,
        status="^Done$",
        refusal="^Error!$",
        sets_answer=True,
        resync=Probe("V1", "ODL.*"),
    )

    async def identify(self) -> Identity:
        text = await self.codec.ask("V1", str)
        model, version, firmware = text.partition("V")
        if not (text.startswith("ODL-650") and version):
            raise IdentityError("another instrument answers here", where=self.name, seen=text[:80])
        return Identity("OZ Optics", model, await self.codec.ask("V2", str), firmware)

    async def read(self, param: Param) -> Value:
        text: str = await self.codec.ask(param.get, str)
        found = re.search(r"POS:\s*(\d+)", text)
        if param.kind is bool and (found or "UNKNOWN" in text.upper()):
            return found is not None
        if found is None:
            raise InstrumentError("the position is not known", where=self.name, seen=text[:80],
                                  hint="Home it first")  # fmt: skip
        return int(found[1]) / STEPS_PER_PS

    async def snapshot(self) -> Mapping[str, Reading]:
        """Like every instrument's; before homing there is no delay."""
        values = dict(await super().snapshot())
        if values.get("homed") is False:
            values.pop("delay_ps_error", None)
        return values

    async def write(self, param: Param, value: Value) -> None:
        if not await self.get("homed"):
            raise InstrumentError("the delay line does not know where it is", where=self.name,
                                  hint="Home it first; nothing was moved")  # fmt: skip
        await self._move(f"S{round(float(value) * STEPS_PER_PS)}")

    async def _move(self, text: str) -> None:
        await self.codec.ask(text, str, timeout_s=self.settings.motion_s)

    async def home(self) -> None:
        """To its shortest way; afterwards positions are known."""
        self.params.wanted.pop("delay_ps", None)
        await self._move("FH")

    async def set_delay_ps(self, value: float) -> None:
        await self.set("delay_ps", value)

    async def delay_ps(self) -> float:
        return await self.params.get_float("delay_ps")
