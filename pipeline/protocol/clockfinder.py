"""Alice's way to Bob's clock: collect announced times, try the hints, track, notice the loss."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.protocol.acquisition import HINT_TOLERANCE_S, hints_ps
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.protocol.messages import Acquisition
from photonlink.pipeline.stages.clock import ClockParameters, ClockRecovery, NoLock
from photonlink.pipeline.stages.delays import DelayEstimator, Delays
from photonlink.pipeline.stages.events import EventBuffer
from photonlink.pipeline.stages.sift import SiftParameters
from photonlink.pipeline.stages.window import Int64s, Interval, Uint8s
from photonlink.pipeline.status.model import Severity

PS = 10**12
_TOLERANCE_PS = round(HINT_TOLERANCE_S * PS)
_MARGIN_PS = 10**9  # clock error and detector delays never reach this far
_ATTEMPTS_PS = tuple(round(s * PS) for s in (1.0, 2.0, 3.5, 5.0))
_SLIDE_PS = 5 * PS // 2


@dataclass(slots=True)
class Announced:
    """One acquisition slot of Bob's: calibration data, never key."""

    start_ps: int
    end_ps: int
    time_ps: Int64s
    detector: Uint8s


class ClockFinder:
    """Finds, tracks and finds again. ``locked``: key slots may be asked for."""

    def __init__(
        self, ctx: Context, sift: SiftParameters, alice: Acquisition, bob: Acquisition
    ) -> None:
        self._ctx, self._sift = ctx, sift
        parameters = ClockParameters(sigma_ps=sift.sigma_ps)
        self._hints = hints_ps(alice, bob)
        self._all = [ClockRecovery(parameters, hint_offset_s=h / PS) for h in self._hints]
        self._clock: ClockRecovery | None = None
        self._data: deque[Announced] = deque()
        self._next_attempt = 0
        self._tried_ps = 0  # span of data at the last attempt
        self.hopeless = False  # the data have ended without a lock
        self.reason = ""

    # ---- the present line ----

    @property
    def locked(self) -> bool:
        return self._clock is not None and self._clock.locked

    @property
    def recovery(self) -> ClockRecovery:
        """The recovery that has locked, else that of the first hint."""
        return self._clock or self._all[0]

    def all_to_alice(self, bob_ps: Int64s) -> Int64s:
        return self.recovery.to_alice(bob_ps)

    def to_alice(self, bob_ps: int) -> int:
        return int(self.all_to_alice(np.array([bob_ps], np.int64))[0])

    def recorded_until(self, horizon_ps: int, *, ended: bool) -> int:
        """Bob's time up to which Alice has recorded all that could pair.

        Unlocked: by the hint that allows most (calibration data give no key). At the end of
        her input also what lies within the uncertainty.
        """
        if self.locked:
            return self.recovery.to_bob(horizon_ps - (0 if ended else _MARGIN_PS))
        hints = (
            self._hints if self._clock is None else (self.recovery.to_bob(horizon_ps) - horizon_ps,)
        )
        return horizon_ps + max(hints) + (_TOLERANCE_PS if ended else -_TOLERANCE_PS)

    # ---- finding ----

    def collect(self, announced: Announced) -> None:
        self._data.append(announced)

    @property
    def _span_ps(self) -> int:
        return self._data[-1].end_ps - self._data[0].start_ps if self._data else 0

    def attempt(self, buffer: EventBuffer, *, ended: bool) -> bool:
        """Try to lock when there is enough new data. True: locked just now."""
        due = self._span_ps >= _ATTEMPTS_PS[min(self._next_attempt, len(_ATTEMPTS_PS) - 1)]
        last = ended and not self.hopeless
        if not due and not last:
            return False
        waiting = False
        for clock in self._all if self._clock is None else [self._clock]:
            interval = self._own_interval(clock, buffer)
            if interval[1] > buffer.horizon_ps and not ended:
                waiting = True
                continue
            if self._acquire(clock, buffer, interval):
                return True
        if waiting:
            return False
        self._failed(ended=ended, buffer=buffer)
        return False

    def _own_interval(self, clock: ClockRecovery, buffer: EventBuffer) -> Interval:
        """Alice's time that may hold partners of the collected slots."""
        if not self._data:
            return 0, 0
        offset = clock.to_bob(self._data[-1].end_ps) - self._data[-1].end_ps
        offset = clock.to_bob(self._data[-1].end_ps - offset) - (self._data[-1].end_ps - offset)
        return (
            self._data[0].start_ps - offset - _TOLERANCE_PS,
            self._data[-1].end_ps - offset + _TOLERANCE_PS,
        )

    def _acquire(self, clock: ClockRecovery, buffer: EventBuffer, interval: Interval) -> bool:
        low, high = interval[0], min(interval[1], buffer.horizon_ps)
        if not self._data or high <= low:
            self.reason = self.reason or "no_common_time"
            return False
        own = buffer.window(low, high)
        result = clock.acquire(own.time_ps, np.concatenate([d.time_ps for d in self._data]))
        if isinstance(result, NoLock):
            self.reason = result.reason
            return False
        self._clock = clock
        self._next_attempt = 0
        self._ctx.clear_alarm("clock_not_found")
        self._ctx.clear_alarm("clock_lost")
        return True

    def _failed(self, *, ended: bool, buffer: EventBuffer) -> None:
        self._next_attempt += 1
        if ended:
            self.hopeless = True
        if ended or self._span_ps >= _ATTEMPTS_PS[-1]:
            self._ctx.raise_alarm(
                "clock_not_found", f"Bob's clock was not found: {self.reason}", Severity.MAJOR
            )
        while (
            self._span_ps > _ATTEMPTS_PS[-1] - _SLIDE_PS
            and len(self._data) > 1
            and (self._next_attempt >= len(_ATTEMPTS_PS))
        ):
            self._data.popleft()
        if self._data and not ended:
            lowest = min(self._own_interval(clock, buffer)[0] for clock in self._all)
            buffer.discard_before(min(lowest, buffer.horizon_ps))

    def equalise(self, buffer: EventBuffer) -> Delays | None:
        """Delays of all eight detectors from the data that gave the lock; spends them."""
        if not self._data:
            return None
        estimator = DelayEstimator(sigma_ps=self._sift.sigma_ps, window_ps=self._sift.window_ps)
        low = min(self.to_alice(self._data[0].start_ps), buffer.horizon_ps)
        high = min(self.to_alice(self._data[-1].end_ps), buffer.horizon_ps)
        own = buffer.labelled(max(low, high - 5 * PS), high)
        estimator.add(
            own,
            self.all_to_alice(np.concatenate([d.time_ps for d in self._data])),
            np.concatenate([d.detector for d in self._data]),
        )
        self._data.clear()
        return estimator.solve()

    # ---- following ----

    def track(self, alice_ps: Int64s, bob_ps: Int64s) -> None:
        """Follow one slot; may lose the lock, which is said once."""
        clock = self.recovery
        clock.track(alice_ps, bob_ps)
        if not clock.locked:
            self._data.clear()
            self._next_attempt = 0
            self._ctx.raise_alarm(
                "clock_lost", f"lock on Bob's clock lost: {clock.lost_reason}", Severity.MAJOR
            )
        if clock.drift_alarm:
            self._ctx.raise_alarm(
                "clock_drift",
                f"Bob's clock drifts by {clock.drift_ppb_per_s:.1f} ppb/s: no such oscillator",
            )

    def show(self, at_ps: int) -> dict[str, float | bool | None]:
        """Public figures for displays, by the names of LinkState."""
        clock = self.recovery
        if clock.lock is None:
            return {"clock_locked": False}
        return {
            "clock_locked": clock.locked,
            "clock_offset_s": clock.offset_s(at_ps),
            "clock_frequency_ppm": clock.frequency_ppm,
            "clock_drift_ppb_per_s": clock.drift_ppb_per_s,
            "clock_lock_age_s": clock.age_s,
        }
