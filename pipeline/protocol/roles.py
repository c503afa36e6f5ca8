"""Sifting and distilling joined: what each role does with messages, tags and progress.

Messages that end a phase act only after the AuthTag that must follow them was verified.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from photonlink.hal.tags import Provenance, TagBlock
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.protocol.distilling.alice import AliceDistilling
from photonlink.pipeline.protocol.distilling.bob import BobDistilling
from photonlink.pipeline.protocol.distilling.shared import Distilling
from photonlink.pipeline.protocol.messages import (
    AbortBlock,
    Acquisition,
    Amplify,
    Announcement,
    AuthTag,
    CascadeReply,
    CascadeRequest,
    CloseBlock,
    Commit,
    Committed,
    DelaysInForce,
    Disclosure,
    EndOfInput,
    Estimate,
    Figures,
    Message,
    PoolName,
    Prepared,
    Reconciled,
    Request,
    SetDelays,
    Sifted,
    Verify,
    VerifyResult,
    canonical_json,
    parse_json,
)
from photonlink.pipeline.protocol.sifting.alice import AliceSifting
from photonlink.pipeline.protocol.sifting.blockrule import rest_pays
from photonlink.pipeline.protocol.sifting.bob import BobSifting
from photonlink.pipeline.protocol.sifting.peer_taggers import AcquisitionOrigin, check
from photonlink.pipeline.protocol.sifting.shared import Sifting
from photonlink.pipeline.stages.clock.recovery import ClockRecovery
from photonlink.pipeline.status.model import Phase, Severity

_GATED = (
    CloseBlock, Disclosure, AbortBlock, Verify, VerifyResult, Amplify, Prepared, Commit, Committed,
)  # fmt: skip
_SHOWN = (
    "coincidences_hz", "accidentals_hz", "coincidence_to_accidental_ratio", "sifted_bps",
    "clock_locked", "clock_offset_s", "clock_frequency_ppm", "clock_drift_ppb_per_s",
    "clock_lock_age_s",
)  # fmt: skip


class RoleBase:
    """Common to Alice and Bob."""

    def __init__(self, ctx: Context, sifting: Sifting, distilling: Distilling) -> None:
        self.ctx, self._sifting, self._distilling = ctx, sifting, distilling
        self.complete = False
        self.clock_at_start: tuple[float, float] | None = None
        self._gated: Message | None = None
        self._end_sent = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            Acquisition: self._on_acquisition,
            EndOfInput: self._on_end,
        }

    # ---- inputs from the session ----

    def acquisition_started(self, started: AcquisitionOrigin) -> None:
        announced = self._sifting.own is not None
        self._sifting.acquisition_started(started)
        if announced:  # nothing recorded before fits: begin again with a new connection
            raise ProtocolError("acquisition_restarted", "the own tagger was started anew")

    def tags(self, block: TagBlock) -> None:
        self._sifting.add(block)

    def end_of_input(self) -> None:
        self._sifting.ended = True

    def begin(self) -> None:
        """The handshake is complete."""
        self._sifting.running = True

    def on_message(self, message: Message) -> None:
        if self._gated is not None:
            raise ProtocolError("unexpected_message", "the end of a phase came without its tag")
        if isinstance(message, _GATED):
            self._gated = message
            return
        self._handle(message)

    def on_tag(self, message: AuthTag) -> None:
        """Verify; then, and only then, act on the message it seals."""
        if self._gated is None:
            raise ProtocolError("unexpected_message", "a tag where no phase ends")
        assert self.ctx.inn is not None  # noqa: S101 - the handshake opened it
        self.ctx.inn.check_tag(message, PoolName.BLOCK)
        sealed, self._gated = self._gated, None
        self._handle(sealed)

    def _handle(self, message: Message) -> None:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise ProtocolError(
                "unexpected_message", f"{type(message).__name__} is not for {self.ctx.role}"
            )
        handler(message)

    def advance(self) -> None:
        """Do what can be done with what is there."""
        self._sifting.maybe_announce()
        if self._sifting.ended and not self._end_sent and self._sifting.own is not None:
            self._end_sent = True
            self.ctx.send(EndOfInput(self._sifting.buffer.horizon_ps))
        self._sifting.pump()
        total = self._sifting.row.total
        self.ctx.show["block_fill"] = min(total / self.ctx.parameters.block_sifted_bits, 1.0)

    def refresh(self) -> None:
        """Bring the figures on show up to date."""

    @property
    def ended(self) -> bool:
        """No more tags will come on this side."""
        return self._sifting.ended

    @property
    def overdue(self) -> bool:
        """The peer owes the next step of a block longer than the deadline."""
        waited = self.ctx.now_s - self._distilling.since_s
        return self._distilling.active and waited > self.ctx.limits.phase_s

    def interrupt(self, reason: str) -> None:
        """The connection is gone; ``reason``: of the block that burns with it."""
        self._gated, self._end_sent = None, False
        for name in _SHOWN:  # of a link that is no more
            self.ctx.show.pop(name, None)
        self._sifting.reset()
        self._distilling.interrupted(reason)

    def settled(self, block: int, abort: str | None) -> None:
        """What became of a block that was in doubt; ``abort`` None: it was released."""
        self._distilling.settled(block, abort)

    def close(self) -> None:
        self._sifting.close()
        self._distilling.drop()

    def _on_acquisition(self, message: Acquisition) -> None:
        if self._sifting.peer is not None:
            raise ProtocolError("acquisition_restarted", "the peer's tagger was started anew")
        self.ctx.mark(list(Provenance)[check(message).provenance])
        self._sifting.on_acquisition(message)

    def _on_end(self, message: EndOfInput) -> None:
        self._sifting.peer_end_ps = message.end_ps


class AliceRole(RoleBase):
    """Pulls, matches, closes blocks, answers parities."""

    def __init__(self, ctx: Context) -> None:
        self._pull = AliceSifting(ctx)
        self._block = AliceDistilling(ctx)
        super().__init__(ctx, self._pull, self._block)
        self._figures_s = float("-inf")
        self._start_clock: ClockRecovery | None = None
        self._handlers |= {
            Announcement: self._pull.on_announcement,
            DelaysInForce: self._pull.on_delays_in_force,
            Disclosure: self._block.on_disclosure,
            CascadeRequest: self._block.on_cascade_request,
            Reconciled: self._block.on_reconciled,
            VerifyResult: self._block.on_verify_result,
            Prepared: self._block.on_prepared,
            Committed: self._block.on_committed,
        }

    @property
    def overdue(self) -> bool:
        return super().overdue or self._pull.overdue

    @property
    def phase(self) -> Phase:
        if self._block.active:
            return Phase.DISTILLING
        locked = self._pull.clock is not None and self._pull.clock.locked
        return Phase.SIFTING if locked else Phase.ACQUIRING

    def advance(self) -> None:
        super().advance()
        self._remember_clock()
        if self._block.active or not self._pull.idle:
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
        if not self._block.enough_pads():
            self.ctx.raise_alarm("pads_exhausted", "too few pads for a block: exchange a new PSK")
            return
        self.ctx.clear_alarm("pads_exhausted")
        self._pull.paused = True
        raw = row.take(count)
        self._block.close_block(raw, rule.taken(row.total), rest=rest)

    def _rest_worth_it(self, total: int) -> bool:
        """Whether what is left at the end of input can still give key, by what is known."""
        show, seen = self.ctx.show, None
        if show.get("blocks"):
            seen = max(show["qber_hv"] or 0.0, show["qber_da"] or 0.0)
        worth = rest_pays(self.ctx.parameters, *self._pull.row.counts(total), seen)
        if not worth and not show.get("blocks") and not show.get("last_abort"):
            self.ctx.raise_alarm(
                "too_few_sifted_bits", f"{total} sifted bits cannot give a key", Severity.MINOR
            )
        return worth

    def _remember_clock(self) -> None:
        """What the clock that locked first says stays known when the connection is gone."""
        clock = self._pull.clock.recovery if self._pull.clock else None
        if self._start_clock is None and clock is not None and clock.first_lock is not None:
            self._start_clock = clock
        if self._start_clock is not None:
            self.clock_at_start = self._start_clock.at_start

    def refresh(self) -> None:
        pull = self._pull
        if pull.clock is None or not pull.running or pull.own is None:
            return
        shown = {**pull.clock.show(pull.buffer.horizon_ps), **pull.figures.show()}
        self.ctx.show |= shown
        hv, da = pull.figures.qber()
        if self.ctx.show.get("blocks", 0) == 0 and not self._block.active:
            self.ctx.show |= {"qber_hv": hv, "qber_da": da}
        self.ctx.send(Figures(canonical_json(shown)))


class BobRole(RoleBase):
    """Announces, discloses, corrects."""

    def __init__(self, ctx: Context) -> None:
        self._announce = BobSifting(ctx)
        self._block = BobDistilling(ctx)
        super().__init__(ctx, self._announce, self._block)
        self._clock_locked = False
        self._handlers |= {
            Request: self._announce.on_request,
            Sifted: self._announce.on_sifted,
            SetDelays: self._announce.on_set_delays,
            Figures: self._on_figures,
            CloseBlock: self._on_close_block,
            Estimate: self._block.on_estimate,
            CascadeReply: self._block.on_cascade_reply,
            AbortBlock: self._block.on_abort,
            Verify: self._block.on_verify,
            Amplify: self._block.on_amplify,
            Commit: self._block.on_commit,
        }

    @property
    def phase(self) -> Phase:
        if self._block.active:
            return Phase.DISTILLING
        return Phase.SIFTING if self._clock_locked else Phase.ACQUIRING

    def on_tag(self, message: AuthTag) -> None:
        closing = isinstance(self._gated, CloseBlock)
        try:
            super().on_tag(message)
        except ProtocolError:
            if closing and not self._block.active:
                self._open_to_burn()
            raise

    def _open_to_burn(self) -> None:
        """Alice closes a block whose sifting was tampered with: it is accounted for here too."""
        row, rule = self._announce.row, self._announce.rule
        count = rule.closed_at or row.total
        if count:
            rest = rule.closed_at is None
            raw = row.take(count)
            self._block.begin(raw, self.ctx.next_block, rule.taken(row.total), rest=rest)

    def _on_close_block(self, message: CloseBlock) -> None:
        """Alice's count must be the one the common rule gives."""
        row, rule = self._announce.row, self._announce.rule
        over = self._announce.ended or self._announce.peer_end_ps is not None
        expected = rule.closed_at
        rest = expected is None
        if rest and over:
            expected = row.total
        if (
            self._block.active
            or not self._announce.idle
            or message.block != self.ctx.next_block
            or message.sifted_bits != expected
            or not expected
            or (message.key_bits, message.test_bits) != row.counts(expected)
        ):
            raise ProtocolError(
                "block_mismatch",
                f"the peer closes block {message.block} with {message.sifted_bits} bits, here it "
                f"is block {self.ctx.next_block} with {expected}",
            )
        raw = row.take(expected)
        self._block.on_close(raw, message.block, rule.taken(row.total), rest=rest)

    def _on_figures(self, message: Figures) -> None:
        """Only for display; a value of the wrong kind is not shown."""
        fields = parse_json(message.body, "Figures")
        for name in _SHOWN:
            value = fields.get(name)
            if value is None or isinstance(value, bool | float | int):
                self.ctx.show[name] = value
        self._clock_locked = bool(fields.get("clock_locked"))
        self.ctx.show["clock_locked"] = self._clock_locked
