"""What both ends of a block's distillation share. One per connection, one block at a time."""

from __future__ import annotations

from dataclasses import dataclass

from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.block_account import BlockAccount
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.distilling.sifted import OpenSide, SiftedBlock
from photonlink.pipeline.protocol.messages import AbortBlock
from photonlink.pipeline.protocol.sifting.figures import disclosed_histogram
from photonlink.pipeline.protocol.sifting.pair_row import RawBlock
from photonlink.pipeline.protocol.tentative import BlockAttempt, EndBlock, Tentative
from photonlink.pipeline.stages import estimate
from photonlink.pipeline.stages.finite_key import EarlierBlock, OnTheWay
from photonlink.pipeline.stages.judge import DisclosedPairs
from photonlink.pipeline.stages.window import LETTERS

THRESHOLDS_DIFFER = "thresholds_differ"


@dataclass(frozen=True, slots=True)
class Closed:
    """A block that the rule has closed: its pairs, and how disclosed times are stepped."""

    raw: RawBlock
    duration_s: float
    rest: bool
    step_ps: int
    window_ps: int
    way: OnTheWay


class Distilling:
    """Subclasses hold the role's steps. Messages alternate: who may speak next is never both."""

    def __init__(self, view: Tentative) -> None:
        self.view = view
        self.account: BlockAccount | None = None
        self.failed: str | None = None  # reason; the pairs since the last good block are dropped
        self.since_s = 0.0  # when the last step was taken, for the deadline
        self._closed: Closed | None = None
        self._sifted: SiftedBlock | None = None
        self._expected: tuple[type, ...] = ()  # messages that the block waits for

    @property
    def active(self) -> bool:
        return self.account is not None

    def begin(self, closed: Closed, block: int) -> None:
        """Fix the thresholds from earlier blocks and write the attempt; then bases may be
        announced.
        """
        n = len(closed.raw)
        self.account = BlockAccount(
            self.view.parameters,
            block,
            self.view.earlier.thresholds(self.view.parameters, n),
            closed.duration_s,
            rest=closed.rest,
            ratio=self.view.charged_ratio,
            way=closed.way,
        )
        self._closed = closed
        self.since_s = self.view.now_s
        self.view.next_block = block + 1
        self.view.wish(BlockAttempt(block, n))

    @property
    def block(self) -> BlockAccount:
        assert self.account is not None  # noqa: S101 - a block is active
        return self.account

    @property
    def closed(self) -> Closed:
        assert self._closed is not None  # noqa: S101 - a block is active
        return self._closed

    @property
    def sifted(self) -> SiftedBlock:
        assert self._sifted is not None  # noqa: S101 - bases were told
        return self._sifted

    @property
    def strings(self) -> tuple[SecretBits, ...]:
        """The strings that make key: both bases, or HV alone."""
        both = self.view.parameters.both_bases
        return (self.sifted.hv, self.sifted.da) if both else (self.sifted.hv,)

    def expect(self, message: object) -> None:
        """Raises ProtocolError unless the block waits for this message."""
        number = self.account.block if self.account else None
        if (
            number is None
            or type(message) not in self._expected
            or getattr(message, "block", number) != number
        ):
            raise ProtocolError(
                "unexpected_message", f"{type(message).__name__} does not fit the block's phase"
            )
        self.since_s = self.view.now_s

    def own_verdict(self, alice: OpenSide, bob: OpenSide) -> str | None:
        """All checks of this side except the error rate, over the whole time of the block."""
        disclosed = DisclosedPairs(alice.detector, bob.detector, bob.offset_ps - alice.offset_ps)
        closed = self.closed
        self.view.histogram = disclosed_histogram(
            disclosed.residual_ps, closed.step_ps, closed.window_ps
        )
        found = estimate.judge_detectors(self.view.bench, disclosed)
        if found is not None:
            return found
        self._show_rates(alice if self.view.is_alice else bob)
        return self._private_verdict()

    def _private_verdict(self) -> str | None:
        """The reason for an abort or None. It holds no number that depends on key bits."""
        raw, parameters, side = self.closed.raw, self.view.parameters, self.view.role
        marked = [(m, len(s)) for m, s in zip(self.sifted.marks, self.strings, strict=False)]
        if not estimate.few_multi_clicks(parameters, marked, raw.multi_clicks, raw.events):
            return f"multi_clicks_above_limit: more of {side}'s events than agreed"
        for basis, key in enumerate(self.strings):
            ones, n = key.ones(), len(key)
            if not estimate.key_balanced(parameters, self.view.bench, basis, ones, n):
                return f"key_unbalanced: zeros and ones of {side}'s key bits"
        return None

    def _show_rates(self, own: OpenSide) -> None:
        """Publish detector rates while key is made: shares of the disclosed pairs, scaled to all
        events.
        """
        n, seconds = len(own.detector), self.closed.duration_s
        if n and seconds > 0:
            total = self.closed.raw.events / seconds
            self.view.show["rate_hz"] = {
                letter: total * float((own.detector == k).sum()) / n
                for k, letter in enumerate(LETTERS)
            }

    def count_sifted(self) -> None:
        self.block.hv.bits, self.block.da.bits = len(self.sifted.hv), len(self.sifted.da)

    def judge_errors(self) -> str | None:
        """Judge by the errors counted so far; one basis above its threshold fails both."""
        block = self.block
        hv, da = block.hv, block.da
        return estimate.judge_errors(
            self.view.parameters, block.thresholds, hv.bits, hv.errors, da.bits, da.errors
        )

    def remember_errors(self) -> None:
        """Both ends have the same error counts now: use them for the thresholds of later blocks."""
        hv, da, earlier = self.block.hv, self.block.da, self.view.earlier
        if hv.errors is not None:
            earlier.hv.append(EarlierBlock(hv.errors, hv.bits))
        if da.errors is not None:
            earlier.da.append(EarlierBlock(da.errors, da.bits))

    def abort(self, reason: str) -> None:
        """End the block without key: send AbortBlock; both sides drop the block and the pairs
        since.
        """
        text = reason.encode()[: AbortBlock.TAIL_BYTES]
        self.view.say(AbortBlock(self.block.block, text))
        self.end(reason)

    def end(self, reason: str, *, agreed: bool = True) -> None:
        if reason.startswith(THRESHOLDS_DIFFER):
            # at both ends, so that the thresholds of the next block agree
            self.view.earlier.forget()
        self.view.wish(EndBlock(self.block, reason, agreed))
        self.failed = reason if agreed else None
        self.drop()

    def drop(self) -> None:
        """Forget the block's secrets."""
        if self._closed is not None:
            self._closed.raw.close()
        if self._sifted is not None:
            self._sifted.close()
        self._closed = self._sifted = self.account = None
        self._expected = ()

    def interrupted(self, reason: str) -> None:
        """The connection is gone: an open block burns."""
        if self.account is not None:
            self.end(reason, agreed=False)
