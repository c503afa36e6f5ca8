"""Viavi MAP-200 mVOA-C1: attenuators with beam blocks, on SCPI; the channel is an argument.

Dialect: one public driver. Not tried on hardware; no published package supports it.
"""

from __future__ import annotations

import math
from functools import partial

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import InstrumentError
from photonlink.hal.facets import Attenuates, Identity, MeasuresPower
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="viavi.mvoa",
    title="Viavi MAP-200 mVOA-C1: attenuators with beam blocks",
    driver="Mvoa",
    facets=("Attenuates", "MeasuresPower"),
    transports=("tcp", "visa"),
    evidence="manual",
    emulator="viavi-mvoa",
    settings={"wavelength1_nm": 1550.0},
    case={"place": "pump.attenuator", "steady": ("wavelength1_nm", 1550.0)},
)
_CHANNELS = (1, 2)


class Mvoa(Driver, Attenuates, MeasuresPower):
    """Two channels. ``open`` and ``close`` block both beams."""

    PARAMS = (
        Param("blocked{ch}", bool, "beam {ch} blocked", ":OUTP:BBL? {ch}", ":OUTP:BBL {ch},{}",
              channels=_CHANNELS),
        Param("attenuation{ch}_db", float, "attenuation asked for", ":OUTP:ATT? {ch}",
              ":OUTP:ATT {ch},{}", "dB", limits=(0.0, 70.0), tolerance=0.001,
              channels=_CHANNELS, setting="attenuation{ch}_db"),
        Param("wavelength{ch}_nm", float, "wavelength of the calibration", ":OUTP:WAV? {ch}",
              ":OUTP:WAV {ch},{}", "nm", limits=(1260.0, 1650.0), tolerance=0.01,
              channels=_CHANNELS, setting="wavelength{ch}_nm"),
        Param("averaging{ch}_ms", int, "averaging of the power", ":SENS:POW:ATIM? {ch}",
              ":SENS:POW:ATIM {ch},{}", "ms", limits=(2, 5000), channels=_CHANNELS),
    )  # fmt: skip
    OFF = tuple(Off(f"blocked{n}", True, f"beam {n} blocked") for n in _CHANNELS)
    CODEC = partial(ScpiCodec)

    @property
    def power_channels(self) -> tuple[int, ...]:
        return _CHANNELS

    async def identify(self) -> Identity:
        found: Identity = await self.codec.identify(key="VOA")
        return found

    async def set_attenuation_db(self, value: float, channel: int = 1) -> None:
        """Set, then open the beam block."""
        await self.set(f"attenuation{channel}_db", value)
        await self.set(f"blocked{channel}", False)

    async def attenuation_db(self, channel: int = 1) -> float:
        return await self.params.get_float(f"attenuation{channel}_db")

    async def power_w(self, channel: int = 1) -> float:
        """Behind the attenuator; InstrumentError below or above the meter's range."""
        text: str = await self.codec.ask(f":FETC:POW:OUTP? {channel}", str)
        try:
            return 1e-3 * math.pow(10.0, float(text) / 10.0)
        except ValueError:
            what = "above" if text.startswith("+") else "below"
            raise InstrumentError(f"the power is {what} the meter's range", where=self.name,
                                  seen=text) from None  # fmt: skip
