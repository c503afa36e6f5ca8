"""Thorlabs PM100D family (PM100D, PM100USB, PM101, PM103): optical power meters on SCPI.

Dialect: ``pymeasure`` 0.16 ``thorlabspm100usb.py``, QMI ``thorlabs/pm100d.py``, hardware notes of
``plesty_thorlabs_powermeter`` (PyPI). Not tried on hardware.
"""

from __future__ import annotations

import asyncio
from functools import partial

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Driver
from photonlink.hal.errors import InstrumentError, LinkTimeout
from photonlink.hal.facets import Identity, MeasuresPower
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="thorlabs.pm100d",
    title="Thorlabs PM100D: optical power meter",
    driver="Pm100d",
    facets=("MeasuresPower",),
    transports=("visa", "tcp", "serial"),
    usb=("1313:8078", "1313:8072", "1313:8076"),
    evidence="manual",
    emulator="thorlabs-pm100d",
    emulator_wire="tcp",
    settings={"wavelength_nm": 810.0},
    case={"steady": ("averages", 10)},
)
_OWN = "each head and console has its own"
_OVER_RANGE_W = 9e37
_POWER_SENSOR = 1  # bit of the flags at the end of SYST:SENS:IDN?
_ZERO_S = 30.0
_STEP_S = 0.1
_OVER = "the light is beyond the range: widen it, or let the meter choose (auto_range)"


class Pm100d(Driver, MeasuresPower):
    """One meter with its head. A head that measures no power is refused when it is opened."""

    PARAMS = (
        # The unit goes before the question: another one may have been chosen at the front panel.
        Param("power_w", float, "power on the head", "SENS:POW:UNIT W;:MEAS:POW?", unit="W"),
        Param("wavelength_nm", float, "wavelength that the head is corrected for",
              "SENS:CORR:WAV?", "SENS:CORR:WAV {}", "nm", limits=(180.0, 25_000.0), family=_OWN,
              tolerance=0.5, setting="wavelength_nm"),
        Param("averages", int, "samples in one reading", "SENS:AVER:COUN?", "SENS:AVER:COUN {}",
              limits=(1, 10_000), family=_OWN, setting="averages"),
        Param("auto_range", bool, "the meter chooses its range", "SENS:POW:RANG:AUTO?",
              "SENS:POW:RANG:AUTO {}", trips=True, setting="auto_range"),
        Param("range_w", float, "full scale; setting it ends auto_range", "SENS:POW:RANG?",
              "SENS:POW:RANG {}", "W", limits=(0.0, 1e4), family=_OWN, at_least=True, trips=True),
        Param("zeroing", bool, "dark adjustment runs", "SENS:CORR:COLL:ZERO:STAT?"),
        Param("zero_offset", float, "last dark adjustment, in the head's own unit",
              "SENS:CORR:COLL:ZERO:MAGN?"),
    )  # fmt: skip
    CODEC = partial(ScpiCodec)

    async def identify(self) -> Identity:
        identity: Identity = await self.codec.identify(key="PM10")
        text = await self.codec.ask("SYST:SENS:IDN?", str)
        head = [part.strip('" ') for part in text.split(",")]
        flags = int(head[-1]) if head[-1].isdecimal() else 0
        if not flags & _POWER_SENSOR:
            raise InstrumentError(
                "no head that measures power is connected",
                where=self.name,
                seen=text[:80],
            )
        return identity

    async def write(self, param: Param, value: Value) -> None:
        await super().write(param, value)
        if param.name == "range_w":  # the meter takes the next range that is wide enough
            self.params.wanted.pop("auto_range", None)

    async def power_w(self, channel: int = 1) -> float:
        """Light on the head; InstrumentError when it is beyond the range."""
        watts = await self.params.get_float("power_w")
        if watts > _OVER_RANGE_W:
            raise InstrumentError(_OVER, where=self.name)
        return watts

    async def zero(self) -> float:
        """Adjust to dark; no light may reach the head. The new offset in the head's own unit."""
        await self.codec.tell("SENS:CORR:COLL:ZERO:INIT")
        deadline = asyncio.get_running_loop().time() + _ZERO_S
        while await self.get("zeroing"):
            if asyncio.get_running_loop().time() > deadline:
                raise LinkTimeout(f"no dark adjustment within {_ZERO_S:g} s", where=self.name)
            await asyncio.sleep(_STEP_S)
        return await self.params.get_float("zero_offset")
