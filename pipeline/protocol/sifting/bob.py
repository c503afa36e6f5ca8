"""Bob announces: times on the agreed grid and nothing else, only for time he has recorded, once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.messages import Announcement, IntervalKind, Paired, Request
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags
from photonlink.pipeline.protocol.sifting.peer_taggers import unpack_bitmap
from photonlink.pipeline.protocol.sifting.shared import Sifting, pack_intervals
from photonlink.pipeline.protocol.tentative import Tentative
from photonlink.pipeline.stages.sift import encode_announcement, encode_calibration
from photonlink.pipeline.stages.window import EventWindow

MAX_PENDING = 64
_TOO_FAR_PS = 600 * 10**12


@dataclass(frozen=True, slots=True)
class AnsweredSlot:
    """A key slot that waits for Alice's pairs."""

    request: Request
    window: EventWindow


class BobSifting(Sifting):
    """Answers requests in order; every moment of his time at most once."""

    def __init__(self, view: Tentative, tags: OwnTags) -> None:
        super().__init__(view, tags)
        self._pending: deque[Request] = deque()
        self._answered: deque[AnsweredSlot] = deque()
        self._asked_until_ps = -(1 << 61)
        self._next_slot = 0

    @property
    def idle(self) -> bool:
        return not self._pending and not self._answered

    def on_request(self, message: Request) -> None:
        """Raises ProtocolError for what an honest Alice never asks."""
        if self.sift is None:
            raise ProtocolError("unexpected_message", "a request before both acquisitions")
        longest = self.view.parameters.slot_s * 1e12 + 1
        if (
            message.slot != self._next_slot
            or message.kind not in set(IntervalKind)
            or not 0 < message.end_ps - message.start_ps <= longest
            or message.start_ps < self._asked_until_ps
            or message.end_ps > max(self.buffer.horizon_ps, 0) + _TOO_FAR_PS
            or len(self._pending) + len(self._answered) >= MAX_PENDING
        ):
            raise ProtocolError(
                "malformed_message",
                f"request {message.slot} asks for {message.start_ps}..{message.end_ps}, kind "
                f"{message.kind}, which cannot be asked now",
            )
        self._next_slot += 1
        self._asked_until_ps = message.end_ps
        self._pending.append(message)
        self.pump()

    def pump(self) -> None:
        while self._pending:
            request = self._pending[0]
            if request.end_ps > self.buffer.horizon_ps and not self.ended:
                return
            self._pending.popleft()
            self._answer(request)

    def _answer(self, request: Request) -> None:
        assert self.sift is not None  # noqa: S101 - checked when the request came
        start, end = request.start_ps, request.end_ps
        upto = max(min(end, self.buffer.horizon_ps), start)
        known = start < self.buffer.horizon_ps
        beyond = [(upto, end)] if upto < end else []
        if request.kind == IntervalKind.KEY:
            window = self.buffer.window(start, upto) if known else _empty(start, end)
            body = encode_announcement(window.time_ps, start, self.sift.bin_ps)
            self._answered.append(AnsweredSlot(request, window))
        else:
            spent = self.buffer.labelled(start, upto) if known else None
            window = spent or _empty(start, end)
            detector = spent.detector if spent else np.empty(0, np.uint8)
            body = encode_calibration(window.time_ps, detector, start)
            if not self._answered:  # key slots before this one still wait for their pairs
                self.buffer.discard_before(upto)
        n_lost, lost = pack_intervals([*window.lost, *beyond], start, end)
        self.view.say(Announcement(request.slot, request.kind, n_lost, lost + body))

    def on_paired(self, message: Paired) -> None:
        """Keep the pairs; unpaired events are spent."""
        if not self._answered or self._answered[0].request.slot != message.slot:
            raise ProtocolError("malformed_message", f"slot {message.slot} awaits no pairs")
        answered = self._answered.popleft()
        window, request = answered.window, answered.request
        if message.n_events != len(window):
            raise ProtocolError("malformed_message", "the pairs are of another number of events")
        kept = unpack_bitmap(len(window), message.bitmap)
        bits = self.buffer.take_bits(kept + window.first) if len(kept) else SecretBits(0)
        self.row.append(
            bits, window.basis[kept], self._offsets(window)[kept], len(window), window.multi_clicks
        )
        self.buffer.discard_before(window.end_ps)
        self.rule.slot(request.start_ps, request.end_ps, self.row.total)

    def _offsets(self, window: EventWindow) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Full times minus the centres of the bins that were announced for them."""
        assert self.sift is not None  # noqa: S101 - a slot was answered
        bin_ps = self.sift.bin_ps
        return window.time_ps - (window.time_ps // bin_ps * bin_ps + bin_ps // 2)


def _empty(start_ps: int, end_ps: int) -> EventWindow:
    return EventWindow(start_ps, end_ps, np.empty(0, np.int64), np.empty(0, np.uint8))
