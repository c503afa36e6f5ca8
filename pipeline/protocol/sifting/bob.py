"""Bob announces: times on the agreed grid and nothing else, only for time he has recorded, once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.messages import Announcement, IntervalKind, Paired, Request
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags
from photonlink.pipeline.protocol.sifting.peer_taggers import unpack_bitmap
from photonlink.pipeline.protocol.sifting.shared import Sifting
from photonlink.pipeline.protocol.tentative import Tentative

MAX_PENDING = 64
_TOO_FAR_PS = 600 * 10**12


@dataclass(frozen=True, slots=True)
class AnsweredSlot:
    """A key slot that waits for Alice's pairs: its events are ``first`` to ``first + n - 1``."""

    slot: int
    start_ps: int
    end_ps: int
    first: int
    n: int


class BobSifting(Sifting):
    """Answers requests in order; each moment of his time is announced at most once."""

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
        """Raises ProtocolError for a request that an honest Alice never makes."""
        if not self.both_known:
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
        start = request.start_ps
        end = max(min(request.end_ps, self.buffer.horizon_ps), start)
        body = self.buffer.announce(start, end) if end > start else b""
        if request.kind == IntervalKind.KEY:
            first, n = self.buffer.indices(start, end)
            self._answered.append(AnsweredSlot(request.slot, start, end, first, n))
        elif not self._answered:  # key slots before this one still lack their pairs
            self.tags.discard_before(end)
        self.view.say(Announcement(request.slot, request.kind, end, body))

    def on_paired(self, message: Paired) -> None:
        """Keep the pairs; unpaired events are dropped."""
        if not self._answered or self._answered[0].slot != message.slot:
            raise ProtocolError("malformed_message", f"slot {message.slot} awaits no pairs")
        slot = self._answered.popleft()
        if message.n_events != slot.n:
            raise ProtocolError("malformed_message", "the pairs are of another number of events")
        kept = unpack_bitmap(slot.n, message.bitmap, slot.first)
        self.keep(kept, None, slot.first, slot.n)
        self.tags.discard_before(slot.end_ps)
        self.rule.slot(slot.start_ps, slot.end_ps, self.row.total)
