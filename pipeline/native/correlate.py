"""Cross-correlation histograms of two sorted time series (pipeline/core/correlate.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from photonlink.pipeline._core import lib
from photonlink.pipeline.native.base import borrow, check

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]


def correlate_into(
    hist: Uint64s,
    a_ps: Int64s,
    b_ps: Int64s,
    low_ps: int,
    bin_ps: int,
    *,
    single_stop: bool = False,
) -> int:
    """Add b - a to ``hist`` (n_bins,), bin i holding low + i·bin <= b - a < low + (i + 1)·bin.

    All pairs, or with ``single_stop`` only the first b at or after a + low for each a. Both
    inputs sorted. Returns the number of pairs added. bin·n_bins < 2^32 ps, else
    NativeArgumentError.
    """
    function = lib.pl_start_stop if single_stop else lib.pl_correlate
    a, b = borrow(a_ps, np.int64), borrow(b_ps, np.int64)
    out = borrow(hist, np.uint64, writable=True)
    return check(function(a, len(a_ps), b, len(b_ps), low_ps, bin_ps, len(hist), out))


class StreamCorrelator:
    """The same histogram over blocks that arrive one after the other.

    Keeps only the events that may still find a partner: those of the last window width.
    """

    def __init__(self, low_ps: int, bin_ps: int, n_bins: int, *, single_stop: bool = False) -> None:
        self.low_ps, self.bin_ps = low_ps, bin_ps
        self.hist: Uint64s = np.zeros(n_bins, np.uint64)
        self.pairs = 0
        self._high_ps = low_ps + bin_ps * n_bins
        self._single = single_stop
        self._a = np.empty(0, np.int64)
        self._b = np.empty(0, np.int64)

    def feed(self, a_ps: Int64s, b_ps: Int64s, horizon_ps: int) -> None:
        """Add sorted events; none of a later call is earlier than ``horizon_ps``."""
        self._a = np.concatenate([self._a, a_ps])
        self._b = np.concatenate([self._b, b_ps])
        # all partners of these starts lie before the horizon, so they have arrived
        ready = int(np.searchsorted(self._a, horizon_ps - max(self._high_ps, 0), side="left"))
        self._count(ready)
        oldest = int(self._a[0]) if len(self._a) else horizon_ps
        keep = min(oldest, horizon_ps) + self.low_ps
        self._b = self._b[np.searchsorted(self._b, keep, side="left") :].copy()

    def finish(self) -> Uint64s:
        """End of the events: count the rest and return the histogram."""
        self._count(len(self._a))
        return self.hist

    def _count(self, starts: int) -> None:
        self.pairs += correlate_into(
            self.hist,
            self._a[:starts],
            self._b,
            self.low_ps,
            self.bin_ps,
            single_stop=self._single,
        )
        self._a = self._a[starts:].copy()
