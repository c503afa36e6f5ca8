"""TTM8000: packets lost, late and foreign; words and their time zero; driver and emulator."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photonlink.drivers.roithner.packets import HEADER, PacketStream, packet_of
from photonlink.drivers.roithner.ttm8000 import Ttm8000
from photonlink.firmware_sim.devices.roithner.ttm8000 import FLAT, PACKED, TICK_PS, Packer
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import AcquisitionError, IdentityError, InstrumentError, LinkTimeout
from photonlink.hal.tags import WireChunk, WireFormat

TICKS = np.sort(np.random.default_rng(5).integers(0, 1 << 33, 3000))
INPUTS = np.random.default_rng(6).integers(0, 8, 3000)


@pytest.mark.parametrize(("form", "name"), [(FLAT, "flat64"), (PACKED, "packed32")])
def test_the_emulator_s_words_are_the_decoder_s(form: int, name: str) -> None:
    packer, pieces = Packer(form), []
    for at in range(0, 3000, 500):
        part = slice(at, at + 500)
        pieces.append(packer.words(TICKS[part], INPUTS[part], int(TICKS[part][-1])).tobytes())
    decoder = decoder_for(WireFormat(name, {"resolution_ps": TICK_PS}))
    blocks = [*(decoder.feed(WireChunk(piece)) for piece in pieces), decoder.finish()]
    times = np.concatenate([block.time_ps for block in blocks])
    np.testing.assert_array_equal(times, (TICKS * 823045 + 5000) // 10000)
    np.testing.assert_array_equal(np.concatenate([b.channel for b in blocks]), INPUTS + 1)


def packet(number: int, words: list[int], run: int = 1, form: int = PACKED) -> bytes:
    payload = struct.pack(f"<{len(words)}I", *words)
    head = (b"TTM8Data", 0x0401, number, form, 1, 400, 0, run, 0, 0, 0, 0, len(payload))
    return HEADER.pack(*head) + payload


def high(n: int) -> int:
    return 1 << 31 | n


def event(low: int) -> int:
    return 1 << 27 | low


@pytest.fixture
def stream() -> PacketStream:
    return started(0)


def started(number: int, order: str = "little") -> PacketStream:
    """A stream whose first packet has this number and no high word."""
    stream = PacketStream(order, "t")
    stream.begin(packet_of(packet(number, []), "t"))
    return stream


def words_of(chunk: WireChunk) -> list[int]:
    return list(struct.unpack(f"<{len(chunk.data) // 4}I", chunk.data))


def ticks_ps(high_word: int) -> int:
    return int(high_word * (1 << 27) * TICK_PS)


def test_time_zero_is_the_first_high_word(stream: PacketStream) -> None:
    chunk = stream.take(packet(1, [event(3), high(70), event(5), high(71)]))
    assert words_of(chunk) == [high(0), event(5), high(1)]
    assert chunk.lost == ()


def test_words_of_the_other_order_of_bytes() -> None:
    stream = started(0, "big")
    whole = packet(1, [high(70), event(5)])
    swapped = np.frombuffer(whole[HEADER.size :], "<u4").byteswap().tobytes()
    assert words_of(stream.take(whole[: HEADER.size] + swapped)) == [high(0), event(5)]


def test_a_lost_packet_is_a_gap_until_the_next_high_word(stream: PacketStream) -> None:
    stream.take(packet(1, [high(70), event(5), high(72)]))
    chunk = stream.take(packet(4, [event(9), high(75), event(1)]))
    assert words_of(chunk) == [high(5), event(1)], "an event without its high word has no time"
    assert [(g.start_ps, g.end_ps) for g in chunk.lost] == [(ticks_ps(2), ticks_ps(5))]
    assert stream.lost == 2
    for late in (packet(3, [event(8)]), packet(4, [event(8)])):  # reported lost; doubled
        assert stream.take(late) == WireChunk(b"")


def test_several_packets_at_once_keep_every_gap(stream: PacketStream) -> None:
    chunk = stream.take(
        packet(1, [high(70), event(5)]),
        packet(3, [event(6), high(73), event(7)]),
        packet(4, [event(8)]),
        packet(6, [event(9)]),
    )
    assert words_of(chunk) == [high(0), event(5), high(3), event(7), event(8)]
    assert [(g.start_ps, g.end_ps) for g in chunk.lost] == [
        (0, ticks_ps(3)), (ticks_ps(3), -1),
    ]  # fmt: skip
    later = stream.take(packet(7, [event(1), high(80), event(2)]))
    assert words_of(later) == [high(10), event(2)]
    assert (later.lost, stream.lost, stream.packets) == ((), 2, 5)


def test_packet_numbers_wrap() -> None:
    stream = started(0xFFFE)
    assert stream.take(packet(0xFFFF, [high(1)])).lost == ()
    assert words_of(stream.take(packet(0, [event(1)]))) == [event(1)]


def test_another_run_ends_the_acquisition(stream: PacketStream) -> None:
    with pytest.raises(AcquisitionError, match="anew"):
        stream.take(packet(1, [high(0)], run=2))


@pytest.mark.parametrize(
    "data", [b"", b"TTM8Data", packet(1, [1])[:-1], packet(1, [1]) + b"12", b"x" + packet(1, [1])]
)
def test_what_is_no_packet_is_named(data: bytes) -> None:
    with pytest.raises(InstrumentError, match="packet"):
        packet_of(data, "t")


@contextlib.asynccontextmanager
async def opened(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Any, Any]]:
    async with Program(bench_of(models()["roithner-ttm8000"], "", settings, 3), tmp_path) as p:
        device = p.devices["unit"]
        driver = Ttm8000("tagger", device.address, Ttm8000.Settings(reply_timeout_s=0.3))
        try:
            yield driver, device
        finally:
            await driver.release()


async def test_lost_packets_are_counted_over_the_wire(tmp_path: Path) -> None:
    async with opened(tmp_path) as (driver, device):
        assert (await driver.open()).firmware == "4.01"
        await driver.start()
        decoder, lost = decoder_for(driver.wire_format), []
        device.control({"fault": "lose-packets", "packets": 3})
        async with asyncio.timeout(5):
            async for chunk in driver.chunks():
                lost += decoder.feed(chunk).lost
                if lost:
                    break
        assert (await driver.snapshot())["packets_lost"] == 3
        assert any("3 packets lost" in gap.reason for gap in lost)


async def test_flat_data_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with opened(tmp_path, data_format=FLAT) as (driver, _):
        with pytest.raises(IdentityError, match="format 1") as caught:
            await driver.open()
        assert "I-mode packed" in str(caught.value)


async def test_no_measurement_no_packet(tmp_path: Path) -> None:
    async with opened(tmp_path) as (driver, device):
        device.control({"fault": "unplug"})
        with pytest.raises(LinkTimeout, match="no data packet"):
            await driver.open()
