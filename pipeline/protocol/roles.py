"""Sifting and distilling joined: what each role does with messages and with progress.

One role per connection: it holds what the peer has said, and is dropped with the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from photonlink.hal.tags import Provenance
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.distilling.alice import AliceDistilling
from photonlink.pipeline.protocol.distilling.bob import BobDistilling
from photonlink.pipeline.protocol.distilling.shared import Closed, Distilling
from photonlink.pipeline.protocol.messages import (
    AbortBlock,
    Acquisition,
    Announcement,
    BlockBases,
    CascadeReply,
    CascadeRequest,
    CloseBlock,
    Disclosure,
    EndOfInput,
    Estimate,
    Figures,
    Message,
    Paired,
    Reconciled,
    Request,
    Sift,
    Verify,
    VerifyResult,
    canonical_json,
    parse_json,
)
from photonlink.pipeline.protocol.sifting.alice import AliceSifting
from photonlink.pipeline.protocol.sifting.blockrule import rest_pays
from photonlink.pipeline.protocol.sifting.bob import BobSifting
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags
from photonlink.pipeline.protocol.sifting.pair_row import disclosure_step_ps
from photonlink.pipeline.protocol.sifting.peer_taggers import check
from photonlink.pipeline.protocol.sifting.shared import Sifting
from photonlink.pipeline.protocol.tentative import Tentative
from photonlink.pipeline.stages.clock.recovery import ClockRecovery
from photonlink.pipeline.stages.finite_key import OnTheWay
from photonlink.pipeline.status.model import Phase

_SHOWN = (
    "coincidences_hz", "accidentals_hz", "coincidence_to_accidental_ratio", "sifted_bps",
    "clock_offset_s", "clock_frequency_ppm", "clock_drift_ppb_per_s", "clock_lock_age_s",
)  # fmt: skip
_LARGEST_FIGURE = 1e15


class RoleBase:
    """Common to Alice and Bob. committing: the tags of a block are being exchanged; no block
    closes.
    """

    def __init__(self, view: Tentative, sifting: Sifting, distilling: Distilling) -> None:
        self.view, self._sifting, self._distilling = view, sifting, distilling
        self.complete = False
        self.committing = False
        self._end_sent = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            Acquisition: self._on_acquisition,
            EndOfInput: self._on_end,
        }

    def on_message(self, message: Message) -> None:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise ProtocolError(
                "unexpected_message", f"{type(message).__name__} is not for {self.view.role}"
            )
        handler(message)
        self._void_after_failure()

    def _void_after_failure(self) -> None:
        failed, self._distilling.failed = self._distilling.failed, None
        if failed is not None:
            self._sifting.void(failed)

    def advance(self) -> None:
        """Do all steps that the present inputs allow."""
        self._sifting.maybe_announce()
        if self._sifting.ended and not self._end_sent and self._sifting.own is not None:
            self._end_sent = True
            self.view.say(EndOfInput(self._sifting.buffer.horizon_ps))
        self._sifting.pump()
        total = self._sifting.row.total
        self.view.show["block_fill"] = min(total / self._sifting.rule.pairs, 1.0)

    def refresh(self) -> None:
        """Update the figures for displays."""

    def committed(self, failed: str | None) -> None:
        """The block that was handed to the commitment is over; ``failed``: why it gave no key, or
        None.
        """
        self.committing = False
        if failed is not None:
            self._sifting.void(failed)

    @property
    def clock_in_use(self) -> ClockRecovery | None:
        return None

    @property
    def own_announced(self) -> bool:
        return self._sifting.own is not None

    @property
    def overdue(self) -> bool:
        """Whether the peer has taken longer than the deadline for the next step of a block."""
        waited = self.view.now_s - self._distilling.since_s
        return self._distilling.active and waited > self.view.limits.phase_s

    def interrupt(self, reason: str) -> None:
        """The connection is gone: an open block burns with this reason."""
        self._distilling.interrupted(reason)
        self._sifting.close()

    def _on_acquisition(self, message: Acquisition) -> None:
        if self._sifting.peer is not None:
            raise ProtocolError("acquisition_restarted", "the peer's tagger was started anew")
        self.view.mark(list(Provenance)[check(message).provenance])
        self._sifting.on_acquisition(message)

    def _on_end(self, message: EndOfInput) -> None:
        if abs(message.end_ps) > 1 << 61:
            raise ProtocolError("malformed_message", "the peer's input ends out of range")
        self._sifting.peer_end_ps = message.end_ps

    def _closed(self, count: int, *, rest: bool) -> Closed:
        """Take the closed block's pairs from the row."""
        sifting = self._sifting
        raw = sifting.row.take(count)
        duration_s = sifting.rule.taken(sifting.row.total)
        step_ps = disclosure_step_ps(sifting.times)
        window_ps = sifting.times.window_ps
        return Closed(raw, duration_s, rest, step_ps, window_ps, self._on_the_way(count))

    def _on_the_way(self, pairs: int) -> OnTheWay:
        """What happened to pairs before the block closed, as far as this end can count it."""
        return OnTheWay(pairs)


class AliceRole(RoleBase):
    """Pulls, pairs, closes blocks, answers parities."""

    def __init__(self, view: Tentative, tags: OwnTags) -> None:
        self._pull = AliceSifting(view, tags)
        self._block = AliceDistilling(view)
        super().__init__(view, self._pull, self._block)
        self._handlers |= {
            Announcement: self._pull.on_announcement,
            BlockBases: self._block.on_bases,
            Disclosure: self._block.on_disclosure,
            CascadeRequest: self._block.on_cascade_request,
            Reconciled: self._block.on_reconciled,
            VerifyResult: self._on_verify_result,
            AbortBlock: self._block.on_abort,
        }

    @property
    def overdue(self) -> bool:
        return super().overdue or self._pull.overdue

    @property
    def clock_in_use(self) -> ClockRecovery | None:
        return self._pull.clock.recovery if self._pull.clock else None

    @property
    def phase(self) -> Phase:
        if self._block.active or self.committing:
            return Phase.DISTILLING
        locked = self._pull.clock is not None and self._pull.clock.locked
        return Phase.SIFTING if locked else Phase.ACQUIRING

    def advance(self) -> None:
        super().advance()
        if self._block.active or self.committing or not self._pull.idle:
            return
        rule, row = self._pull.rule, self._pull.row
        count, last = rule.closed_at, self._pull.exhausted
        rest = count is None
        if rest and last and row.total:
            count = row.total if self._rest_worth_it(row.total) else None
        if count is None or count == 0:
            self.complete = last
            self._pull.paused = False
            return
        self._pull.paused = True
        self._block.close_block(self._closed(count, rest=rest))

    def _on_the_way(self, pairs: int) -> OnTheWay:
        return self._pull.counts.take(pairs)

    def _on_verify_result(self, message: VerifyResult) -> None:
        self.committing = message.equal == 1
        self._block.on_verify_result(message)

    def _rest_worth_it(self, total: int) -> bool:
        """Whether the pairs left at the end of input can still give key, judged by earlier
        blocks.
        """
        view = self.view
        thresholds = view.earlier.thresholds(view.parameters, total)
        worth = rest_pays(view.parameters, thresholds, view.seen_rate, view.charged_ratio)
        if not worth and not self.view.tried:
            self.view.raise_alarm("too_few_sifted_bits", f"{total} pairs cannot give a key")
        return worth

    def refresh(self) -> None:
        pull = self._pull
        if pull.clock is None or pull.own is None:
            return
        shown = {**pull.clock.show(pull.buffer.horizon_ps), **pull.figures.show()}
        self.view.show |= shown
        self.view.say(Figures(canonical_json(shown)))


class BobRole(RoleBase):
    """Announces, discloses, corrects."""

    def __init__(self, view: Tentative, tags: OwnTags) -> None:
        self._announce = BobSifting(view, tags)
        self._block = BobDistilling(view)
        super().__init__(view, self._announce, self._block)
        self._clock_locked = False
        self._handlers |= {
            Request: self._announce.on_request,
            Paired: self._announce.on_paired,
            Figures: self._on_figures,
            CloseBlock: self._on_close_block,
            Sift: self._block.on_sift,
            Estimate: self._block.on_estimate,
            CascadeReply: self._block.on_cascade_reply,
            AbortBlock: self._block.on_abort,
            Verify: self._block.on_verify,
        }

    @property
    def phase(self) -> Phase:
        if self._block.active or self.committing:
            return Phase.DISTILLING
        return Phase.SIFTING if self._clock_locked else Phase.ACQUIRING

    def _on_close_block(self, message: CloseBlock) -> None:
        """Close the block. Alice's count must equal the one that the common rule gives."""
        row, rule = self._announce.row, self._announce.rule
        over = self._announce.ended or self._announce.peer_end_ps is not None
        expected = rule.closed_at
        rest = expected is None
        if rest and over:
            expected = row.total
        if (
            self._block.active
            or self.committing
            or not self._announce.idle
            or message.block != self.view.next_block
            or message.pairs != expected
            or not expected
        ):
            raise ProtocolError(
                "block_mismatch",
                f"the peer closes block {message.block} with {message.pairs} pairs, here it "
                f"is block {self.view.next_block} with {expected}",
            )
        self._block.on_close(self._closed(expected, rest=rest), message)

    def _on_figures(self, message: Figures) -> None:
        """Figures for display; values that are no numbers are not shown."""
        fields = parse_json(message.body, "Figures")
        for name in _SHOWN:
            self.view.show[name] = _figure(fields.get(name))
        self._clock_locked = fields.get("clock_locked") is True
        self.view.show["clock_locked"] = self._clock_locked


def _figure(value: object) -> float | None:
    """A finite number of a size that a display can show, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_LARGEST_FIGURE < value < _LARGEST_FIGURE else None
