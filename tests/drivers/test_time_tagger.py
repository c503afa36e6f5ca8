"""Swabian Time Tagger: driver and stand-in package; records as ``Dump`` writes them."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from photonlink.drivers.swabian.records import records
from photonlink.drivers.swabian.time_tagger import TimeTagger
from photonlink.firmware_sim.kit import package
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import InstrumentError, LimitError, LinkNotFound
from photonlink.hal.tags import WireChunk, WireFormat


@contextlib.asynccontextmanager
async def opened(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Any, Any]]:
    async with Program(bench_of(models()["swabian-time-tagger"], "", {}, 3), tmp_path) as program:
        device = program.devices["unit"]
        asked = {"channels": (1, 2, 3, 4), **{f"threshold_{n}_v": -0.4 for n in range(1, 5)}}
        driver = TimeTagger("tagger", device.address, TimeTagger.Settings(**{**asked, **settings}))
        try:
            await driver.open()
            await driver.configure()
            yield driver, device
        finally:
            await driver.release()


async def gather(driver: Any, enough: int) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    decoder, blocks = decoder_for(driver.wire_format), []
    async with asyncio.timeout(10):
        async for chunk in driver.chunks():
            blocks.append(decoder.feed(chunk))
            if sum(map(len, blocks)) >= enough:
                break
    times = np.concatenate([b.time_ps for b in blocks])
    return times, np.concatenate([b.channel for b in blocks]), [g for b in blocks for g in b.lost]


def test_records_are_those_of_dump() -> None:
    rows = [(0, 0, 1, 5), (2, 0, 0, 7), (4, 65_535, -3, 8), (3, 0, 0, 9), (0, 0, -18, 1 << 40)]
    kinds, missed, channels, times = (np.array(column) for column in zip(*rows, strict=True))
    data = SimpleNamespace(
        getEventTypes=lambda: kinds.astype(np.uint8), getTimestamps=lambda: times + 100,
        getMissedEvents=lambda: missed.astype(np.uint16),
        getChannels=lambda: channels.astype(np.int32),
    )  # fmt: skip
    expected = b"".join(struct.pack("<BBHiq", k, 0, m, c, t) for k, m, c, t in rows)
    assert b"".join(records(data, 100)) == expected


async def test_settings_and_what_the_tagger_makes_of_them(tmp_path: Path) -> None:
    async with opened(tmp_path, dead_time_1_ps=20_500, delay_2_ps=-7) as (driver, device):
        values = await driver.snapshot()
        assert values["dead_time_1_ps"] == 20_000, "whole clock periods of 2 ns"
        assert values["delay_2_ps"] == -7
        assert "threshold_5_v" not in values
        with pytest.raises(LimitError):
            await driver.set("threshold_1_v", 9.0)
        with pytest.raises(LinkNotFound, match="in use"):
            await driver.codec.run(lambda package: package.createTimeTagger())
        assert device.state()["streaming"] is False


async def test_falling_edges_and_counts(tmp_path: Path) -> None:
    async with opened(tmp_path, channels=(1, -1)) as (driver, _):
        await driver.start()
        times, channels, _ = await gather(driver, 3000)
        await driver.stop()
        rising, falling = times[channels == 1], times[channels == 129]
        assert np.all(np.isin(rising[:-5] + 10_000, falling))
        counts = (await driver.count(0.2)).counts
        assert counts[1] == pytest.approx(counts[-1], abs=2)
        assert counts[1] > 100


async def test_an_overflow_is_a_gap_with_its_count(tmp_path: Path) -> None:
    async with opened(tmp_path) as (driver, device):
        await driver.start()
        device.control({"fault": "lose", "events": 100})
        _, _, lost = await gather(driver, 3000)
        assert {gap.reason for gap in lost} == {"instrument overflow"}
        assert 100 <= sum(gap.count for gap in lost) <= 110, "split over the channels, rounded up"
        assert (await driver.snapshot())["overflows"] == len(lost)
        await driver.stop()


async def test_the_test_signal_is_there_without_light(tmp_path: Path) -> None:
    async with opened(tmp_path, channels=(7,)) as (driver, _):
        await driver.set("test_signal_7", True)
        await driver.start()
        times, channels, _ = await gather(driver, 20_000)
        assert set(channels) == {7}
        assert set(np.diff(times)) == {1_250_000}
        await driver.stop()


async def test_a_dump_and_the_stream_are_one_format(tmp_path: Path) -> None:
    async with opened(tmp_path) as (driver, _):
        path = tmp_path / "dump.bin"

        def dump(package: Any) -> None:
            made = package.Dump(driver._tagger, str(path), 10**6, [1, 2, 3, 4])
            package.Countrate(driver._tagger, [1]).startFor(10**11)
            counter = package.Countrate(driver._tagger, [1])
            counter.startFor(2 * 10**11)
            counter.waitUntilFinished(5000)
            made.stop()

        await driver.codec.run(dump, 8.0)
        data = path.read_bytes()
        assert len(data) % 16 == 0
        block = decoder_for(WireFormat("swabian16")).feed(WireChunk(data))
        assert len(block) > 500
        assert not block.lost


async def test_streaming_for_long_leaves_no_objects_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "OBJECTS_MAX", 10)

    def often(_: Any) -> None:
        for _ in range(100):
            driver._stream.getData()

    async with opened(tmp_path) as (driver, _):
        await driver.start()
        await driver.codec.run(often)
        with pytest.raises(InstrumentError, match="already runs"):
            await driver.start()
        await driver.stop()
