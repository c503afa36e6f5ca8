"""Alice's steps of a block: close, sift, judge, answer parities, verify, offer."""

from __future__ import annotations

import numpy as np

from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.distilling.shared import Closed, Distilling
from photonlink.pipeline.protocol.distilling.sifted import (
    OpenSide,
    SiftedBlock,
    pack_bits,
    unpack_bits,
)
from photonlink.pipeline.protocol.messages import (
    AbortBlock,
    BlockBases,
    CascadeReply,
    CascadeRequest,
    CloseBlock,
    Disclosure,
    Estimate,
    Reconciled,
    Sift,
    Verify,
    VerifyResult,
)
from photonlink.pipeline.protocol.printing import printable
from photonlink.pipeline.protocol.tentative import Mark, Offer, Tentative
from photonlink.pipeline.stages import reconcile, verify
from photonlink.pipeline.stages.estimate import count_errors, judge_errors


class AliceDistilling(Distilling):
    """See docs/protocol.md, "A block"."""

    def __init__(self, view: Tentative) -> None:
        super().__init__(view)
        self._answerer: reconcile.Answerer | None = None

    def close_block(self, closed: Closed) -> None:
        self.begin(closed, self.view.next_block)
        self.view.say(CloseBlock(self.block.block, len(closed.raw)))
        self._expected = (BlockBases,)

    def on_bases(self, message: BlockBases) -> None:
        """Bob has told his: answer which pairs share a basis, and disclose the others."""
        self.expect(message)
        raw, n = self.closed.raw, len(self.closed.raw)
        if message.pairs != n:
            raise ProtocolError("malformed_message", "bases of another number of pairs")
        mask = unpack_bits(n, message.bases) == raw.basis
        self._sifted = SiftedBlock.of(raw, mask, self.closed.step_ps)
        self.count_sifted()
        opened = int(np.count_nonzero(~mask))
        body = pack_bits(mask) + self.sifted.open.pack(self.closed.step_ps)
        self.view.say(Sift(self.block.block, n, opened, body))
        self._expected = (Disclosure, AbortBlock)

    def on_disclosure(self, message: Disclosure) -> None:
        """Bob's verdict was good: count the errors, judge everything."""
        self.expect(message)
        sifted, k = self.sifted, len(self.sifted.test)
        test_bytes = (k + 7) // 8
        split = len(message.body) - test_bytes
        if message.test_bits != k or message.disclosed != len(sifted.open_basis) or split < 0:
            raise ProtocolError("malformed_message", "the disclosed bits have another number")
        bob = OpenSide.unpack(message.body[:split], sifted.open_basis, 0)
        told = message.body[split:]
        unpack_bits(k, told)
        self.block.test_errors = count_errors(sifted.test.disclose(), told)
        self.block.test_counted = True
        reason = judge_errors(
            self.view.parameters,
            key_bits=len(sifted.key),
            test_bits=k,
            errors=self.block.test_errors,
        ) or self.own_verdict(sifted.open, bob)
        if reason is not None:
            self.abort(reason)
            return
        self._start_correction()

    def _start_correction(self) -> None:
        seed = self.view.randomness(reconcile.SEED_BYTES)
        errors, n = self.block.test_errors, len(self.sifted.key)
        qber = reconcile.start_qber(errors, len(self.sifted.test))
        self._answerer = reconcile.Answerer(
            self.sifted.key,
            qber=qber,
            seed=seed,
            leak_cap_bits=self.view.parameters.leak_cap_bits(n),
            max_rounds=self.view.parameters.max_rounds,
        )
        self.view.say(Estimate(self.block.block, errors, qber, seed))
        self._expected = (CascadeRequest, Reconciled, AbortBlock)

    def on_cascade_request(self, message: CascadeRequest) -> None:
        self.expect(message)
        assert self._answerer is not None  # noqa: S101 - set with the estimate
        try:
            reply = self._answerer.answer(message.body)
        except reconcile.LeakCapReached:
            self.block.leak_bits = self._answerer.leak_bits
            cap = self.view.parameters.leak_cap_bits(len(self.sifted.key))
            self.abort(f"leak_cap_reached: Bob asks for more than {cap} parities")
            return
        except reconcile.ReconcileError as error:
            raise ProtocolError("malformed_message", f"Cascade request: {error}") from error
        self.block.leak_bits, self.block.rounds = self._answerer.leak_bits, self._answerer.rounds
        self.view.say(CascadeReply(reply))

    def on_reconciled(self, message: Reconciled) -> None:
        self.expect(message)
        if message.errors_corrected > len(self.sifted.key):
            raise ProtocolError("malformed_message", "more errors than bits")
        self.block.errors_corrected = message.errors_corrected
        point = self.view.randomness(verify.POINT_BYTES)
        digest = verify.digest(self.sifted.key, point, self.view.parameters.eps_cor)
        self.view.say(Verify(self.block.block, self.block.leak_bits, point, digest))
        self.view.wish(Mark(sent=True))
        self._expected = (VerifyResult, AbortBlock)

    def on_verify_result(self, message: VerifyResult) -> None:
        """Equal: the commitment takes the key over, with what both tags will cover."""
        self.expect(message)
        if message.equal != 1:
            self.end("verification_failed: the keys differ after reconciliation")
            return
        key = self.sifted.key.slice(0, len(self.sifted.key))
        self.view.wish(
            Offer(self.block, key, message.alice_pad, message.bob_pad, self.view.peer_provenance)
        )
        self.drop()

    def on_abort(self, message: AbortBlock) -> None:
        self.expect(message)
        self.end(printable(message.reason.decode("utf-8", "replace")))

    def drop(self) -> None:
        super().drop()
        if self._answerer is not None:
            self._answerer.close()
            self._answerer = None
