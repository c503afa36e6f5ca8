"""Counts at Alice of what happens to pairs before a block's bases are announced, from times
alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.native.quiet import COUNTED, AnnouncedPairs
from photonlink.pipeline.stages.finite_key import OnTheWay


@dataclass(slots=True)
class PairCounts:
    """Sums over key slots since the last block. quiet_ps: of the agreed rule."""

    quiet_ps: int
    accidentals: float = 0.0
    beyond: float = 0.0
    quiet: float = 0.0

    def slot(
        self, seconds: float, own_events: int, found: AnnouncedPairs, window_share: float
    ) -> None:
        """Add a slot. Residuals reach at least three windows to either side (``window_share``: the
        window's part of that range): beyond two windows all are accidental; the excess in the
        second window is true pairs outside of the window.
        """
        histogram = found.histogram.astype(np.float64)
        bins = len(histogram)
        if not bins or seconds <= 0:
            return
        scale = found.announced / max(min(found.announced, COUNTED), 1)
        at = np.abs(np.arange(bins) + 0.5 - bins / 2) / (bins / 2) / window_share  # in windows
        floor = float(histogram[at > 2].mean())
        near = (at > 1) & (at <= 2)
        chance = floor * scale * float((at <= 1).sum())
        self.accidentals += chance
        self.beyond += max(0.0, float(histogram[near].sum()) - floor * float(near.sum())) * scale
        events = own_events + found.announced
        true = max(0.0, len(found.own_index) - chance)
        self.quiet += true * min(1.0, events / seconds * self.quiet_ps * 1e-12)

    def take(self, pairs: int) -> OnTheWay:
        """The counts of the block that has closed; counting starts again for the next."""
        found = OnTheWay(pairs, self.accidentals, self.beyond, self.quiet)
        self.clear()
        return found

    def clear(self) -> None:
        self.accidentals = self.beyond = self.quiet = 0.0
