"""Bob's steps of a block: check the count, disclose, correct, compare, prepare, release."""

from __future__ import annotations

from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.block_record import Refill
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.channel.handshake import printable
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.protocol.distilling.shared import Distilling
from photonlink.pipeline.protocol.messages import (
    AbortBlock,
    Amplify,
    CascadeReply,
    CascadeRequest,
    Commit,
    Committed,
    Disclosure,
    Estimate,
    PoolName,
    Prepared,
    Reconciled,
    Verify,
    VerifyResult,
)
from photonlink.pipeline.protocol.sifting.sifted import RawBlock
from photonlink.pipeline.stages import amplify, reconcile, verify


class BobDistilling(Distilling):
    """See docs/protocol.md, "A block". Handlers run only for messages whose tag was verified,
    except Estimate and Cascade replies, which the tag of Verify covers."""

    tags_at_begin = 1  # of CloseBlock

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._corrector: reconcile.Corrector | None = None
        self._corrected: SecretBits | None = None

    def on_close(self, raw: RawBlock, block: int, duration_s: float, *, rest: bool) -> None:
        """The sifting of the block is authenticated: disclose the test basis."""
        self.begin(raw, block, duration_s, rest=rest)
        k = len(raw.test)
        bits = raw.test.disclose()
        self.ctx.send(Disclosure(block, k, raw.events, raw.multi_clicks, bits))
        self.ctx.send_tag(PoolName.BLOCK)
        self._expected = (Estimate, AbortBlock)

    def on_estimate(self, message: Estimate) -> None:
        self.expect(message)
        if not 0 <= message.qber_hint <= 0.5 or message.test_errors > len(self.bits.test):
            raise ProtocolError("malformed_message", "an estimate that cannot be")
        self.test_errors, self.test_counted = message.test_errors, True
        self._corrector = reconcile.Corrector(
            self.bits.key, qber=message.qber_hint, seed=message.seed
        )
        self._ask()

    def _ask(self) -> None:
        assert self._corrector is not None  # noqa: S101 - set with the estimate
        request = self._corrector.request()
        if request is not None:
            self.ctx.send(CascadeRequest(request))
            self._expected = (CascadeReply, AbortBlock)
            return
        self.errors_corrected = self._corrector.errors_corrected
        self.rounds = self._corrector.rounds
        self._corrected = self._corrector.corrected()
        self.ctx.send(Reconciled(self.block, self.errors_corrected, self.rounds))
        self._expected = (Verify, AbortBlock)

    def on_cascade_reply(self, message: CascadeReply) -> None:
        self.expect(message)
        assert self._corrector is not None  # noqa: S101 - set with the estimate
        try:
            self._corrector.receive(message.body)
            self._ask()
        except reconcile.ReconcileError as error:
            raise ProtocolError("malformed_message", f"Cascade reply: {error}") from error

    def on_verify(self, message: Verify) -> None:
        self.expect(message)
        assert self._corrected is not None  # noqa: S101 - set when Cascade ended
        self.leak_bits = message.leak_bits
        eps_cor = self.ctx.parameters.eps_cor
        equal = verify.matches(self._corrected, message.point, eps_cor, message.digest)
        self.ctx.send(VerifyResult(self.block, int(equal)))
        self.ctx.send_tag(PoolName.BLOCK)
        if not equal:
            self.finish("verification_failed: the keys differ after reconciliation")
            return
        self._expected = (Amplify, AbortBlock)

    def on_amplify(self, message: Amplify) -> None:
        self.expect(message)
        assert self._corrected is not None  # noqa: S101 - set when Cascade ended
        n, k = len(self.bits.key), len(self.bits.test)
        self.lengths = amplify.secret_length(self.ctx.parameters, n, k, self.leak_bits)
        length = self.lengths.charged.length
        refill = Refill(message.refill_handshake_bytes, message.refill_block_bytes)
        if (
            message.secret_bits != length
            or length == 0
            or len(message.seed) != amplify.seed_bytes(n)
            or not refill.possible(length)
        ):
            raise ProtocolError(
                "length_mismatch",
                f"the peer says {message.secret_bits} secret bits, {length} were computed here",
            )
        secret = amplify.amplify(self._corrected, message.seed, length)
        self.prepare(secret, refill)
        self.ctx.send(Prepared(self.block))
        self.ctx.send_tag(PoolName.BLOCK)
        self._expected = (Commit,)

    def on_commit(self, message: Commit) -> None:
        """Both keys exist: confirm with an older pad, then release key and refill."""
        self.expect(message)
        self.ctx.send(Committed(self.block))
        self.ctx.send_tag(PoolName.BLOCK)
        self.release()

    def on_abort(self, message: AbortBlock) -> None:
        self.expect(message)
        self.test_errors = min(message.test_errors, len(self.bits.test))
        self.test_counted = True
        self.finish(printable(message.reason.decode("utf-8", "replace")))

    def drop(self) -> None:
        super().drop()
        if self._corrector is not None:
            self._corrector.close()
            self._corrector = None
        if self._corrected is not None:
            self._corrected.close()
            self._corrected = None
