"""What Alice's and Bob's sifting share: own tags, both acquisitions, the row of pairs.

One object per connection; what the peer sent is dropped with it.
"""

from __future__ import annotations

from photonlink.pipeline.protocol.block_account import UNPAID
from photonlink.pipeline.protocol.messages import Acquisition
from photonlink.pipeline.protocol.sifting.blockrule import BlockRule
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags
from photonlink.pipeline.protocol.sifting.pair_row import PairRow, disclosure_step_ps
from photonlink.pipeline.protocol.sifting.peer_taggers import announce
from photonlink.pipeline.protocol.tentative import Tentative
from photonlink.pipeline.stages.quiet import QuietBuffer, TimeRule
from photonlink.pipeline.stages.window import Int64s


class Sifting:
    """Base of both roles."""

    def __init__(self, view: Tentative, tags: OwnTags) -> None:
        self.view, self.tags = view, tags
        self.row = PairRow()
        self.rule = BlockRule(view.parameters)
        self.own: Acquisition | None = None
        self.peer: Acquisition | None = None
        self.peer_end_ps: int | None = None

    @property
    def buffer(self) -> QuietBuffer:
        return self.tags.buffer

    @property
    def times(self) -> TimeRule:
        """The agreed treatment of times."""
        return self.tags.times.rule

    @property
    def both_known(self) -> bool:
        """Whether both acquisitions are known; then slots may be requested and answered."""
        return self.own is not None and self.peer is not None

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
            self.start(*pair)

    def start(self, alice: Acquisition, bob: Acquisition) -> None:
        """Both acquisitions are known."""

    def pump(self) -> None:
        """Request or answer as far as the recorded time allows."""

    def keep(self, index: Int64s, offset_ps: Int64s | None, first: int, events: int) -> None:
        """Own events that have a partner, into the row. Bases stay here until the block closes.

        offset_ps: own times minus the announced ones, None where these were announced. first,
        events: of the slot, on this side.
        Later clicks of these events, and of the event before each (paired or not, after which
        detectors may be dead), count against the agreed share."""
        kept = self.buffer.keep(index, offset_ps, disclosure_step_ps(self.times))
        multi_clicks = self.buffer.followed_of(first, events)
        self.row.append(kept.bits, kept.basis, kept.steps, kept.marks, events, multi_clicks)

    def void(self, reason: str) -> None:
        """A block failed: drop the pairs since the last good block."""
        self.row.clear()
        self.rule.reset(climb=reason.startswith(UNPAID))

    def close(self) -> None:
        """The connection is gone: events announced in it are never announced again."""
        self.row.clear()
        self.tags.forget()
