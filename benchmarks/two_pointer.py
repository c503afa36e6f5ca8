"""Peers of the matching, plain loops compiled by numba. Import only where numba is installed."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]


def _pairs(a: Int64s, b: Int64s, window: int, a_index: Int64s, b_index: Int64s) -> int:
    i = j = n = 0
    while i < len(a) and j < len(b):
        d = a[i] - b[j]
        if d > window:
            j += 1
        elif d < -window:
            i += 1
        else:
            a_index[n] = i
            b_index[n] = j
            n += 1
            i += 1
            j += 1
    return n


def _correlate(a: Int64s, b: Int64s, low: int, bin_ps: int, hist: Uint64s) -> None:
    width = bin_ps * len(hist)
    start = 0
    for i in range(len(a)):
        first = a[i] + low
        while start < len(b) and b[start] < first:
            start += 1
        j = start
        while j < len(b):
            d = b[j] - first
            if d >= width:
                break
            hist[d // bin_ps] += 1
            j += 1


pairs: Any = numba.njit(nogil=True)(_pairs)
correlate: Any = numba.njit(nogil=True)(_correlate)
