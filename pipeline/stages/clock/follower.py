"""No node uses this yet: protocol version 2 takes it.

Follows the common clock offset while key is made, from noised times alone.

What it learns from a slot moves later slots only, and never faster than the agreed limits of clocks
and fibre allow: the offset by ``step_ps_per_s`` beyond the line, the rate by ``drift_per_s``. It
sees residuals of all detectors together, so it is equal for all. Whoever sends the light may
steer it within these limits, which moves all detectors of a station alike.

State: Bob's clock minus Alice's and its rate, a Kalman filter whose process noise is a part of the
limits. It dies with the connection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photonlink.pipeline.native.quiet import SlotClock
from photonlink.pipeline.stages.window import Int64s

PS = 1e12
VANISHED = "coincidences_vanished"
TOO_FAST = "rate_beyond_limit"
_MIN_PAIRS = 12
_STEP, _DRIFT = 0.05, 0.3  # of the limits: how much clocks move as a rule
_LOW, _HIGH = 0.25, 0.5  # of the tracked reach: where the peak is looked for, and background only


@dataclass(frozen=True, slots=True)
class ClockLimits:
    """Agreed before key is made. rate: largest difference of the clocks (ratio). drift_per_s: of
    the rate. step_ps_per_s: of the offset beyond what rate and drift tell (fibre, wander)."""

    rate: float = 1.05e-5
    drift_per_s: float = 5e-9
    step_ps_per_s: float = 2000.0
    patience_s: float = 2.0  # without the expected coincidences, then the lock is lost


class ClockFollower:
    """Pure: no I/O, no wall clock.

    at_ps: where offset and rate hold (Bob's clock). offset_ps: Bob's clock minus Alice's there.
    Use for every slot, in order: :meth:`clock`, then the pairs, then :meth:`learn`.
    """

    def __init__(
        self,
        limits: ClockLimits,
        *,
        at_ps: int,
        offset_ps: int,
        rate: float,
        offset_sigma_ps: float = 300.0,
        rate_sigma: float = 1e-9,
    ) -> None:
        self.limits = limits
        self.lost_reason: str | None = None
        self._at_ps = at_ps
        self._whole_ps = offset_ps  # the part that a float would round
        self._offset_ps = 0.0
        self._rate = rate
        self._variance = np.diag([offset_sigma_ps**2, (rate_sigma * PS) ** 2])  # ps, ps/s
        self._learnt_ps = at_ps
        if abs(rate) > limits.rate:
            self.lost_reason = TOO_FAST

    @property
    def locked(self) -> bool:
        return self.lost_reason is None

    @property
    def rate(self) -> float:
        """How much faster Bob's clock runs."""
        return self._rate

    @property
    def offset_sigma_ps(self) -> float:
        return math.sqrt(float(self._variance[0, 0]))

    def clock(self, start_ps: int) -> SlotClock:
        """For the slot that begins at ``start_ps`` of Bob's clock: known before it was recorded."""
        return SlotClock(self._whole_ps + round(self._predicted(start_ps)), self._rate)

    def to_alice(self, time_ps: Int64s) -> Int64s:
        """Bob's times (lost intervals, say) in Alice's clock."""
        run = self._rate * (time_ps - self._at_ps).astype(np.float64)
        return time_ps - self._whole_ps - np.rint(self._offset_ps + run).astype(np.int64)

    def learn(
        self,
        start_ps: int,
        end_ps: int,
        histogram: npt.NDArray[np.uint32],
        *,
        track_ps: int,
        bin_ps: int,
    ) -> None:
        """Residuals (Bob minus Alice, by :meth:`clock` of this slot) from -track_ps on, in bins of
        bin_ps. Moves the clock of later slots."""
        if not self.locked:
            return
        middle = (start_ps + end_ps) // 2
        found = _centre(histogram.astype(np.float64), track_ps, bin_ps)
        if found is None:
            if (end_ps - self._learnt_ps) / PS > self.limits.patience_s:
                self.lost_reason = VANISHED
            return
        residual, sigma = found
        self._predict(middle)
        seconds = max((middle - self._learnt_ps) / PS, 0.0)
        gain = self._variance[:, 0] / (self._variance[0, 0] + sigma**2)
        step = _within(gain[0] * residual, self.limits.step_ps_per_s * seconds)
        turn = _within(gain[1] * residual / PS, self.limits.drift_per_s * seconds)
        self._offset_ps += step
        self._rate = _within(self._rate + turn, self.limits.rate)
        observe = np.array([[1 - gain[0], 0.0], [-gain[1], 1.0]])
        self._variance = observe @ self._variance
        self._variance = (self._variance + self._variance.T) / 2
        self._learnt_ps = middle

    def _predicted(self, at_ps: int) -> float:
        return self._offset_ps + self._rate * (at_ps - self._at_ps)

    def _predict(self, at_ps: int) -> None:
        seconds = max((at_ps - self._at_ps) / PS, 0.0)
        self._offset_ps = self._predicted(at_ps)
        whole = round(self._offset_ps)
        self._whole_ps += whole
        self._offset_ps -= whole
        self._at_ps = at_ps
        move = np.array([[1.0, seconds], [0.0, 1.0]])
        noise = np.diag(
            [
                (self.limits.step_ps_per_s * seconds * _STEP) ** 2,
                (self.limits.drift_per_s * PS * seconds * _DRIFT) ** 2,
            ]
        )
        self._variance = move @ self._variance @ move.T + noise


def _within(value: float, limit: float) -> float:
    return float(min(max(value, -limit), limit))


def _centre(
    histogram: npt.NDArray[np.float64], track_ps: int, bin_ps: int
) -> tuple[float, float] | None:
    """Mean residual and its standard deviation; None when no peak stands out.

    The background is what lies in the outer half of the reach.
    """
    at = (np.arange(len(histogram)) + 0.5) * bin_ps - track_ps
    outside = np.abs(at) > _HIGH * track_ps
    background = float(histogram[outside].mean()) if outside.any() else 0.0
    centre = 0.0
    for _ in range(3):
        near = np.abs(at - centre) < _LOW * track_ps
        chance = background * int(near.sum())
        pairs = float(histogram[near].sum()) - chance
        if pairs < _MIN_PAIRS or pairs < 5 * math.sqrt(chance + 1):
            return None
        centre = float(((histogram[near] - background) * at[near]).sum()) / pairs
    spread = math.sqrt(float((histogram[near] * (at[near] - centre) ** 2).sum()) + bin_ps**2)
    return centre, spread / pairs
