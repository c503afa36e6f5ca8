"""Bob's clock in terms of Alice's, found from the photons alone (docs/clock.md).

What follows it afterwards is :mod:`photonlink.pipeline.stages.clock.follower`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.stages.clock.search import (
    PS,
    Candidate,
    ClockModel,
    Refined,
    coarse_search,
    fit_line,
    refine,
)
from photonlink.pipeline.stages.window import Int64s

TOO_FEW_EVENTS = "too_few_events"
NO_CORRELATION = "no_correlation_within"  # and the search's reach: no_correlation_within_0.4_s
AMBIGUOUS = "ambiguous_side_peak"
FREQUENCY = "frequency_beyond"  # the limit follows, as in frequency_beyond_10_ppm
_MAX_SPAN_PS = 8 * PS  # seconds of data; the latest are used
_FAR_PPM = 110.0  # range of the search that only names a frequency
_FAR_REACH_PS = 12e6  # smearing of its line within a segment of the coarse search


HINT_TOLERANCE_S = 0.4
"""Largest difference of two hosts' clocks that are set by NTP."""
_MOST_STAMPED_S = 2.0


def hint_tolerance_s(*uncertainties_s: float) -> float:
    """How far to search when both starts were stamped with these uncertainties, s.

    A tagger whose time zero is known from its first event's arrival is stamped late by a loaded
    host. The search costs time in proportion, so what a stamp may ask for is bounded.
    """
    return HINT_TOLERANCE_S + min(sum(uncertainties_s), _MOST_STAMPED_S)


@dataclass(frozen=True, slots=True)
class ClockParameters:
    """sigma_ps: expected standard deviation of Bob minus Alice (SiftParameters.sigma_ps)."""

    sigma_ps: float
    hint_tolerance_s: float = HINT_TOLERANCE_S
    max_frequency_ppm: float = 10.0
    false_lock_probability: float = 1e-6  # per attempt, by chance
    min_events: int = 500  # per side
    candidates: int = 24  # coarse peaks that are refined
    max_side_peak: float = 0.6  # of the main peak

    @property
    def not_found(self) -> str:
        return f"{NO_CORRELATION}_{self.hint_tolerance_s:.2g}_s"

    @property
    def too_fast(self) -> str:
        return f"{FREQUENCY}_{self.max_frequency_ppm:g}_ppm"


@dataclass(frozen=True, slots=True)
class Lock:
    """Clock found. Offsets are Bob's clock minus Alice's; the fibre delay is in them.

    line: fitted to the last second of the data, referred to their middle; offset_sigma_ps and
    rate_sigma: its uncertainties there.
    """

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
    line: ClockModel
    offset_sigma_ps: float
    rate_sigma: float

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class NoLock:
    """No lock, with one of the module's named reasons. Falsy."""

    reason: str
    significance: float
    second: float
    data_s: float

    def __bool__(self) -> bool:
        return False


class ClockRecovery:
    """Finds Bob's clock relative to Alice's from what was recorded at both ends.

    Pure: no I/O, no wall clock. ``hint_offset_s``: Bob's clock minus Alice's from the host
    stamps of both starts, good to the parameters' tolerance. ``alice_start_ps``: her clock at her
    start; by default the first event that is ever given to :meth:`acquire`.

    Use: :meth:`acquire` with all events of up to about 5 s until it returns a Lock. When the
    follower has lost the lock: :meth:`lost`, then acquire again: near the last known line first,
    then over the whole range.
    """

    def __init__(
        self,
        parameters: ClockParameters,
        *,
        hint_offset_s: float,
        alice_start_ps: int | None = None,
    ) -> None:
        self.parameters = parameters
        self.lock: Lock | None = None  # the latest
        self.first_lock: Lock | None = None
        self._hint_ps = round(hint_offset_s * PS)
        self._origin_ps = alice_start_ps
        self._model: ClockModel | None = None

    # ---- acquisition ----

    def acquire(
        self, alice_times_ps: Int64s, bob_times_ps: Int64s, *, explain: bool = True
    ) -> Lock | NoLock:
        """Search in the events so far (sorted, each in its own clock; 0.5 s to about 5 s).

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
        result: Lock | NoLock = NoLock(p.not_found, 0.0, 0.0, span_s)
        if self._model is not None:  # known before: search near it first
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
            lost = isinstance(result, NoLock) and result.reason == p.not_found
            if lost and explain and self._far_frequency(a, b):
                result = NoLock(p.too_fast, result.significance, result.second, span_s)
        return result

    def _far_frequency(self, a: Int64s, b: Int64s) -> bool:
        """Whether the clicks fit a clock that is wrong by up to _FAR_PPM.

        Uses the last second only, for the one highest line: so its cost is bounded, and links that
        are too weak for that get no explanation.
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
        """Refine the coarse peak or, when that is not significant alone, each of the highest:
        chance makes coarse peaks, but no sharp ones.
        """
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
            return NoLock(self.parameters.not_found, z[0], z[-1], span_s)
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
            return NoLock(p.not_found, z, z_second, span_s)
        if abs(fitted.rate) > 1.05e-6 * p.max_frequency_ppm:
            return NoLock(p.too_fast, z, z_second, span_s)
        ends = fitted.to_alice(b[[0, -1]])
        start, stop = max(int(a[low]), int(ends[0])), min(int(a[-1]), int(ends[1]))
        end = int(a[-1])
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
            line=fitted.at((start + stop) // 2),
            offset_sigma_ps=offset_sigma,
            rate_sigma=rate_sigma,
        )
        self.lock, self._model = lock, lock.line
        self.first_lock = self.first_lock or lock
        return lock

    def lost(self, line: ClockModel) -> None:
        """Record the line at the loss: the next search starts there."""
        self._model = line

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
        """The model of the lock; before the first lock that of the hint."""
        return self._model or self._hinted

    def offset_s(self, alice_time_ps: int) -> float:
        """Bob's clock minus Alice's at a moment of Alice's clock."""
        return self._known().offset_ps(alice_time_ps) / PS

    @property
    def at_start(self) -> tuple[float, float] | None:
        """Bob's clock minus Alice's (s) at Alice's start and how much faster it ran (ppm), by the
        first lock's line; None before it."""
        lock = self.first_lock
        return None if lock is None else (lock.start_offset_s, lock.frequency_ppm)
