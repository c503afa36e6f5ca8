"""Bob's steps of a block: tell bases, disclose, judge, correct, compare, reserve the pads."""

from __future__ import annotations

import numpy as np

from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.distilling.shared import Closed, Distilling
from photonlink.pipeline.protocol.distilling.sifted import (
    OpenSide,
    SiftedBlock,
    pack_bits,
    unpack_bits,
)
from photonlink.pipeline.protocol.messages import (
    BLOCK_NONCE_BYTES,
    AbortBlock,
    BlockBases,
    CascadeReply,
    CascadeRequest,
    Disclosure,
    Estimate,
    Reconciled,
    Sift,
    Verify,
    VerifyResult,
)
from photonlink.pipeline.protocol.printing import printable
from photonlink.pipeline.protocol.tentative import Expect, Mark, Tentative
from photonlink.pipeline.stages import reconcile, verify
from photonlink.pipeline.stages.estimate import judge_errors


class BobDistilling(Distilling):
    """See docs/protocol.md, "A block"."""

    def __init__(self, view: Tentative) -> None:
        super().__init__(view)
        self._corrector: reconcile.Corrector | None = None
        self._corrected: SecretBits | None = None
        self._parities = (0, 0)  # received: at least, at most (answers come in whole bytes)

    def on_close(self, closed: Closed, block: int) -> None:
        """The block has closed on both sides: only now the bases of its pairs are told."""
        self.begin(closed, block)
        raw = closed.raw
        nonce = self.view.randomness(BLOCK_NONCE_BYTES)
        self.view.say(BlockBases(block, nonce, len(raw), pack_bits(raw.basis)))
        self._parities = (0, 0)
        self._expected = (Sift, AbortBlock)

    def on_sift(self, message: Sift) -> None:
        """Disclose the pairs in different bases and the test basis, unless the verdict is bad."""
        self.expect(message)
        raw, n, step = self.closed.raw, len(self.closed.raw), self.closed.step_ps
        mask_bytes = (n + 7) // 8
        if message.pairs != n:
            raise ProtocolError("malformed_message", "a mask of another number of pairs")
        mask = unpack_bits(n, message.body[:mask_bytes]).astype(np.bool_)
        if message.disclosed != int(np.count_nonzero(~mask)):
            raise ProtocolError("malformed_message", "another number of disclosed pairs")
        self._sifted = SiftedBlock.of(raw, mask, step)
        self.count_sifted()
        sifted = self.sifted
        alice = OpenSide.unpack(message.body[mask_bytes:], sifted.open_basis, step)
        reason = self.own_verdict(alice, sifted.open)
        if reason is not None:
            self.abort(reason)
            return
        k = len(sifted.test)
        body = sifted.open.pack_detectors() + sifted.test.disclose()
        self.view.say(Disclosure(self.block.block, message.disclosed, k, body))
        self._expected = (Estimate, AbortBlock)

    def on_estimate(self, message: Estimate) -> None:
        self.expect(message)
        k = len(self.sifted.test)
        if not 0 <= message.qber_hint <= 0.5 or message.test_errors > k:
            raise ProtocolError("malformed_message", "an estimate that cannot be")
        self.block.test_errors, self.block.test_counted = message.test_errors, True
        reason = judge_errors(
            self.view.parameters,
            key_bits=len(self.sifted.key),
            test_bits=k,
            errors=message.test_errors,
        )
        if reason is not None:
            self.abort(reason)
            return
        self._corrector = reconcile.Corrector(
            self.sifted.key, qber=message.qber_hint, seed=message.seed
        )
        self._ask()

    def _ask(self) -> None:
        assert self._corrector is not None  # noqa: S101 - set with the estimate
        request = self._corrector.request()
        if request is not None:
            self.view.say(CascadeRequest(request))
            self._expected = (CascadeReply, AbortBlock)
            return
        self.block.errors_corrected = self._corrector.errors_corrected
        self.block.rounds = self._corrector.rounds
        self._corrected = self._corrector.corrected()
        self.view.say(Reconciled(self.block.block, self.block.errors_corrected, self.block.rounds))
        self._expected = (Verify, AbortBlock)

    def on_cascade_reply(self, message: CascadeReply) -> None:
        self.expect(message)
        assert self._corrector is not None  # noqa: S101 - set with the estimate
        try:
            self._corrector.receive(message.body)
            low, high = self._parities
            self._parities = (low + 8 * len(message.body) - 7, high + 8 * len(message.body))
            self._ask()
        except reconcile.ReconcileError as error:
            raise ProtocolError("malformed_message", f"Cascade reply: {error}") from error

    def on_verify(self, message: Verify) -> None:
        """Alice's hash and the leak she charges, against what came here."""
        self.expect(message)
        assert self._corrected is not None  # noqa: S101 - set when Cascade ended
        self.view.wish(Mark(sent=False))
        self.block.leak_bits = message.leak_bits
        low, high = self._parities
        if not low <= message.leak_bits <= high:
            self.abort(
                f"leak_mismatch: {message.leak_bits} parities are charged, {low} to {high} came"
            )
            return
        eps_cor = self.view.parameters.eps_cor
        if not verify.matches(self._corrected, message.point, eps_cor, message.digest):
            self.view.say(VerifyResult(self.block.block, 0, 0, 0))
            self.end("verification_failed: the keys differ after reconciliation")
            return
        key, self._corrected = self._corrected, None
        self.view.wish(Expect(self.block, key, self.view.peer_provenance))
        self.drop()

    def on_abort(self, message: AbortBlock) -> None:
        self.expect(message)
        self.end(printable(message.reason.decode("utf-8", "replace")))

    def drop(self) -> None:
        super().drop()
        if self._corrector is not None:
            self._corrector.close()
            self._corrector = None
        if self._corrected is not None:
            self._corrected.close()
            self._corrected = None
