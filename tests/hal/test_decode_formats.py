"""Every decoder against a slow, simple one: random records in random pieces, every kernel."""

from __future__ import annotations

import itertools
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tagger_formats
from decode_reference import Event, Reference, a1, ramp, rounded, stream_a1, tdc1, words32
from hypothesis import given, settings
from hypothesis import strategies as st

from photonlink.hal.decoders import ABSOLUTE, DecodeError, decoder_for, kernel_level, record_size
from photonlink.hal.tags import WireChunk, WireFormat


def t2(data: bytes, unit: Fraction, version: int = 2) -> Reference:
    out, base = Reference(), 0
    for word in words32(data):
        special, field_, tag = word >> 31, word >> 25 & 63, word & 0x1FFFFFF
        t = rounded((base + tag) * unit)
        if not special:
            out.event(t, field_)
        elif field_ == 63:
            base += 33552000 if version == 1 else 33554432 * (tag or 1)
            out.advance(rounded(base * unit))
        elif field_ == 0:
            out.event(t, 64)
        elif field_ < 16:
            out.event(t, 100 + field_)
        else:
            out.dropped += 1
    return out


def t2_ph300(data: bytes, unit: Fraction) -> Reference:
    out, base = Reference(), 0
    for word in words32(data):
        channel, tag = word >> 28, word & 0xFFFFFFF
        if channel != 15:
            out.event(rounded((base + tag) * unit), channel)
        elif tag & 15 == 0:
            base += 210698240
            out.advance(rounded(base * unit))
        else:
            out.event(rounded((base + tag - (tag & 15)) * unit), 100 + (tag & 15))
    return out


def t3(data: bytes, period: Fraction, unit: Fraction, version: int = 2) -> Reference:
    out, base = Reference(window=(32768 * unit).__floor__() + 1), 0
    for word in words32(data):
        special, field_, dtime, sync = word >> 31, word >> 25 & 63, word >> 10 & 32767, word & 1023
        if not special:
            out.event(rounded((base + sync) * period + dtime * unit), field_)
        elif field_ == 63:
            base += 1024 if version == 1 else 1024 * (sync or 1)
            out.advance(rounded(base * period))
        elif 1 <= field_ < 16:
            out.event(rounded((base + sync) * period), 100 + field_)
        else:
            out.dropped += 1
    return out


def t3_ph300(data: bytes, period: Fraction, unit: Fraction) -> Reference:
    out, base = Reference(window=(4096 * unit).__floor__() + 1), 0
    for word in words32(data):
        channel, dtime, sync = word >> 28, word >> 16 & 4095, word & 65535
        if channel != 15:
            out.event(rounded((base + sync) * period + dtime * unit), channel)
        elif dtime == 0:
            base += 65536
            out.advance(rounded(base * period))
        elif dtime < 16:
            out.event(rounded((base + sync) * period), 100 + dtime)
        else:
            out.dropped += 1
    return out


LATE_PS = (1 << 25) * 125 // 32


def qutag(data: bytes, unit: Fraction) -> Reference:
    out = Reference(window=LATE_PS, last=None)
    for units, channel in struct.iter_unpack("<qH", data):
        t = rounded(units * unit)
        if channel > 255 or units < 0 or t >= 1 << 63:
            out.dropped += 1
        else:
            out.event(t, channel)
    return out


def qutag_compressed(data: bytes, unit: Fraction) -> Reference:
    out, base, previous = Reference(window=LATE_PS), 0, 0
    period, late = 1 << 37, min(int(LATE_PS / unit), 1 << 33)
    for at in range(0, len(data), 5):
        record = int.from_bytes(data[at : at + 5], "little")
        tag = record & (period - 1)
        if base and tag - previous >= period - late:
            out.event(rounded((base + tag - period) * unit), record >> 37)
            continue
        base += period * (tag + late < previous)
        if not previous - late <= tag <= previous:
            previous = tag
        out.event(rounded((base + tag) * unit), record >> 37)
    return out


def swabian16(data: bytes) -> Reference:
    out = Reference(last=None)
    for kind, _, _, channel, t in struct.iter_unpack("<BBHiq", data):
        if kind in (1, 2, 3, 4):
            out.advance(t)
        elif kind or not 1 <= abs(channel) <= 127:
            out.dropped += 1
        else:
            out.event(t, channel if channel > 0 else 128 - channel)
    return out


def decode(
    wire_format: WireFormat, pieces: list[bytes], level: int = 0
) -> tuple[list[Event], Any, list[Any]]:
    """(events, info, blocks) of the C decoder; the invariants of each block are checked."""
    decoder = decoder_for(wire_format)
    decoder.set_level(level)
    blocks = [decoder.feed(WireChunk(piece)) for piece in pieces]
    blocks.append(decoder.finish())
    events: list[Event] = []
    horizon = None
    for block in blocks:
        times = block.time_ps.tolist()
        assert times == sorted(times)
        if horizon is not None and times:
            assert times[0] >= horizon, "an event before a horizon that was promised"
        if times:
            horizon = block.end_ps
            assert block.start_ps <= times[0] <= times[-1] <= block.end_ps
        events += zip(times, block.channel.tolist(), strict=True)
    return events, decoder.info, blocks


# ---- realistic streams, and random bytes ----


def stream_tdc1(rng: random.Random, n: int) -> bytes:
    low = [1, 2, 4, 8, 1, 2, 4, 8, 3, 15, 16, 17, 0]
    weights = [20] * 8 + [2, 1, 2, 2, 1]
    return b"".join(
        struct.pack("<I", tag << 5 | rng.choices(low, weights)[0])
        for tag, _ in ramp(rng, n, 1 << 27, rng.choice([100, 10**6, 10**8]))
    )


def stream_t2(rng: random.Random, n: int) -> bytes:
    out = []
    for tag, wrapped in ramp(rng, n, 1 << 25, rng.choice([100, 10**5, 10**7])):
        if wrapped:
            out.append(0x80000000 | 63 << 25 | rng.choice([0, 1, 1, 1, 2]))
        special = rng.random() < 0.03
        channel = rng.choice([0, 1, 4, 15, 16, 63]) if special else rng.choice([0, 1, 2, 62])
        out.append(special << 31 | channel << 25 | tag)
    return struct.pack(f"<{len(out)}I", *out)


def stream_t3(rng: random.Random, n: int) -> bytes:
    out = []
    for sync, wrapped in ramp(rng, n, 1 << 10, rng.choice([1, 10, 900])):
        if wrapped:
            out.append(0x80000000 | 63 << 25 | rng.choice([0, 1, 1, 5]))
        special = rng.random() < 0.03
        channel = rng.choice([0, 1, 4, 15, 16]) if special else rng.choice([0, 1, 2, 62])
        out.append(special << 31 | channel << 25 | rng.randrange(400) << 10 | sync)
    return struct.pack(f"<{len(out)}I", *out)


def stream_ph300(rng: random.Random, n: int) -> bytes:
    out = []
    for tag, wrapped in ramp(rng, n, 1 << 27, rng.choice([100, 10**7])):
        if wrapped:
            out.append(15 << 28)
        out.append(rng.choice([0, 1, 4, 14, 15]) << 28 | tag)
    return struct.pack(f"<{len(out)}I", *out)


def stream_qutag(rng: random.Random, n: int) -> bytes:
    start = rng.choice([0, 1 << 50])
    return b"".join(
        struct.pack("<qH", start + tag, rng.choice([0, 1, 2, 5, 8, 104, 104, 300]))
        for tag, _ in ramp(rng, n, 1 << 60, 10**6)
    )


def stream_qutag_compressed(rng: random.Random, n: int) -> bytes:
    return b"".join(
        (rng.randrange(8) << 37 | tag).to_bytes(5, "little")
        for tag, _ in ramp(rng, n, 1 << 37, rng.choice([10**3, 10**10]))
    )


def stream_swabian16(rng: random.Random, n: int) -> bytes:
    return b"".join(
        struct.pack(
            "<BBHiq",
            rng.choice([0] * 20 + [1, 2, 3, 4, 9]),
            0,
            3,
            rng.choice([1, -1, 18, 200]),
            tag,
        )
        for tag, _ in ramp(rng, n, 1 << 60, 10**6)
    )


def res(value: float) -> dict[str, float]:
    return {"resolution_ps": value}


def t3_parameters(period: float, bin_ps: float) -> dict[str, float]:
    return {"sync_period_ps": period, "resolution_ps": bin_ps}


Case = tuple[WireFormat, Callable[[random.Random, int], bytes], Callable[[bytes], Reference]]
CASES: list[Case] = [
    (WireFormat("tdc1"), stream_tdc1, tdc1),
    (WireFormat("a1"), stream_a1, a1),
    (
        WireFormat("a1", {"word_order": "high_first"}),
        lambda rng, n: stream_a1(rng, n, "high_first"),
        lambda data: a1(data, "high_first"),
    ),
    (WireFormat("t2", res(1.0)), stream_t2, lambda d: t2(d, Fraction(1))),
    (WireFormat("t2", res(80.0)), stream_t2, lambda d: t2(d, Fraction(80))),
    (WireFormat("t2", res(82.3045)), stream_t2, lambda d: t2(d, Fraction("82.3045"))),
    (WireFormat("t2_hh1", res(1.0)), stream_t2, lambda d: t2(d, Fraction(1), 1)),
    (WireFormat("t2_ph300", res(4.0)), stream_ph300, lambda d: t2_ph300(d, Fraction(4))),
    (
        WireFormat("t3", t3_parameters(12500.0, 16.0)),
        stream_t3,
        lambda d: t3(d, Fraction(12500), Fraction(16)),
    ),
    (
        WireFormat("t3", t3_parameters(12345.678, 4.5)),
        stream_t3,
        lambda d: t3(d, Fraction("12345.678"), Fraction("4.5")),
    ),
    (
        WireFormat("t3_hh1", t3_parameters(50000.0, 1.0)),
        stream_t3,
        lambda d: t3(d, Fraction(50000), Fraction(1), 1),
    ),
    (
        WireFormat("t3_ph300", t3_parameters(25000.0, 4.0)),
        stream_ph300,
        lambda d: t3_ph300(d, Fraction(25000), Fraction(4)),
    ),
    (WireFormat("qutag", res(1.0)), stream_qutag, lambda d: qutag(d, Fraction(1))),
    (WireFormat("qutag", res(80.955)), stream_qutag, lambda d: qutag(d, Fraction("80.955"))),
    (
        WireFormat("qutag_compressed", res(81.0)),
        stream_qutag_compressed,
        lambda d: qutag_compressed(d, Fraction(81)),
    ),
    (WireFormat("swabian16"), stream_swabian16, swabian16),
    *tagger_formats.CASES,
]
IDS = [f"{case[0].name}-{i}" for i, case in enumerate(CASES)]
LEVELS = range(kernel_level() + 1)


def compare(case: Case, data: bytes, pieces: list[bytes]) -> None:
    wire_format, _, reference = case
    size = record_size(wire_format)
    whole = data[: len(data) // size * size]
    expected = reference(whole)
    for level in LEVELS:
        events, info, blocks = decode(wire_format, pieces, level)
        assert events == expected.sorted()
        assert (info.damaged, info.dummies) == (expected.dropped, expected.dummies)
        assert (info.records, info.position) == (len(whole) // size, len(whole))
        assert info.pending_bytes == len(data) - len(whole)
        assert info.held == 0
        if expected.dropped and expected.last is not None:  # otherwise no time is known
            assert any(block.lost for block in blocks), "damage without a lost interval"


@pytest.mark.parametrize("case", CASES, ids=IDS)
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32), n=st.integers(0, 400), cuts=st.lists(st.floats(0, 1), max_size=6)
)
def test_any_stream_in_any_pieces(case: Case, seed: int, n: int, cuts: list[float]) -> None:
    data = case[1](random.Random(seed), n)
    data = data[: len(data) - seed % 3] if data else data
    at = [0, *sorted(round(cut * len(data)) for cut in cuts), len(data)]
    compare(case, data, [data[i:j] for i, j in itertools.pairwise(at)])


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_split_at_every_byte(case: Case) -> None:
    data = case[1](random.Random(7), 20)
    for cut in range(len(data) + 1):
        compare(case, data, [data[:cut], data[cut:]])
    compare(case, data, [data[i : i + 1] for i in range(len(data))])


HEALING = [c for c in CASES if c[0].name not in ABSOLUTE and c[0].name != "qutag_compressed"]


@pytest.mark.parametrize("case", HEALING)
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=400))
def test_random_bytes_of_formats_that_heal(case: Case, data: bytes) -> None:
    compare(case, data, [data])


@pytest.mark.parametrize("case", CASES, ids=IDS)
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=3000))
def test_random_bytes_never_do_worse_than_a_named_error(case: Case, data: bytes) -> None:
    for level in LEVELS:
        decoder = decoder_for(case[0])
        decoder.set_level(level)
        refused = None
        for _ in range(3):
            try:
                decoder.feed(WireChunk(data))
            except DecodeError as error:
                refused = error
        assert refused is None or "backwards" in refused.what
        assert decoder.info.position <= 3 * len(data)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_long_streams_are_the_same_at_every_level(case: Case) -> None:
    data = case[1](random.Random(11), 5000)
    found = [decode(case[0], [data[:777], data[777:]], level)[0] for level in LEVELS]
    assert len(found[0]) > 1000
    assert all(events == found[0] for events in found)


def test_numpy_sees_the_same_t2_times() -> None:
    rng = np.random.default_rng(3)
    tags = np.sort(rng.integers(0, 1 << 40, 50_000))
    inputs = rng.integers(0, 8, len(tags))
    wraps = np.diff(tags >> 25, prepend=0)
    words = []
    for tag, channel, wrap in zip(tags.tolist(), inputs.tolist(), wraps.tolist(), strict=True):
        if wrap:
            words.append(0x80000000 | 63 << 25 | wrap)
        words.append(channel << 25 | tag & 0x1FFFFFF)
    data = np.array(words, dtype="<u4").tobytes()
    for level in LEVELS:
        decoder = decoder_for(WireFormat("t2", res(80.0)))
        decoder.set_level(level)
        block = decoder.feed(WireChunk(data))
        np.testing.assert_array_equal(block.time_ps, tags * 80)
        np.testing.assert_array_equal(block.channel, inputs)


@pytest.mark.parametrize("level", ["", "portable", "sse", "avx2", "vpclmul", "avx512"])
def test_kernels_are_chosen_by_cpu_and_environment(level: str) -> None:
    """Without this, a silent fall-back to the plain kernels would pass all tests."""
    code = "from photonlink.hal.decoders import kernel_level; print(kernel_level())"
    cpu = Path("/proc/cpuinfo")
    if not cpu.is_file():
        pytest.skip("what the CPU can do is read from /proc/cpuinfo")
    flags = next(line for line in cpu.read_text().splitlines() if line.startswith("flags")).split()
    wide = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vbmi2", "vpclmulqdq"}
    able = ("avx2" in flags) + ("avx2" in flags and wide <= set(flags))
    environment = {**os.environ, "PHOTONLINK_SIMD": level}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    wanted = {"": able, "avx2": 1, "vpclmul": 1, "avx512": 2}.get(level, 0)
    assert int(found.stdout) == (wanted if wanted <= able else 0)
