"""From equal keys to released ones: the two one-time tags of a block, and what survives a cut.

Alice offers: she stores the key, spends her pad, sends Amplify under it. Bob verifies, stores the
key, spends his pad, answers Prepared. Alice verifies, releases, sends Commit; Bob releases. Nothing
is computed twice: after a cut the same bytes are sent again, and their tags are checked again. Only
a crash burns a block that both had agreed on. A block that ends earlier has spent no pad.

This is the one place that makes a ``Verified``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from photonlink.hal.tags import Provenance
from photonlink.pipeline.keys.ledger import PAD_BYTES
from photonlink.pipeline.keys.pads import DIRECTIONS
from photonlink.pipeline.keys.policy import least_real
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.block_account import UNPAID, BlockAccount
from photonlink.pipeline.protocol.channel import authentication
from photonlink.pipeline.protocol.channel.authentication import Covered, LineHashes
from photonlink.pipeline.protocol.channel.claims import MAX_DAMAGED, LedgerClaim
from photonlink.pipeline.protocol.channel.framing import HEADER_BYTES, ProtocolError
from photonlink.pipeline.protocol.lasting import IN_DOUBT, KeptBlock, Lasting, Verified
from photonlink.pipeline.protocol.messages import Amplify, Commit, Message, Prepared, VerifyResult
from photonlink.pipeline.protocol.tentative import Expect, Offer
from photonlink.pipeline.stages import amplify

REFILL_BITS_PER_PAD = 16 * PAD_BYTES  # one pad for each direction
NAMED = ("qber_above_threshold", "no_bits_in_one_basis")  # errors that keep their own alarm code
FRAME_BYTES = 64  # bytes of a message beside its tail: header, fields


@dataclass(slots=True)
class OfferedBlock:
    """Alice: an offer, sent again after each cut until Bob's tag has arrived. account None: made by
    an earlier process.
    """

    account: BlockAccount | None
    message: Amplify
    said: bytes  # what Bob's tag states
    bob_pad: int
    session_id: bytes


@dataclass(slots=True)
class ExpectedBlock:
    """Bob: the keys are equal and the pads reserved; Amplify is due. covered: set when the line was
    cut. proof: her tag was right, but the key could not be stored yet.
    """

    account: BlockAccount
    strings: tuple[SecretBits, ...]
    session_id: bytes
    alice_pad: int
    bob_pad: int
    peer_provenance: Provenance
    covered: Covered | None = None
    proof: Verified | None = None

    def close(self) -> None:
        for string in self.strings:
            string.close()
        if self.covered is not None:
            self.covered.close()


@dataclass(slots=True)
class AnsweredBlock:
    """Bob: the key is stored; Commit is due. account, asked None: made by an earlier process."""

    account: BlockAccount | None
    asked: Amplify | None
    message: Prepared
    proof: Verified


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """A block is over: released (abort None) or burnt. account None: begun by an earlier process.
    proof: the peer's one-time tag was right."""

    account: BlockAccount | None
    abort: str | None
    proof: Verified | None = None


Voice = Callable[[Message], None]


class Commitment:
    """One per session; ``say`` and ``transcript`` belong to the present connection."""

    def __init__(self, lasting: Lasting, randomness: Callable[[int], bytes]) -> None:
        self._lasting, self._randomness = lasting, randomness
        self._offered: OfferedBlock | None = None
        self._expected: ExpectedBlock | None = None
        self._answered: AnsweredBlock | None = None

    # ---- the claim in Hello ----
    def claim(self, *, is_alice: bool) -> LedgerClaim:
        """ready: the block that Alice can offer again, or that Bob can still verify or answer."""
        state, pads = self._lasting.state, self._lasting.pads
        self._recall(max(state.pending, default=0), is_alice=is_alice)
        ours = (self._offered,) if is_alice else (self._expected, self._answered)
        return LedgerClaim(
            store=self._lasting.claim(),
            seen=self._lasting.remembered(),
            next_block=state.next_block,
            offered=state.offered,
            released=state.released,
            last_released=state.last_released,
            pending=max(state.pending, default=0),
            ready=next((_block_of(one) for one in ours if one is not None), 0),
            pads=(pads.spent("alice"), pads.spent("bob")),
            damaged=tuple(sorted(self._lasting.damage_to_tell().items())[:MAX_DAMAGED]),
        )

    @property
    def expected_block(self) -> int:
        """Bob: the block whose Amplify is due; 0: none."""
        return self._expected.account.block if self._expected else 0

    # ---- Alice ----
    def refusal(self, account: BlockAccount, covered_bytes: int) -> str | None:
        """Set the block's lengths; return why no tag may be made for it, or None. Spends
        nothing.
        """
        p, pads = account.parameters, self._lasting.pads
        lengths = account.charge()
        length = lengths.length
        if length == 0:
            reason = lengths.reason or ""
            return reason if reason.startswith(NAMED) else f"{UNPAID}: {reason}"
        if length <= REFILL_BITS_PER_PAD:
            return f"{UNPAID}: {length} bits do not pay for the block's tags"
        amplify_bytes = lengths.seed_bytes + FRAME_BYTES
        epsilon = 2 * authentication.tag_epsilon(covered_bytes + amplify_bytes)
        if epsilon > p.eps_auth:
            return "authentication_too_weak: the tags exceed the agreed epsilon"
        if self._lasting.least_left() < PAD_BYTES:
            return "pads_exhausted: exchange a new pre-shared key"
        if not authentication.blocks_left(max(pads.next(d) for d in DIRECTIONS)):
            return "pads_exhausted: the hash keys are worn, exchange a new pre-shared key"
        return None

    def offer(self, step: Offer, transcript: LineHashes, say: Voice) -> str | None:
        """Amplify, store, spend, tag, send. Returns the reason when that is refused; then nothing
        was spent.
        """
        account, pads = step.account, self._lasting.pads
        with contextlib.ExitStack() as held:
            strings = [held.enter_context(string) for string in step.strings]
            own = {d: pads.next(d) for d in DIRECTIONS}
            told = {"alice": step.alice_pad, "bob": step.bob_pad}
            positions = {d: max(own[d], told[d]) for d in DIRECTIONS}
            if own != told or self._offered is not None:
                raise ProtocolError(
                    "block_mismatch", "the peer reserved other pads than those that are next"
                )
            reason = self.refusal(account, transcript.bytes)
            if reason is not None:
                return reason
            lengths = account.lengths
            assert lengths is not None  # noqa: S101 - set above
            length, refill = lengths.length, self._plan_refill(lengths.length)
            account.refill_bits, account.tags = 16 * refill, 2
            seeds = self._randomness(lengths.seed_bytes)
            secret = amplify.amplify(strings, seeds, lengths.lengths)
        with secret:
            self._lasting.offer(self._stored(account, step.peer_provenance), secret)
        covered = transcript.cut()
        self._lasting.reserve(account.block, positions)
        message = Amplify(
            account.block, length, refill, covered.alice_bytes, covered.bob_bytes,
            positions["alice"], bytes(16), seeds,
        )  # fmt: skip
        try:
            with pads.take(account.block, "alice") as pad:
                tag = covered.alice_tag(message.encode(), pad, positions["alice"])
        finally:
            covered.close()
        message = dataclasses.replace(message, tag=tag)
        self._lasting.keep_message(account.block, message.encode()[HEADER_BYTES:])
        self._offered = self._offer_of(account, message, transcript.session_id, positions["bob"])
        say(message)
        return None

    @staticmethod
    def _offer_of(
        account: BlockAccount | None, message: Amplify, session_id: bytes, bob_pad: int
    ) -> OfferedBlock:
        said = authentication.statement(session_id, message.block, bob_pad, message.tag)
        return OfferedBlock(account, message, said, bob_pad, session_id)

    def _recall(self, block: int, *, is_alice: bool) -> None:
        """After a restart: the stored bytes of the block in doubt, to be sent again."""
        ours = self._offered or self._answered
        if not block or ours is not None:
            return
        payload, entry = self._lasting.kept_message(block), self._lasting.entry(block)
        if payload is None or not entry.reserved:
            return
        if is_alice:
            session_id = bytes.fromhex(entry.session)
            message = Amplify.decode(payload)
            self._offered = self._offer_of(None, message, session_id, entry.reserved["bob"])
        else:
            self._answered = AnsweredBlock(None, None, Prepared.decode(payload), Verified(block))

    def _plan_refill(self, secret_bits: int) -> int:
        """Refill bytes per direction: the pads that this block spends, and what the pools lack to
        the size that the pre-shared key gave them, as far as the block's key is long enough.
        """
        room = secret_bits // REFILL_BITS_PER_PAD
        missing = max(0, self._lasting.psk.pool_bytes(False) - self._lasting.least_left())
        return PAD_BYTES * min(missing // PAD_BYTES + 1, room)

    def _stored(self, account: BlockAccount, peer: Provenance) -> KeptBlock:
        lengths = account.lengths
        assert lengths is not None  # noqa: S101 - set by refusal
        return KeptBlock(
            block=account.block,
            sifted_bits=account.hv.bits + account.da.bits,
            key_bits=account.key_bits,
            test_bits=account.test_bits,
            leak_bits=account.leak_bits + lengths.verification_bits,
            secret_bits=lengths.length,
            refill_bytes=account.refill_bits // 16,
            provenance=least_real(self._lasting.provenance, peer),
        )

    def on_prepared(self, message: Prepared, say: Voice) -> BlockOutcome:
        """Check Bob's tag, which proves that he holds the same key; release, and send Commit."""
        offered = self._offered
        if offered is None or message.block != _block_of(offered):
            raise ProtocolError("unexpected_message", "Prepared for no block that was offered")
        right = message.pad == offered.bob_pad
        if right:
            with self._lasting.pads.take(message.block, "bob") as pad:
                tag = authentication.bob_tag(self._lasting.psk, offered.said, pad, message.pad)
            right = hmac.compare_digest(tag, message.tag)
        self._offered = None
        if not right:
            self._lasting.end(message.block, "burnt", "authentication_failed")
            raise _wrong_tag("bob", message.block)
        self._offered = offered  # until the record is on disk
        proof = Verified(message.block, offered.session_id)
        self._lasting.release(proof)
        self._offered = None
        say(Commit(message.block))
        return BlockOutcome(offered.account, None, proof)

    # ---- Bob ----
    def expect(self, step: Expect, transcript: LineHashes, say: Voice) -> str | None:
        """Tell Alice that the keys are equal and which pads are next. Returns the reason when
        refused.
        """
        reason = self.refusal(step.account, transcript.bytes)
        if reason is not None or self._expected is not None:
            for string in step.strings:
                string.close()
            return reason or "block_mismatch: another block is being committed"
        positions = {d: self._lasting.pads.next(d) for d in DIRECTIONS}
        self._expected = ExpectedBlock(
            step.account, step.strings, transcript.session_id, positions["alice"], positions["bob"],
            step.peer_provenance,
        )  # fmt: skip
        say(VerifyResult(step.account.block, 1, positions["alice"], positions["bob"]))
        transcript.sent.mark()
        return None

    def on_amplify(
        self, message: Amplify, transcript: LineHashes, say: Voice
    ) -> BlockOutcome | None:
        """Verify, store, spend, tag, answer; a duplicate is answered with the same bytes."""
        if self._answered is not None and message.block == _block_of(self._answered):
            if self._answered.asked not in (None, message):
                raise ProtocolError("unexpected_message", "another Amplify for the same block")
            say(self._answered.message)
            return None
        expected = self._expected
        if expected is None or message.block != expected.account.block:
            raise ProtocolError("unexpected_message", "Amplify for no block that is expected")
        if expected.covered is None:
            expected.covered = transcript.cut()
        if expected.proof is None and not self._proves(message, expected):
            return self._burn_expected("authentication_failed")
        expected.proof = Verified(message.block, expected.session_id)
        account = expected.account
        lengths = account.lengths
        assert lengths is not None  # noqa: S101 - set when it was expected
        length, refill = lengths.length, message.refill_bytes
        if (
            message.secret_bits != length
            or len(message.seeds) != lengths.seed_bytes
            or refill % PAD_BYTES
            or not 0 < 16 * refill <= length
        ):
            return self._burn_expected("length_mismatch")
        account.refill_bits, account.tags = 16 * refill, 2
        with amplify.amplify(expected.strings, message.seeds, lengths.lengths) as secret:
            stored = self._stored(account, expected.peer_provenance)
            self._lasting.accept(expected.proof, stored, secret)
        self._answer(message, expected, expected.proof, say)
        return None

    def _proves(self, message: Amplify, expected: ExpectedBlock) -> bool:
        covered = expected.covered
        assert covered is not None  # noqa: S101 - cut by the caller
        positions = {"alice": expected.alice_pad, "bob": expected.bob_pad}
        self._lasting.reserve(message.block, positions)
        said = (message.pad, message.alice_bytes, message.bob_bytes)
        if said != (expected.alice_pad, covered.alice_bytes, covered.bob_bytes):
            return False
        blank = dataclasses.replace(message, tag=bytes(16)).encode()
        with self._lasting.pads.take(message.block, "alice") as pad:
            return covered.check_alice_tag(message.tag, blank, pad, message.pad)

    def _answer(self, asked: Amplify, expected: ExpectedBlock, proof: Verified, say: Voice) -> None:
        with self._lasting.pads.take(asked.block, "bob") as pad:
            said = authentication.statement(
                expected.session_id, asked.block, expected.bob_pad, asked.tag
            )
            tag = authentication.bob_tag(self._lasting.psk, said, pad, expected.bob_pad)
        message = Prepared(asked.block, expected.bob_pad, tag)
        self._lasting.keep_message(asked.block, message.encode()[HEADER_BYTES:])
        self._answered = AnsweredBlock(expected.account, asked, message, proof)
        self._expected = None
        expected.close()
        say(message)

    def _burn_expected(self, reason: str) -> BlockOutcome:
        """Her tag was wrong, or the tagged message is impossible: both pads are spent."""
        expected, self._expected = self._expected, None
        assert expected is not None  # noqa: S101 - checked by the caller
        self._lasting.end(expected.account.block, "burnt", reason)
        expected.close()
        return BlockOutcome(expected.account, reason)

    def on_commit(self, message: Commit) -> BlockOutcome | None:
        """Alice has released the block; release it too. A repeated Commit changes nothing."""
        answered = self._answered
        if answered is None or message.block != _block_of(answered):
            if message.block == self._lasting.state.last_released:
                return None
            raise ProtocolError("unexpected_message", "Commit for no block that was prepared")
        self._lasting.release(answered.proof)
        self._answered = None
        return BlockOutcome(answered.account, None, answered.proof)

    def abandoned(self, block: int) -> BlockAccount | None:
        """Alice has aborted the block before any tag: no pad was spent."""
        expected = self._expected
        if expected is None or expected.account.block != block or expected.covered is not None:
            return None
        self._expected = None
        expected.close()
        return expected.account

    # ---- when the line is cut ----
    def cut(self, transcript: LineHashes) -> None:
        """The line is cut. Keep the transcript that Amplify will be checked against; drop all
        else.
        """
        if self._expected is not None and self._expected.covered is None:
            self._expected.covered = transcript.cut()

    def resend(self, say: Voice) -> None:
        """After a handshake: send the same bytes again."""
        if self._offered is not None:
            say(self._offered.message)

    def give_up(self, block: int, peer: LedgerClaim) -> BlockOutcome:
        """One end cannot finish this block (it has crashed, or its stored message does not
        decrypt): burn it here as well."""
        account, reason = None, self._lasting.doubt(block)
        if reason == IN_DOUBT and peer.pending == block != peer.ready:
            reason += ": the peer cannot send its stored message again"
        for one in (self._offered, self._answered, self._expected):
            if one is not None and _block_of(one) == block:
                account = one.account
        if self._expected is not None and self._expected.account.block == block:
            self._expected.close()
        self._offered = self._answered = self._expected = None
        self._lasting.end(block, "burnt", reason)
        return BlockOutcome(account, reason)

    def release_with_alice(self, block: int) -> BlockOutcome:
        """Release a block that Bob has prepared (her tag was right) and that her Hello names as
        released, as her Commit would have.
        """
        answered, self._answered = self._answered, None
        self._lasting.release(answered.proof if answered else Verified(block))
        return BlockOutcome(answered.account if answered else None, None)

    def close(self) -> None:
        if self._expected is not None:
            self._expected.close()
            self._expected = None


def _block_of(one: OfferedBlock | ExpectedBlock | AnsweredBlock) -> int:
    return one.account.block if isinstance(one, ExpectedBlock) else one.message.block


def _wrong_tag(direction: str, block: int) -> ProtocolError:
    return ProtocolError(
        "authentication_failed",
        f"{direction}'s one-time tag of block {block} is wrong",
        hint="The channel was changed on the way, or the pre-shared keys differ.",
    )
