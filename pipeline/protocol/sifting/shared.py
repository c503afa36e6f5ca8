"""What Alice's and Bob's sifting share: own tags, both acquisitions, the row of pairs.

One object per connection: what the peer says in it is dropped with it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.messages import Acquisition
from photonlink.pipeline.protocol.sifting.blockrule import BlockRule
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags
from photonlink.pipeline.protocol.sifting.pair_row import PairRow
from photonlink.pipeline.protocol.sifting.peer_taggers import announce, sift_parameters
from photonlink.pipeline.protocol.tentative import Tentative
from photonlink.pipeline.stages.events import EventBuffer
from photonlink.pipeline.stages.sift import SiftParameters
from photonlink.pipeline.stages.window import Interval, merge_intervals

MAX_LOST_INTERVALS = 1_000  # in one announcement; more are sent as their hull
_PAIR = struct.Struct("<qq")


class Sifting:
    """Base of both roles."""

    def __init__(self, view: Tentative, tags: OwnTags) -> None:
        self.view, self.tags = view, tags
        self.row = PairRow()
        self.rule = BlockRule(view.parameters)
        self.own: Acquisition | None = None
        self.peer: Acquisition | None = None
        self.sift: SiftParameters | None = None
        self.peer_end_ps: int | None = None

    @property
    def buffer(self) -> EventBuffer:
        return self.tags.buffer

    @property
    def ended(self) -> bool:
        return self.tags.ended

    def maybe_announce(self) -> None:
        """Tell the peer about the acquisition once there is one."""
        start_ps = self.tags.from_ps
        if self.own is None and self.tags.started is not None and start_ps is not None:
            self.own = announce(self.tags.started, start_ps, self.tags.provenance)
            self.view.say(self.own)
            self._both_known()

    def on_acquisition(self, message: Acquisition) -> None:
        self.peer = message
        self._both_known()

    def _both_known(self) -> None:
        if self.own is not None and self.peer is not None:
            pair = (self.own, self.peer) if self.view.is_alice else (self.peer, self.own)
            self.sift = sift_parameters(self.view.parameters, *pair)
            self.start(*pair)

    def start(self, alice: Acquisition, bob: Acquisition) -> None:
        """Both acquisitions are known."""

    def pump(self) -> None:
        """Ask or answer as far as the recorded time allows."""

    def void(self) -> None:
        """A check failed: what was paired since the last good verdict is worth nothing."""
        self.row.clear()
        self.rule.reset()

    def close(self) -> None:
        """The connection is gone: what was announced in it must never be announced again."""
        self.row.clear()
        self.tags.forget()


def pack_intervals(intervals: Sequence[Interval], start_ps: int, end_ps: int) -> tuple[int, bytes]:
    """Lost intervals cut to a neighbourhood of the slot: number and bytes."""
    margin = 10**9
    cut = merge_intervals(
        (max(low, start_ps - margin), min(high, end_ps + margin)) for low, high in intervals
    )
    if len(cut) > MAX_LOST_INTERVALS:
        cut = ((cut[0][0], cut[-1][1]),)
    return len(cut), b"".join(_PAIR.pack(*pair) for pair in cut)


def unpack_intervals(n: int, body: bytes) -> tuple[tuple[Interval, ...], bytes]:
    """Intervals and what follows them. Raises ProtocolError."""
    if n > MAX_LOST_INTERVALS or len(body) < n * _PAIR.size:
        raise ProtocolError("malformed_message", f"{n} lost intervals in {len(body)} bytes")
    pairs = tuple(_PAIR.iter_unpack(body[: n * _PAIR.size]))
    if any(low > high or abs(low) > 1 << 61 or abs(high) > 1 << 61 for low, high in pairs):
        raise ProtocolError("malformed_message", "a lost interval ends before it starts")
    return merge_intervals(pairs), body[n * _PAIR.size :]
