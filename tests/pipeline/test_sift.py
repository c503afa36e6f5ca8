"""Announcements, matching and their bookkeeping, against slow and simple references."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photonlink.pipeline.stages.sift import (
    AnnouncementError,
    coincidence_parameters,
    decode_announcement,
    decode_calibration,
    encode_announcement,
    encode_calibration,
    match,
)
from photonlink.pipeline.stages.window import EventWindow, merge_intervals, outside

sorted_times = st.lists(st.integers(0, 10_000), max_size=60).map(sorted)


def window(times: list[int], basis: list[int] | None = None, **more: object) -> EventWindow:
    t = np.array(times, np.int64)
    b = np.array(basis if basis is not None else [0] * len(times), np.uint8)
    return EventWindow(0, 10**9, t, b, **more)  # type: ignore[arg-type]


# ---- window and grid ----


def test_the_window_follows_jitter_and_both_resolutions() -> None:
    fine = coincidence_parameters(1, 1, 300, 300)
    assert 380 < fine.window_ps < 500
    assert fine.bin_ps < 150
    tdc1 = coincidence_parameters(2000, 2000, 300, 300)
    assert tdc1.window_ps >= 2000
    assert tdc1.bin_ps == 2000
    mixed = coincidence_parameters(80, 2000, 300, 300)
    assert 2000 <= mixed.window_ps < tdc1.window_ps
    assert coincidence_parameters(2000, 1, 0, 0).window_ps >= 2000
    for wrong in ((0, 1, 1, 1), (1, 1, -1, 1), (1, 2e6, 1, 1), (1, 1, 1, 1e9)):
        with pytest.raises(ValueError, match="must be within"):
            coincidence_parameters(*wrong)


@pytest.mark.parametrize(("a", "b"), [(2000, 2000), (80, 2000), (2000, 4), (1, 1)])
def test_the_window_holds_the_true_pairs(a: int, b: int) -> None:
    p = coincidence_parameters(a, b, 300, 300)
    rng = np.random.default_rng(1)
    t = rng.uniform(0, 1e9, 40_000)
    sigma = 300 / 2.3548
    alice = np.floor((t + rng.normal(0, sigma, len(t))) / a) * a + rng.uniform(0, a, len(t))
    bob = np.floor((t + rng.normal(0, sigma, len(t))) / b) * b + rng.uniform(0, b, len(t))
    delayed = bob - 0.37 * b  # as a delay correction does
    grid = np.floor(delayed / p.bin_ps) * p.bin_ps + p.bin_ps // 2
    shift = np.mean(grid - alice)
    residual = grid - alice - shift
    assert np.mean(np.abs(residual) <= p.window_ps) > 0.97
    assert abs(np.std(residual) / p.sigma_ps - 1) < 0.15  # rounding errors are not independent


# ---- announcements ----


@given(sorted_times, st.integers(1, 3000), st.integers(0, 10**18), st.randoms())
@settings(max_examples=200, deadline=None)
def test_announcements_come_back_on_the_grid(
    times: list[int], bin_ps: int, start: int, random: object
) -> None:
    t = np.array(times, np.int64) + start
    basis = np.random.default_rng(len(times)).integers(0, 2, len(t)).astype(np.uint8)
    data = encode_announcement(t, start, bin_ps)
    back = decode_announcement(data, start, start + 10_001, bin_ps)
    assert (back == t // bin_ps * bin_ps + bin_ps // 2).all()
    assert (np.abs(back - t) <= bin_ps / 2).all()
    detector = (basis * 2 + (t & 1)).astype(np.uint8)
    full, detector_back = decode_calibration(
        encode_calibration(t, detector, start), start, start + 10_001
    )
    assert (full == t).all()
    assert (detector_back == detector).all()


def test_announcements_are_compact() -> None:
    rng = np.random.default_rng(3)
    t = np.cumsum(rng.exponential(1e7, 100_000)).astype(np.int64)  # 100 kcps
    data = encode_announcement(t, 0, 2000)
    assert len(data) / len(t) < 1.9
    # the entropy of the gaps, plus one bit for the label
    bits = np.log2(np.e * 1e7 / 2000) + 1
    assert 8 * len(data) / len(t) < bits + 0.1


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_hostile_bytes_are_refused_by_name_or_stay_in_bounds(data: bytes) -> None:
    for head in (b"", bytes([1, 1, 5, 0, 0, 0, 0, 7]), bytes([1, 1, 0, 0, 0, 0, 0, 200])):
        try:
            t = decode_announcement(head + data, 1000, 9000, 10)
        except AnnouncementError:
            continue
        assert ((t >= 1000) & (t < 9010)).all()
        assert (np.diff(t) >= 0).all()


@given(st.integers(0, 10**6), st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_changed_bit_never_crashes_and_length_is_exact(at: int, bit: int) -> None:
    t = np.arange(0, 100_000, 777, dtype=np.int64)
    data = bytearray(encode_announcement(t, 0, 10))
    for broken in (data[:-1], data + b"\0", data[: at % len(data)]):
        with pytest.raises(AnnouncementError):
            decode_announcement(bytes(broken), 0, 100_000, 10)
    data[at % len(data)] ^= 1 << bit
    try:
        back = decode_announcement(bytes(data), 0, 100_000, 10)
    except AnnouncementError:
        return
    assert ((back >= 0) & (back < 100_005)).all()


def test_a_claim_of_many_events_allocates_nothing() -> None:
    with pytest.raises(AnnouncementError, match="so many events"):
        decode_announcement(bytes([1, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]) + b"\0" * 100, 0, 10**9, 1)


def test_events_beyond_the_interval_are_refused() -> None:
    data = encode_announcement(np.array([0, 990]), 0, 10)
    assert len(decode_announcement(data, 0, 1000, 10)) == 2
    with pytest.raises(AnnouncementError):
        decode_announcement(data, 0, 990, 10)


# ---- matching ----


def slow_match(a: list[int], b: list[int], w: int) -> list[tuple[int, int]]:
    """The definition: each of Alice's events in turn takes Bob's first free event within the
    window; then each pair moves to nearer events that are in no pair."""
    pairs: list[list[int]] = []
    next_b = 0
    for i, t in enumerate(a):
        for j in range(next_b, len(b)):
            if abs(t - b[j]) <= w:
                pairs.append([i, j])
                next_b = j + 1
                break
    for k, pair in enumerate(pairs):
        i_end, j_end = pairs[k + 1] if k + 1 < len(pairs) else (len(a), len(b))
        while pair[1] + 1 < j_end and abs(a[pair[0]] - b[pair[1] + 1]) < abs(
            a[pair[0]] - b[pair[1]]
        ):
            pair[1] += 1
        while pair[0] + 1 < i_end and abs(a[pair[0] + 1] - b[pair[1]]) < abs(
            a[pair[0]] - b[pair[1]]
        ):
            pair[0] += 1
    return [(i, j) for i, j in pairs]


@given(sorted_times, sorted_times, st.integers(0, 400))
@settings(max_examples=300, deadline=None)
def test_matching_is_what_it_says(a: list[int], b: list[int], w: int) -> None:
    found = match(window(a), np.array(b, np.int64), w)
    pairs = list(zip(found.alice_index.tolist(), found.bob_index.tolist(), strict=True))
    assert pairs == slow_match(a, b, w)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert (np.abs(found.residual_ps) <= w).all()
    assert found.residual_ps.tolist() == [b[j] - a[i] for i, j in pairs]


def test_a_nearer_event_wins() -> None:
    found = match(window([0, 90]), np.array([100]), 200)
    assert found.alice_index.tolist() == [1]
    found = match(window([100]), np.array([0, 110, 130]), 200)
    assert found.bob_index.tolist() == [1]


def test_window_edges_belong_to_the_window() -> None:
    bob = np.array([500, 10_501])
    found = match(window([0, 10_000]), bob, 500)
    assert found.alice_index.tolist() == [0]


def test_bases_and_indices_of_the_buffer() -> None:
    alice = window([0, 1000, 2000], [0, 1, 1], first=40)
    found = match(alice, np.array([1001, 2001]), 10)
    assert found.alice_index.tolist() == [41, 42]


def test_events_of_a_lost_interval_and_their_partners_go() -> None:
    times = list(range(0, 10_000, 100))
    bob = np.array(times) + 30
    found = match(window(times, lost=((2000, 3000),)), bob, 40, bob_lost=((6000, 6500), (-50, 5)))
    kept = np.array(times)[found.alice_index]
    lost = [(2000 - 40, 3000 + 40), (6000 - 40, 6500 + 40), (-90, 45)]
    for low, high in lost:
        assert not ((kept >= low) & (kept < high)).any()
        assert not ((bob[found.bob_index] >= low) & (bob[found.bob_index] < high)).any()
    assert found.coincidences == sum(
        not any(low <= t < high or low <= t + 30 < high for low, high in lost) for t in times
    )
    assert found.dropped > 0
    assert (bob[found.bob_index] - kept == 30).all()


def test_accidentals_are_counted_beside_the_pairs() -> None:
    rng = np.random.default_rng(2)
    a = np.sort(rng.integers(0, 10**12, 1_000_000))
    b = np.sort(np.concatenate([a[::10] + 200, rng.integers(0, 10**12, 900_000)]))
    found = match(window(a), b, 1000)  # type: ignore[arg-type]
    expected = 1e6 * 1e6 * 2001e-12
    assert abs(found.accidentals - expected) < 6 * np.sqrt(expected)
    assert abs(found.coincidences - 100_000 - 0.9 * expected) < 8 * np.sqrt(expected)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=8), sorted_times)
def test_intervals(intervals: list[tuple[int, int]], times: list[int]) -> None:
    merged = merge_intervals(intervals)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(merged))
    keep = outside(np.array(times, np.int64), merged, 0)
    for t, kept in zip(times, keep, strict=True):
        assert kept == (not any(low <= t < high for low, high in intervals))
