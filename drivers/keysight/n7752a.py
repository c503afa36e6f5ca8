"""Keysight N7752A: two attenuators with shutters (1 and 3) and two power meters (5 and 6), SCPI.

Dialect: the common part of two public drivers of the instrument. Not tried on hardware; no
published package supports it.
"""

from __future__ import annotations

from functools import partial

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Driver, Off
from photonlink.hal.facets import Attenuates, Identity, MeasuresPower
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="keysight.n7752a",
    title="Keysight N7752A: two attenuators and two power meters",
    driver="N7752a",
    facets=("Attenuates", "MeasuresPower"),
    transports=("tcp", "visa"),
    evidence="manual",
    emulator="keysight-n7752a",
    settings={"wavelength1_m": 1.55e-6},
    case={"place": "bob.attenuator", "steady": ("wavelength1_m", 1.55e-6)},
)
_VOAS, _METERS = (1, 3), (5, 6)


class N7752a(Driver, Attenuates, MeasuresPower):
    """Channels are those of the front panel. ``open`` and ``close`` shut both shutters."""

    PARAMS = (
        Param("open{ch}", bool, "shutter {ch} open", ":OUTP{ch}?", ":OUTP{ch} {}",
              channels=_VOAS),
        Param("attenuation{ch}_db", float, "attenuation asked for", ":INP{ch}:ATT?",
              ":INP{ch}:ATT {} dB", "dB", limits=(0.0, 45.0), tolerance=0.01, channels=_VOAS,
              setting="attenuation{ch}_db"),
        Param("offset{ch}_db", float, "offset of the display", ":INP{ch}:OFFS?",
              ":INP{ch}:OFFS {} dB", "dB", limits=(-200.0, 200.0), tolerance=0.01,
              channels=_VOAS),
        Param("wavelength{ch}_m", float, "wavelength of the calibration", ":INP{ch}:WAV?",
              ":INP{ch}:WAV {}", "m", limits=(1.2e-6, 1.7e-6),
              family="each model has its own range", tolerance=1e-11, channels=_VOAS,
              setting="wavelength{ch}_m"),
        Param("unit{ch}", str, "unit of meter {ch}", ":SENS{ch}:POW:UNIT?",
              ":SENS{ch}:POW:UNIT {}", choices={"dBm": "0", "W": "1"}, channels=_METERS),
    )  # fmt: skip
    OFF = tuple(Off(f"open{n}", False, f"shutter {n} shut") for n in _VOAS)
    CODEC = partial(ScpiCodec)

    @property
    def power_channels(self) -> tuple[int, ...]:
        return _METERS

    async def identify(self) -> Identity:
        found: Identity = await self.codec.identify(key="N7752A")
        return found

    async def configure(self) -> None:
        """Set the meters' unit to watts."""
        await super().configure()
        for n in _METERS:
            await self.set(f"unit{n}", "W")

    async def set_attenuation_db(self, value: float, channel: int = 1) -> None:
        """Set, then open the shutter; the filter turns meanwhile, the shutter opens last."""
        await self.set(f"attenuation{channel}_db", value)
        await self.set(f"open{channel}", True)

    async def attenuation_db(self, channel: int = 1) -> float:
        return await self.params.get_float(f"attenuation{channel}_db")

    async def power_w(self, channel: int = 5) -> float:
        """Of a meter, 5 or 6."""
        return float(await self.codec.ask(f":FETC{channel}:POW?", float))
