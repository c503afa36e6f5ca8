"""Alice pulls: she asks for Bob's time only after she has recorded hers, matches, and tells
which of his events have a partner in the same basis."""

from __future__ import annotations

from collections import deque

import numpy as np

from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.protocol.messages import (
    Acquisition,
    Announcement,
    DelaysInForce,
    IntervalKind,
    Request,
    SetDelays,
    Sifted,
)
from photonlink.pipeline.protocol.sifting.clockfinder import Announced, ClockFinder
from photonlink.pipeline.protocol.sifting.figures import CoincidenceFigures
from photonlink.pipeline.protocol.sifting.peer_taggers import pack_bitmap
from photonlink.pipeline.protocol.sifting.shared import Sifting, unpack_intervals
from photonlink.pipeline.stages.delays import INFORMATION_LIMIT_BITS, DelayEstimator, Delays
from photonlink.pipeline.stages.sift import (
    AnnouncementError,
    Matches,
    decode_announcement,
    decode_calibration,
    match,
)
from photonlink.pipeline.stages.window import (
    LETTERS,
    EventWindow,
    Int64s,
    Interval,
    LabelledWindow,
    Uint8s,
)

NONCE_BYTES = 8
SLOTS_PER_ESTIMATE = 20  # calibration slots between two estimates of the delays
RECORDED_MARGIN_PS = 10**9  # delays and clock error never reach this far
PS = 10**12


class AliceSifting(Sifting):
    """Issues requests, at most ``limits.outstanding`` unanswered, and works on the answers."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.clock: ClockFinder | None = None
        self.paused = False  # a block is being closed or distilled
        self.figures = CoincidenceFigures()
        self._outstanding: deque[Request] = deque()
        self._next_slot = 0
        self._next_ps = 0  # in Bob's clock
        self._equalising = False  # delays were sent, Bob has not applied them yet
        self._sent_delays_s = 0.0
        self._delay_shift_ps = 0.0
        self._delays: Delays | None = None  # estimated, to be applied once no slot is open
        self._estimators: tuple[DelayEstimator, ...] = ()  # full times, times on the grid
        self._estimated_slots = 0
        self._done_ps = -(1 << 61)  # own events before this are used up

    @property
    def idle(self) -> bool:
        return not self._outstanding

    @property
    def exhausted(self) -> bool:
        """One side has ended and everything that both recorded has been sifted."""
        if self.clock is None or self._equalising or self._delays is not None:
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
        """Bob owes the answer to SetDelays, which he can give at once."""
        waited = self.ctx.now_s - self._sent_delays_s
        return self._equalising and waited > self.ctx.limits.phase_s

    @property
    def _waiting(self) -> bool:
        return self.paused or self._equalising or self._delays is not None

    def start(self, alice: Acquisition, bob: Acquisition) -> None:
        assert self.sift is not None  # noqa: S101 - set by the caller
        self.clock = ClockFinder(self.ctx, self.sift, alice, bob)
        sigma, window = self.sift.sigma_ps, self.sift.window_ps
        fine, announced = (DelayEstimator(sigma_ps=sigma, window_ps=window) for _ in range(2))
        self._estimators = (fine, announced)
        self._estimated_slots = 0
        self._next_ps = bob.start_ps
        self._done_ps = alice.start_ps

    # ---- asking ----

    def pump(self) -> None:
        if self.clock is None or not self.running:
            return
        self._try_clock()
        if self._delays is not None and self.idle and not self._equalising:
            self._equalise()
        while len(self._outstanding) < self.ctx.limits.outstanding and not self._waiting:
            interval = self._next_interval()
            if interval is None:
                return
            self._request(*interval)

    def _next_interval(self) -> Interval | None:
        """The next stretch of Bob's time that Alice may ask for, or None."""
        assert self.clock is not None  # noqa: S101 - checked by the callers
        start = self._next_ps
        end = start + round(self.ctx.parameters.slot_s * PS)
        last = self.clock.recorded_until(self.buffer.horizon_ps, ended=self.ended)
        if self.ended:
            end = min(end, last)
        if self.peer_end_ps is not None:
            end = min(end, self.peer_end_ps)
        return (start, end) if start < end <= last else None

    def _request(self, start_ps: int, end_ps: int) -> None:
        assert self.clock is not None  # noqa: S101 - checked by the caller
        kind = IntervalKind.ACQUIRE
        if self.clock.locked:
            drawn = int.from_bytes(self.ctx.randomness(4), "big") / 2**32
            calibrate = drawn < self.ctx.parameters.calibrate_fraction
            kind = IntervalKind.CALIBRATE if calibrate else IntervalKind.KEY
        request = Request(
            self._next_slot, start_ps, end_ps, int(kind), self.ctx.randomness(NONCE_BYTES)
        )
        self._next_slot += 1
        self._next_ps = end_ps
        self._outstanding.append(request)
        self.ctx.send(request)

    # ---- working on answers ----

    def on_announcement(self, message: Announcement) -> None:
        if not self._outstanding or self._outstanding[0].slot != message.slot:
            raise ProtocolError("malformed_message", f"slot {message.slot} was not asked for")
        request = self._outstanding.popleft()
        if message.kind != request.kind:
            raise ProtocolError("malformed_message", "an announcement of another kind")
        lost, body = unpack_intervals(message.n_lost, message.body)
        try:
            if request.kind == IntervalKind.KEY:
                self._on_key(request, lost, body)
            else:
                self._on_labels(request, lost, body)
        except AnnouncementError as error:
            raise ProtocolError("malformed_message", error.what) from error
        self.pump()

    def _on_key(self, request: Request, lost: tuple[Interval, ...], body: bytes) -> None:
        assert self.sift is not None  # noqa: S101 - set when the clock was
        assert self.clock is not None  # noqa: S101 - requests go out only with it
        start, end = request.start_ps, request.end_ps
        times, basis = decode_announcement(body, start, end, self.sift.bin_ps)
        window = self._own_window(start, end)
        self.clock.track(window.time_ps, times)
        kept = np.empty(0, np.int64)
        bits, bases = SecretBits(0), np.empty(0, np.uint8)
        if self.clock.locked:
            found = self._match(window, times, basis, lost)
            kept = found.bob_index[found.same_basis]
            own = found.alice_index[found.same_basis]
            bases = basis[kept]
            if len(own):
                bits = self.buffer.take_bits(own)
            self.figures.slot((end - start) / PS, found)
        self.row.append(bits, bases, len(window), window.multi_clicks)
        self._drop_own(window.end_ps)
        self.ctx.send(Sifted(request.slot, len(times), pack_bitmap(len(times), kept)))
        self.rule.slot(start, end, self.row.total)
        if self.rule.closed_at is not None:
            self.paused = True

    def _match(
        self, window: EventWindow, times: Int64s, basis: Uint8s, lost: tuple[Interval, ...]
    ) -> Matches:
        assert self.sift is not None  # noqa: S101 - set when the clock was
        assert self.clock is not None  # noqa: S101 - requests go out only with it
        edges = self.clock.all_to_alice(np.array(lost, np.int64).reshape(-1)).reshape(-1, 2)
        lost_here = tuple((int(low), int(high)) for low, high in edges)
        return match(
            window,
            self.clock.all_to_alice(times),
            basis,
            self.sift.window_ps,
            bob_lost=lost_here,
        )

    def _on_labels(self, request: Request, lost: tuple[Interval, ...], body: bytes) -> None:
        """Times with detectors: for the clock before lock, for delays and figures after."""
        assert self.clock is not None  # noqa: S101 - requests go out only with it
        start, end = request.start_ps, request.end_ps
        times, detector = decode_calibration(body, start, end)
        if request.kind == IntervalKind.ACQUIRE:
            self.clock.collect(Announced(start, end, times, detector))
            self._try_clock()
            return
        low, high = self._own_interval(start, end)
        window = self.buffer.labelled(low, high)
        self.clock.track(window.time_ps, times)
        if self.clock.locked:
            found = self._match(window, times, (detector >> 1).astype(np.uint8), lost)
            self.figures.calibration(found, window, detector)
            self._watch_delays(window, times, detector)
        self._drop_own(high)

    def _watch_delays(self, window: LabelledWindow, times: Int64s, detector: Uint8s) -> None:
        """Re-estimate the detectors' delays from every so many calibration slots."""
        assert self.clock is not None  # noqa: S101 - calibration slots go out only with it
        assert self.sift is not None  # noqa: S101 - set when the clock was
        fine, announced = self._estimators
        fine.add(window, self.clock.all_to_alice(times), detector)
        bin_ps = self.sift.bin_ps
        on_grid = times // bin_ps * bin_ps + bin_ps // 2
        announced.add(window, self.clock.all_to_alice(on_grid), detector)
        self._estimated_slots += 1
        if self._estimated_slots < SLOTS_PER_ESTIMATE:
            return
        channels = announced.side_channel()
        worst = max(c.information_bits for c in channels)
        if worst > INFORMATION_LIMIT_BITS and min(c.p_value for c in channels) < 1e-3:
            text = f"Bob's announced times tell {worst:.4f} bit about each of his outcomes"
            self.ctx.raise_alarm("timing_side_channel", text)
        else:
            self.ctx.clear_alarm("timing_side_channel")
        self._delays = fine.solve()
        fine.clear()
        announced.clear()
        self._estimated_slots = 0

    def _try_clock(self) -> None:
        assert self.clock is not None  # noqa: S101 - checked by the callers
        if self.clock.locked or not self.clock.attempt(self.buffer, ended=self._all_answered):
            return
        self._delays = self.clock.equalise(self.buffer)
        self._drop_own(min(self.clock.to_alice(self._next_ps), self.buffer.horizon_ps))

    # ---- detector delays ----

    def _equalise(self) -> None:
        """Both sides subtract their detectors' delays, from the next tag on; key slots wait.

        Equal arrival times keep the announced times from telling the detectors apart. Done only
        while no slot is open, so that no slot mixes old and new delays.
        """
        assert self.sift is not None  # noqa: S101 - set when the clock was
        delays, self._delays = self._delays, None
        if delays is None:
            return
        threshold = max(5 * delays.sigma_ps, self.sift.sigma_ps / 10, 20)
        own = [round(delays.alice_ps[c]) for c in LETTERS]
        bob = [round(delays.bob_ps[c]) for c in LETTERS]
        if max(abs(d) for d in (*own, *bob)) < threshold:
            return
        now = self.buffer.delay_ps
        self.buffer.set_delays({c: now[c] + d for c, d in zip(LETTERS, own, strict=True)})
        self._delay_shift_ps = delays.common_ps
        self._equalising, self._sent_delays_s = True, self.ctx.now_s
        self.ctx.send(SetDelays(*bob))

    def on_delays_in_force(self, message: DelaysInForce) -> None:
        """Bob has applied his: go on after the time from which both are in force."""
        if not self._equalising or self.clock is None:
            raise ProtocolError("unexpected_message", "no delays were sent")
        self._equalising = False
        self.clock.recovery.shift(self._delay_shift_ps)
        own_from = self.clock.recovery.to_bob(self.buffer.horizon_ps + RECORDED_MARGIN_PS)
        self._next_ps = max(self._next_ps, message.from_ps, own_from)
        self._drop_own(min(self.clock.to_alice(self._next_ps), self.buffer.horizon_ps))
        self.pump()

    def _own_interval(self, start_ps: int, end_ps: int) -> Interval:
        """Bob's slot in Alice's clock, without what an earlier slot has used."""
        assert self.clock is not None  # noqa: S101 - requests go out only with it
        horizon = self.buffer.horizon_ps
        low = max(self.clock.to_alice(start_ps), self._done_ps)
        high = max(min(self.clock.to_alice(end_ps), horizon), low)
        return min(low, horizon), min(high, horizon)

    def _own_window(self, start_ps: int, end_ps: int) -> EventWindow:
        return self.buffer.window(*self._own_interval(start_ps, end_ps))

    def _drop_own(self, before_ps: int) -> None:
        self._done_ps = max(self._done_ps, before_ps)
        self.buffer.discard_before(self._done_ps)

    def reset(self) -> None:
        super().reset()
        self.clock = None
        self.paused = self._equalising = False
        self._delays = None
        self.figures = CoincidenceFigures()
        self._outstanding.clear()
        self._next_slot = 0
