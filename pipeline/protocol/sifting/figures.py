"""Coincidences as displays see them: sliding sums over the last slots."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.stages.sift import Matches
from photonlink.pipeline.stages.window import LabelledWindow, Uint8s

_SLOTS = 50


@dataclass(frozen=True, slots=True)
class _Slot:
    seconds: float
    coincidences: int
    accidentals: int
    sifted: int


class CoincidenceFigures:
    """Rates over the last slots; QBER per basis from calibration slots (outcomes disclosed)."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)
        self._matrices: deque[np.ndarray[tuple[int, int], np.dtype[np.int64]]] = deque(
            maxlen=_SLOTS
        )

    def slot(self, seconds: float, found: Matches) -> None:
        sifted = int(np.count_nonzero(found.same_basis))
        self._slots.append(_Slot(seconds, found.coincidences, found.accidentals, sifted))

    def calibration(self, found: Matches, own: LabelledWindow, bob_detector: Uint8s) -> None:
        """Detector pairs of a calibration slot."""
        matrix = np.zeros((4, 4), np.int64)
        np.add.at(
            matrix,
            (own.detector[found.alice_index - own.first], bob_detector[found.bob_index]),
            1,
        )
        self._matrices.append(matrix)

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
            "sifted_bps": sum(s.sifted for s in self._slots) / seconds,
        }
        return shown

    def qber(self) -> tuple[float | None, float | None]:
        """Error rates in HV and DA of the last calibration slots."""
        if not self._matrices:
            return None, None
        total = np.sum(np.stack(self._matrices), axis=0)
        rates: list[float | None] = []
        for low in (0, 2):
            square = total[low : low + 2, low : low + 2]
            n = int(square.sum())
            rates.append(float(square[0, 1] + square[1, 0]) / n if n else None)
        return rates[0], rates[1]
