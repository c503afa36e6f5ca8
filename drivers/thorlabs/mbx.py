"""Thorlabs MBX: bias controller of a modulator, with a variable attenuator (115200 8N1).

Dialect: Thorlabs' remote guide of the MX, MBX and TLX series (TTN116413-D04 rev E, firmware from
1.9.4), ``pymeasure`` 0.16.0. Not tried on hardware. Without drive the attenuator opens: its safe
state is driven, at 20 dB.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from photonlink.hal.codecs.base import command
from photonlink.hal.codecs.lines import LineCodec, Probe
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import IdentityError
from photonlink.hal.facets import Attenuates, Identity
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="thorlabs.mbx",
    title="Thorlabs MBX: modulator bias controller with attenuator",
    driver="Mbx",
    facets=("Attenuates",),
    transports=("serial", "tcp"),
    evidence="manual",
    emulator="thorlabs-mbx",
    settings={"bias_mode": "quad+"},
    case={"place": "alice.modulator", "steady": ("bias_mode", "quad+")},
)
MODES = ("off", "peak", "null", "quad+", "quad-", "hold quad+", "hold quad-", "manual", "power+",
         "power-")  # fmt: skip


class Mbx(Driver, Attenuates):
    """One controller. ``open`` and ``close`` set the attenuator to 20 dB; the bias stays."""

    class Settings(DriverSettings):
        """How the unit answers sets."""

        ack: bool = Field(True, description="sets are answered with 1, as the guide says")

    PARAMS = (
        Param("voa_on", bool, "attenuator driven; without drive it opens", "VOA:POWER?",
              "VOA:POWER: {}"),
        Param("voa_mode", str, "what the attenuator keeps constant", "VOA:MODE?", "VOA:MODE: {}",
              choices={"attenuation": "0", "power": "1"}),
        Param("attenuation_db", float, "attenuation as measured", "VOA:MEASURED?", "VOA:ATTEN: {}",
              "dB", limits=(1.0, 20.0), ours="as the guide says", tolerance=0.15, settle_s=3.0),
        Param("bias_mode", str, "where the modulator is held", "MZM:MODE?", "MZM:MODE: {}",
              choices={mode: str(n) for n, mode in enumerate(MODES)}, setting="bias_mode"),
        Param("bias_v", float, "bias voltage", "MZM:VOLTAGE?", unit="V"),
        Param("hold_v", float, "bias voltage of the mode manual", "MZM:HOLD:VOLTAGE?",
              "MZM:HOLD:VOLTAGE: {}", "V", limits=(-10.0, 10.0), tolerance=0.001, scale=1000.0,
              setting="hold_v"),
        Param("ratio", float, "peak over held power of the power modes", "MZM:HOLD:RATIO?",
              "MZM:HOLD:RATIO: {}", limits=(2.5, 100.0), tolerance=0.01, scale=100.0,
              setting="ratio"),
        Param("calibrating", bool, "the bias is being calibrated", "MZM:CALIBRATING?",
              stops={True: "the modulator's bias is being calibrated. Wait until it is done"}),
        Param("locked", bool, "the bias is where it should be", "MZM:SETPOINT?"),
        Param("tap_w", float, "power behind the modulator", "MZM:TAP:MW?", unit="W", scale=1e3),
    )  # fmt: skip
    OFF = (
        Off("voa_on", True, "attenuator driven"),
        Off("voa_mode", "attenuation", "attenuator in attenuation mode"),
        Off("attenuation_db", 20.0, "attenuator at 20 dB"),
    )
    CODEC = partial(
        LineCodec,
        question_end="\r",
        command_end="\r",
        refusal="^Err:",
        wake="\r",
        resync=Probe("SYS:FIRM?", r"\d+\.\d+\.\S+"),
    )

    async def identify(self) -> Identity:
        model = await self.codec.ask("SYS:MODEL?", str)
        if "MBX" not in model.upper():
            raise IdentityError("another instrument answers here", where=self.name, seen=model[:80])
        serial = await self.codec.ask("SYS:SER?", str)
        return Identity("Thorlabs", model, serial, await self.codec.ask("SYS:FIRM?", str))

    async def write(self, param: Param, value: Value) -> None:
        text = command(param, value)
        if param.scale != 1.0:
            head, _, number = text.rpartition(" ")
            text = f"{head} {round(float(number))}"
        if self.settings.ack:
            await self.codec.ask(text, str)
        else:
            await self.codec.tell(text)

    async def set_attenuation_db(self, value: float, channel: int = 1) -> None:
        await self.set("attenuation_db", value)

    async def attenuation_db(self, channel: int = 1) -> float:
        return await self.params.get_float("attenuation_db")
