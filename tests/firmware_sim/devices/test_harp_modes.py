"""T3 and histogram mode: our drivers against the emulators, with known sync and clicks."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from picoquant_calls import BINNING, FAMILIES, MODEL, UNIT, light

from photonlink.drivers.picoquant.hydraharp400 import HydraHarp400
from photonlink.drivers.picoquant.multiharp150 import MultiHarp150
from photonlink.drivers.picoquant.picoharp300 import PicoHarp300
from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import InstrumentError

DRIVERS: dict[str, Any] = {"mh": MultiHarp150, "hh": HydraHarp400, "ph": PicoHarp300}


async def opened(unit: Any, family: str, mode: str) -> Any:
    kind = DRIVERS[family]
    settings = kind.Settings(mode=mode, binning=BINNING[family])
    driver = kind("harp", unit.device.address, settings)
    await driver.open()
    await driver.configure()
    return driver


@FAMILIES
async def test_t3_times_are_the_true_ones(emulate: Any, family: str) -> None:
    unit = emulate(MODEL[family])
    clicks, _ = light(unit, family)
    driver = await opened(unit, family, "t3")
    try:
        await driver.start()
        decoder = decoder_for(driver.wire_format)
        times: list[Any] = []
        async with aclosing(driver.chunks()) as chunks, asyncio.timeout(5):
            async for chunk in chunks:
                assert chunk.lost == ()
                times.append(decoder.feed(chunk).time_ps)
                if sum(len(t) for t in times) > 800:
                    break
        found = np.concatenate(times)
        bin_ps = UNIT[family] << BINNING[family]
        error = found - clicks[: len(found)]
        assert np.abs(error).max() <= bin_ps + UNIT[family]
        with pytest.raises(InstrumentError, match="histogram"):
            await driver.histograms(0.1)
        await driver.stop()
    finally:
        await driver.close()


@FAMILIES
async def test_histograms(emulate: Any, family: str) -> None:
    unit = emulate(MODEL[family])
    clicks, since = light(unit, family)
    driver = await opened(unit, family, "histogram")
    try:
        found = await driver.histograms(0.4)
        assert found.bin_ps == UNIT[family] << BINNING[family]
        assert found.seconds == pytest.approx(0.4, abs=0.01)
        inside = clicks < 0.4e12
        assert found.counts[1].sum() == np.count_nonzero(inside)
        mean = np.average(np.arange(65_536), weights=found.counts[1]) * found.bin_ps
        assert mean == pytest.approx(since[inside].mean(), abs=2 * found.bin_ps)
        with pytest.raises(InstrumentError, match="no stream"):
            await driver.start()
    finally:
        await driver.close()


async def test_t3_without_sync_is_refused(emulate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = emulate(MODEL["mh"])
    unit.port.rates_hz = lambda: (1000.0,) * 8 + (0.0,)
    driver = await opened(unit, "mh", "t3")
    try:
        with pytest.raises(InstrumentError, match="no sync"):
            await driver.start()
    finally:
        await driver.close()
