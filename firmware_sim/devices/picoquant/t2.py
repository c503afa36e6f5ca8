"""T2 records of the generic kind (MultiHarp): clicks of several inputs to 32-bit words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

WRAP_BITS = 25
SPECIAL = 1 << 31
OVERFLOW = SPECIAL | 63 << 25
TAG_MASK = (1 << WRAP_BITS) - 1


class T2Encoder:
    """Record: bit 31 special, 30..25 channel, 24..0 time in units of the base resolution.

    Channel 63 special: add n · 2^25 (n in the time field); channel 0 special: sync.
    start: reading of the time counter when the measurement begins.
    """

    def __init__(self, start: int = 0) -> None:
        self._origin = start % (1 << WRAP_BITS)
        self._wraps = 0

    def encode(
        self, tick: npt.NDArray[np.int64], head: npt.NDArray[np.int64], until: int
    ) -> npt.NDArray[np.uint32]:
        """tick: times since the start, sorted, all before ``until``; head: bits 31..25 of each.

        At most one overflow record before each event and one at the end.
        """
        if self._origin:
            tick = tick + self._origin
        last = (until + self._origin) >> WRAP_BITS
        edges = np.arange(self._wraps + 1, last + 1, dtype=np.int64) << WRAP_BITS
        self._wraps = max(self._wraps, last)
        records = (head | (tick & TAG_MASK)).astype("<u4")
        if not len(edges):
            return records
        at, steps = np.unique(np.searchsorted(tick, edges), return_counts=True)
        return np.insert(records, at, (OVERFLOW | steps).astype("<u4"))
