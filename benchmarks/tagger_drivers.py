"""Decoding through a driver against decoding alone, in the same run and of the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.decode import pieces, repeated
from benchmarks.measure import Effort, Row, against
from photonlink.drivers.idquantique.dlt import words
from photonlink.drivers.roithner.packets import HEADER, PacketStream, packet_of
from photonlink.drivers.swabian.records import records
from photonlink.hal.decoders import decoder_for
from photonlink.hal.tags import WireChunk, WireFormat

LEAST = 0.5
PERIOD_PS, TAGS_A_CHUNK = 100_000_040_000, 200_000
TTM_TICK_PS, TTM_PAYLOAD = 82.3045, 8192
RATE_PS = 250_000  # mean distance of clicks: 4 M/s on four inputs


def times_of(effort: Effort) -> np.ndarray:
    count = effort.scaled(4_000_000, 4_000)
    return np.cumsum(np.random.default_rng(1).exponential(RATE_PS, count)).astype(np.int64)


def row(name: str, wire: WireFormat, bare: list[bytes], through: Callable[[], Any], effort: Effort,
        tags: int) -> Row:  # fmt: skip
    alone = repeated(wire, [WireChunk(piece) for piece in bare])
    return against(
        name, "M tags/s", tags / 1e6, through, alone,
        baseline="the decoder alone", least=LEAST, effort=effort,
    )  # fmt: skip


def time_controller(name: str, effort: Effort) -> Row:
    """From arrays of one channel each, as the DLT service sends them, to tags."""
    times = times_of(effort)
    channels = np.random.default_rng(2).integers(1, 5, len(times))
    arrays, wire = [], WireFormat("flat64", {"resolution_ps": 1.0})
    for at in range(0, len(times), TAGS_A_CHUNK):
        part = slice(at, at + TAGS_A_CHUNK)
        arrays.append([(times[part][channels[part] == c].copy(), c) for c in range(1, 5)])
    bare = [words(streams) for streams in arrays]

    def through() -> None:
        decoder, zero = decoder_for(wire), np.int64(0)
        for streams in arrays:
            decoder.feed(WireChunk(words([(t + zero, c) for t, c in streams])))

    return row(name, wire, bare, through, effort, len(times))


def packed_words(times: np.ndarray) -> np.ndarray:
    ticks = np.floor(times / TTM_TICK_PS).astype(np.int64)
    channels = np.random.default_rng(3).integers(0, 8, len(ticks)).astype(np.int64)
    low = (channels << 28 | 1 << 27 | ticks & 0x7FFFFFF).astype(np.uint32)
    highs = np.arange(0, (int(ticks[-1]) >> 27) + 1)
    at = np.searchsorted(ticks, highs << 27)
    return np.insert(low, at, (highs | 1 << 31).astype(np.uint32))


def ttm8000(name: str, effort: Effort) -> Row:
    """From datagrams of 8 KiB to tags."""
    times = times_of(effort)
    payloads = pieces(packed_words(times).tobytes(), 4, TTM_PAYLOAD)
    datagrams = [
        HEADER.pack(b"TTM8Data", 0x0401, n & 0xFFFF, 2, 1, 400, 0, 1, 0, 0, 0, 0, len(p)) + p
        for n, p in enumerate(payloads)
    ]
    per_chunk, wire = 100, WireFormat("packed32", {"resolution_ps": TTM_TICK_PS})
    head = HEADER.pack(b"TTM8Data", 0x0401, 0xFFFF, 2, 1, 400, 0, 1, 0, 0, 0, 0, 0)
    joined = [b"".join(payloads[at : at + per_chunk]) for at in range(0, len(payloads), per_chunk)]

    def through() -> None:
        stream, decoder = PacketStream("little", "bench"), decoder_for(wire)
        stream.begin(packet_of(head, "bench"))
        for at in range(0, len(datagrams), per_chunk):
            decoder.feed(stream.take(*datagrams[at : at + per_chunk]))

    return row(name, wire, joined, through, effort, len(times))


def time_tagger(name: str, effort: Effort) -> Row:
    """From the package's arrays of times, channels, types and missed events to tags."""
    times = times_of(effort)
    channels = np.random.default_rng(4).integers(1, 5, len(times)).astype(np.int32)
    blocks = []
    for at in range(0, len(times), TAGS_A_CHUNK):
        part = slice(at, at + TAGS_A_CHUNK)
        blocks.append(_buffer(times[part], channels[part]))
    bare = [b"".join(records(block, 0)) for block in blocks]
    wire = WireFormat("swabian16")

    def through() -> None:
        decoder = decoder_for(wire)
        for block in blocks:
            for piece in records(block, 0):
                decoder.feed(WireChunk(piece))

    return row(name, wire, bare, through, effort, len(times))


def _buffer(times: np.ndarray, channels: np.ndarray) -> SimpleNamespace:
    kinds, missed = np.zeros(len(times), np.uint8), np.zeros(len(times), np.uint16)
    return SimpleNamespace(
        getTimestamps=lambda: times, getChannels=lambda: channels,
        getEventTypes=lambda: kinds, getMissedEvents=lambda: missed,
    )  # fmt: skip
