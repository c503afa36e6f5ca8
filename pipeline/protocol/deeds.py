"""Carries out the steps that handlers return: records, messages and reports.

Steps are carried out in order, each record on disk before the next message leaves. This is the only
code between a connection, which is tentative, and state that outlives it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.ledger import LedgerError, LedgerUnwritable
from photonlink.pipeline.keys.store import StoreError
from photonlink.pipeline.native.base import NativeMemoryError
from photonlink.pipeline.protocol.block_account import UNPAID, BlockAccount
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.commitment import BlockOutcome, Commitment
from photonlink.pipeline.protocol.connection import Connection
from photonlink.pipeline.protocol.lasting import Lasting, Verified
from photonlink.pipeline.protocol.messages import AbortBlock, Message
from photonlink.pipeline.protocol.publishing import Publisher
from photonlink.pipeline.protocol.tentative import (
    BlockAttempt,
    EndBlock,
    Expect,
    Mark,
    Offer,
    Raise,
    Say,
    Step,
)


class Deeds:
    """``say``: sends a message on a connection."""

    def __init__(
        self,
        lasting: Lasting,
        commitment: Commitment,
        publisher: Publisher,
        say: Callable[[Connection, Message], None],
    ) -> None:
        self._lasting, self._commitment, self._publisher = lasting, commitment, publisher
        self._say = say

    def carry_out(self, line: Connection) -> None:
        for step in line.view.take_steps():
            self._one(line, step)

    def _one(self, line: Connection, step: Step) -> None:
        if isinstance(step, Say):
            self._say(line, step.message)
        elif isinstance(step, Raise):
            self._publisher.alarm(step.code, step.text)
        elif isinstance(step, BlockAttempt):
            self._lasting.attempt(step.block, step.pairs, line.epsilon, line.session_id.hex())
        elif isinstance(step, Mark):
            side = line.transcript.sent if step.sent else line.transcript.received
            side.mark()
        elif isinstance(step, EndBlock):
            self.end(line, step.account, step.reason, agreed=step.agreed)
        elif isinstance(step, Offer):
            line.transcript.received.mark()
            self._hand_over(line, step, self._commitment.offer)
        else:
            self._hand_over(line, step, self._commitment.expect)

    def _hand_over(
        self, line: Connection, step: Offer | Expect, take: Callable[..., str | None]
    ) -> None:
        """Give the block to the commitment; when that refuses, both sides drop the block and no pad
        was spent.
        """
        assert line.role is not None  # noqa: S101 - steps come from a role
        line.role.committing = True
        try:
            reason = take(step, line.transcript, lambda message: self._say(line, message))
        except PhotonlinkError as error:
            with contextlib.suppress(LedgerError, StoreError):
                self.end(line, step.account, own_fault(error), agreed=False)
            raise
        if reason is not None:
            text = reason.encode()[: AbortBlock.TAIL_BYTES]
            self._say(line, AbortBlock(step.account.block, text))
            self.end(line, step.account, reason, agreed=True)
            line.role.committed(reason)

    def end(self, line: Connection, account: BlockAccount, reason: str, *, agreed: bool) -> None:
        line.transcript.unmark()
        self._lasting.end(
            account.block, "aborted" if agreed else "burnt", reason, account.leak_bits
        )
        if reason.startswith("pads_exhausted"):
            self._publisher.alarm("pads_exhausted", reason)
        if reason.startswith(("detector_", "key_unbalanced")):
            self._publisher.alarm(reason.partition(":")[0], reason)
        unpaid = account.rest and reason.startswith(UNPAID)
        # a rest that follows good blocks and gives no key is not reported
        if not (unpaid and self._publisher.blocks):
            self._publisher.report(account, reason)
        self.remember(line)

    def remember(self, line: Connection) -> None:
        """Keep the error rates of this block, for the decision about the rest at the end of
        input.
        """
        line.view.seen_rate = self._publisher.seen_rate
        line.view.tried = self._publisher.blocks > 0 or self._publisher.last_abort is not None

    def conclude(self, line: Connection, outcome: BlockOutcome | None) -> None:
        """A block was released, or burnt by the commitment."""
        if outcome is None:
            return
        if outcome.account is not None:
            self._publisher.report(outcome.account, outcome.abort)
        if outcome.proof is not None:
            self._vouch(line, outcome.proof)
        if outcome.abort is None:
            for code in ("store_failed", *self._publisher.verdict_alarms):
                self._publisher.alarm(code, None)
        self.remember(line)
        self._lasting.tidy()
        if line.role is not None:
            line.role.committed(outcome.abort)
        if outcome.abort in ("authentication_failed", "length_mismatch"):
            raise ProtocolError(outcome.abort, "the block's first one-time tag does not fit")

    def _vouch(self, line: Connection, proof: Verified) -> None:
        """The first tag of a connection covers both Hellos: from now on their content may be
        stored.
        """
        if line.vouched or proof.session_id != line.session_id:
            return
        line.vouched = True
        told = [block for block, _ in line.claim.damaged]
        heard = dict(line.peer_claim.damaged)
        self._lasting.exchange_damage(proof, line.session_id, heard, told)


def own_fault(error: PhotonlinkError) -> str:
    """Alarm code for a fault on this side, after which the link stops and delivers nothing."""
    if isinstance(error, ProtocolError):
        return error.code
    if isinstance(error, LedgerUnwritable):
        return "ledger_failed"
    if isinstance(error, LedgerError):
        return "ledger_refused"
    if isinstance(error, StoreError):
        return "store_failed"
    return "locked_memory_exhausted" if isinstance(error, NativeMemoryError) else "core_failed"
