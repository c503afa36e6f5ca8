"""Finds Bob's clock at Alice: collects announced times, tries the hints, follows the clock, notices
its loss.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.native.quiet import COUNTED, AnnouncedPairs, Slot, SlotClock
from photonlink.pipeline.protocol.messages import Acquisition
from photonlink.pipeline.protocol.sifting.figures import alignment_histogram
from photonlink.pipeline.protocol.sifting.peer_taggers import hints_ps, tolerance_s
from photonlink.pipeline.protocol.tentative import Tentative
from photonlink.pipeline.stages.agreed_times import AgreedTimes
from photonlink.pipeline.stages.clock.follower import BEYOND, ClockFollower
from photonlink.pipeline.stages.clock.recovery import (
    FREQUENCY,
    ClockParameters,
    ClockRecovery,
    NoLock,
)
from photonlink.pipeline.stages.quiet import QuietBuffer
from photonlink.pipeline.stages.window import Int64s, Interval

PS = 10**12
_MARGIN_PS = 10**9  # clock error and detector delays never reach this far
_ATTEMPTS_PS = tuple(round(s * PS) for s in (1.0, 2.0, 3.5, 5.0))
_SLIDE_PS = 5 * PS // 2
_EARLIEST_PS = -(1 << 61)
_MAX_COLLECTED = 1 << 23  # events
_MAX_SHOWN = 200_000  # most events in a histogram
_EDGE_PS = 10**6  # distance from the end of the spent events: no event is shown that may still pair


@dataclass(slots=True)
class Announced:
    """One of Bob's acquisition slots; its events never become key."""

    start_ps: int
    end_ps: int
    time_ps: Int64s


@dataclass(slots=True)
class Try:
    """The search from one hint: its stage, and the first slot that it still uses."""

    clock: ClockRecovery
    stage: int = 0
    since_ps: int = -(1 << 62)  # of Bob's time

    def failed(self, first_ps: int) -> None:
        """Wait for more data; after the last stage move on to later data."""
        self.stage += 1
        if self.stage >= len(_ATTEMPTS_PS):
            self.stage = len(_ATTEMPTS_PS) - 1
            self.since_ps = first_ps + _SLIDE_PS


class ClockFinder:
    """Finds, follows within the agreed limits, and finds again. ``locked``: key slots may be
    asked for."""

    def __init__(
        self, view: Tentative, times: AgreedTimes, alice: Acquisition, bob: Acquisition
    ) -> None:
        self._view, self._limits = view, times.limits
        self._window_ps = times.rule.window_ps
        parameters = ClockParameters(
            sigma_ps=times.sigma_ps,
            hint_tolerance_s=tolerance_s(alice, bob),
            max_frequency_ppm=view.parameters.clock_frequency_ppm,
        )
        self._tolerance_ps = round(parameters.hint_tolerance_s * PS)
        self._hints = hints_ps(alice, bob)
        self._tries = [
            Try(ClockRecovery(parameters, hint_offset_s=h / PS, alice_start_ps=0))
            for h in self._hints
        ]
        self._clock: ClockRecovery | None = None  # the hint that found it
        self._follower: ClockFollower | None = None  # since the lock
        self._data: deque[Announced] = deque()
        self.hopeless = False  # the data have ended without a lock

    # ---- the present relation of the clocks ----

    @property
    def locked(self) -> bool:
        return self._follower is not None and self._follower.locked

    @property
    def recovery(self) -> ClockRecovery:
        """The recovery that has locked, else that of the first hint."""
        return self._clock or self._tries[0].clock

    def to_alice(self, bob_ps: int) -> int:
        """Bob's time in Alice's clock: by the clock that is followed, before the first lock by the
        hint.
        """
        line = self._follower or self.recovery
        return int(line.to_alice(np.array([bob_ps], np.int64))[0])

    def slot_clock(self, slot: Slot) -> SlotClock:
        """A slot's interval in Alice's clock, by the estimate from earlier slots."""
        assert self._follower is not None  # noqa: S101 - it is locked
        return self._follower.clock(slot.start_ps)

    def recorded_until(self, horizon_ps: int, *, ended: bool) -> int:
        """Bob's time up to which Alice has recorded all that could pair.

        Unlocked: by the most generous hint (these data give no key). At the end of her input the
        uncertainty is included.
        """
        line = self._follower.line if self._follower is not None else None
        if line is not None and self.locked:
            return line.to_bob(horizon_ps - (0 if ended else _MARGIN_PS))
        hints = self._hints if line is None else (line.to_bob(horizon_ps) - horizon_ps,)
        return horizon_ps + max(hints) + (self._tolerance_ps if ended else -self._tolerance_ps)

    # ---- finding ----

    def collect(self, announced: Announced) -> None:
        """Keep an announced slot. Memory is bounded, whatever a peer announces: the oldest slot is
        dropped first.
        """
        self._data.append(announced)
        while sum(len(d.time_ps) for d in self._data) > _MAX_COLLECTED and len(self._data) > 1:
            self._data.popleft()

    def attempt(self, buffer: QuietBuffer, *, ended: bool) -> bool:
        """Try to lock when there is enough new data. True: locked just now.

        ``ended``: no more data will come; all hints get one last try.
        """
        if self.hopeless:
            return False
        told: list[str] = []
        for one in self._tries:
            slots = self._covered(one, buffer.horizon_ps, ended=ended)
            span = slots[-1].end_ps - slots[0].start_ps if slots else 0
            if not ended and span < _ATTEMPTS_PS[one.stage]:
                continue
            tell = ended or one.stage == len(_ATTEMPTS_PS) - 1
            failed = self._acquire(one.clock, buffer, slots, explain=tell)
            if failed is None:
                self._data.clear()
                self._tries = [Try(one.clock)]
                return True
            one.failed(slots[0].start_ps if slots else 0)
            if tell:
                told.append(failed)
        if told:
            reason = next((r for r in told if r.startswith(FREQUENCY)), told[-1])
            text = f"Bob's clock was not found: {reason}"
            self._view.raise_alarm("clock_not_found", text)
        self.hopeless = ended
        self._forget(buffer)
        return False

    def _covered(self, one: Try, horizon_ps: int, *, ended: bool) -> list[Announced]:
        """The slots whose possible partners Alice has all recorded, by this hint."""
        slots = [d for d in self._data if d.start_ps >= one.since_ps]
        if ended:
            return slots
        return [d for d in slots if self._own_interval(one.clock, [d])[1] <= horizon_ps]

    def _own_interval(self, clock: ClockRecovery, slots: Sequence[Announced]) -> Interval:
        """Alice's time that may hold partners of these slots."""
        low, high = clock.to_alice(np.array([slots[0].start_ps, slots[-1].end_ps], np.int64))
        return int(low) - self._tolerance_ps, int(high) + self._tolerance_ps

    def _acquire(
        self,
        clock: ClockRecovery,
        buffer: QuietBuffer,
        slots: Sequence[Announced],
        *,
        explain: bool,
    ) -> str | None:
        """None: locked. Otherwise the reason why not."""
        low, high = self._own_interval(clock, slots) if slots else (0, 0)
        high = min(high, buffer.horizon_ps)
        if high <= low:
            return "no_common_time"
        own_ps = buffer.times_ps(*buffer.indices(max(low, _EARLIEST_PS), high))
        bob_ps = np.concatenate([d.time_ps for d in slots])
        result = clock.acquire(own_ps, bob_ps, explain=explain)
        if isinstance(result, NoLock):
            return result.reason
        spent_ps = bob_ps[bob_ps < slots[-1].end_ps - _EDGE_PS][-_MAX_SHOWN:]
        self._view.histogram = alignment_histogram(
            own_ps, clock.to_alice(spent_ps), self._window_ps
        )
        self._clock = clock
        self._follower = ClockFollower.from_lock(self._limits, result)
        for code in ("clock_not_found", "clock_lost", "clock_drift"):
            self._view.clear_alarm(code)
        return None

    def _forget(self, buffer: QuietBuffer) -> None:
        """Drop slots that no hint will use again, and Alice's events that could pair with them."""
        since = min(one.since_ps for one in self._tries)
        while self._data and self._data[0].start_ps < since:
            self._data.popleft()
        if self._data:
            lowest = min(self._own_interval(one.clock, self._data)[0] for one in self._tries)
            buffer.discard_before(min(lowest, buffer.horizon_ps))

    # ---- following ----

    def follow(self, slot: Slot, found: AnnouncedPairs, *, track_ps: int, bin_ps: int) -> None:
        """Update the clock for later slots; may lose the lock, which raises one alarm."""
        follower = self._follower
        assert follower is not None  # noqa: S101 - it was locked
        share = min(1.0, COUNTED / max(found.announced, 1))  # the slot of the last count
        end_ps = slot.start_ps + round(share * (slot.end_ps - slot.start_ps))
        follower.learn(slot.start_ps, end_ps, found.histogram, track_ps=track_ps, bin_ps=bin_ps)
        if follower.lost_reason is None:
            return
        self._data.clear()
        self.recovery.lost(follower.line)
        if follower.lost_reason.startswith(BEYOND):
            self._view.raise_alarm("clock_drift", follower.lost_reason)
        text = f"lock on Bob's clock lost: {follower.lost_reason}"
        self._view.raise_alarm("clock_lost", text)

    def show(self, at_ps: int) -> dict[str, float | bool | None]:
        """Public figures for displays, under the names of LinkState."""
        follower = self._follower
        if follower is None:
            return {"clock_locked": False}
        line = follower.line
        return {
            "clock_locked": follower.locked,
            "clock_offset_s": line.offset_ps(at_ps) / PS,
            "clock_frequency_ppm": 1e6 * line.rate,
            "clock_drift_ppb_per_s": follower.drift_ppb_per_s,
            "clock_lock_age_s": follower.age_s if follower.locked else 0.0,
        }
