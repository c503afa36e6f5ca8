"""What both ends of a block's distillation share: its account, its report, its end."""

from __future__ import annotations

from dataclasses import replace

from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.block_record import TAGS_PER_BLOCK, BlockRecord, Refill, emulated
from photonlink.pipeline.protocol.channel.authentication import TAG_BITS
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.channel.pads import DIRECTIONS, PoolKey
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.protocol.messages import PoolName
from photonlink.pipeline.protocol.setup import Publish
from photonlink.pipeline.protocol.sifting.sifted import RawBlock
from photonlink.pipeline.stages.amplify import Lengths
from photonlink.pipeline.stages.finite_key import binary_entropy
from photonlink.pipeline.status.model import BlockReport

UNPAID = "no_secret_bits"  # the reason when the length comes out as zero


class Distilling:
    """One block at a time. Subclasses hold the role's steps."""

    tags_at_begin = 0  # tags of the block that went before ``begin``

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.active = False
        self.account: BlockRecord | None = None
        self.raw: RawBlock | None = None
        self.lengths: Lengths | None = None
        self.test_errors = 0
        self.errors_corrected: int | None = None
        self.leak_bits = 0
        self.rounds = 0
        self.duration_s = 0.0
        self.since_s = 0.0  # of the last step, for the deadline
        self._tags_before, self._epsilon_before = 0, 0.0
        self._rest = self.test_counted = False
        self._expected: tuple[type, ...] = ()  # messages that the block waits for
        self._in_doubt: dict[int, BlockReport] = {}

    def begin(self, raw: RawBlock, block: int, duration_s: float, *, rest: bool) -> None:
        """``rest``: what is left at the end of input, not a block by the rule."""
        self.active, self._rest = True, rest
        self.raw, self.duration_s = raw, duration_s
        self.account = BlockRecord(self.ctx, block, len(raw.key), len(raw.test))
        self.ctx.next_block = block + 1
        self.lengths, self.errors_corrected = None, None
        self.test_errors = self.leak_bits = self.rounds = 0
        self.test_counted = False
        self.since_s = self.ctx.now_s
        self._tags_before, self._epsilon_before = self.ctx.tags(), self.ctx.tag_epsilon()

    @property
    def block(self) -> int:
        assert self.account is not None  # noqa: S101 - a block is active
        return self.account.block

    @property
    def bits(self) -> RawBlock:
        assert self.raw is not None  # noqa: S101 - a block is active
        return self.raw

    @property
    def epsilon(self) -> float:
        p = self.ctx.parameters
        return p.eps_sec + p.eps_cor + p.eps_auth

    def expect(self, message: object) -> None:
        """Raises ProtocolError unless this is a message the block waits for."""
        number = getattr(message, "block", self.account.block if self.account else None)
        if type(message) not in self._expected or not self.active or number != self.block:
            raise ProtocolError(
                "unexpected_message", f"{type(message).__name__} does not fit the block's phase"
            )
        self.since_s = self.ctx.now_s

    def prepare(self, secret: SecretBits, refill: Refill) -> None:
        """Store what amplification gave (and close it); from now on the block may be in doubt."""
        assert self.account is not None  # noqa: S101 - a block is active
        assert self.lengths is not None  # noqa: S101 - set before amplification
        self.account.prepare(secret, refill, self.lengths, self.leak_bits, self.epsilon)

    def release(self) -> None:
        """Both ends have the key: the block ends with it."""
        assert self.account is not None  # noqa: S101 - a block is active
        self.account.release()
        self.ctx.clear_alarm("store_failed")  # there is room again
        self.finish(None)

    def finish(self, abort: str | None) -> None:
        """The block is over, with key (None) or without: report, wipe, make room."""
        assert self.account is not None  # noqa: S101 - a block is active
        if abort is not None:
            self.account.end("aborted", abort, self.leak_bits)
        if not self._only_too_short(abort):
            self._publish(abort)
        self.drop()

    def _only_too_short(self, abort: str | None) -> bool:
        """A rest that cannot pay is no block, unless it is all there is to tell about a run."""
        unpaid = abort is not None and abort.startswith(UNPAID)
        return self._rest and unpaid and self.ctx.show.get("blocks", 0) > 0

    def _publish(self, abort: str | None) -> None:
        if abort is not None:
            self.ctx.show["last_abort"] = abort
        report = self.report(abort)
        self.ctx.effects.append(Publish(report))
        self._show(report)

    def drop(self) -> None:
        """Forget the block's secrets."""
        if self.raw is not None:
            self.raw.close()
        self.raw, self.account, self.active = None, None, False
        self._expected = ()

    def interrupted(self, reason: str) -> None:
        """The connection went: an open block burns; a prepared one is settled on reconnect."""
        try:
            if self.account is not None and self.account.entry.status == "open":
                self._publish(reason)
                self.account.end("burnt", reason, self.leak_bits)
            elif self.account is not None and self.account.entry.status == "prepared":
                self._in_doubt[self.block] = self.report(None)
        finally:
            self.drop()

    def settled(self, block: int, abort: str | None) -> None:
        """A block in doubt was released (None) or burnt: now it can be told."""
        report = self._in_doubt.pop(block, None)  # none: it is of an earlier process
        if report is None:
            return
        if abort is not None:
            report = replace(report, abort=abort, secret_bits=0, refill_bits=0, net_bits=0,
                             secret_bits_tlgr2012=0, epsilon=0.0)  # fmt: skip
            self.ctx.show["last_abort"] = abort
        self.ctx.effects.append(Publish(report))
        self._show(report)

    def report(self, abort: str | None) -> BlockReport:
        assert self.account is not None  # noqa: S101 - a block is active
        entry, lengths = self.account.entry, self.lengths
        n, k = entry.key_bits, entry.test_bits if self.test_counted else 0
        rate = None if self.errors_corrected is None or not n else self.errors_corrected / n
        ideal = n * binary_entropy(rate) if rate else 0.0
        return BlockReport(
            block=entry.block,
            sifted_bits=entry.sifted_bits,
            key_bits_in=n,
            test_bits=k,
            qber_hv=rate,
            qber_da=self.test_errors / k if k else 0.0,
            leak_bits=self.leak_bits,
            f_ec=self.leak_bits / ideal if ideal else None,
            verification_bits=lengths.verification_bits if lengths else 0,
            secret_bits=entry.secret_bits if abort is None else 0,
            authentication_bits=TAG_BITS
            * (self.ctx.tags() - self._tags_before + self.tags_at_begin),
            net_bits=entry.net_bits if abort is None else 0,
            secret_bits_tlgr2012=lengths.beside.length if lengths and abort is None else 0,
            epsilon=self.epsilon if abort is None else 0.0,
            q_tol=self.ctx.parameters.q_tol,
            rounds=self.rounds,
            duration_s=self.duration_s,
            emulated=emulated(self.ctx),
            abort=abort,
            refill_bits=entry.refill_bits if abort is None else 0,
        )

    def _show(self, report: BlockReport) -> None:
        show, state = self.ctx.show, self.ctx.ledger.state
        if report.test_bits:
            show["qber_hv"], show["qber_da"] = report.qber_hv, report.qber_da
        show["sifted_bits"] = show.get("sifted_bits", 0) + report.sifted_bits
        show["leak_bits"] = show.get("leak_bits", 0) + report.leak_bits
        show["blocks"] = show.get("blocks", 0) + (report.abort is None)
        show["secret_bits"] = show.get("secret_bits", 0) + report.net_bits
        show["epsilon"] = state.epsilon
        if report.duration_s > 0:
            show["skr_bps"] = report.net_bits / report.duration_s

    @property
    def authentication_too_weak(self) -> bool:
        """What the tags of this block may let pass exceeds the agreed epsilon."""
        spent = self.ctx.tag_epsilon() - self._epsilon_before
        return spent > self.ctx.parameters.eps_auth

    def enough_pads(self) -> bool:
        """A whole block's tags are left without touching the handshake reserve."""
        need = TAGS_PER_BLOCK // 2 * TAG_BITS // 8
        return all(self.ctx.pads.left(PoolKey(d, PoolName.BLOCK)) >= need for d in DIRECTIONS)
