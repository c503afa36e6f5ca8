"""Coincidences as displays see them: sliding sums over the last slots."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from photonlink.pipeline.stages.sift import Matches

_SLOTS = 50


@dataclass(frozen=True, slots=True)
class _Slot:
    seconds: float
    coincidences: int
    accidentals: int


class CoincidenceFigures:
    """Rates over the last slots, of times alone: no basis, no outcome enters them."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)

    def slot(self, seconds: float, found: Matches) -> None:
        self._slots.append(_Slot(seconds, found.coincidences, found.accidentals))

    def show(self) -> dict[str, float | None]:
        """By the names of LinkState."""
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
