"""Bob's steps of a block: tell bases, disclose, judge, correct, compare, reserve the pads."""

from __future__ import annotations

import numpy as np

from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.distilling.shared import THRESHOLDS_DIFFER, Closed, Distilling
from photonlink.pipeline.protocol.distilling.sifted import (
    OpenSide,
    SiftedBlock,
    join_parts,
    pack_bits,
    split_parts,
    unpack_bits,
)
from photonlink.pipeline.protocol.messages import (
    BLOCK_NONCE_BYTES,
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
from photonlink.pipeline.protocol.tentative import Expect, Mark, Tentative
from photonlink.pipeline.stages import estimate, reconcile, verify


class BobDistilling(Distilling):
    """Bob's part of docs/protocol.md, "A block"."""

    def __init__(self, view: Tentative) -> None:
        super().__init__(view)
        self._correctors: list[reconcile.Corrector] = []  # one for each string that makes key
        self._corrected: list[SecretBits] = []
        self._parities: list[int] = []  # received for each string

    def on_close(self, closed: Closed, message: CloseBlock) -> None:
        """The block has closed on both sides: announce the bases of its pairs."""
        block = message.block
        self.begin(closed, block)
        raw, steps = closed.raw, self.block.thresholds.steps
        if (message.hv_threshold, message.da_threshold) != steps:
            self.abort(f"{THRESHOLDS_DIFFER}: the two ends hold other errors of earlier blocks")
            return
        nonce = self.view.randomness(BLOCK_NONCE_BYTES)
        self.view.say(BlockBases(block, nonce, len(raw), pack_bits(raw.basis)))
        self._expected = (Sift, AbortBlock)

    def on_sift(self, message: Sift) -> None:
        """Disclose the pairs in different bases and the test basis, unless a check failed."""
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
        reason = self.judge_errors() or self.own_verdict(alice, sifted.open)
        if reason is not None:
            self.abort(reason)
            return
        body, k = sifted.open.pack_detectors(), 0
        if not self.view.parameters.both_bases:
            body, k = body + sifted.da.disclose(), len(sifted.da)
        self.view.say(Disclosure(self.block.block, message.disclosed, k, body))
        self._expected = (Estimate, AbortBlock)

    def on_estimate(self, message: Estimate) -> None:
        self.expect(message)
        block, one = self.block, not self.view.parameters.both_bases
        hints, seeds = (message.hv_hint, message.da_hint), (message.hv_seed, message.da_seed)
        if not all(0 <= hint <= 0.5 for hint in hints) or message.test_errors > (
            block.da.bits if one else 0
        ):
            raise ProtocolError("malformed_message", "an estimate that cannot be")
        if one:
            block.da.errors = message.test_errors
            self.remember_errors()
        reason = self.judge_errors()
        if reason is not None:
            self.abort(reason)
            return
        for string, hint, seed in zip(self.strings, hints, seeds, strict=False):
            self._correctors.append(reconcile.Corrector(string, qber=hint, seed=seed))
        self._parities = [0] * len(self._correctors)
        self._ask()

    def _ask(self) -> None:
        questions = [corrector.request() for corrector in self._correctors]
        reason = self._beyond_the_cap()
        if reason is not None:
            self.abort(reason)
            return
        if any(question is not None for question in questions):
            self.view.say(CascadeRequest(*join_parts([q or b"" for q in questions])))
            self._expected = (CascadeReply, AbortBlock)
            return
        block, errors = self.block, [c.errors_corrected for c in self._correctors]
        block.hv.errors = errors[0]
        if len(errors) > 1:
            block.da.errors = errors[1]
            self.remember_errors()
        block.rounds = max(c.rounds for c in self._correctors)
        self._corrected = [corrector.corrected() for corrector in self._correctors]
        self.view.say(Reconciled(block.block, errors[0], sum(errors[1:]), block.rounds))
        self._expected = (Verify, AbortBlock)

    def _beyond_the_cap(self) -> str | None:
        """Why the next request is not sent: Alice would not answer it. Usually the parities so far
        show more errors than any threshold allows.
        """
        p, sides = self.view.parameters, (self.block.hv, self.block.da)
        for i, corrector in enumerate(self._correctors):
            name, bits = ("HV", "DA")[i], sides[i].bits
            if self._parities[i] + corrector.asked_bits > p.leak_cap_bits(bits):
                return estimate.why_beyond_cap(p, name, bits, corrector.errors_seen)
        return None

    def on_cascade_reply(self, message: CascadeReply) -> None:
        self.expect(message)
        answers = split_parts(len(self._correctors), message.hv_bytes, message.body)
        try:
            for i, (corrector, answer) in enumerate(zip(self._correctors, answers, strict=True)):
                if corrector.waits or answer:
                    asked = corrector.asked_bits
                    corrector.receive(answer)
                    self._parities[i] += asked
            self._ask()
        except reconcile.ReconcileError as error:
            raise ProtocolError("malformed_message", f"Cascade reply: {error}") from error

    def on_verify(self, message: Verify) -> None:
        """Compare Alice's hashes with ours and her leak counts with what arrived here; then check
        the error rates.
        """
        self.expect(message)
        self.view.wish(Mark(sent=False))
        block, leaks = self.block, (message.hv_leak_bits, message.da_leak_bits)
        block.hv.leak_bits, block.da.leak_bits = leaks
        for leak, came in zip(leaks, [*self._parities, 0][:2], strict=True):
            if leak != came:
                self.abort(f"leak_mismatch: {leak} parities are charged, {came} came")
                return
        if not self._verified(message):
            self.view.say(VerifyResult(block.block, 0, 0, 0))
            self.end("verification_failed: the keys differ after reconciliation")
            return
        reason = self.judge_errors()
        if reason is not None:
            self.abort(reason)
            return
        strings, self._corrected = tuple(self._corrected), []
        self.view.wish(Expect(block, strings, self.view.peer_provenance))
        self.drop()

    def _verified(self, message: Verify) -> bool:
        eps_cor, digests, equal = self.view.parameters.eps_cor_string, message.digests, True
        for string in self._corrected:
            size = (verify.tag_bits(len(string), eps_cor) + 7) // 8
            equal &= verify.matches(string, message.point, eps_cor, digests[:size])
            digests = digests[size:]
        return equal and not digests

    def on_abort(self, message: AbortBlock) -> None:
        self.expect(message)
        self.end(printable(message.reason.decode("utf-8", "replace")))

    def drop(self) -> None:
        super().drop()
        for corrector in self._correctors:
            corrector.close()
        for string in self._corrected:
            string.close()
        self._correctors.clear()
        self._corrected.clear()
