"""Alice's steps of a block: close, sift, judge, answer parities, verify, offer."""

from __future__ import annotations

import numpy as np

from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.distilling.shared import Closed, Distilling
from photonlink.pipeline.protocol.distilling.sifted import (
    OpenSide,
    SiftedBlock,
    join_parts,
    pack_bits,
    split_parts,
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
from photonlink.pipeline.stages.estimate import count_errors


class AliceDistilling(Distilling):
    """Alice's part of docs/protocol.md, "A block"."""

    def __init__(self, view: Tentative) -> None:
        super().__init__(view)
        self._answerers: list[reconcile.Answerer] = []  # one for each string that makes key

    def close_block(self, closed: Closed) -> None:
        self.begin(closed, self.view.next_block)
        steps = self.block.thresholds.steps
        self.view.say(CloseBlock(self.block.block, len(closed.raw), *steps))
        self._expected = (BlockBases, AbortBlock)

    def on_bases(self, message: BlockBases) -> None:
        """Bob has announced his bases: answer which pairs share a basis, and disclose the
        others.
        """
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
        """Bob's checks have passed: run Alice's checks, count the errors of a test basis, start
        Cascade.
        """
        self.expect(message)
        sifted = self.sifted
        k = 0 if self.view.parameters.both_bases else len(sifted.da)
        split = len(message.body) - (k + 7) // 8
        if message.test_bits != k or message.disclosed != len(sifted.open_basis) or split < 0:
            raise ProtocolError("malformed_message", "the disclosed bits have another number")
        bob = OpenSide.unpack(message.body[:split], sifted.open_basis, 0)
        told = message.body[split:]
        unpack_bits(k, told)
        if k:
            self.block.da.errors = count_errors(sifted.da.disclose(), told)
        reason = self.own_verdict(sifted.open, bob)
        if reason is not None:
            self.abort(reason)
            return
        self._start_correction()

    def _start_correction(self) -> None:
        p, block = self.view.parameters, self.block
        hints, seeds = [0.0, 0.0], [bytes(reconcile.SEED_BYTES)] * 2
        for i, string in enumerate(self.strings):
            hints[i] = self._start_rate(i)
            seeds[i] = self.view.randomness(reconcile.SEED_BYTES)
            self._answerers.append(
                reconcile.Answerer(
                    string,
                    qber=hints[i],
                    seed=seeds[i],
                    leak_cap_bits=p.leak_cap_bits(len(string)),
                    max_rounds=p.max_rounds,
                )
            )
        self.view.say(
            Estimate(block.block, block.da.errors or 0, hints[0], hints[1], seeds[0], seeds[1])
        )
        self.remember_errors()
        self._expected = (CascadeRequest, Reconciled, AbortBlock)

    def _start_rate(self, basis: int) -> float:
        """The error rate that Cascade starts with: of the test basis where there is one, else of
        the last block, else a guess, which Cascade corrects.
        """
        da, earlier = self.block.da, (self.view.earlier.hv, self.view.earlier.da)[basis]
        if da.errors is not None:
            return reconcile.start_qber(da.errors, da.bits)
        if earlier:
            return reconcile.start_qber(earlier[-1].errors, earlier[-1].bits)
        return self.block.thresholds.da / 3

    def on_cascade_request(self, message: CascadeRequest) -> None:
        self.expect(message)
        block, p = self.block, self.view.parameters
        questions = split_parts(len(self._answerers), message.hv_bytes, message.body)
        answers = [b""] * len(questions)
        for i, (answerer, asked) in enumerate(zip(self._answerers, questions, strict=True)):
            string = (block.hv, block.da)[i]
            if not asked:
                continue
            try:
                answers[i] = answerer.answer(asked)
            except reconcile.LeakCapReached:
                cap = p.leak_cap_bits(string.bits)
                name = ("HV", "DA")[i]
                self.abort(f"leak_cap_reached: Bob asks for more than {cap} parities of {name}")
                return
            except reconcile.ReconcileError as error:
                raise ProtocolError("malformed_message", f"Cascade request: {error}") from error
            string.leak_bits = answerer.leak_bits
            block.rounds = max(block.rounds, answerer.rounds)
        self.view.say(CascadeReply(*join_parts(answers)))

    def on_reconciled(self, message: Reconciled) -> None:
        self.expect(message)
        block = self.block
        self.hear_errors(message)
        point = self.view.randomness(verify.POINT_BYTES)
        eps_cor = self.view.parameters.eps_cor_string
        digests = b"".join(verify.digest(string, point, eps_cor) for string in self.strings)
        leaks = block.hv.leak_bits, block.da.leak_bits
        self.view.say(Verify(block.block, *leaks, point, digests))
        self.view.wish(Mark(sent=True))
        self._expected = (VerifyResult, AbortBlock)

    def hear_errors(self, message: Reconciled) -> None:
        """Take the number of errors that Bob found. It counts once the strings are verified."""
        block = self.block
        if message.hv_errors > block.hv.bits or message.da_errors > block.da.bits:
            raise ProtocolError("malformed_message", "more errors than bits")
        block.hv.errors = message.hv_errors
        if self.view.parameters.both_bases:
            block.da.errors = message.da_errors
            self.remember_errors()

    def on_verify_result(self, message: VerifyResult) -> None:
        """When the strings are equal, offer them to the commitment, with what both tags will cover.
        Refused when a threshold is exceeded here, whatever Bob answered.
        """
        self.expect(message)
        if message.equal != 1:
            self.end("verification_failed: the keys differ after reconciliation")
            return
        strings = tuple(string.slice(0, len(string)) for string in self.strings)
        pads = message.alice_pad, message.bob_pad
        self.view.wish(Offer(self.block, strings, *pads, self.view.peer_provenance))
        self.drop()

    def on_abort(self, message: AbortBlock) -> None:
        self.expect(message)
        self.end(printable(message.reason.decode("utf-8", "replace")))

    def drop(self) -> None:
        super().drop()
        for answerer in self._answerers:
            answerer.close()
        self._answerers.clear()
