"""Views of detection events over an interval, and the arithmetic of lost intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Interval = tuple[int, int]  # [start_ps, end_ps)

LETTERS = ("H", "V", "D", "A")  # detector numbers 0..3: basis = number >> 1, bit = number & 1


@dataclass(frozen=True, slots=True, eq=False)
class EventWindow:
    """The public side of one node's events in ``[start_ps, end_ps)``, in its own clock.

    time_ps: int64 (n,), sorted. basis: uint8 (n,), 0 = HV, 1 = DA. Event k of the window has
    index ``first + k`` in its EventBuffer. lost: intervals in which events may be missing.
    multi_clicks: how many of the events are merged clicks of several detectors.
    """

    start_ps: int
    end_ps: int
    time_ps: Int64s
    basis: Uint8s
    first: int = 0
    lost: tuple[Interval, ...] = ()
    multi_clicks: int = 0

    def __len__(self) -> int:
        return len(self.time_ps)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} events, {self.start_ps}..{self.end_ps} ps)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LabelledWindow(EventWindow):
    """Events with their detector (uint8, 0..3 = H, V, D, A): calibration data, spent for key."""

    detector: Uint8s = field(default_factory=lambda: np.empty(0, np.uint8))


def merge_intervals(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Sorted, disjoint, without empty ones."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def outside(time_ps: Int64s, intervals: Sequence[Interval], margin_ps: int = 0) -> Bools:
    """Mask of the times that lie in none of the intervals widened by ``margin_ps``."""
    keep = np.ones(len(time_ps), np.bool_)
    for start, end in intervals:
        low, high = np.searchsorted(time_ps, (start - margin_ps, end + margin_ps))
        keep[low:high] = False
    return keep
