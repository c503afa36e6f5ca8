"""Alice's steps of a block: close, judge, answer parities, verify, draw the seed, commit."""

from __future__ import annotations

from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.block_record import Refill, plan_refill
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.protocol.distilling.shared import UNPAID, Distilling
from photonlink.pipeline.protocol.messages import (
    AbortBlock,
    Amplify,
    CascadeReply,
    CascadeRequest,
    CloseBlock,
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
from photonlink.pipeline.stages.estimate import SideFigures, count_errors, judge


class AliceDistilling(Distilling):
    """See docs/protocol.md, "A block". Handlers run only for messages whose tag was verified,
    except Cascade requests, which the tag of VerifyResult covers."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._answerer: reconcile.Answerer | None = None
        self._secret: SecretBits | None = None
        self._refill = Refill(0, 0)

    def close_block(self, raw: RawBlock, duration_s: float, *, rest: bool) -> None:
        self.begin(raw, self.ctx.next_block, duration_s, rest=rest)
        n, k = len(raw.key), len(raw.test)
        self.ctx.send(CloseBlock(self.block, n + k, n, k))
        self.ctx.send_tag(PoolName.BLOCK)
        self._expected = (Disclosure,)

    def on_disclosure(self, message: Disclosure) -> None:
        self.expect(message)
        raw, k = self.bits, len(self.bits.test)
        if message.n_bits != k or len(message.bits) != (k + 7) // 8:
            raise ProtocolError("malformed_message", "the disclosed bits have another number")
        own = raw.test.disclose()
        self.test_errors, self.test_counted = count_errors(own, message.bits), True
        ones = [int.from_bytes(bits, "big").bit_count() for bits in (own, message.bits)]
        reason = judge(
            self.ctx.parameters,
            key_bits=len(raw.key),
            errors=self.test_errors,
            alice=SideFigures(raw.events, raw.multi_clicks, k, ones[0]),
            bob=SideFigures(message.events, message.multi_clicks, k, ones[1]),
        )
        if reason is not None:
            self._abort(reason)
            return
        seed = self.ctx.randomness(reconcile.SEED_BYTES)
        qber = reconcile.start_qber(self.test_errors, k)
        self._answerer = reconcile.Answerer(
            raw.key,
            qber=qber,
            seed=seed,
            leak_cap_bits=self.ctx.parameters.leak_cap_bits(len(raw.key)),
            max_rounds=self.ctx.parameters.max_rounds,
        )
        self.ctx.send(Estimate(self.block, self.test_errors, qber, seed))
        self._expected = (CascadeRequest, Reconciled)

    def on_cascade_request(self, message: CascadeRequest) -> None:
        self.expect(message)
        assert self._answerer is not None  # noqa: S101 - set with the estimate
        try:
            reply = self._answerer.answer(message.body)
        except reconcile.LeakCapReached:
            self.leak_bits = self._answerer.leak_bits
            self._abort(
                f"leak_cap_reached: Bob asks for more than "
                f"{self.ctx.parameters.leak_cap_bits(len(self.bits.key))} parities"
            )
            return
        except reconcile.ReconcileError as error:
            raise ProtocolError("malformed_message", f"Cascade request: {error}") from error
        self.leak_bits, self.rounds = self._answerer.leak_bits, self._answerer.rounds
        self.ctx.send(CascadeReply(reply))

    def on_reconciled(self, message: Reconciled) -> None:
        self.expect(message)
        if message.errors_corrected > len(self.bits.key):
            raise ProtocolError("malformed_message", "more errors than bits")
        self.errors_corrected = message.errors_corrected
        point = self.ctx.randomness(verify.POINT_BYTES)
        digest = verify.digest(self.bits.key, point, self.ctx.parameters.eps_cor)
        self.ctx.send(Verify(self.block, self.leak_bits, point, digest))
        self.ctx.send_tag(PoolName.BLOCK)
        self._expected = (VerifyResult,)

    def on_verify_result(self, message: VerifyResult) -> None:
        self.expect(message)
        n, k = len(self.bits.key), len(self.bits.test)
        if message.equal != 1:
            self.finish("verification_failed: the keys differ after reconciliation")
            return
        self.lengths = amplify.secret_length(self.ctx.parameters, n, k, self.leak_bits)
        length = self.lengths.charged.length
        if self.authentication_too_weak:
            self._abort("authentication_too_weak: the tags exceed the agreed epsilon")
            return
        if length == 0:
            self._abort(f"{UNPAID}: {self.lengths.charged.reason}")
            return
        self._refill = plan_refill(self.ctx, length)
        seed = self.ctx.randomness(amplify.seed_bytes(n))
        self._secret = amplify.amplify(self.bits.key, seed, length)
        self.ctx.send(
            Amplify(
                self.block, length, self._refill.handshake_bytes, self._refill.block_bytes, seed
            )
        )
        self.ctx.send_tag(PoolName.BLOCK)
        self._expected = (Prepared,)

    def on_prepared(self, message: Prepared) -> None:
        self.expect(message)
        assert self._secret is not None  # noqa: S101 - set with the seed
        secret, self._secret = self._secret, None
        self.prepare(secret, self._refill)
        self.ctx.send(Commit(self.block))
        self.ctx.send_tag(PoolName.BLOCK)
        self._expected = (Committed,)

    def on_committed(self, message: Committed) -> None:
        self.expect(message)
        self.release()

    def _abort(self, reason: str) -> None:
        text = reason.encode()[: AbortBlock.TAIL_BYTES]
        self.ctx.send(AbortBlock(self.block, self.test_errors, text))
        self.ctx.send_tag(PoolName.BLOCK)
        self.finish(reason)

    def drop(self) -> None:
        super().drop()
        if self._answerer is not None:
            self._answerer.close()
            self._answerer = None
        if self._secret is not None:
            self._secret.close()
            self._secret = None
