"""The tracking filter: a Kalman filter on (offset, frequency, drift) of the clock difference.

State in ps, ps/s, ps/s^2 as a deviation from the model the caller maps with; the caller takes
the deviation over (:meth:`PhaseFilter.take`) and starts from zero again.
Process noise as in the clock model of Zucca, Tavella 2005 (white FM, random-walk FM, wandering
drift), wide enough for an OCXO or a good TCXO.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_WHITE_FM = 60.0**2  # ps^2 per s: sigma_y(1 s) = 6e-11
_RANDOM_WALK_FM = 100.0**2  # (ps/s)^2 per s
_DRIFT_WALK = 50.0**2  # (ps/s^2)^2 per s
_PIECE_S = 0.1
_PIECE_PAIRS = 40
_MIN_PAIRS = 8


@dataclass(frozen=True, slots=True)
class _Centroid:
    mean: float  # ps
    excess: float  # pairs above the background
    accidental: float  # background among them
    sigma: float  # of one residual, ps

    @property
    def stands_out(self) -> bool:
        return self.excess >= _MIN_PAIRS and self.excess > 5 * math.sqrt(self.accidental + 1)


class PhaseFilter:
    """See the module. Times ``t`` are seconds relative to the caller's reference."""

    def __init__(
        self,
        *,
        offset_sigma_ps: float,
        rate_sigma_ps_per_s: float,
        drift_sigma_ps_per_s2: float,
        residual_sigma_ps: float,
        coincidences_hz: float,
        singles_hz: tuple[float, float],
    ) -> None:
        self.state = np.zeros(3)
        sigmas = (offset_sigma_ps, rate_sigma_ps_per_s, drift_sigma_ps_per_s2)
        self.covariance = np.diag(np.square(sigmas))
        self.residual_sigma_ps = residual_sigma_ps
        self.coincidences_hz = coincidences_hz
        self.steps = 0
        self._singles_hz = singles_hz
        self._t = 0.0

    @property
    def offset_sigma_ps(self) -> float:
        return math.sqrt(max(float(self.covariance[0, 0]), 0.0))

    @property
    def drift_sigma_ps_per_s2(self) -> float:
        return math.sqrt(max(float(self.covariance[2, 2]), 0.0))

    def pieces(self, seconds: float) -> int:
        """Into how many pieces a slot is cut: short against the clock's wander, long enough
        for a mean."""
        piece = max(_PIECE_S, _PIECE_PAIRS / max(self.coincidences_hz, 1.0))
        return max(1, min(64, round(seconds / piece)))

    def relax(self, offset_sigma_ps: float) -> None:
        self.covariance[0, 0] += offset_sigma_ps**2

    def take(self, t: float) -> tuple[float, float, float]:
        """Predict to ``t``, hand over offset, rate and drift there and start from zero."""
        self._predict(t)
        offset, rate, drift = (float(x) for x in self.state)
        self.state[:] = 0.0
        self._t = 0.0
        return offset, rate, drift

    def _predict(self, t: float) -> None:
        dt = t - self._t
        if dt <= 0:
            return
        step = np.array([[1.0, dt, dt * dt / 2], [0.0, 1.0, dt], [0.0, 0.0, 1.0]])
        self.state = step @ self.state
        self.covariance = step @ self.covariance @ step.T + _noise(dt)
        self._t = t

    def observe(
        self,
        residual_ps: Floats,
        t: float,
        seconds: float,
        singles: tuple[int, int],
        width_ps: float,
    ) -> bool | None:
        """All pair residuals of one piece within +-width. True: followed. False: the expected
        coincidences are not there. None: nothing could be expected."""
        self._predict(t)
        expected = self._expected(seconds, singles)
        if len(residual_ps) > 2 * min(singles) + 100:  # many at one moment: no light does that
            return False
        gate = min(4 * self.residual_sigma_ps + 3 * self.offset_sigma_ps, width_ps / 2)
        here = self._centroid(residual_ps, float(self.state[0]), gate, width_ps)
        if here.excess < 0.3 * expected or not here.stands_out:  # the bulk may be elsewhere
            peak = _highest(residual_ps, 2 * self.residual_sigma_ps, width_ps)
            there = self._centroid(residual_ps, peak, 4 * self.residual_sigma_ps, width_ps)
            if there.stands_out and there.excess >= max(0.3 * expected, here.excess):
                if abs(there.mean - self.state[0]) > gate:
                    self.steps += 1
                    self.covariance[0, 0] += (there.mean - self.state[0]) ** 2
                here = there
        if not here.stands_out:
            return False if expected >= 2 * _MIN_PAIRS else None
        mean, excess, sigma = here.mean, here.excess, here.sigma
        self._update(mean, sigma**2 / excess * (1 + 2 * here.accidental / excess))
        self.residual_sigma_ps += 0.1 * (sigma - self.residual_sigma_ps)
        self.coincidences_hz += min(1.0, seconds / 2) * (excess / seconds - self.coincidences_hz)
        weight = min(1.0, seconds / 2)
        rate_a, rate_b = self._singles_hz
        self._singles_hz = (
            rate_a + weight * (singles[0] / seconds - rate_a),
            rate_b + weight * (singles[1] / seconds - rate_b),
        )
        return True

    def _expected(self, seconds: float, singles: tuple[int, int]) -> float:
        """Coincidences to expect; none when the light went out on either side."""
        expected = self.coincidences_hz * seconds
        for n, rate in zip(singles, self._singles_hz, strict=True):
            if rate:
                share = n / (rate * seconds)
                expected *= min(1.0, share) if share > 0.5 else 0.0
        return expected

    def _centroid(self, d: Floats, centre: float, gate: float, width: float) -> _Centroid:
        """The pairs around ``centre``, the flat background taken out."""
        far = float((np.abs(d - centre) > gate).sum())
        accidental = far / max(2 * width - 2 * gate, 1.0) * 2 * gate
        for _ in range(4):
            near = d[np.abs(d - centre) <= gate]
            excess = len(near) - accidental
            if excess < _MIN_PAIRS:
                return _Centroid(centre, 0.0, accidental, self.residual_sigma_ps)
            centre += float((near - centre).sum()) / excess
        near = d[np.abs(d - centre) <= gate]
        excess = max(len(near) - accidental, 1.0)
        variance = float(((near - centre) ** 2).sum()) - accidental * gate * gate / 3
        sigma = math.sqrt(max(variance / excess, 100.0))
        return _Centroid(centre, excess, accidental, min(sigma, 2 * self.residual_sigma_ps))

    def _update(self, mean: float, variance: float) -> None:
        innovation = mean - float(self.state[0])
        total = float(self.covariance[0, 0]) + variance
        gain = self.covariance[:, 0] / total
        self.state = self.state + gain * innovation
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])
        self.covariance = (self.covariance + self.covariance.T) / 2


def _noise(dt: float) -> Floats:
    """Covariance that the three random walks build up within ``dt`` (each integrated upwards)."""
    w, f, d = _WHITE_FM, _RANDOM_WALK_FM, _DRIFT_WALK
    offset = w * dt + f * dt**3 / 3 + d * dt**5 / 20
    offset_rate = f * dt**2 / 2 + d * dt**4 / 8
    rate = f * dt + d * dt**3 / 3
    return np.array(
        [
            [offset, offset_rate, d * dt**3 / 6],
            [offset_rate, rate, d * dt**2 / 2],
            [d * dt**3 / 6, d * dt**2 / 2, d * dt],
        ]
    )


def _highest(d: Floats, bin_ps: float, width: float) -> float:
    """Centre of the fullest bin of the residuals."""
    if not len(d):
        return 0.0
    bins = max(8, min(4096, round(2 * width / bin_ps)))
    counts, edges = np.histogram(d, bins=bins, range=(-width, width))
    at = int(counts.argmax())
    return float((edges[at] + edges[at + 1]) / 2)
