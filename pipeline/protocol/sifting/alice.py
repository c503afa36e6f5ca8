"""Alice requests intervals of Bob's time after she has recorded the same time herself, and tells
which of his events have a partner. Nothing else about them is sent before their block has closed.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from photonlink.pipeline.native.base import NativeArgumentError, NativeDataError
from photonlink.pipeline.native.quiet import Slot, announced_events, announced_times
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.messages import (
    Acquisition,
    Announcement,
    IntervalKind,
    Paired,
    Request,
)
from photonlink.pipeline.protocol.sifting.clockfinder import Announced, ClockFinder
from photonlink.pipeline.protocol.sifting.figures import CoincidenceFigures
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags
from photonlink.pipeline.protocol.sifting.pair_counts import PairCounts
from photonlink.pipeline.protocol.sifting.peer_taggers import pack_bitmap
from photonlink.pipeline.protocol.sifting.shared import Sifting
from photonlink.pipeline.protocol.tentative import Tentative
from photonlink.pipeline.stages.sift import MAX_BURST, MAX_EVENTS_PER_S
from photonlink.pipeline.stages.window import Interval

NONCE_BYTES = 8
PS = 10**12
LEAST_REACH_PS = 10_000


class AliceSifting(Sifting):
    """Issues requests, at most ``limits.outstanding`` unanswered, and works on the answers."""

    def __init__(self, view: Tentative, tags: OwnTags) -> None:
        super().__init__(view, tags)
        self.clock: ClockFinder | None = None
        self.paused = False  # True while a block is being closed or distilled
        self.figures = CoincidenceFigures()
        self.counts = PairCounts(self.times.quiet_ps)
        self._outstanding: deque[tuple[Request, float]] = deque()
        self._next_slot = 0
        self._next_ps = 0  # in Bob's clock
        self._done_ps = -(1 << 61)  # own events before this are used up

    @property
    def idle(self) -> bool:
        return not self._outstanding

    @property
    def exhausted(self) -> bool:
        """Whether one side's input has ended and all time that both recorded has been paired."""
        if self.clock is None:
            return False
        return self._all_answered if self.clock.locked else self.idle and self.clock.hopeless

    @property
    def _all_answered(self) -> bool:
        """Whether every request is answered and no further one will be made.

        The end of Bob's input alone is not enough: Alice may still have to record time that he
        already has.
        """
        if not self.idle or self._next_interval() is not None:
            return False
        return self.ended or (self.peer_end_ps is not None and self._next_ps >= self.peer_end_ps)

    @property
    def overdue(self) -> bool:
        """Whether Bob has taken longer than the deadline for an answer."""
        if not self._outstanding:
            return False
        return self.view.now_s - self._outstanding[0][1] > self.view.limits.answer_s

    def start(self, alice: Acquisition, bob: Acquisition) -> None:
        self.clock = ClockFinder(self.view, self.tags.times, alice, bob)
        self._next_ps = bob.start_ps
        self._done_ps = alice.start_ps

    # ---- asking ----

    def pump(self) -> None:
        if self.clock is None:
            return
        self._try_clock()
        while len(self._outstanding) < self.view.limits.outstanding and not self.paused:
            interval = self._next_interval()
            if interval is None:
                return
            self._request(*interval)

    def _next_interval(self) -> Interval | None:
        """The next stretch of Bob's time that Alice may ask for, or None."""
        assert self.clock is not None  # noqa: S101 - checked by the callers
        start = self._next_ps
        end = start + round(self.view.parameters.slot_s * PS)
        last = self.clock.recorded_until(self.buffer.horizon_ps, ended=self.ended)
        if self.ended:
            end = min(end, last)
        if self.peer_end_ps is not None:
            end = min(end, self.peer_end_ps)
        return (start, end) if start < end <= last else None

    def _request(self, start_ps: int, end_ps: int) -> None:
        assert self.clock is not None  # noqa: S101 - checked by the caller
        kind = IntervalKind.KEY if self.clock.locked else IntervalKind.ACQUIRE
        request = Request(
            self._next_slot, start_ps, end_ps, int(kind), self.view.randomness(NONCE_BYTES)
        )
        self._next_slot += 1
        self._next_ps = end_ps
        self._outstanding.append((request, self.view.now_s))
        self.view.say(request)

    # ---- working on answers ----

    def on_announcement(self, message: Announcement) -> None:
        if not self._outstanding or self._outstanding[0][0].slot != message.slot:
            raise ProtocolError("malformed_message", f"slot {message.slot} was not asked for")
        request, _ = self._outstanding.popleft()
        early = message.end_ps < request.end_ps
        if (
            message.kind != request.kind
            or not request.start_ps <= message.end_ps <= request.end_ps
            or (early and bool(message.body) and message.end_ps == request.start_ps)
        ):
            raise ProtocolError("malformed_message", "an announcement of something else")
        slot = self.times.slot(request.start_ps, message.end_ps)
        if message.end_ps == request.start_ps:
            self._on_nothing(request)
        else:
            try:
                self._on_slot(request, slot, message.body)
            except (NativeDataError, NativeArgumentError) as error:
                text = "what no station announces for this slot"
                raise ProtocolError("malformed_message", text) from error
        self.pump()

    def _on_nothing(self, request: Request) -> None:
        """Bob's input ended before this slot began."""
        if request.kind == IntervalKind.KEY:
            self.view.say(Paired(request.slot, 0, b""))
            self.rule.slot(request.start_ps, request.start_ps, self.row.total)

    def _on_slot(self, request: Request, slot: Slot, body: bytes) -> None:
        assert self.clock is not None  # noqa: S101 - requests go out only with it
        most = MAX_EVENTS_PER_S * (slot.end_ps - slot.start_ps) / PS + MAX_BURST
        if announced_events(body, slot) > most:
            raise ProtocolError("malformed_message", "no tagger makes so many events")
        if request.kind == IntervalKind.ACQUIRE:
            times = announced_times(body, slot)
            self.clock.collect(Announced(slot.start_ps, slot.end_ps, times))
            self._try_clock()
        else:
            self._on_key(request, slot, body)

    def _on_key(self, request: Request, slot: Slot, body: bytes) -> None:
        """Pair by the clock estimate from earlier slots; this slot changes the estimate for later
        ones only.
        """
        assert self.clock is not None  # noqa: S101 - requests go out only with it
        kept, announced = np.empty(0, np.int64), announced_events(body, slot)
        if self.clock.locked:
            clock, reach = self.clock.slot_clock(slot), self._reach
            found = self.buffer.pairs(body, slot, clock, track_ps=reach[0], bin_bits=reach[1])
            kept = found.announced_index
            end = min(self.clock.to_alice(slot.end_ps), self.buffer.horizon_ps)
            first, n = self.buffer.indices(min(self._done_ps, end), end)
            self.keep(found.own_index, -found.residual_ps, first, n)
            seconds = (slot.end_ps - slot.start_ps) / PS
            window_share = self.times.window_ps / reach[0]
            self.figures.slot(seconds, found, window_share)
            self.counts.slot(seconds, n, found, window_share)
            self.clock.follow(slot, found, track_ps=reach[0], bin_ps=1 << reach[1])
            self._drop_own(end)
        self.view.say(Paired(request.slot, announced, pack_bitmap(announced, kept)))
        self.rule.slot(slot.start_ps, slot.end_ps, self.row.total)
        if self.rule.closed_at is not None:
            self.paused = True

    @property
    def _reach(self) -> tuple[int, int]:
        """The range of residuals that the clock uses, and the bits of a bin's width."""
        window = self.times.window_ps
        return max(3 * window, LEAST_REACH_PS), max(window // 8, 1).bit_length() - 1

    def _try_clock(self) -> None:
        assert self.clock is not None  # noqa: S101 - checked by the callers
        if self.clock.locked or not self.clock.attempt(self.buffer, ended=self._all_answered):
            return
        self._drop_own(min(self.clock.to_alice(self._next_ps), self.buffer.horizon_ps))

    def _drop_own(self, before_ps: int) -> None:
        self._done_ps = max(self._done_ps, before_ps)
        self.tags.discard_before(self._done_ps)

    def void(self, reason: str) -> None:
        super().void(reason)
        self.counts.clear()
        self.paused = False
