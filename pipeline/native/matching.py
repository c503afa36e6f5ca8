"""Pairs, delay histograms and the announcement code (pipeline/core/{match,fold,timecode}.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from photonlink.pipeline._core import ffi, lib
from photonlink.pipeline.native.base import NativeArgumentError, borrow, check

Int64s = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]
Float32s = npt.NDArray[np.float32]


def match_pairs(
    a_ps: Int64s, b_ps: Int64s, window_ps: int, *, out: tuple[Int64s, Int64s] | None = None
) -> tuple[Int64s, Int64s]:
    """Indices of one-to-one pairs within +-window_ps: greedy in time order, and then a pair
    takes a nearer event that no pair holds. Both inputs sorted.

    out: arrays of at least min(len(a_ps), len(b_ps)) to write to and to return the used part of:
    touching fresh memory costs as much as matching. NativeArgumentError when they are shorter.
    """
    most = min(len(a_ps), len(b_ps))
    a_index, b_index = out or (np.empty(most, np.int64), np.empty(most, np.int64))
    room = min(len(a_index), len(b_index))
    a, b = borrow(a_ps, np.int64), borrow(b_ps, np.int64)
    out_a = borrow(a_index, np.int64, writable=True)
    out_b = borrow(b_index, np.int64, writable=True)
    n = check(lib.pl_match(a, len(a_ps), b, len(b_ps), window_ps, out_a, out_b, room))
    return a_index[:n], b_index[:n]


def match_count(a_ps: Int64s, b_ps: Int64s, window_ps: int, shift_ps: int = 0) -> int:
    """How many pairs the walk finds with ``shift_ps`` added to b."""
    a, b = borrow(a_ps, np.int64), borrow(b_ps, np.int64)
    return check(lib.pl_match_count(a, len(a_ps), b, len(b_ps), window_ps, shift_ps))


def bin_times(time_ps: Int64s, start_ps: int, bin_ps: int, n_bins: int) -> Float32s:
    """Counts of times per bin from ``start_ps`` on, float32 for the transform that follows."""
    bins = np.zeros(n_bins, np.float32)
    out = ffi.from_buffer("float[]", bins, require_writable=True)
    times = borrow(time_ps, np.int64)
    check(lib.pl_bin_times(times, len(time_ps), start_ps, bin_ps, out, n_bins))
    return bins


def delay_slices(
    a_ps: Int64s,
    b_ps: Int64s,
    *,
    low_ps: int,
    bin_ps: int,
    n_bins: int,
    start_ps: int,
    slice_ps: int,
    n_slices: int,
) -> npt.NDArray[np.uint32]:
    """Histogram of b - a over all pairs, one row per slice of a's time: (n_slices, n_bins)."""
    hist = np.zeros((n_slices, n_bins), np.uint32)
    check(
        lib.pl_delay_slices(
            borrow(a_ps, np.int64),
            len(a_ps),
            borrow(b_ps, np.int64),
            len(b_ps),
            low_ps,
            bin_ps,
            n_bins,
            start_ps,
            slice_ps,
            n_slices,
            borrow(hist.reshape(-1), np.uint32, writable=True),
        )
    )
    return hist


def delay_pairs(
    a_ps: Int64s, b_ps: Int64s, low_ps: int, high_ps: int, capacity: int
) -> tuple[Int64s, Int64s]:
    """Indices of the pairs with low <= b - a < high: all, or the first ``capacity``, which a peer
    that announces rubbish may exceed."""
    a_index, b_index = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    a, b = borrow(a_ps, np.int64), borrow(b_ps, np.int64)
    out_a, out_b = borrow(a_index, np.int64), borrow(b_index, np.int64)
    n = lib.pl_delay_pairs(a, len(a_ps), b, len(b_ps), low_ps, high_ps, out_a, out_b, capacity)
    n = capacity if n == lib.PL_E_CAPACITY else check(n)
    return a_index[:n].copy(), b_index[:n].copy()


def best_lines(
    rows: Float32s, shifts: npt.NDArray[np.int32], mean: Float32s
) -> tuple[Float32s, npt.NDArray[np.int32]]:
    """For every bin the largest sum of ``rows`` (n, bins) along the lines ``shifts``
    (n_slopes, n) through it, in standard deviations above ``mean`` (bins,) of a Poisson count;
    and which line it was. A line counts with its bin and with its bin and the next, because a
    peak may straddle two."""
    n, bins = rows.shape
    if shifts.shape[1] != n or mean.shape != (bins,):
        raise ValueError(f"shapes {rows.shape}, {shifts.shape}, {mean.shape} do not fit")
    if rows.dtype != np.float32 or shifts.dtype != np.int32 or mean.dtype != np.float32:
        raise TypeError("need float32 rows and mean and int32 shifts")
    best, which = np.full(bins, -np.inf, np.float32), np.zeros(bins, np.int32)
    scale = 1 / np.sqrt(mean)
    check(
        lib.pl_best_lines(
            ffi.from_buffer("float[]", rows),
            n,
            bins,
            ffi.from_buffer("int32_t[]", shifts),
            len(shifts),
            ffi.from_buffer("float[]", mean),
            ffi.from_buffer("float[]", scale),
            ffi.from_buffer("float[]", best, require_writable=True),
            ffi.from_buffer("int32_t[]", which, require_writable=True),
        )
    )
    return best, which


def timecode_encode(tick: Int64s, label: Uint8s, label_bits: int, rice: int) -> bytes:
    """Rice code of sorted ticks with a label each."""
    if len(tick) != len(label):
        raise NativeArgumentError(lib.PL_E_ARGUMENT)
    out = np.empty(len(tick) * 12 + 16, np.uint8)
    n = check(
        lib.pl_timecode_encode(
            borrow(tick, np.int64),
            borrow(label, np.uint8),
            len(tick),
            label_bits,
            rice,
            borrow(out, np.uint8, writable=True),
            len(out),
        )
    )
    return out[:n].tobytes()


def timecode_decode(
    data: bytes, n: int, label_bits: int, rice: int, last_tick: int
) -> tuple[Int64s, Uint8s]:
    """Inverse of :func:`timecode_encode`; NativeDataError for anything it would not write."""
    tick, label = np.empty(n, np.int64), np.empty(n, np.uint8)
    check(
        lib.pl_timecode_decode(
            data,
            len(data),
            n,
            label_bits,
            rice,
            last_tick,
            borrow(tick, np.int64),
            borrow(label, np.uint8),
        )
    )
    return tick, label
