"""ID Quantique Time Controller: driver and emulator over ZeroMQ; tags of old acquisitions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photonlink.drivers.idquantique.dlt import Channel, words
from photonlink.drivers.idquantique.time_controller import TimeController
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import AcquisitionError, InstrumentError, LimitError, LinkError
from photonlink.hal.tags import WireChunk, WireFormat


def message(*times: int) -> memoryview:
    return memoryview(np.array(times, "<u8").tobytes())


def test_one_message_for_each_acquisition_is_placed() -> None:
    channel = Channel(1, "id")
    channel.came(message(5, 7), "t")
    channel.came(message(3), "t")
    batch = channel.place(2, 3, "t")
    assert [(n, times.tolist()) for n, times in batch.blocks] == [(0, [5, 7]), (1, [3])]
    assert batch.lost is None
    assert channel.place(3, 3, "t").blocks == [], "an empty acquisition is no loss"
    channel.came(message(9), "t")
    assert channel.place(4, 4, "t").blocks[0][0] == 3


def test_an_empty_acquisition_among_others_is_a_loss_and_no_guess() -> None:
    channel = Channel(1, "id")
    channel.came(message(5, 7), "t")
    batch = channel.place(2, 2, "t")
    assert batch.blocks == []
    assert batch.lost == (0, 2, 2)


def test_a_message_that_comes_early_waits_for_its_acquisition() -> None:
    channel = Channel(1, "id")
    channel.came(message(1), "t")
    channel.came(message(2), "t")
    assert [times.tolist() for _, times in channel.place(1, 1, "t").blocks] == [[1]]
    assert [n for n, _ in channel.place(2, 2, "t").blocks] == [1]


def test_counts_that_disagree_end_the_acquisition() -> None:
    channel = Channel(2, "id")
    channel.came(message(1, 2), "t")
    with pytest.raises(AcquisitionError, match="counts 1 tags, 2 came"):
        channel.place(1, 1, "t")
    with pytest.raises(AcquisitionError, match="whole tags"):
        channel.came(memoryview(b"12345"), "t")


def test_words_are_what_the_decoder_reads() -> None:
    streams = [(np.array([1, 5, 1 << 40]), 1), (np.array([2, 5]), 4)]
    decoder = decoder_for(WireFormat("flat64", {"resolution_ps": 1.0}))
    blocks = [decoder.feed(WireChunk(words(streams))), decoder.finish()]
    found = [(t, c) for b in blocks for t, c in zip(b.time_ps.tolist(), b.channel, strict=True)]
    assert found == [(1, 1), (2, 4), (5, 1), (5, 4), (1 << 40, 1)]
    assert words([]) == b""


@contextlib.asynccontextmanager
async def opened(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Any, Any]]:
    config = bench_of(models()["idquantique-time-controller"], "", {}, 3)
    async with Program(config, tmp_path) as program:
        device = program.devices["unit"]
        asked = TimeController.Settings(stream_port=0, **settings)
        driver = TimeController("tagger", device.address, asked)
        try:
            await driver.open()
            await driver.configure()
            yield driver, device
        finally:
            await driver.release()


async def test_settings_reach_the_instrument_with_their_units(tmp_path: Path) -> None:
    async with opened(tmp_path, threshold_2_v=-0.25, delay_3_ps=1000, edge_1="rising") as (
        driver,
        device,
    ):
        assert device.registers["INPUt2:THREshold"] == -0.25
        assert (await driver.snapshot())["delay_3_ps"] == 1000
        with pytest.raises(LimitError):
            await driver.set("threshold_1_v", 5.0)
        with pytest.raises(InstrumentError, match="refused") as caught:
            await driver.codec.ask("NO:SUCH?", str)
        assert "SCPI_ERR_" in caught.value.seen


async def test_a_threshold_beyond_the_pulse_sees_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, threshold_1_v=-1.5, enabled_2=False) as (driver, _):
        await asyncio.sleep(0.2)
        counts = (await driver.count(0.1)).counts
        assert counts[1] == counts[2] == 0
        assert counts[3] > 0
        with pytest.raises(LimitError):
            await driver.count(0.0)


async def test_tags_that_the_instrument_lost_are_a_gap(tmp_path: Path) -> None:
    async with opened(tmp_path, acquisition_ms=20.0) as (driver, device):
        await driver.start()
        device.control({"fault": "lose", "events": 50})
        gaps = []
        async with asyncio.timeout(5):
            async for chunk in driver.chunks():
                gaps += chunk.lost
                if gaps:
                    break
        assert gaps[0].reason == "the instrument lost tags"
        await driver.stop()


async def test_a_recording_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    async with opened(tmp_path, acquisition_ms=10.0) as (driver, device):
        await driver.start()
        device.control({"fault": "reboot"})
        async with asyncio.timeout(4):
            with pytest.raises(LinkError, match="no acquisition ended"):
                async for _ in driver.chunks():
                    pass
