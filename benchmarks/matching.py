"""Coincidences, correlations and the delay search.

Two streams of 25 M tags/s; every fifth tag of one has its partner in the other, 50 ps apart.
Blocks hold 1 ms and there are few, so that they stay in the cache, as after decoding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Effort, Row, against, medians, peer
from benchmarks.streams import GAP_PS, Int64s, poissonian
from photonlink.pipeline.native.correlate import correlate_into
from photonlink.pipeline.native.matching import match_pairs
from photonlink.pipeline.stages.clock.search import PS, ClockModel, coarse_search

WINDOW_PS, JITTER_PS, SHARE = 500, 50, 0.2
LOW_PS, BIN_PS, BINS = -50_000, 100, 1000
BLOCK = 25_000  # tags of one side: 1 ms
BLOCKS = 8
TIMES = 4  # per turn, so that it lasts as long as the peer's: 0.4 ms would be mostly warm-up


def partners(n: int, gap_ps: float, share: float, jitter_ps: float) -> tuple[Int64s, Int64s]:
    """Two sorted streams of about n tags each; ``share`` of each are pairs."""
    rng = np.random.default_rng(30)
    common = poissonian(round(n * share), 31, gap_ps / share)
    lone = round(n * (1 - share))
    sides = []
    for seed in (32, 33):
        moved = common + rng.normal(0, jitter_ps, len(common)).astype(np.int64)
        sides.append(np.sort(np.concatenate([moved, poissonian(lone, seed, gap_ps / (1 - share))])))
    return sides[0], sides[1]


Blocks = list[tuple[Int64s, Int64s]]


def blocks(effort: Effort) -> Blocks:
    size = effort.scaled(BLOCK, 1000)
    a, b = partners(size * (BLOCKS + 1), GAP_PS, SHARE, JITTER_PS)
    edges = np.arange(BLOCKS + 1) * round(size * GAP_PS)
    a_cut, b_cut = np.searchsorted(a, edges), np.searchsorted(b, edges)
    return [
        (a[a_cut[k] : a_cut[k + 1]].copy(), b[b_cut[k] : b_cut[k + 1]].copy())
        for k in range(BLOCKS)
    ]


def compare(
    name: str,
    work: Blocks,
    ours: Callable[[], object],
    theirs: Callable[[], object] | None,
    least: float,
    effort: Effort,
    times: int = 1,
) -> Row:
    tags = sum(len(a) + len(b) for a, b in work) / 1e6
    row = against(
        name, "M tags/s", tags, ours, theirs,
        baseline="numba two-pointer", least=least, effort=effort, times=times,
    )  # fmt: skip
    row.note += "; " * bool(row.note) + "tags of both sides; blocks of 1 ms, in cache"
    return row


def coincidence(name: str, effort: Effort) -> Row:
    work = blocks(effort)

    most = max(min(len(a), len(b)) for a, b in work)
    out = np.zeros(most, np.int64), np.zeros(most, np.int64)

    def ours() -> list[int]:
        return [len(match_pairs(a, b, WINDOW_PS, out=out)[0]) for a, b in work]

    theirs = None
    if peer("numba") is not None:
        from benchmarks.two_pointer import pairs

        def theirs() -> list[int]:
            return [int(pairs(a, b, WINDOW_PS, *out)) for a, b in work]

        if ours() != theirs():
            raise AssertionError("coincidence: the counts differ")
    return compare(name, work, ours, theirs, 3, effort, TIMES)


def correlation(name: str, effort: Effort) -> Row:
    """The peer is numba's, because libtimetag on PyPI (0.9.2) does not build on Python 3.11."""
    work = blocks(effort)

    def ours() -> npt.NDArray[np.uint64]:
        hist = np.zeros(BINS, np.uint64)
        for a, b in work:
            correlate_into(hist, a, b, LOW_PS, BIN_PS)
        return hist

    theirs = None
    if peer("numba") is not None:
        from benchmarks.two_pointer import correlate

        def theirs() -> npt.NDArray[np.uint64]:
            hist = np.zeros(BINS, np.uint64)
            for a, b in work:
                correlate(a, b, LOW_PS, BIN_PS, hist)
            return hist

        if not np.array_equal(ours(), theirs()):
            raise AssertionError("correlation: the histograms differ")
    return compare(name, work, ours, theirs, 2, effort)


# ---- the delay search ----

RATE_HZ, SPAN_S, HALF_S, MAX_RATE, COARSE_PS = 1e6, 2.0, 0.4, 10.5e-6, 2_000_000
OFFSET_PS, TRUE_RATE = 123_456_789_000, 3.7e-6


def delay(name: str, effort: Effort) -> Row:
    """Clocks that differ by 0.12 s and 3.7 ppm, 3 % of the clicks in pairs; +-10.5 ppm allowed."""
    span_s = max(0.5, SPAN_S * effort.size)
    a, b = partners(round(RATE_HZ * span_s), PS / RATE_HZ, 0.03, 100)
    b = b + OFFSET_PS + np.rint(b * TRUE_RATE).astype(np.int64)
    guess = ClockModel(int(a[0]), int(a[0]))
    half = round((HALF_S if effort.size >= 1 else 0.13) * PS)

    def ours() -> float:
        return coarse_search(a, b, guess, half, MAX_RATE, 2)[0].model.offset_ps(0) / COARSE_PS

    def theirs() -> float:
        return by_numpy(a, b, half // COARSE_PS)

    if abs(ours() - theirs()) > 2 or abs(ours() - OFFSET_PS / COARSE_PS) > 2:
        raise AssertionError("delay: the searches disagree")
    mine, numpys = medians([ours, theirs], min(effort.repeats, 5))
    share, other = 100 * mine / span_s, 100 * numpys / span_s
    note = f"CPU seconds per second of data, from {span_s:g} s of it; frequency searched too"
    return Row(
        name, share, "% of a core", "≤ 25 %", share <= 25, "numpy", other, other / share, note
    )  # fmt: skip


def by_numpy(a: Int64s, b: Int64s, half: int) -> float:
    """The same search in numpy: offset at Alice's time zero, in bins of 2 us."""
    start, segment = int(a[0]), PS // 10 // COARSE_PS
    n = int(a[-1] - start) // (segment * COARSE_PS)
    size = 1 << (segment + 2 * half).bit_length()
    a_bins = np.bincount((a - start) // COARSE_PS, minlength=(n + 1) * segment)
    shifted = (b - start) // COARSE_PS + half
    inside = (shifted >= 0) & (shifted < n * segment + 2 * half)
    b_bins = np.bincount(shifted[inside], minlength=n * segment + 2 * half)
    rows = np.empty((n, 2 * half + 1))
    for k in range(n):
        first = np.fft.rfft(a_bins[k * segment : (k + 1) * segment], size)
        second = np.fft.rfft(b_bins[k * segment : (k + 1) * segment + 2 * half], size)
        rows[k] = np.fft.irfft(first.conj() * second, size)[: 2 * half + 1]
    reach = int(np.ceil(MAX_RATE * n * segment))
    middle = (np.arange(n) + 0.5) / n - 0.5
    best, place = -np.inf, 0.0
    for slope in range(-reach, reach + 1):
        total = np.zeros(2 * half + 1)
        for k, shift in enumerate(np.rint(slope * middle).astype(int)):
            low, high = max(0, -shift), 2 * half + 1 - max(0, shift)
            total[low:high] += rows[k, low + shift : high + shift]
        at = int(total.argmax())
        if total[at] > best:
            best, place = total[at], at - half - slope * 0.5
    return place
