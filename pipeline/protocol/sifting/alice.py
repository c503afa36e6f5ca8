"""Alice pulls: she asks for Bob's time only after she has recorded hers, and tells which of his
events have a partner. Nothing else is said of them before their block has closed."""

from __future__ import annotations

from collections import deque

import numpy as np

from photonlink.pipeline.native.secret import SecretBits
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
from photonlink.pipeline.protocol.sifting.peer_taggers import pack_bitmap
from photonlink.pipeline.protocol.sifting.shared import Sifting, unpack_intervals
from photonlink.pipeline.protocol.tentative import Tentative
from photonlink.pipeline.stages.sift import (
    AnnouncementError,
    Matches,
    decode_announcement,
    decode_calibration,
    match,
)
from photonlink.pipeline.stages.window import EventWindow, Int64s, Interval

NONCE_BYTES = 8
PS = 10**12


class AliceSifting(Sifting):
    """Issues requests, at most ``limits.outstanding`` unanswered, and works on the answers."""

    def __init__(self, view: Tentative, tags: OwnTags) -> None:
        super().__init__(view, tags)
        self.clock: ClockFinder | None = None
        self.paused = False  # a block is being closed or distilled
        self.figures = CoincidenceFigures()
        self._outstanding: deque[tuple[Request, float]] = deque()
        self._next_slot = 0
        self._next_ps = 0  # in Bob's clock
        self._done_ps = -(1 << 61)  # own events before this are used up

    @property
    def idle(self) -> bool:
        return not self._outstanding

    @property
    def exhausted(self) -> bool:
        """One side has ended and everything that both recorded has been paired."""
        if self.clock is None:
            return False
        return self._all_answered if self.clock.locked else self.idle and self.clock.hopeless

    @property
    def _all_answered(self) -> bool:
        """Nothing is left to ask for, and never will be.

        Bob's end alone is not enough: Alice may still have to record time that he already has.
        """
        if not self.idle or self._next_interval() is not None:
            return False
        return self.ended or (self.peer_end_ps is not None and self._next_ps >= self.peer_end_ps)

    @property
    def overdue(self) -> bool:
        """Bob owes an answer to a request longer than the deadline."""
        if not self._outstanding:
            return False
        return self.view.now_s - self._outstanding[0][1] > self.view.limits.answer_s

    def start(self, alice: Acquisition, bob: Acquisition) -> None:
        assert self.sift is not None  # noqa: S101 - set by the caller
        self.clock = ClockFinder(self.view, self.sift, alice, bob)
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
        if message.kind != request.kind:
            raise ProtocolError("malformed_message", "an announcement of another kind")
        lost, body = unpack_intervals(message.n_lost, message.body)
        try:
            if request.kind == IntervalKind.KEY:
                self._on_key(request, lost, body)
            else:
                self._on_acquire(request, body)
        except AnnouncementError as error:
            raise ProtocolError("malformed_message", error.what) from error
        self.pump()

    def _on_key(self, request: Request, lost: tuple[Interval, ...], body: bytes) -> None:
        assert self.sift is not None  # noqa: S101 - set when the clock was
        assert self.clock is not None  # noqa: S101 - requests go out only with it
        start, end = request.start_ps, request.end_ps
        times = decode_announcement(body, start, end, self.sift.bin_ps)
        window = self._own_window(start, end)
        self.clock.track(window.time_ps, times)
        kept = np.empty(0, np.int64)
        if self.clock.locked:
            found = self._match(window, times, lost)
            kept = found.bob_index
            own = found.alice_index
            bits = self.buffer.take_bits(own) if len(own) else SecretBits(0)
            self.row.append(
                bits,
                window.basis[own - window.first],
                -found.residual_ps,
                len(window),
                window.multi_clicks,
            )
            self.figures.slot((end - start) / PS, found)
        self._drop_own(window.end_ps)
        self.view.say(Paired(request.slot, len(times), pack_bitmap(len(times), kept)))
        self.rule.slot(start, end, self.row.total)
        if self.rule.closed_at is not None:
            self.paused = True

    def _match(self, window: EventWindow, times: Int64s, lost: tuple[Interval, ...]) -> Matches:
        assert self.sift is not None  # noqa: S101 - set when the clock was
        assert self.clock is not None  # noqa: S101 - requests go out only with it
        edges = self.clock.all_to_alice(np.array(lost, np.int64).reshape(-1)).reshape(-1, 2)
        lost_here = tuple((int(low), int(high)) for low, high in edges)
        return match(
            window, self.clock.all_to_alice(times), self.sift.window_ps, bob_lost=lost_here
        )

    def _on_acquire(self, request: Request, body: bytes) -> None:
        """Full times, of events that are spent: for the first lock of the clock only."""
        assert self.clock is not None  # noqa: S101 - requests go out only with it
        start, end = request.start_ps, request.end_ps
        times, _ = decode_calibration(body, start, end)
        self.clock.collect(Announced(start, end, times))
        self._try_clock()

    def _try_clock(self) -> None:
        assert self.clock is not None  # noqa: S101 - checked by the callers
        if self.clock.locked or not self.clock.attempt(self.buffer, ended=self._all_answered):
            return
        self._drop_own(min(self.clock.to_alice(self._next_ps), self.buffer.horizon_ps))

    def _own_window(self, start_ps: int, end_ps: int) -> EventWindow:
        """Bob's slot in Alice's clock, without what an earlier slot has used."""
        assert self.clock is not None  # noqa: S101 - requests go out only with it
        horizon = self.buffer.horizon_ps
        low = max(self.clock.to_alice(start_ps), self._done_ps)
        high = max(min(self.clock.to_alice(end_ps), horizon), low)
        return self.buffer.window(min(low, horizon), min(high, horizon))

    def _drop_own(self, before_ps: int) -> None:
        self._done_ps = max(self._done_ps, before_ps)
        self.buffer.discard_before(self._done_ps)

    def void(self) -> None:
        super().void()
        self.paused = False
