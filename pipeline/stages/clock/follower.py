"""Follows the common clock offset while key is made, from noised times alone.

A slot's residuals move later slots only, and never faster than the agreed limits of clocks and
fibre allow. The residuals of all detectors are taken together, so the estimate is the same for all.
An attacker who controls the light may steer it within these limits, which moves all detectors of a
station alike; a move beyond them ends the lock, and with it key making; the reason names the limit
and the size.

State: Bob's clock minus Alice's and its rate, a Kalman filter whose process noise is a part of the
limits. It is dropped with the connection.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from photonlink.pipeline.native.quiet import SlotClock
from photonlink.pipeline.stages.clock.recovery import Lock
from photonlink.pipeline.stages.clock.search import ClockModel
from photonlink.pipeline.stages.window import Int64s

PS = 1e12
VANISHED = "coincidences_vanished"
TOO_FAST = "rate_beyond_limit"
BEYOND = "clock_beyond_limits"
_MIN_PAIRS = 12
_STEP, _DRIFT = 0.05, 0.5  # usual motion of the clocks, as a share of the limits
# shares of the tracked range: where the peak is searched, and where only background is
_LOW, _HIGH = 0.25, 0.5
_SAVED_S = 1.0  # seconds of unused slew and drift that may be used later
_SIGMAS = 8.0  # standard deviations beyond the limits before a step is too large
_RATES, _RATES_S = 30, 1.0  # seconds of history for the drift on displays

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClockLimits:
    """Agreed before key is made. rate: largest difference of the clocks (ratio). drift_per_s: of
    the rate. step_ps_per_s: of the offset beyond what rate and drift tell (fibre, wander).
    patience_s: without the expected coincidences, then the lock is lost."""

    rate: float = 1.05e-5
    drift_per_s: float = 5e-9
    step_ps_per_s: float = 500.0
    patience_s: float = 2.0

    def slew_ps(self, seconds: float) -> float:
        """The largest distance of the offset from the line it followed ``seconds`` ago."""
        return self.step_ps_per_s * seconds + 0.5 * PS * self.drift_per_s * seconds**2


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
        self._at_ps = self._since_ps = at_ps
        self._whole_ps = offset_ps  # the part that a float would lose by rounding
        self._offset_ps = 0.0
        self._rate = rate
        self._variance = np.diag([offset_sigma_ps**2, (rate_sigma * PS) ** 2])  # ps, ps/s
        self._learnt_ps = at_ps
        # slew and drift that were allowed and not yet used
        self._may_step_ps, self._may_turn = 0.0, 0.0
        self._rates: deque[tuple[int, float]] = deque(maxlen=_RATES)
        if abs(rate) > limits.rate:
            self.lost_reason = TOO_FAST

    @classmethod
    def from_lock(cls, limits: ClockLimits, lock: Lock) -> Self:
        """Start from the line that the search found; the limits count from its middle on."""
        line = lock.line
        return cls(
            limits,
            at_ps=line.bob_ps,
            offset_ps=line.bob_ps - line.alice_ps,
            rate=line.rate / (1 + line.rate),
            offset_sigma_ps=lock.offset_sigma_ps + 20.0,
            rate_sigma=lock.rate_sigma,
        )

    @property
    def locked(self) -> bool:
        return self.lost_reason is None

    @property
    def rate(self) -> float:
        """How much faster Bob's clock runs, as a share of his own time."""
        return self._rate

    @property
    def offset_sigma_ps(self) -> float:
        return math.sqrt(float(self._variance[0, 0]))

    @property
    def age_s(self) -> float:
        """Age of the lock, in Bob's time."""
        return (self._at_ps - self._since_ps) / PS

    @property
    def drift_ppb_per_s(self) -> float | None:
        """How the rate has changed over the last half minute, for displays; None before 5 s."""
        if not self._rates:
            return None
        at_ps, rate = self._rates[0]
        seconds = (self._at_ps - at_ps) / PS
        return 1e9 * (self._rate - rate) / seconds if seconds >= 5 else None

    @property
    def line(self) -> ClockModel:
        """The present line, as a function of Alice's clock."""
        alice_ps = self._at_ps - self._whole_ps - round(self._offset_ps)
        return ClockModel(alice_ps, self._at_ps, self._rate / (1 - self._rate))

    def clock(self, start_ps: int) -> SlotClock:
        """For the slot that begins at ``start_ps`` of Bob's clock: it depends on earlier slots
        only.
        """
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
        found = _peak(histogram.astype(np.float64), track_ps, bin_ps)
        if found is None:
            if (end_ps - self._learnt_ps) / PS > self.limits.patience_s:
                self.lost_reason = VANISHED
            return
        residual, sigma = found
        chance = math.hypot(sigma, self._predict(middle))
        seconds = max((middle - self._learnt_ps) / PS, 0.0)
        slew = self._allow(seconds)
        if abs(residual) > slew + _SIGMAS * chance + bin_ps:
            self.lost_reason = (
                f"{BEYOND}: {residual:+,.0f} ps after {seconds:.2g} s, where clocks and fibre may "
                f"move by {slew:,.0f} ps"
            )
            return
        gain = self._variance[:, 0] / (float(self._variance[0, 0]) + sigma**2)
        step = _within(gain[0] * residual, self._may_step_ps)
        turn = _within(gain[1] * residual / PS, self._may_turn)
        self._may_step_ps -= abs(step)
        self._may_turn -= abs(turn)
        self._offset_ps += step
        self._rate = _within(self._rate + turn, self.limits.rate)
        observe = np.array([[1 - gain[0], 0.0], [-gain[1], 1.0]])
        self._variance = observe @ self._variance
        self._variance = (self._variance + self._variance.T) / 2
        self._learnt_ps = middle
        if not self._rates or middle - self._rates[-1][0] >= _RATES_S * PS:
            self._rates.append((middle, self._rate))

    def _allow(self, seconds: float) -> float:
        """Add this time's allowed slew and drift to the unused ones; returns the slew of this
        time.
        """
        limits = self.limits
        slew, saved = limits.slew_ps(seconds), max(seconds, _SAVED_S)
        self._may_step_ps = min(self._may_step_ps + slew, limits.slew_ps(saved))
        turn = self._may_turn + limits.drift_per_s * seconds
        self._may_turn = min(turn, limits.drift_per_s * saved)
        return slew

    def _predicted(self, at_ps: int) -> float:
        return self._offset_ps + self._rate * (at_ps - self._at_ps)

    def _predict(self, at_ps: int) -> float:
        """The standard deviation of the offset there from the estimate alone, without the clocks'
        motion meanwhile.
        """
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
        known = move @ self._variance @ move.T
        self._variance = known + noise
        return math.sqrt(float(known[0, 0]))


def _within(value: float, limit: float) -> float:
    return float(min(max(value, -limit), limit))


def _peak(histogram: Floats, track_ps: int, bin_ps: int) -> tuple[float, float] | None:
    """Mean residual and its standard deviation: of the peak where it is expected, else of the
    highest; None when none is significant.
    """
    at: Floats = (np.arange(len(histogram), dtype=np.float64) + 0.5) * bin_ps - track_ps
    return _centre(histogram, at, 0.0, track_ps, bin_ps) or _centre(
        histogram, at, float(at[int(histogram.argmax())]), track_ps, bin_ps
    )


def _centre(
    histogram: Floats, at: Floats, centre: float, track_ps: int, bin_ps: int
) -> tuple[float, float] | None:
    """About ``centre``; the background is what lies further off than half of the reach."""
    outside = np.abs(at - centre) > _HIGH * track_ps
    background = float(histogram[outside].mean()) if outside.any() else 0.0
    for _ in range(3):
        near = np.abs(at - centre) < _LOW * track_ps
        chance = background * int(near.sum())
        pairs = float(histogram[near].sum()) - chance
        if pairs < _MIN_PAIRS or pairs < 5 * math.sqrt(chance + 1):
            return None
        centre = float(((histogram[near] - background) * at[near]).sum()) / pairs
    spread = math.sqrt(float((histogram[near] * (at[near] - centre) ** 2).sum()) + bin_ps**2)
    return centre, spread / pairs
