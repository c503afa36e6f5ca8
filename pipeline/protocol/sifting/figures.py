"""Coincidence figures for displays: sliding sums over the last slots."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.native.quiet import COUNTED, AnnouncedPairs

_SLOTS = 50


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
