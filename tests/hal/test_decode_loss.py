"""Loss, horizons and damage: hand-written record sequences and what becomes of them."""

from __future__ import annotations

import copy
import pickle
import struct
from collections.abc import Callable

import numpy as np
import pytest

from photonlink.hal._decode import lib
from photonlink.hal.decoders import DecodeError, NativeDecoder, decoder_for, merge
from photonlink.hal.tags import LostInterval, Provenance, TagBlock, WireChunk, WireFormat

T2 = WireFormat("t2", {"resolution_ps": 80.0})
OVERFLOW = 33554432
ONE_PS = {"resolution_ps": 1.0}


def t2(*words: tuple[int, int]) -> bytes:
    """(channel, tag): an event; channel 'special + 64' for a special record."""
    return b"".join(
        struct.pack("<I", (channel >> 6) << 31 | (channel & 63) << 25 | tag)
        for channel, tag in words
    )


def tdc1(*words: tuple[int, int]) -> bytes:
    """(time in 2 ns, low five bits)."""
    return b"".join(struct.pack("<I", tag << 5 | low) for tag, low in words)


def a1(*words: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<Q", tag << 10 | low) for tag, low in words)


def swabian(*rows: tuple[int, int, int, int]) -> bytes:
    """(type, missed, channel, ps)."""
    return b"".join(struct.pack("<BBHiq", kind, 0, m, c, t) for kind, m, c, t in rows)


def events(block: TagBlock) -> list[tuple[int, int]]:
    return list(zip(block.time_ps.tolist(), block.channel.tolist(), strict=True))


def feed(decoder: NativeDecoder, data: bytes, *lost: LostInterval) -> TagBlock:
    return decoder.feed(WireChunk(data, tuple(lost)))


def test_t2_numbers_inputs_sync_and_markers() -> None:
    decoder = decoder_for(T2, Provenance.EMULATED)
    block = feed(decoder, t2((0, 1), (64, 2), (62, 3), (65, 4), (64 + 15, 5), (64 + 63, 2), (1, 1)))
    assert events(block) == [
        (80, 0),
        (160, 64),
        (240, 62),
        (320, 101),
        (400, 115),
        ((2 * OVERFLOW + 1) * 80, 1),
    ]
    assert block.provenance is Provenance.EMULATED
    assert block.lost == ()


def test_overflow_records_move_the_horizon_without_events() -> None:
    decoder = decoder_for(T2)
    first = feed(decoder, t2((0, 7)))
    assert (first.start_ps, first.end_ps) == (0, 560)
    quiet = feed(decoder, t2((64 + 63, 3)))
    assert len(quiet) == 0
    assert (quiet.start_ps, quiet.end_ps) == (560, 3 * OVERFLOW * 80)


def test_dummies_move_the_horizon_and_count_the_rollovers() -> None:
    decoder = decoder_for(WireFormat("tdc1"))
    block = feed(decoder, tdc1((10, 0b00010), (5, 0b10001), (4, 0b10001), (4, 0b10000)))
    assert events(block) == [(20_000, 2)]
    assert block.end_ps == (2 * (1 << 27) + 4) * 2000
    assert decoder.info.dummies == 3


def test_one_pattern_can_be_several_events() -> None:
    block = feed(decoder_for(WireFormat("tdc1")), tdc1((3, 0b1011), (3, 0b0100)))
    assert events(block) == [(6000, 1), (6000, 2), (6000, 4), (6000, 3)]


def test_a1_times_are_not_moved_to_zero_and_rounded_half_up() -> None:
    decoder = decoder_for(WireFormat("a1"))
    block = feed(decoder, a1(*[(1 << 40 | k, 1) for k in (0, 1, 16, 33)]))
    start = (1 << 40) * 125 // 32
    assert len(block) == 0, "all within the time in which words may be overtaken"
    rest = decoder.finish()
    times = [t - start for t, _ in events(block) + events(rest)]
    assert times == [0, 4, 63, 129]  # 0, 3.906, 62.5, 128.906


def test_a1_words_beside_a_carry_are_sorted_in() -> None:
    decoder = decoder_for(WireFormat("a1"))
    early = 1 << 25
    feed(decoder, a1((10**9, 1), (10**9 + early, 8)))
    feed(decoder, a1((10**9 + 256, 2)))
    found = events(decoder.finish())
    assert found[-2:] == [((10**9 + 256) * 125 // 32, 2), ((10**9 + early) * 125 // 32, 4)]
    assert decoder.info.disordered == 1
    assert decoder.info.damaged == 0


def test_a1_holds_back_what_may_still_be_overtaken() -> None:
    decoder = decoder_for(WireFormat("a1"))
    window = 131_072_000
    block = feed(decoder, a1(*[(256_000 * k, 1) for k in range(1000)]))
    assert block.end_ps == 999_000_000 - window
    assert block.time_ps[-1] <= block.end_ps
    assert decoder.info.held == 132
    rest = decoder.finish()
    assert len(block) + len(rest) == 1000
    assert rest.end_ps == 999_000_000


def test_a1_wraps_after_54_bits() -> None:
    decoder = decoder_for(WireFormat("a1"))
    top = (1 << 54) - 256_000
    feed(decoder, a1((top, 1), (256_000, 2), (top + 1, 4)))
    times = [t for t, _ in events(decoder.finish())]
    start = top * 125 // 32
    assert times == [start, start + 4, start + 2_000_000]


@pytest.mark.parametrize("word", [64 + 16, 64 + 62])
def test_a_record_out_of_range_becomes_a_gap(word: int) -> None:
    decoder = decoder_for(T2)
    block = feed(decoder, t2((0, 10), (word, 11), (1, 30)))
    assert events(block) == [(800, 0), (2400, 1)]
    assert block.lost == (LostInterval(800, 2400, 1, "damaged record"),)


def test_a_gap_still_open_at_the_end_of_a_chunk_is_reported_when_it_closes() -> None:
    decoder = decoder_for(T2)
    first = feed(decoder, t2((0, 10), (64 + 16, 11)))
    assert first.lost == ()
    assert first.end_ps == 800, "the horizon waits for the gap to be known"
    assert feed(decoder, t2((1, 30))).lost == (LostInterval(800, 2400, 1, "damaged record"),)


def test_time_that_runs_backwards_becomes_a_gap() -> None:
    decoder = decoder_for(T2)
    block = feed(decoder, t2((0, 100), (0, 40), (1, 50), (1, 100), (1, 120)))
    assert events(block) == [(8000, 0), (8000, 1), (9600, 1)]
    assert block.lost == (LostInterval(8000, 8001, 2, "time ran backwards"),)
    assert decoder.info.damaged == 2


def test_a_clock_that_was_reset_is_a_named_error_and_keeps_what_came_before() -> None:
    decoder = decoder_for(WireFormat("swabian16"))
    good = [(0, 0, 1, 10**12 + k) for k in range(5)]
    block = feed(decoder, swabian(*good, *[(0, 0, 1, k) for k in range(500)]))
    assert len(block) == 5
    assert decoder.info.failed
    with pytest.raises(DecodeError, match="backwards") as caught:
        feed(decoder, swabian((0, 0, 1, 2 * 10**12)))
    assert caught.value.position == 16 * (5 + 32)


def test_overflow_counters_that_lie_are_a_named_error() -> None:
    decoder = decoder_for(WireFormat("t2", {"resolution_ps": 1e6}))
    huge = t2((0, 1), *[(64 + 63, OVERFLOW - 1)] * 9000, (0, 1))
    block = feed(decoder, huge)
    assert len(block) == 1
    assert 0 < block.end_ps < 2**63
    with pytest.raises(DecodeError, match="64 bits"):
        feed(decoder, b"")


def test_swabian_loss_is_a_gap_with_its_count() -> None:
    decoder = decoder_for(WireFormat("swabian16"))
    block = feed(
        decoder,
        swabian((0, 0, 3, 100), (2, 0, 0, 200), (4, 7, 3, 210), (4, 65535, -2, 220), (3, 0, 0, 300))
        + swabian((0, 0, -2, 400)),
    )
    assert events(block) == [(100, 3), (400, 130)]
    assert block.lost == (LostInterval(200, 300, 65542, "instrument overflow"),)


def test_an_overflow_across_chunks_is_told_piece_by_piece() -> None:
    decoder = decoder_for(WireFormat("swabian16"))
    first = feed(decoder, swabian((0, 0, 1, 100), (2, 0, 0, 200), (4, 5, 1, 250), (0, 0, 1, 260)))
    assert first.lost == (LostInterval(200, 260, 5, "instrument overflow"),)
    second = feed(decoder, swabian((3, 0, 0, 300), (0, 0, 1, 310)))
    assert second.lost == (LostInterval(260, 300, 0, "instrument overflow"),)


def test_more_gaps_than_can_be_listed_become_one_longer_gap() -> None:
    decoder = decoder_for(WireFormat("swabian16"))
    rows = []
    for k in range(3000):
        rows += [(2, 0, 0, 100 * k), (3, 0, 0, 100 * k + 50), (0, 0, 1, 100 * k + 60)]
    block = feed(decoder, swabian(*rows))
    assert len(block) == 3000
    assert len(block.lost) == 1024
    assert block.lost[-1].end_ps == 299_950


def test_gaps_from_outside_the_records_are_merged_in() -> None:
    decoder = decoder_for(T2)
    known = LostInterval(100, 200, 3, "fifo")
    open_end = LostInterval(900, -1, None, "reconnect")
    block = feed(decoder, t2((0, 1)), known, open_end)
    assert block.lost == (known,)
    assert feed(decoder, b"").lost == ()
    block = feed(decoder, t2((0, 5), (0, 20), (0, 30)))
    assert block.lost == (LostInterval(900, 1600, None, "reconnect"),)


def test_an_open_gap_is_closed_by_an_overflow_record_too() -> None:
    decoder = decoder_for(T2)
    feed(decoder, t2((0, 1)), LostInterval(81, -1, None, "fifo"))
    block = feed(decoder, t2((64 + 63, 1)))
    assert block.lost == (LostInterval(81, OVERFLOW * 80, None, "fifo"),)


@pytest.mark.parametrize(
    ("wire_format", "words"),
    [
        (WireFormat("t9"), "no decoder"),
        (WireFormat("t2"), "resolution_ps"),
        (WireFormat("t2", {"resolution_ps": 0.0}), "resolution_ps"),
        (WireFormat("t2", {"resolution_ps": float("nan")}), "resolution_ps"),
        (WireFormat("t2", {"resolution_ps": "80"}), "resolution_ps"),
        (WireFormat("t3", {"resolution_ps": 80.0}), "sync_period_ps"),
        (WireFormat("a1", {"word_order": "middle"}), "word_order"),
        (WireFormat("qutag_compressed", {"resolution_ps": 1e12}), "cannot decode"),
    ],
)
def test_impossible_formats_are_named(wire_format: WireFormat, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        decoder_for(wire_format)


def test_wiping_a_block_overwrites_its_events() -> None:
    block = feed(decoder_for(WireFormat("tdc1")), tdc1((3, 15), (4, 15), (5, 1)) * 40)
    assert block.time_ps.any()
    block.wipe()
    assert not block.time_ps.any()
    assert not block.channel.any()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 17, 64])
def test_merge_is_a_stable_sort(count: int) -> None:
    rng = np.random.default_rng(count)
    parts = []
    for k in range(count):
        times = np.sort(rng.integers(0, 50 + 40 * k, rng.integers(0, 300))).astype(np.int64)
        parts.append((times, rng.integers(0, 255, len(times)).astype(np.uint8)))
    times = np.concatenate([np.empty(0, np.int64), *[t for t, _ in parts]])
    channels = np.concatenate([np.empty(0, np.uint8), *[c for _, c in parts]])
    order = np.argsort(times, kind="stable")
    merged_times, merged_channels = merge(parts)
    np.testing.assert_array_equal(merged_times, times[order])
    np.testing.assert_array_equal(merged_channels, channels[order])


@pytest.mark.parametrize("span", [2**41, 2**42, 2**62])
def test_tags_far_apart_are_merged_too(span: int) -> None:
    """Beyond 4.4 s, time and place of a block do not fit into one sort key."""
    rng = np.random.default_rng(9)
    parts = [(np.sort(rng.integers(-span, span, 700)), np.full(700, k, np.uint8)) for k in range(5)]
    times = np.concatenate([t for t, _ in parts])
    merged, channels = merge(parts)
    order = np.argsort(times, kind="stable")
    np.testing.assert_array_equal(merged, times[order])
    np.testing.assert_array_equal(channels, np.repeat(np.arange(5), 700)[order])


def test_merge_refuses_what_is_not_sorted() -> None:
    good = (np.array([1, 2], np.int64), np.array([0, 0], np.uint8))
    bad = (np.array([2, 1], np.int64), np.array([0, 0], np.uint8))
    with pytest.raises(DecodeError, match="not sorted"):
        merge([good, bad])
    with pytest.raises(DecodeError, match="outside"):
        merge([good] * 65)
    room = (np.empty(9, np.int64), np.empty(9, np.uint8))
    times, _ = merge([good, good], out=room)
    assert times.tolist() == [1, 1, 2, 2]
    assert np.shares_memory(times, room[0])
    with pytest.raises(DecodeError, match="too small"):
        merge([good] * 5, out=room)
    with pytest.raises(DecodeError, match="one length"):
        merge([(good[0], good[1][:1])])


def test_one_wrong_word_does_not_take_the_clock_with_it() -> None:
    decoder = decoder_for(WireFormat("a1"))
    ticks = [10**12 + 256_000 * k for k in range(1000)]
    words = [(tick, 1) for tick in ticks]
    words[500] = (ticks[500] | 1 << 50, 3)  # one bit flipped: 73 minutes ahead
    block = feed(decoder, a1(*words))
    found = events(block) + events(decoder.finish())
    assert len(found) == 999
    assert found[-1][0] == (ticks[-1] * 125 + 16) // 32
    assert block.lost[0].start_ps <= ticks[500] * 125 // 32 < block.lost[0].end_ps
    assert block.lost[0].count == 1
    assert decoder.info.damaged == 1


def test_a_long_silence_is_believed_when_the_next_record_agrees() -> None:
    decoder = decoder_for(WireFormat("qutag", {"resolution_ps": 1.0}))
    hour = 3600 * 10**12
    rows = [(5, 1), (7, 2), (hour, 3), (hour + 9, 4), (3 * hour, 1), (3 * hour, 2), (3 * hour, 3)]
    block = feed(decoder, b"".join(struct.pack("<qH", t, c) for t, c in rows))
    rest = decoder.finish()
    assert events(block) + events(rest) == rows
    assert block.lost == rest.lost == ()
    assert rest.end_ps == 3 * hour


@pytest.mark.parametrize(
    ("lengths", "span"),
    [
        ((40_000, 40_000, 40_000, 40_000), 10**6),
        ((40_000, 40_000, 40_000, 40_000), 50),  # nearly all times equal
        ((100_000, 3, 0, 5_000), 10**9),
        ((1, 100_000), 10),
        (tuple(range(1, 6_400, 100)), 10**5),
        ((70_000,), 10**5),
    ],
)
def test_long_merges_are_stable_sorts_too(lengths: tuple[int, ...], span: int) -> None:
    rng = np.random.default_rng(5)
    parts = [
        (np.sort(rng.integers(-span, span, n)), rng.integers(0, 256, n, dtype=np.uint8))
        for n in lengths
    ]
    times = np.concatenate([t for t, _ in parts])
    order = np.argsort(times, kind="stable")
    merged_times, merged_channels = merge(parts)
    np.testing.assert_array_equal(merged_times, times[order])
    np.testing.assert_array_equal(merged_channels, np.concatenate([c for _, c in parts])[order])
    if len(parts[0][0]) > 50_000:
        parts[0][0][-5:] = parts[0][0][-5:][::-1] - np.arange(5)
        with pytest.raises(DecodeError, match="not sorted"):
            merge(parts)


@pytest.mark.parametrize("order", ["low_first", "high_first"])
@pytest.mark.parametrize("start_s", [0, 65_000, 70_300])  # far from, near and across the wrap
@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\xff" * 8, id="all ones"),
        pytest.param(b"\xf8" * 8, id="a far dummy"),
        pytest.param(b"\x01" * 8, id="far, with a detector"),
        pytest.param(bytes(8), id="zeros"),
    ],
)
@pytest.mark.parametrize("count", [1, 500])
def test_runs_of_equal_words_do_not_move_an_a1_clock(
    order: str, start_s: int, garbage: bytes, count: int
) -> None:
    """Otherwise the clock would stay ahead: by 19.5 h where the garbage looks like a wrap."""
    start = int(start_s * 256e9) if start_s < 70_000 else (1 << 54) - 1500 * 25_600_000
    whole = np.array([start + k * 25_600_000 for k in range(3000)])
    words = ((whole % (1 << 54)).astype(np.uint64) << np.uint64(10)) | np.uint64(0x301)
    rows = words.astype("<u8").view("<u4").reshape(-1, 2)
    data = (rows if order == "low_first" else rows[:, ::-1]).tobytes()
    for level in range(lib.pl_decode_level_get() + 1):
        for at in (1000, 1501, 2000):
            decoder = decoder_for(WireFormat("a1", {"word_order": order}))
            decoder.set_level(level)
            block = feed(decoder, data[: 8 * at] + garbage * count + data[8 * at :])
            times = [*block.time_ps.tolist(), *decoder.finish().time_ps.tolist()]
            assert times == ((whole.astype(object) * 125 + 16) // 32).tolist()
            assert decoder.info.damaged + decoder.info.dummies >= count
            assert len(block.lost) == (decoder.info.damaged > 0)


def qutag(*rows: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<qH", t, c) for t, c in rows)


def packed(*rows: tuple[int, int]) -> bytes:
    return b"".join((tag | channel << 37).to_bytes(5, "little") for tag, channel in rows)


LATE = 131_072_000  # ps


@pytest.mark.row("whole-time formats taken to be in order")
@pytest.mark.parametrize("pack", [qutag, packed], ids=["qutag", "qutag_compressed"])
def test_late_words_are_sorted_in_within_their_reach(pack: Callable[..., bytes]) -> None:
    """Words that come after later ones, as in qutag_late_words.qutag, are not lost."""
    decoder = decoder_for(WireFormat(pack.__name__.replace("packed", "qutag_compressed"), ONE_PS))
    rows = [(10**9 + 10**6 * k, 1 + k % 5) for k in range(400)]
    late = [rows.pop(k) for k in (300, 200, 100)]
    for k, row in zip((103, 201, 299), reversed(late), strict=True):
        rows.insert(k, row)
    found = events(feed(decoder, pack(*rows))) + events(decoder.finish())
    assert found == sorted(rows)
    assert decoder.info.disordered == 3
    assert decoder.info.damaged == 0
    if pack is qutag:  # a word beyond the reach is lost and reported
        feed(decoder, qutag((3 * 10**9, 1), (3 * 10**9 - LATE - 1, 2), (3 * 10**9 + 1, 3)))
        assert decoder.info.damaged == 1


def test_a_compressed_qutag_word_may_be_late_across_the_wrap() -> None:
    period = 1 << 37
    decoder = decoder_for(WireFormat("qutag_compressed", ONE_PS))
    data = packed((period - 90, 1), (5, 2), (period - 40, 3), (7, 4), (6, 1), (period - 1, 2))
    found = events(feed(decoder, data)) + events(decoder.finish())
    wrapped = [(period + 5, 2), (period + 6, 1), (period + 7, 4)]
    assert found == [(period - 90, 1), (period - 40, 3), (period - 1, 2), *wrapped]
    assert decoder.info.damaged == 0


@pytest.mark.row("T3 events sorted within one header sync period")
def test_t3_events_are_sorted_within_the_reach_of_a_record() -> None:
    """Arrival times may exceed the sync period in the file's header."""
    rng = np.random.default_rng(1)
    period, unit = 12_900, 97
    syncs, dtimes = np.sort(rng.integers(0, 1000, 500)), rng.integers(0, 32768, 500)
    words = (1 << 25 | dtimes << 10 | syncs).astype("<u4")
    decoder = decoder_for(
        WireFormat("t3", {"resolution_ps": float(unit), "sync_period_ps": float(period)})
    )
    blocks = [feed(decoder, words[:250].tobytes()), feed(decoder, words[250:].tobytes())]
    found = [t for block in [*blocks, decoder.finish()] for t, _ in events(block)]
    assert found == np.sort(syncs * period + dtimes * unit).tolist()
    assert decoder.info.damaged == 0


def test_a_decoder_is_not_copied() -> None:
    decoder = decoder_for(T2)
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="copied"):
            attempt(decoder)
