"""Thorlabs PAX1000: a polarimeter with a rotating waveplate, on SCPI over USBTMC.

Commands and record: Thorlabs' example script (Light_Analysis_Examples, 2024). Not tried on
hardware. Above 50 Hz the instrument needs its external supply.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Driver
from photonlink.hal.errors import InstrumentError
from photonlink.hal.facets import Identity, MeasuresPolarization, MeasuresPower, PolarizationState
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="thorlabs.pax1000",
    title="Thorlabs PAX1000: polarimeter",
    driver="Pax1000",
    facets=("MeasuresPolarization", "MeasuresPower"),
    transports=("visa", "tcp"),
    usb=("1313:8031",),
    evidence="manual",
    emulator="thorlabs-pax1000",
    emulator_wire="tcp",
    settings={"wavelength_m": 1.55e-6},
    case={"place": "alice.polarimeter", "steady": ("wavelength_m", 1.55e-6)},
)
_FIELDS, _TIMESTAMP, _FLAGS = 13, 1, 3
_TOO_COLD, _TOO_HOT = 1 << 4, 1 << 5
_POLL_S, _FRESH_S = 0.02, 2.0


class Pax1000(Driver, MeasuresPolarization, MeasuresPower):
    """One polarimeter. ``configure`` starts the waveplate, ``close`` stops it."""

    PARAMS = (
        Param("wavelength_m", float, "wavelength of the calibration", "SENS:CORR:WAV?",
              "SENS:CORR:WAV {}", "m", limits=(3e-7, 2e-6), family="each sensor has its own range",
              tolerance=1e-11,
              setting="wavelength_m", required=True),
        Param("rotation_hz", float, "rate of the waveplate", "INP:ROT:VEL?", "INP:ROT:VEL {}",
              "Hz", limits=(10.0, 200.0), tolerance=0.1, setting="rotation_hz"),
        Param("spinning", bool, "waveplate on", "INP:ROT:STAT?", "INP:ROT:STAT {}"),
        Param("settled", bool, "waveplate at its rate", "INP:ROT:SETT?"),
        Param("mode", int, "0 idle; 1-3 half, 4-6 full, 7-9 double turn", "SENS:CALC?",
              "SENS:CALC {}", limits=(0, 9)),
    )  # fmt: skip
    CODEC = partial(ScpiCodec)

    async def identify(self) -> Identity:
        found: Identity = await self.codec.identify(key="PAX1000")
        return found

    async def configure(self) -> None:
        await super().configure()
        await self.set("mode", 5)
        await self.set("spinning", True)

    async def close(self) -> None:
        """Stop the waveplate; a running motor is no danger, so no error is raised."""
        try:
            if self.is_open:
                await self.codec.tell("SENS:CALC 0;:INP:ROT:STAT 0")
        finally:
            await super().close()

    async def polarization(self) -> PolarizationState:
        """A record that is newer than the question; InstrumentError when none comes in 2 s."""
        record = await self._record()
        azimuth, ellipticity, degree, power_w = record[9:13]
        return PolarizationState(
            math.cos(2 * ellipticity) * math.cos(2 * azimuth),
            math.cos(2 * ellipticity) * math.sin(2 * azimuth),
            math.sin(2 * ellipticity),
            degree,
            power_w,
        )

    async def power_w(self, channel: int = 1) -> float:
        return (await self.polarization()).power_w

    async def _record(self) -> list[float]:
        """Polled too fast, the instrument repeats a record: the timestamp must have changed."""
        before = (await self._latest())[_TIMESTAMP]
        deadline = asyncio.get_running_loop().time() + _FRESH_S
        while asyncio.get_running_loop().time() < deadline:
            record = await self._latest()
            if record[_TIMESTAMP] != before:
                flags = int(record[_FLAGS])
                if flags & (_TOO_COLD | _TOO_HOT):
                    what = "cold" if flags & _TOO_COLD else "hot"
                    raise InstrumentError(f"the polarimeter is too {what}", where=self.name)
                return record
            await asyncio.sleep(_POLL_S)
        raise InstrumentError("no new measurement", where=self.name,
                              hint="Does the waveplate spin? It takes about 8 s")  # fmt: skip

    async def _latest(self) -> list[float]:
        text: str = await self.codec.ask("SENS:DATA:LAT?", str)
        try:
            fields = [float(word) for word in text.split(",")]
        except ValueError:
            fields = []
        if len(fields) != _FIELDS or not all(map(math.isfinite, fields)):
            raise InstrumentError("an unreadable record", where=self.name, seen=text[:80])
        return fields
