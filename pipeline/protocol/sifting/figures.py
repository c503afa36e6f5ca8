"""Coincidence figures for displays: sliding sums over the last slots, and a histogram.

What is counted is public already, or a function of noised times alone; no basis or outcome enters.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.native.quiet import COUNTED, AnnouncedPairs
from photonlink.pipeline.stages.window import Int64s
from photonlink.pipeline.status.model import CoincidenceHistogram

_SLOTS = 50
_MOST_BINS = 63  # of a histogram
_REACH = 3  # windows to either side, in alignment


@dataclass(frozen=True, slots=True)
class _Slot:
    seconds: float
    coincidences: int
    accidentals: int


class CoincidenceFigures:
    """Rates over the last slots, from times alone: they depend on no basis and no outcome."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)

    def slot(self, seconds: float, found: AnnouncedPairs, window: float) -> None:
        """Add a slot. Accidentals are estimated from residuals outside the window. window: its
        share of the range in which residuals are counted.
        """
        histogram = found.histogram.astype(np.float64)
        bins = len(histogram)
        at = np.abs(np.arange(bins) - bins / 2) / (bins / 2)  # share of the range
        outside = histogram[at > 1.2 * window]
        inside = bins * window
        share = found.announced / max(min(found.announced, COUNTED), 1)
        chance = float(outside.mean()) * inside * share if len(outside) else 0.0
        self._slots.append(_Slot(seconds, len(found.own_index), round(chance)))

    def show(self) -> dict[str, float | None]:
        """The figures under the names of LinkState."""
        seconds = sum(s.seconds for s in self._slots)
        if not seconds:
            return {}
        pairs = sum(s.coincidences for s in self._slots)
        accidentals = sum(s.accidentals for s in self._slots)
        shown: dict[str, float | None] = {
            "coincidences_hz": pairs / seconds,
            "accidentals_hz": accidentals / seconds,
            "coincidence_to_accidental_ratio": pairs / accidentals if accidentals else None,
            "sifted_bps": pairs / 2 / seconds,  # half of the pairs share a basis
        }
        return shown


def disclosed_histogram(residual_ps: Int64s, step_ps: int, window_ps: int) -> CoincidenceHistogram:
    """Histogram of a block's disclosed pairs. residual_ps: Bob's time minus Alice's, in steps of
    step_ps, as sent on the line: it needs no bit and no basis.
    """
    steps = 1  # a bin; odd, so that the middle one is about 0
    while 2 * (window_ps // (steps * step_ps) + 2) + 1 > _MOST_BINS:
        steps += 2
    bins = 2 * (window_ps // (steps * step_ps) + 2) + 1
    return _histogram("disclosed", residual_ps, steps * step_ps, bins, window_ps)


def alignment_histogram(alice_ps: Int64s, bob_ps: Int64s, window_ps: int) -> CoincidenceHistogram:
    """Histogram of the events in which the clock was found, which never become key. Both sorted, in
    Alice's clock; each of Bob's with her nearest before and after.
    """
    bin_ps = max(1, -(-2 * _REACH * window_ps // _MOST_BINS))
    after = np.searchsorted(alice_ps, bob_ps)
    near = [
        (bob_ps - alice_ps[np.clip(after + k, 0, len(alice_ps) - 1)])[
            (after + k >= 0) & (after + k < len(alice_ps))
        ]
        for k in (-1, 0)
    ]
    return _histogram("alignment", np.concatenate(near), bin_ps, _MOST_BINS, window_ps)


def _histogram(
    source: str, residual_ps: Int64s, bin_ps: int, bins: int, window_ps: int
) -> CoincidenceHistogram:
    at = (residual_ps + bins * bin_ps // 2) // bin_ps
    counts = np.bincount(at[(at >= 0) & (at < bins)], minlength=bins)
    shown = tuple(int(n) for n in counts)
    return CoincidenceHistogram(source, shown, bin_ps, window_ps, sum(shown))
