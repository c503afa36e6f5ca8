"""State that outlives a connection; the only module through which it changes.

The session and its commitment hold a ``Lasting``; message handlers hold a ``Tentative`` and cannot
reach it. Two kinds of change exist: records that are *written ahead* (an attempt, a reservation, an
offer, a high-water mark), which release no key; and changes that need a ``Verified``: the proof, by
a valid one-time tag, that every message behind the change came from the peer.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from photonlink.hal.tags import Provenance
from photonlink.pipeline.keys import claims, damage
from photonlink.pipeline.keys.ledger import BlockEntry, Ledger
from photonlink.pipeline.keys.pads import DIRECTIONS, BlockPads
from photonlink.pipeline.keys.policy import is_emulated, is_marked, least_real
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store import DamagedRecord, KeyStore, StoreError
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel import authentication

STOPPED = "stopped_before_the_end"
IN_DOUBT = "in_doubt_after_connection_loss"


@dataclass(frozen=True, slots=True)
class Verified:
    """Proof that a one-time tag of this block was right. Only the commitment makes one. session_id:
    the connection whose bytes the tag covered; empty: a connection of an earlier process.
    """

    block: int
    session_id: bytes = b""


@dataclass(frozen=True, slots=True)
class KeptBlock:
    """The ledger's record of a block whose key is stored. Lengths and counts are public."""

    block: int
    sifted_bits: int
    key_bits: int
    test_bits: int
    leak_bits: int
    secret_bits: int
    refill_bytes: int  # per direction
    provenance: Provenance


class Lasting:
    """Ledger, store, pads and provenance of one node."""

    def __init__(
        self,
        psk: PreSharedKey,
        ledger: Ledger,
        store: KeyStore,
        provenance: Provenance,
        incarnation: str,
    ) -> None:
        self.psk, self._ledger, self._store = psk, ledger, store
        self.pads = BlockPads(psk, ledger, store)
        self._incarnation = incarnation  # fresh at each start
        self.provenance = provenance  # provenance of this node's light and randomness
        self._damaged_messages: dict[int, str] = {}  # of blocks in doubt
        ledger.bind(psk.key_id, (psk.pool_bytes(True), psk.pool_bytes(False)))
        self.burn_unfinished()

    def burn_unfinished(self, expected: int = 0) -> None:
        """Burn blocks that a crash or a failed store left open; their pads stay spent.
        ``expected``: a block that may still be finished, which is kept.
        """
        for entry in self._ledger.state.unfinished():
            if entry.block != expected:
                self.end(entry.block, "burnt", STOPPED)

    # ---- reading ----
    @property
    def state(self) -> BlockState:
        return BlockState(self._ledger)

    def entry(self, block: int) -> BlockEntry:
        return self._ledger.state.blocks[block]

    @property
    def emulated(self) -> bool:
        return is_emulated(self.provenance)

    def claim(self) -> claims.Claim:
        """This node's claim about its own store."""
        return claims.Claim.of(self._ledger.state, self._incarnation)

    def remembered(self) -> claims.Claim | None:
        """The peer's last claim about its store."""
        return claims.remembered(self._ledger.state)

    # ---- written ahead ----
    def mark(self, provenance: Provenance) -> None:
        """Lower the provenance of this node's light or randomness to at most this."""
        self.provenance = least_real(self.provenance, provenance)

    def session(self, name: str, peer: claims.Claim) -> None:
        """Both ends have proved themselves: store the claim of each before anything else."""
        epoch = self._ledger.state.epoch + 1
        self._ledger.append(
            {"t": "session", "epoch": epoch, "id": name, "incarnation": self._incarnation}
        )
        claims.remember(self._ledger, peer)

    def follow_pads(self, positions: dict[str, int]) -> None:
        """Count all pads below ``positions`` as spent: the peer may have used them."""
        for direction, position in positions.items():
            if position > self.pads.spent(direction):
                self._ledger.spend_pad(f"{direction}/block", position)

    def attempt(self, block: int, pairs: int, epsilon: float, session: str) -> None:
        """Record that the bases of this block are about to be announced; its epsilon is charged
        now.
        """
        self._ledger.append(
            {"t": "block", "block": block, "status": "open", "pairs": pairs, "epsilon": epsilon,
             "session": session}
        )  # fmt: skip

    def reserve(self, block: int, positions: dict[str, int]) -> None:
        """Record the pads of the block's two tags as spent. A repetition changes nothing."""
        if not self.entry(block).reserved:
            self.pads.reserve(block, positions)

    def least_left(self) -> int:
        return min(self.pads.left(direction) for direction in DIRECTIONS)

    # ---- damaged records: both ends burn them, also when only one end found them ----
    def damage_to_tell(self) -> dict[int, bool]:
        """Blocks whose stored record did not decrypt; True: the key, False: the refill."""
        return damage.damage_to_tell(self._ledger)

    def exchange_damage(
        self, proof: Verified, session_id: bytes, heard: dict[int, bool], told: list[int]
    ) -> None:
        """A one-time tag has covered both Hellos: burn here what the peer cannot decrypt, and note
        that the peer has our list.
        """
        if proof.session_id != session_id:
            raise ValueError("the proof is of another connection")
        damage.hear_of_damage(self._ledger, self._store, heard)
        damage.told(self._ledger, told)

    def keep_message(self, block: int, payload: bytes) -> None:
        """Store a message that is sent again after a crash. When the store is full, only that
        repetition is lost.
        """
        with contextlib.suppress(StoreError):
            self._store.put_message(block, payload)

    def kept_message(self, block: int) -> bytes | None:
        """None: there is none, or it does not decrypt; a damaged file is read once only."""
        if block not in self._damaged_messages:
            try:
                return self._store.get_message(block)
            except DamagedRecord as error:
                self._damaged_messages[block] = f"damaged: {error.what}"
            except StoreError:
                pass
        return None

    def doubt(self, block: int) -> str:
        """The reason for burning a block that was in doubt."""
        return self._damaged_messages.get(block, IN_DOUBT)

    def tidy(self) -> None:
        """Overwrite spent pads with zeros; what the disk refuses is tried again later."""
        with contextlib.suppress(StoreError):
            self.pads.burn()

    def offer(self, what: KeptBlock, secret: SecretBits) -> None:
        """Alice stores the key that she is about to offer; it is in doubt until Bob's tag has
        arrived.
        """
        self._prepare(what, secret)

    def is_open(self, block: int) -> bool:
        entry = self._ledger.state.blocks.get(block)
        return entry is not None and entry.status in ("open", "prepared")

    def end(self, block: int, status: str, reason: str, leak_bits: int = 0) -> None:
        """End a block as ``aborted`` (agreed) or ``burnt`` (one-sided): none of its key is ever
        used.
        """
        if not self.is_open(block):
            return
        self._ledger.append(
            {"t": "block", "block": block, "status": status, "reason": reason,
             "leak_bits": leak_bits}
        )  # fmt: skip
        self._store.remove(block)

    # ---- changes that need the proof ----
    def accept(self, proof: Verified, what: KeptBlock, secret: SecretBits) -> None:
        """Bob stores the key that Alice's tag has authenticated."""
        if proof.block != what.block:
            raise ValueError("the proof is of another block")
        self._prepare(what, secret)

    def release(self, proof: Verified) -> None:
        """From now on the key may be delivered and the refill used."""
        self._ledger.append({"t": "block", "block": proof.block, "status": "released"})
        with contextlib.suppress(StoreError):
            self._store.remove_message(proof.block)

    def _prepare(self, what: KeptBlock, secret: SecretBits) -> None:
        refill, seals = 16 * what.refill_bytes, {}
        if refill:
            with secret.slice(0, refill) as pads:
                seals["pad_seal"] = self._store.put_pads(what.block, pads)
        if len(secret) > refill:
            with secret.slice(refill, len(secret)) as key:
                seals["key_seal"] = self._store.put_key(what.block, key)
        self._ledger.append(
            {"t": "block", "block": what.block, "status": "prepared",
             "sifted_bits": what.sifted_bits, "key_bits": what.key_bits,
             "test_bits": what.test_bits, "leak_bits": what.leak_bits,
             "secret_bits": what.secret_bits, "refill_block_bytes": what.refill_bytes,
             "provenance": str(what.provenance), **seals}
        )  # fmt: skip

    def running_out(self) -> str | None:
        """Which pads or hash keys run low, said before the link stops for want of them."""
        low = [d for d in DIRECTIONS if 4 * self.pads.left(d) < self.psk.pool_bytes(False)]
        if low:
            return f"less than a quarter of the pads is left: {', '.join(low)}"
        blocks = authentication.blocks_left(max(self.pads.next(d) for d in DIRECTIONS))
        if 10 * blocks > authentication.BLOCKS_PER_KEY:
            return None
        return f"the hash keys serve {blocks:,} more blocks: exchange a new pre-shared key"

    def key_check(self, nonce: bytes) -> bytes:
        """HMAC over all released key blocks that are marked (emulated, replayed)."""
        mac, state = nonce, self._ledger.state
        for block, entry in state.blocks.items():
            there = entry.status == "released" and entry.net_bits and block not in state.delivered
            if there and is_marked(entry.provenance):
                with self._store.get_key(block, entry.net_bits, entry.key_seal) as key:
                    mac = key.hmac_sha256(nonce + mac)
        return mac


class BlockState:
    """The ledger's public figures, to read only."""

    def __init__(self, ledger: Ledger) -> None:
        state = ledger.state
        self.epoch, self.peer_epoch = state.epoch, state.peer_epoch
        self.next_block, self.offered = state.next_block, state.offered
        self.released, self.last_released = state.released_count, state.last_released
        self.epsilon = state.epsilon
        self.stored_bits = state.secret_bits - state.delivered_bits
        self.pending = tuple(entry.block for entry in state.pending())
