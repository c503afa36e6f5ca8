"""Detector delays, coincidence matrix and visibilities from labelled calibration windows.

Model: a pair of detectors (i of Alice, j of Bob) shows its coincidences at
``common + bob_j - alice_i``; the delays of one side average to zero. Least squares over the
peaks of the 16 delay histograms, each weighted by its coincidences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photonlink.pipeline.native.matching import delay_slices
from photonlink.pipeline.stages.window import LETTERS, Int64s, LabelledWindow, Uint8s

Floats = npt.NDArray[np.float64]
_MIN_COINCIDENCES = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class DetectorDelays:
    """Delays to subtract *in addition* to those in force, per detector letter (ps).

    common_ps: add to the clock when both sides apply their delays.
    sigma_ps: standard deviation of each, the largest of a side. unresolved: detectors ("alice H")
    without enough coincidences; their delay is given as 0.
    """

    alice_ps: dict[str, int]
    bob_ps: dict[str, int]
    common_ps: float
    sigma_ps: float
    unresolved: tuple[str, ...]


class DelayEstimator:
    """Accumulates labelled calibration data of both sides.

    range_ps: delays are looked for within +-range of the clock's prediction. bin_ps: of the
    histograms. window_ps: coincidence window of the matrix, around each pair's own peak.
    sigma_ps: expected standard deviation of the residuals.
    """

    def __init__(
        self, *, sigma_ps: float, window_ps: int, range_ps: int = 100_000, bin_ps: int = 0
    ) -> None:
        self.window_ps, self.sigma_ps = window_ps, sigma_ps
        self.bin_ps = bin_ps or max(round(sigma_ps / 4), 20)
        self.half = math.ceil(range_ps / self.bin_ps)
        self.histograms = np.zeros((4, 4, 2 * self.half), np.int64)  # (Alice, Bob, delay)

    @property
    def axis_ps(self) -> Floats:
        """Delay (Bob minus Alice) at the centre of each histogram bin."""
        return np.asarray((np.arange(2 * self.half) + 0.5 - self.half) * self.bin_ps)

    def clear(self) -> None:
        self.histograms[:] = 0

    def add(
        self, alice: LabelledWindow, bob_time_alice_clock_ps: Int64s, bob_detector: Uint8s
    ) -> None:
        """Both sorted; detectors numbered 0..3 = H, V, D, A."""
        if not len(alice):
            return
        for i in range(4):
            a = alice.time_ps[alice.detector == i]
            for j in range(4):
                b = bob_time_alice_clock_ps[bob_detector == j]
                self.histograms[i, j] += delay_slices(
                    a,
                    b,
                    low_ps=-self.half * self.bin_ps,
                    bin_ps=self.bin_ps,
                    n_bins=2 * self.half,
                    start_ps=int(alice.time_ps[0]),
                    slice_ps=int(alice.time_ps[-1] - alice.time_ps[0]) + 1,
                    n_slices=1,
                )[0]

    def peaks(self) -> tuple[Floats, Floats]:
        """Per detector pair: position of the peak (ps) and coincidences in it (0: no peak)."""
        from scipy import ndimage  # slow to import: a node starts without

        position, weight = np.zeros((4, 4)), np.zeros((4, 4))
        axis, reach = self.axis_ps, 3 * self.sigma_ps
        width = max(1, round(2 * self.sigma_ps / self.bin_ps))
        for i in range(4):
            for j in range(4):
                counts = self.histograms[i, j].astype(np.float64)
                smooth = ndimage.uniform_filter1d(counts, width)
                centre = float(axis[int(smooth.argmax())])
                background = float(np.median(smooth))
                excess = 0.0
                for _ in range(4):
                    near = np.abs(axis - centre) <= reach
                    excess = float((counts[near] - background).sum())
                    if excess <= 0:
                        break
                    centre = float((axis[near] * (counts[near] - background)).sum() / excess)
                chance = math.sqrt(background * 2 * reach / self.bin_ps + 1)
                if excess >= _MIN_COINCIDENCES and excess > 6 * chance:
                    position[i, j], weight[i, j] = centre, excess
        return position, weight

    def solve(self) -> DetectorDelays | None:
        """DetectorDelays of both sides, or None when no pair of detectors shows coincidences."""
        position, weight = self.peaks()
        if not weight.any():
            return None
        seen_a, seen_b = weight.sum(axis=1) > 0, weight.sum(axis=0) > 0
        rows, values = [], []
        for i, j in zip(*np.nonzero(weight), strict=True):
            row = np.zeros(9)
            row[i], row[4 + j], row[8] = -1.0, 1.0, 1.0
            scale = math.sqrt(weight[i, j]) / self.sigma_ps
            rows.append(row * scale)
            values.append(position[i, j] * scale)
        for side, seen in ((0, seen_a), (4, seen_b)):  # the delays of a side average to zero
            row = np.zeros(9)
            row[side : side + 4][seen] = 1.0
            rows.append(row)
            values.append(0.0)
        solution, *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
        normal = np.linalg.pinv(np.array(rows).T @ np.array(rows))
        unresolved = [f"alice {c}" for c, s in zip(LETTERS, seen_a, strict=True) if not s]
        unresolved += [f"bob {c}" for c, s in zip(LETTERS, seen_b, strict=True) if not s]
        return DetectorDelays(
            {c: round(float(solution[k])) for k, c in enumerate(LETTERS)},
            {c: round(float(solution[4 + k])) for k, c in enumerate(LETTERS)},
            float(solution[8]),
            math.sqrt(float(np.diag(normal)[:8].max())),
            tuple(unresolved),
        )

    def coincidence_matrix(self) -> tuple[Floats, Floats]:
        """Counts within the window around each pair's expected delay, and the accidentals among
        them from the rest of the histogram: two (4, 4) arrays, rows Alice, columns Bob."""
        delays = self.solve()
        counts, accidentals = np.zeros((4, 4)), np.zeros((4, 4))
        axis = self.axis_ps
        for i, a in enumerate(LETTERS):
            for j, b in enumerate(LETTERS):
                at = delays.common_ps + delays.bob_ps[b] - delays.alice_ps[a] if delays else 0.0
                hist = self.histograms[i, j]
                inside = np.abs(axis - at) <= self.window_ps
                far = np.abs(axis - at) > 2 * self.window_ps + 4 * self.sigma_ps
                counts[i, j] = hist[inside].sum()
                accidentals[i, j] = hist[far].sum() * inside.sum() / max(far.sum(), 1)
        return counts, accidentals

    def qber(self) -> tuple[float | None, float | None]:
        """Error rates in HV and DA of the raw counts (accidentals included); None: no data."""
        counts, _ = self.coincidence_matrix()
        return _error_rate(counts[:2, :2]), _error_rate(counts[2:, 2:])

    def visibility(self) -> tuple[float | None, float | None]:
        """Visibilities in HV and DA, accidentals subtracted; None: no data."""
        counts, accidentals = self.coincidence_matrix()
        net = counts - accidentals
        rates = _error_rate(net[:2, :2]), _error_rate(net[2:, 2:])
        hv, da = (None if rate is None else 1 - 2 * rate for rate in rates)
        return hv, da


def _error_rate(square: Floats) -> float | None:
    total = float(square.sum())
    if total <= 0:
        return None
    return float(min(max((square[0, 1] + square[1, 0]) / total, 0.0), 1.0))
