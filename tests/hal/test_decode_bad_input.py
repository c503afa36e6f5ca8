"""Bytes that no instrument should send, for every record format at every level of kernels."""

from __future__ import annotations

import mmap
import random
import struct

import numpy as np
import pytest
from tagger_formats import nox_record

from photonlink.hal._decode import ffi, lib
from photonlink.hal.decoders import (
    DecodeError,
    decoder_for,
    kernel_level,
    record_size,
    swabian16_records,
)
from photonlink.hal.tags import TagBlock, WireChunk, WireFormat

T3 = {"resolution_ps": 25.0, "sync_period_ps": 12_500.0}
FORMATS = [
    WireFormat("tdc1"),
    WireFormat("a1"),
    WireFormat("a1", {"word_order": "high_first"}),
    WireFormat("t2", {"resolution_ps": 80.0}),
    WireFormat("t2_hh1", {"resolution_ps": 1.0}),
    WireFormat("t2_ph300", {"resolution_ps": 4.0}),
    WireFormat("t3", T3),
    WireFormat("t3_hh1", T3),
    WireFormat("t3_ph300", T3),
    WireFormat("qutag", {"resolution_ps": 1.0}),
    WireFormat("qutag_compressed", {"resolution_ps": 1.0}),
    WireFormat("swabian16"),
    WireFormat("s15_fast"),
    WireFormat("a0"),
    WireFormat("a2"),
    WireFormat("flat64", {"resolution_ps": 1.0}),
    WireFormat("packed32", {"resolution_ps": 1.0}),
    WireFormat("nox"),
]
IDS = [f"{f.name}-{i}" for i, f in enumerate(FORMATS)]
LEVELS = range(kernel_level() + 1)
every_format = pytest.mark.parametrize("wire_format", FORMATS, ids=IDS)


def event(wire_format: WireFormat, units: int) -> bytes:
    """One plain event at ``units`` of the format's own time (T3: of the sync count)."""
    name = wire_format.name
    if name == "tdc1":
        return struct.pack("<I", (units << 5 | 1) & 0xFFFFFFFF)
    if name == "a1":
        word = struct.pack("<Q", units << 10 | 1)
        return word if "word_order" not in wire_format.parameters else word[4:] + word[:4]
    if name in ("t2", "t2_hh1"):
        return struct.pack("<I", 1 << 25 | units)
    if name == "qutag":
        return struct.pack("<QH", units, 1)
    if name == "qutag_compressed":
        return (units | 1 << 37).to_bytes(5, "little")
    if name == "s15_fast":
        return struct.pack("<I", units << 6 | 1)
    if name in ("a0", "a2"):
        text = f"{units << 10 | 1:016x}\n"
        return (text if name == "a2" else f"{text[8:]}{text[:8]}\n").encode()
    if name == "flat64":
        return struct.pack("<Q", 1 << 60 | units)
    if name == "packed32":
        return struct.pack("<I", 1 << 27 | units & 0x7FFFFFF)
    if name == "nox":
        return nox_record(units, 1)
    if name == "swabian16":
        return struct.pack("<BBHiq", 0, 0, 0, 1, units)
    return struct.pack("<I", (1 << 28 if "ph300" in name else 1 << 25) | units)


def run(wire_format: WireFormat, *pieces: bytes, level: int = 0) -> tuple[list[TagBlock], bool]:
    """Blocks, and whether the decoder gave up the stream."""
    decoder = decoder_for(wire_format)
    decoder.set_level(level)
    blocks = []
    for piece in pieces:
        if decoder.info.failed:
            break
        blocks.append(decoder.feed(WireChunk(piece)))
    blocks.append(decoder.finish())
    return blocks, decoder.info.failed


def events(blocks: list[TagBlock]) -> list[tuple[int, int]]:
    return [
        pair
        for block in blocks
        for pair in zip(block.time_ps.tolist(), block.channel.tolist(), strict=True)
    ]


@every_format
@pytest.mark.parametrize("level", LEVELS)
def test_a_cut_record_waits_and_is_never_made_up(wire_format: WireFormat, level: int) -> None:
    record = record_size(wire_format)
    data = b"".join(event(wire_format, units) for units in range(100, 120))
    for missing in range(1, record):
        decoder = decoder_for(wire_format)
        decoder.set_level(level)
        blocks = [decoder.feed(WireChunk(data[:-missing]))]
        assert decoder.info.pending_bytes == record - missing
        assert decoder.info.records == 19
        blocks.append(decoder.finish())
        assert len(events(blocks)) == 19


@every_format
def test_nothing_at_all(wire_format: WireFormat) -> None:
    blocks, failed = run(wire_format, b"", b"")
    assert events(blocks) == []
    assert not failed
    assert all(block.lost == () for block in blocks)


@every_format
@pytest.mark.parametrize("level", LEVELS)
def test_times_that_run_backwards_stay_sorted_and_are_told(
    wire_format: WireFormat, level: int
) -> None:
    """Single steps back among good records, then times that only decrease."""
    sorting = wire_format.name in ("qutag", "flat64", "nox")
    scale = 10**6 if sorting else 1  # these formats sort in words up to 131 us late
    units = [u for k in range(40) for u in (500 + k, 500 + k, 499 + k - 300 * (k % 4 == 0))]
    data = b"".join(event(wire_format, scale * u) for u in [*units, *range(490, 0, -1)])
    blocks, _ = run(wire_format, data, level=level)
    times = [t for t, _ in events(blocks)]
    assert times == sorted(times)
    end = blocks[0].start_ps
    for block in blocks:
        assert block.start_ps >= end or not len(block)
        end = block.end_ps
    if wire_format.name not in ("tdc1", "qutag_compressed", "a1", "a0", "a2", "packed32"):
        # tdc1 counts a step back as a wrap, the others sort small steps in: no record is lost
        assert any(gap.reason == "time ran backwards" for block in blocks for gap in block.lost)


@every_format
def test_levels_agree_on_damage(wire_format: WireFormat) -> None:
    """Runs of good records between refused ones: all levels give up at the same record. (Fuzzers
    found kernels that gave up later, and that measured a leap from a refused word.)"""
    rng = random.Random(5)
    record = record_size(wire_format)
    for trial in range(60):
        units, data = rng.randrange(1 << 9), []
        top = 1000 if wire_format.name.startswith("t3") else 1 << 24
        for _ in range(120):
            if rng.random() < 0.3:
                data.append(rng.randbytes(record) if trial % 2 else event(wire_format, units // 9))
            else:
                units = min(units + rng.randrange(3), top)
                data += [event(wire_format, units)] * rng.randrange(12)
        joined = b"".join(data)
        found = []
        for level in LEVELS:
            blocks, failed = run(wire_format, joined, level=level)
            found.append((events(blocks), failed, [b.lost for b in blocks]))
        assert all(result == found[0] for result in found)


def test_a_leap_is_measured_from_the_last_good_time_at_every_level() -> None:
    """After refused words that wrapped, a1 times belong to the turn of the clock before them."""
    top = (1 << 54) - (1 << 49)
    units = [5, top, top + 100, 1 << 47, *(top + 200 + k for k in range(9)), (1 << 47) + (1 << 43)]
    units += [top + 300 + k for k in range(20)]
    data = b"".join(struct.pack("<Q", u << 10 | 2) for u in units)
    found = [run(WireFormat("a1"), data, level=level) for level in LEVELS]
    assert all(events(blocks) == events(found[0][0]) for blocks, _ in found)
    assert len({failed for _, failed in found}) == 1


@pytest.mark.parametrize(
    ("wire_format", "record"),
    [
        (FORMATS[9], struct.pack("<QH", 150, 256)),
        (FORMATS[9], struct.pack("<QH", 150, 0xFFFF)),
        (FORMATS[9], struct.pack("<QH", 1 << 63, 1)),
        *((FORMATS[11], struct.pack("<BBHiq", 0, 0, 0, c, 150)) for c in (0, 128, -128, -(2**31))),
        *((FORMATS[11], struct.pack("<BBHiq", kind, 0, 0, 1, 150)) for kind in (5, 255)),
        (FORMATS[8], struct.pack("<I", 15 << 28 | 16 << 16 | 150)),
        (FORMATS[6], struct.pack("<I", 1 << 31 | 40 << 25 | 150)),
        (FORMATS[3], struct.pack("<I", 1 << 31 | 16 << 25 | 150)),
        (FORMATS[0], struct.pack("<I", 150 << 5)),
        (FORMATS[1], struct.pack("<Q", 150 << 10)),
    ],
)
@pytest.mark.parametrize("level", LEVELS)
def test_a_channel_or_type_out_of_range_is_a_gap(
    wire_format: WireFormat, record: bytes, level: int
) -> None:
    data = b"".join(event(wire_format, u) for u in range(100, 120)) + record
    data += b"".join(event(wire_format, u) for u in range(200, 220))
    blocks, failed = run(wire_format, data, level=level)
    assert len(events(blocks)) == 40
    assert not failed
    gaps = [gap for block in blocks for gap in block.lost]
    assert [(gap.count, gap.reason) for gap in gaps] == [(1, "damaged record")]
    times = [t for t, _ in events(blocks)]
    assert gaps[0].end_ps == times[20]


@pytest.mark.parametrize(
    ("wire_format", "overflow"),
    [
        (WireFormat("t2", {"resolution_ps": 1e6}), struct.pack("<I", 0xFFFFFFFF)),
        (WireFormat("t2_hh1", {"resolution_ps": 1e9}), struct.pack("<I", 0xFFFFFFFF)),
        (WireFormat("t3", {"resolution_ps": 1.0, "sync_period_ps": 1e13}), b"\xff\xff\xff\xff"),
        (WireFormat("t2_ph300", {"resolution_ps": 1e9}), struct.pack("<I", 15 << 28)),
    ],
)
@pytest.mark.parametrize("level", LEVELS)
def test_overflows_that_leave_64_bits_end_the_stream_by_name(
    wire_format: WireFormat, overflow: bytes, level: int
) -> None:
    decoder = decoder_for(wire_format)
    decoder.set_level(level)
    block = decoder.feed(WireChunk(event(wire_format, 100) + overflow * 5000))
    assert decoder.info.failed
    for _ in range(2):
        with pytest.raises(DecodeError, match="64 bits"):
            decoder.feed(WireChunk(event(wire_format, 101)))
    assert len(block) + len(decoder.finish()) == 1  # earlier events are kept


def test_a_gap_at_the_end_of_time() -> None:
    """The last nanosecond of 64 bits has no end after it (found by the fuzzer)."""
    last = 2**63 - 1
    good = [struct.pack("<BBHiq", 0, 0, 0, 1, t) for t in (last - 9, last)]
    damaged = struct.pack("<BBHiq", 9, 0, 0, 1, last)
    blocks, _ = run(FORMATS[11], good[0] + good[1] + damaged + good[1])
    assert [t for t, _ in events(blocks)] == [last - 9, last, last]
    gaps = [gap for block in blocks for gap in block.lost]
    assert [(gap.start_ps, gap.end_ps) for gap in gaps] == [(last - 1, last)]


@pytest.mark.parametrize("format_code", range(lib.PL_FORMAT_TDC1, lib.PL_FORMAT_SWABIAN16 + 1))
def test_more_than_2_to_31_bytes_at_once(format_code: int) -> None:
    """Lengths are not cut to 32 bits: the output fills, ``consumed`` counts the bytes used."""
    times, channels = np.full(1000, -1, np.int64), np.full(1000, 99, np.uint8)
    consumed = ffi.new("size_t *")
    slot = ffi.new("pl_decoder **")
    assert lib.pl_decoder_new(slot, format_code, 1, 0, 1) == lib.PL_OK
    decoder = ffi.gc(slot[0], lib.pl_decoder_free)
    with mmap.mmap(-1, 2**31 + 1, prot=mmap.PROT_READ) as zeros:  # one page of zeros, repeated
        data = ffi.from_buffer("uint8_t[]", zeros)
        n = lib.pl_decoder_feed(
            decoder,
            data,
            1 << 12 if format_code in (1, 2, 3, 12) else len(data),  # zeros are damaged records
            ffi.from_buffer("int64_t[]", times),
            ffi.from_buffer("uint8_t[]", channels),
            len(times),
            consumed,
        )
        ffi.release(data)
    assert 0 <= n <= 1000
    info = lib.pl_decoder_info_of(decoder)  # some are held for sorting
    assert n + info.held > 900 or format_code in (1, 2, 3, 12)
    assert 0 < consumed[0] <= 1 << 14
    assert (times[n:] <= 0).all()


def test_a_merge_that_cannot_be_reads_no_array() -> None:
    """Impossible lengths are refused before a pointer is used."""
    lengths = ffi.new("size_t[]", [2**31 + 1, 2**63])
    nowhere = ffi.new("int64_t *[]", 2)
    nothing = ffi.new("uint8_t *[]", 2)
    for streams, code in ((1, "E_CAPACITY"), (2, "E_CAPACITY"), (65, "E_ARGUMENT")):
        status = lib.pl_merge(streams, nowhere, nothing, lengths, ffi.NULL, ffi.NULL, 2**31)
        assert status == getattr(lib, f"PL_{code}")


def test_records_from_arrays_are_those_of_the_format() -> None:
    times, channels = np.array([5, 9, 1 << 50]), np.array([1, -2, 18], np.int32)
    kinds, missed = np.array([0, 4, 0], np.uint8), np.array([0, 65_535, 0], np.uint16)
    rows = zip(kinds.tolist(), missed.tolist(), channels.tolist(), times.tolist(), strict=True)
    expected = b"".join(struct.pack("<BBHiq", k, 0, m, c, t - 5) for k, m, c, t in rows)
    assert swabian16_records(times, channels, kinds, missed, zero_ps=5) == expected
    spread = np.repeat(times, 2)[::2]
    assert swabian16_records(spread, channels, kinds, missed, zero_ps=5) == expected
    with pytest.raises(DecodeError, match="one length"):
        swabian16_records(times[:2], channels, kinds, missed)
    with pytest.raises(DecodeError, match="int32"):
        swabian16_records(times, times, kinds, missed)  # type: ignore[arg-type]
