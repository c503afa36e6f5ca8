"""Clock recovery: Bob's clock in terms of Alice's, from the photons alone (docs/clock.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.native.matching import delay_pairs
from photonlink.pipeline.stages.clock.filter import PhaseFilter
from photonlink.pipeline.stages.clock.search import (
    PS,
    Candidate,
    ClockModel,
    Refined,
    coarse_search,
    event_rate_hz,
    fit_line,
    refine,
)
from photonlink.pipeline.stages.window import Int64s

TOO_FEW_EVENTS = "too_few_events"
NO_CORRELATION = "no_correlation_within_0.4_s"
AMBIGUOUS = "ambiguous_side_peak"
FREQUENCY = "frequency_beyond_10_ppm"
VANISHED = "coincidences_vanished"
HOLDOVER = "holdover_expired"
_FIRST_DRIFT_S = 10.0  # of tracking tell the drift at the first lock
_MAX_SPAN_PS = 8 * PS  # of the data, the latest are used
_FAR_PPM = 110.0  # how far the search goes that only names a frequency
_FAR_REACH_PS = 12e6  # so much is its line smeared within a segment of the coarse search


@dataclass(frozen=True, slots=True)
class ClockParameters:
    """sigma_ps: expected standard deviation of Bob minus Alice (SiftParameters.sigma_ps)."""

    sigma_ps: float
    hint_tolerance_s: float = 0.4
    max_frequency_ppm: float = 10.0
    max_drift_ppb_per_s: float = 5.0
    false_lock_probability: float = 1e-6  # per attempt, by chance
    min_events: int = 500  # per side
    candidates: int = 24  # coarse peaks that are looked at closely
    max_side_peak: float = 0.6  # of the main peak
    track_ps: int = 20_000  # how far from the prediction coincidences are looked for
    patience_s: float = 1.0  # of data without the expected coincidences, then lock is lost


@dataclass(frozen=True, slots=True)
class Lock:
    """Clock found. Offsets are Bob's clock minus Alice's; the fibre delay is in them."""

    offset_s: float  # at ``at_ps`` of Alice's clock
    frequency_ppm: float  # how much faster Bob's clock runs
    at_ps: int
    start_offset_s: float  # at the start of Alice's acquisition
    significance: float  # of the coarse peak, standard deviations
    second: float  # of the best coarse peak elsewhere
    false_lock_probability: float  # upper bound, for Poissonian backgrounds
    coincidences_hz: float
    residual_sigma_ps: float
    data_s: float
    jump_s: float | None = None  # against what the lock before predicted

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class NoLock:
    """Not found, and why: one of the module's named reasons. Falsy."""

    reason: str
    significance: float
    second: float
    data_s: float

    def __bool__(self) -> bool:
        return False


class ClockRecovery:
    """Bob's clock relative to Alice's: acquired from calibration data, then tracked.

    Pure: no I/O, no wall clock. ``hint_offset_s``: Bob's clock minus Alice's from the host
    stamps of both starts, good to +-0.4 s. ``alice_start_ps``: her clock at her start; by
    default the first event that is ever given to :meth:`acquire`.

    Use: :meth:`acquire` with all events of up to about 5 s until it returns a Lock; then for
    every slot :meth:`track`, then :meth:`to_alice` and the matching. When ``locked`` turns
    False (``lost_reason`` says why), acquire again: near the last known line first, then over
    the whole range.
    """

    def __init__(
        self,
        parameters: ClockParameters,
        *,
        hint_offset_s: float,
        alice_start_ps: int | None = None,
    ) -> None:
        self.parameters = parameters
        self.locked = False
        self.lost_reason: str | None = None
        self.lock: Lock | None = None  # the latest
        self.first_lock: Lock | None = None
        self.steps = 0  # jumps within the tracking window that were followed
        self._hint_ps = round(hint_offset_s * PS)
        self._origin_ps = alice_start_ps
        self._model: ClockModel | None = None
        self._filter: PhaseFilter | None = None
        self._first_fit = (0.0, 0.0)  # middle and length of the first lock's line, ps
        self._first_drift = 0.0  # ps per ps^2, tracked soon after the first lock
        self._locked_at_ps = 0
        self._now_ps = 0
        self._missing_s = 0.0

    # ---- acquisition ----

    def acquire(
        self, alice_times_ps: Int64s, bob_times_ps: Int64s, *, explain: bool = True
    ) -> Lock | NoLock:
        """Search with what there is (sorted, each in its own clock; 0.5 s to about 5 s).

        Costs in the order of 0.15 s of one core per second of data, more for weak links.
        explain: when nothing is found, one more search, below 1 s of a core, tells a clock that
        runs too fast or too slow from one that is not there.
        """
        p = self.parameters
        a, b = alice_times_ps, bob_times_ps
        if len(a):  # memory and time grow with the span
            a = a[np.searchsorted(a, int(a[-1]) - _MAX_SPAN_PS) :]
        span_s = (int(a[-1]) - int(a[0])) / PS if len(a) else 0.0
        if min(len(a), len(b)) < p.min_events or span_s <= 0.01:
            return NoLock(TOO_FEW_EVENTS, 0.0, 0.0, span_s)
        if self._origin_ps is None:
            self._origin_ps = int(a[0])
        result: Lock | NoLock = NoLock(NO_CORRELATION, 0.0, 0.0, span_s)
        if self._model is not None:  # known before: look near it first
            age_s = abs(int(a[0]) / PS - self._model.alice_ps / PS)
            half = 2e-3 + 1e-6 * age_s
            result = self._search(a, b, self._model.at(int(a[0])), half, 2e-6)
        if not result:
            half = (
                p.hint_tolerance_s
                + p.max_frequency_ppm * 1e-6 * abs(int(a[-1]) - self._origin_ps) / PS
            )
            guess = self._hinted
            result = self._search(a, b, guess, half, 1.05e-6 * p.max_frequency_ppm)
            lost = isinstance(result, NoLock) and result.reason == NO_CORRELATION
            if lost and explain and self._far_frequency(a, b):
                result = NoLock(FREQUENCY, result.significance, result.second, span_s)
        return result

    def _far_frequency(self, a: Int64s, b: Int64s) -> bool:
        """Whether the clicks fit a clock that is wrong by up to _FAR_PPM.

        Looks at the last second only, for the one highest line: its cost is bounded, links that
        are too weak for that stay unexplained.
        """
        p = self.parameters
        a = a[np.searchsorted(a, int(a[-1]) - PS) :]
        apart_s = 1e-6 * _FAR_PPM * abs(int(a[-1]) - (self._origin_ps or 0)) / PS
        half_s = p.hint_tolerance_s + min(apart_s, p.hint_tolerance_s)
        highest = coarse_search(a, b, self._hinted, round(half_s * PS), 1e-6 * _FAR_PPM, 1)
        found = [self._closer(a, b, candidate, _FAR_REACH_PS) for candidate in highest]
        return any(f is not None and abs(f.model.rate) > 1e-6 * p.max_frequency_ppm for f in found)

    def _search(
        self, a: Int64s, b: Int64s, guess: ClockModel, half_range_s: float, max_rate: float
    ) -> Lock | NoLock:
        """The coarse peak, or when it alone does not convince every one of the highest, looked
        at closely: chance makes coarse peaks, but no sharp ones."""
        span_s = (int(a[-1]) - int(a[0])) / PS
        candidates = coarse_search(
            a, b, guess, round(half_range_s * PS), max_rate, self.parameters.candidates
        )
        z = [candidate.peak.significance for candidate in candidates[:2]]
        clear = candidates[0].log10_chance < -9 and all(
            other.log10_chance > -2 for other in candidates[1:2]
        )
        sharp: list[tuple[Refined, Candidate]] = []
        for candidate in candidates[:1] if clear else candidates:
            found = self._closer(a, b, candidate)
            if found is not None:
                sharp.append((found, candidate))
        if not sharp:
            return NoLock(NO_CORRELATION, z[0], z[-1], span_s)
        sharp.sort(key=lambda pair: -pair[0].excess_hz)
        found, candidate = sharp[0]
        second = z[1] if candidate is candidates[0] and len(z) > 1 else z[0]
        limit = self.parameters.max_side_peak
        rivals = [other.excess_hz for other, _ in sharp[1:]]
        if found.side_peak > limit or max(rivals, default=0.0) > limit * found.excess_hz:
            return NoLock(AMBIGUOUS, candidate.peak.significance, second, span_s)
        return self._lock_to(a, b, candidate, found, second)

    def _closer(
        self, a: Int64s, b: Int64s, candidate: Candidate, reach_ps: float = 4e6
    ) -> Refined | None:
        """The sharp peak inside a coarse one; None when there is none."""
        p = self.parameters
        inside = candidate.model.to_alice(b[[0, -1]])  # only where both sides have data
        low, high = np.searchsorted(a, (inside[0], inside[1]))
        a = a[low:high]
        if len(a) < p.min_events // 2:
            return None
        span = max(int(a[-1]) - int(a[0]), 1)
        found = refine(a, b, candidate.model, reach_ps, reach_ps / span, self._final_bin_ps, PS)
        chance = found.log10_chance + math.log10(p.candidates)
        return found if chance <= math.log10(p.false_lock_probability) else None

    @property
    def _final_bin_ps(self) -> int:
        return max(round(2 * self.parameters.sigma_ps), 100)

    def _lock_to(
        self, a: Int64s, b: Int64s, candidate: Candidate, found: Refined, z_second: float
    ) -> Lock | NoLock:
        p = self.parameters
        span_s = (int(a[-1]) - int(a[0])) / PS
        z = candidate.peak.significance
        low = int(np.searchsorted(a, int(a[-1]) - PS))
        fitted, sigma, offset_sigma, rate_sigma = fit_line(
            a[low:], b, found.model, 4 * self._final_bin_ps
        )
        start_offset_s = fitted.offset_ps(self._origin_ps or 0) / PS
        if (
            self.first_lock is None
            and abs(start_offset_s - self._hint_ps / PS) > p.hint_tolerance_s + 1e-3
        ):
            return NoLock(NO_CORRELATION, z, z_second, span_s)
        if abs(fitted.rate) > 1.05e-6 * p.max_frequency_ppm:
            return NoLock(FREQUENCY, z, z_second, span_s)
        if self.first_lock is None:
            ends = fitted.to_alice(b[[0, -1]])
            start, stop = max(int(a[low]), int(ends[0])), min(int(a[-1]), int(ends[1]))
            self._first_fit = (start + stop) / 2, float(stop - start)
        end = int(a[-1])
        jump = fitted.offset_ps(end) - self._model.offset_ps(end) if self._model else None
        chance = found.log10_chance + math.log10(p.candidates)
        lock = Lock(
            offset_s=fitted.offset_ps(end) / PS,
            frequency_ppm=fitted.rate * 1e6,
            at_ps=end,
            start_offset_s=start_offset_s,
            significance=z,
            second=z_second,
            false_lock_probability=10.0 ** max(chance, -300.0),
            coincidences_hz=found.excess_hz,
            residual_sigma_ps=sigma,
            data_s=span_s,
            jump_s=None if jump is None else jump / PS,
        )
        self._start(lock, fitted, (offset_sigma, rate_sigma), (event_rate_hz(a), event_rate_hz(b)))
        return lock

    def _start(
        self,
        lock: Lock,
        fitted: ClockModel,
        sigmas: tuple[float, float],
        singles_hz: tuple[float, float],
    ) -> None:
        offset_sigma, rate_sigma = sigmas
        self.locked, self.lost_reason, self._missing_s = True, None, 0.0
        self.lock = lock
        self.first_lock = self.first_lock or lock
        ahead_s = (lock.at_ps - fitted.alice_ps) / PS
        self._model = fitted.at(lock.at_ps)
        self._locked_at_ps = self._now_ps = lock.at_ps
        drift = self.parameters.max_drift_ppb_per_s * 1000
        bend = drift * (2 * ahead_s) ** 2 / 12  # a parabola's distance from its fitted line
        self._filter = PhaseFilter(
            offset_sigma_ps=math.hypot(offset_sigma, rate_sigma * PS * ahead_s, bend) + 20,
            rate_sigma_ps_per_s=rate_sigma * PS + drift * ahead_s,
            drift_sigma_ps_per_s2=drift,
            residual_sigma_ps=lock.residual_sigma_ps,
            coincidences_hz=lock.coincidences_hz,
            singles_hz=singles_hz,
        )

    # ---- mapping ----

    def to_alice(self, bob_times_ps: Int64s) -> Int64s:
        """Bob's times in Alice's clock, int64, exact to below 1 ps beside the model."""
        return self._known().to_alice(bob_times_ps)

    def to_bob(self, alice_time_ps: int) -> int:
        """A moment of Alice's clock in Bob's."""
        return self._known().to_bob(alice_time_ps)

    @property
    def _hinted(self) -> ClockModel:
        return ClockModel(0, self._hint_ps)

    def _known(self) -> ClockModel:
        """The model; before the first lock the hint's."""
        return self._model or self._hinted

    def offset_s(self, alice_time_ps: int) -> float:
        """Bob's clock minus Alice's at a moment of Alice's clock."""
        return self._known().offset_ps(alice_time_ps) / PS

    @property
    def at_start(self) -> tuple[float, float] | None:
        """Bob's clock minus Alice's (s) and how much faster it ran (ppm) at Alice's start.

        The first lock's line is a tangent in the middle of the data it was fitted to; the drift
        tracked within 10 s after it bends it back to the start.
        """
        lock = self.first_lock
        if lock is None:
            return None
        middle, span = self._first_fit
        back = middle - (self._origin_ps or 0)
        bend = self._first_drift * (back * back / 2 - span * span / 24)
        return lock.start_offset_s + bend / PS, lock.frequency_ppm - self._first_drift * back * 1e6

    @property
    def frequency_ppm(self) -> float:
        return self._known().rate * 1e6

    @property
    def drift_ppb_per_s(self) -> float:
        return self._known().drift * PS * 1e9

    @property
    def age_s(self) -> float:
        """Data time since the present lock was acquired."""
        return (self._now_ps - self._locked_at_ps) / PS if self.locked else 0.0

    @property
    def drift_alarm(self) -> bool:
        """The drift is beyond the limit by more than its uncertainty: no oscillator of the
        class assumed does that."""
        if not self.locked or self._filter is None:
            return False
        margin = 4 * self._filter.drift_sigma_ps_per_s2 / 1000
        return abs(self.drift_ppb_per_s) > self.parameters.max_drift_ppb_per_s + margin

    def shift(self, offset_ps: float) -> None:
        """Add to the offset: after detector delays were equalised (Delays.common_ps)."""
        if self._model is not None:
            self._model = self._model.moved(offset_ps)
        if self._filter is not None:
            self._filter.relax(100.0)

    # ---- tracking ----

    def track(self, alice_times_ps: Int64s, bob_times_ps: Int64s) -> None:
        """Follow the coincidences of one slot (0.1 to 1 s; each side in its own clock, Bob's on
        the announced grid). Call before matching the slot. May turn ``locked`` off."""
        if not self.locked or self._model is None or self._filter is None:
            return
        if not len(alice_times_ps):
            return
        p, phase = self.parameters, self._filter
        a, b = alice_times_ps, self._model.to_alice(bob_times_ps)
        width = p.track_ps
        capacity = 2 * (len(a) + len(b)) + 4096
        a_index, b_index = delay_pairs(a, b, -width, width, capacity)
        times = a[a_index]
        residual = (b[b_index] - times).astype(np.float64)
        start, end = int(a[0]), int(a[-1]) + 1
        pieces = phase.pieces((end - start) / PS)
        length = -(-(end - start) // pieces)
        base_ps = self._model.alice_ps
        for k in range(pieces):
            at, to = start + k * length, min(start + (k + 1) * length, end)
            low, high = np.searchsorted(times, (at, to))
            seconds = (to - at) / PS
            t = (at + (to - at) / 2 - base_ps) / PS
            singles = (
                int(np.searchsorted(a, to) - np.searchsorted(a, at)),
                int(np.searchsorted(b, to) - np.searchsorted(b, at)),
            )
            found = phase.observe(residual[low:high], t, seconds, singles, width)
            if found:
                self._missing_s = max(0.0, self._missing_s - seconds)
            elif found is False:
                self._missing_s += seconds
        self._now_ps = max(self._now_ps, end)
        self.steps = phase.steps
        offset, rate, drift = phase.take(t_end := (end - base_ps) / PS)
        self._model = self._model.at(base_ps + round(t_end * PS)).moved(offset, rate / PS)
        self._model = ClockModel(
            self._model.alice_ps,
            self._model.bob_ps,
            self._model.rate,
            self._model.drift + drift / PS / PS,
        )
        if self.lock is self.first_lock and self.age_s <= _FIRST_DRIFT_S:
            self._first_drift = self._model.drift
        if self._missing_s > p.patience_s:
            self._lose(VANISHED)
        elif phase.offset_sigma_ps > width / 4:
            self._lose(VANISHED if self._missing_s else HOLDOVER)

    def _lose(self, reason: str) -> None:
        self.locked, self.lost_reason = False, reason
