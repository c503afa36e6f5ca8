"""Thorlabs CLD1015: laser diode and cooler driver of the 4000 series, SCPI over USBTMC.

Dialect: Thorlabs 4000-series SCPI manual 3.3. Not verified on hardware: whether ``OUTP1:STAT?``
follows at once, the order of the protection's trips. USBTMC needs VISA
(``visa:USB0::0x1313::0x804F::M…``); a socket serves instruments behind a gateway, and the emulator.
"""

from __future__ import annotations

from functools import partial

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Off
from photonlink.hal.facets import Cools, Identity
from photonlink.hal.laser import LaserDriver
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="thorlabs.cld1015",
    title="Thorlabs CLD1015: laser diode and cooler driver",
    driver="Cld1015",
    facets=("Cools", "Emits", "HasTemperature"),
    transports=("visa", "tcp"),
    usb=("1313:804f", "1313:8047"),
    evidence="manual",
    emulator="thorlabs-cld1015",
    emulator_wire="tcp",
    settings={"current_a": 0.06, "temperature_c": 25.0, "cooling": True},
    case={"place": "", "steady": ("current_a", 0.06), "interlock": "interlock_open"},
)

_OWN = "each model has its own range"
_TRIPS = {
    "key_locked": ("KEYL", "the key switch is locked: turn it, then ask for light again"),
    "interlock_open": ("INTL", "the interlock is open: close it, then ask for light again"),
    "too_hot": ("OTEM", "the diode is too hot: is the cooler on? Then ask for light again"),
    "voltage_tripped": ("VOLT", "the compliance voltage was reached: is the diode connected?"),
    "internal_tripped": ("INT", "the driver's internal protection has tripped"),
    "external_tripped": ("EXT", "the external switch-off input is active"),
}


class Cld1015(LaserDriver, Cools):
    """One CLD1015. ``open`` switches the diode off and leaves the cooler as it is."""

    KEY = "CLD10"
    PARAMS = (
        Param("emission", bool, "diode on", "OUTP1:STAT?", "OUTP1:STAT {}", trips=True,
              settle_s=5.0),
        Param("current_limit_a", float, "the driver's own limit", "SOUR1:CURR:LIM:AMPL?",
              "SOUR1:CURR:LIM:AMPL {}", "A", limits=(0.0, 20.0), family=_OWN, tolerance=1e-4,
              setting="current_limit_a", poll="slow"),
        Param("current_a", float, "diode current asked for", "SOUR1:CURR:LEV:AMPL?",
              "SOUR1:CURR:LEV:AMPL {}", "A", limits=(0.0, 20.0), family=_OWN, tolerance=1e-4,
              setting="current_a"),
        Param("mode", str, "constant current or power", "SOUR1:FUNC:MODE?", "SOUR1:FUNC:MODE {}",
              choices={"current": "CURR", "power": "POW"}, setting="mode", poll="slow"),
        Param("current_act_a", float, "diode current measured", "MEAS:CURR1?", unit="A"),
        Param("monitor_diode_a", float, "current of the photodiode", "MEAS:CURR2?", unit="A"),
        Param("voltage_act_v", float, "diode voltage", "MEAS:VOLT1?", unit="V"),
        Param("power_act_w", float, "power after the photodiode", "MEAS:POW?", unit="W"),
        Param("cooling", bool, "cooler on", "OUTP2:STAT?", "OUTP2:STAT {}", setting="cooling"),
        Param("temperature_set_c", float, "temperature asked for", "SOUR2:TEMP?",
              "SOUR2:TEMP {}C", "°C", limits=(-20.0, 80.0),
              ours="what laser diodes bear", plausible=(-100.0, 200.0),
              tolerance=0.01, setting="temperature_c"),
        Param("temperature_act_c", float, "temperature measured", "MEAS:TEMP?", unit="°C"),
        *(Param(name, bool, f"trip {word} of the protection", f"OUTP1:PROT:{word}:TRIP?",
                stops={True: text}) for name, (word, text) in _TRIPS.items()),
    )  # fmt: skip
    OFF = (Off("emission", False, "diode off", "Turn the key switch off NOW"),)
    CODEC = partial(ScpiCodec)

    async def identify(self) -> Identity:
        identity: Identity = await self.codec.identify(key=self.KEY)
        return identity

    async def set(self, name: str, value: float | int | bool | str) -> None:
        """Like every driver's; the current is also kept within the driver's own limit."""
        if name == "current_a":
            most_a = await self.params.get_float("current_limit_a")
            await self.params.set(name, value, (0.0, most_a))
        else:
            await super().set(name, value)

    async def set_cooling(self, on: bool) -> None:
        await self.set("cooling", on)

    async def temperature_c(self, channel: int = 1) -> float:
        return await self.params.get_float("temperature_act_c")
