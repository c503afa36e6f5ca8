"""Koheron CTL200, CTL300E, CTL20: driver of a butterfly laser diode and its cooler, over serial.

Dialect: ``Veriqloud/kiwi_hw_control`` 23f2c1b, ``remote/lib/laser/koheron_control.py`` (used in a
QKD product). Each command is echoed, then one line answers it. Not verified on hardware: the reply
to a set, the text of a refusal, the meaning of ``err``, whether the interlock is latched.
"""

from __future__ import annotations

import math
from functools import partial

from pydantic import Field

from photonlink.hal.codecs.lines import LineCodec, Probe
from photonlink.hal.driver import Off
from photonlink.hal.errors import IdentityError, InstrumentError
from photonlink.hal.facets import Cools, Identity
from photonlink.hal.laser import LaserDriver
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="koheron.ctl200",
    title="Koheron CTL200: driver of a butterfly laser",
    driver="Ctl200",
    facets=("Cools", "Emits", "HasTemperature"),
    transports=("serial", "tcp"),
    usb=("0403:6014 product=CTL*",),
    evidence="manual",
    emulator="koheron-ctl200",
    settings={"current_ma": 60.0, "thermistor_ohm": 10000.0, "cooling": True},
    case={"place": "", "steady": ("current_ma", 60.0), "interlock": "interlock_open"},
)

_OWN = "each variant has its own range"
KELVIN_0_C, KELVIN_25_C = 273.15, 298.15


class Ctl200(LaserDriver, Cools):
    """One driver. ``open`` switches the diode off and leaves the cooler as it is."""

    PARAMS = (
        Param("emission", bool, "the diode is on", "lason", "lason {}", trips=True, settle_s=3.0),
        Param("interlock_used", bool, "the interlock input is obeyed", "lckon", "lckon {}",
              setting="interlock_used", poll="slow"),
        Param("error_code", int, "`err`; 0 is well", "err"),
        Param("current_ma", float, "diode current asked for", "ilaser", "ilaser {}", "mA",
              limits=(0.0, 2000.0), family=_OWN, plausible=(-5.0, 5000.0), tolerance=0.02,
              setting="current_ma"),
        Param("current_max_ma", float, "the driver's own limit of it", "ilmax", "ilmax {}", "mA",
              limits=(0.0, 2000.0), family=_OWN, plausible=(-5.0, 5000.0), tolerance=0.02,
              setting="current_max_ma", poll="slow"),
        Param("current_act_ma", float, "diode current measured", "ilmon", unit="mA"),
        Param("voltage_act_v", float, "diode voltage", "vlaser", unit="V"),
        Param("monitor_diode_ma", float, "current of the photodiode", "iphd", unit="mA"),
        Param("delay_ms", int, "delay before the diode comes on", "ldelay", "ldelay {}", "ms",
              limits=(0, 60_000), poll="slow"),
        Param("cooling", bool, "cooler on", "tecon", "tecon {}", setting="cooling"),
        Param("thermistor_set_ohm", float, "thermistor asked for, ohm", "rtset", "rtset {}",
              limits=(100.0, 200_000.0), family=_OWN, tolerance=1.0, setting="thermistor_ohm"),
        Param("thermistor_act_ohm", float, "thermistor measured, ohm", "rtact",
              plausible=(1.0, 1e7)),
        Param("tec_current_a", float, "cooler's current", "itec", unit="A"),
        Param("tec_voltage_v", float, "cooler's voltage", "vtec", unit="V"),
        Param("tec_current_max_a", float, "limit of the cooler's current", "tilim", "tilim {}", "A",
              limits=(0.0, 5.0), family=_OWN, tolerance=0.01, poll="slow"),
        Param("loop_p", float, "proportional gain of the cooler", "pgain", "pgain {}", poll="slow"),
        Param("loop_i", float, "integral gain", "igain", "igain {}", poll="slow"),
        Param("loop_d", float, "differential gain", "dgain", "dgain {}", poll="slow"),
        Param("board_c", float, "temperature of the board", "tboard", unit="°C"),
    )  # fmt: skip
    OFF = (Off("emission", False, "diode off", "Open the interlock NOW"),)
    CODEC = partial(
        LineCodec, sets_answer=True, leading=True, refusal="(?i)^(error|unknown|invalid)",
        resync=Probe("model", "(?i)CTL.*"),
    )  # fmt: skip

    class Settings(DriverSettings):
        """A Koheron's settings beside its parameters."""

        thermistor_25_ohm: float = Field(
            default=10_000.0, gt=0, description="resistance of the thermistor at 25 °C"
        )
        thermistor_beta_k: float = Field(
            default=3_900.0, gt=0, description="its B constant, for temperatures in °C"
        )

    async def identify(self) -> Identity:
        model = await self.codec.ask("model", str)
        if not model.upper().startswith("CTL"):
            raise IdentityError(
                "another instrument answers here", where=self.name, seen=model[:80],
                hint="The reply to 'model' should begin with CTL",
            )  # fmt: skip
        serial, version = [await self.codec.ask(word, str) for word in ("serial", "version")]
        return Identity("Koheron", model, serial, version)

    async def set(self, name: str, value: float | int | bool | str) -> None:
        """Like every driver's; the current is also kept within the driver's own limit."""
        if name == "current_ma":
            most_ma = await self.params.get_float("current_max_ma")
            await self.params.set(name, value, (0.0, most_ma))
        else:
            await super().set(name, value)

    async def set_cooling(self, on: bool) -> None:
        await self.set("cooling", on)

    async def temperature_c(self, channel: int = 1) -> float:
        """From the thermistor and its B constant."""
        ohm = await self.params.get_float("thermistor_act_ohm")
        settings = self.settings
        inverse = 1 / KELVIN_25_C + (
            math.log(ohm / settings.thermistor_25_ohm) / settings.thermistor_beta_k
        )
        if inverse <= 0:
            raise InstrumentError("a thermistor that cannot be", where=self.name, seen=f"{ohm} ohm")
        return float(1 / inverse - KELVIN_0_C)
