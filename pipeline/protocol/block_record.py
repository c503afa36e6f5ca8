"""A block's way through ledger and store, the same on both nodes: open, prepare, release, burn."""

from __future__ import annotations

from dataclasses import dataclass

from photonlink.pipeline.keys.ledger import PAD_BYTES, BlockEntry
from photonlink.pipeline.keys.policy import is_emulated
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel.pads import DIRECTIONS, PoolKey
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.protocol.messages import PoolName
from photonlink.pipeline.stages.amplify import Lengths

TAGS_PER_BLOCK = 8  # four per direction
PENDING_TAGS = 2  # per direction, still to be sent when the length is agreed


@dataclass(frozen=True, slots=True)
class Refill:
    """Bytes per direction that go back into the two kinds of pool."""

    handshake_bytes: int
    block_bytes: int

    @property
    def bits(self) -> int:
        return 16 * (self.handshake_bytes + self.block_bytes)

    def possible(self, secret_bits: int) -> bool:
        """Whole pads, and no more than the block has."""
        whole = self.handshake_bytes % PAD_BYTES == 0 == self.block_bytes % PAD_BYTES
        return whole and self.bits <= secret_bits


def plan_refill(ctx: Context, secret_bits: int) -> Refill:
    """Fill the pools up to what the pre-shared key held, as far as the block reaches.

    Handshakes first: without them no session comes about.
    """
    room = secret_bits // (16 * PAD_BYTES)  # pads per direction that the block could pay
    wanted = []
    for pool, pending in ((PoolName.HANDSHAKE, 0), (PoolName.BLOCK, PENDING_TAGS)):
        full = ctx.setup.psk.pool_bytes(pool is PoolName.HANDSHAKE)
        left = min(ctx.pads.left(PoolKey(d, pool)) for d in DIRECTIONS)
        missing = max(0, full - left) // PAD_BYTES + pending
        wanted.append(min(missing, room))
        room -= wanted[-1]
    return Refill(wanted[0] * PAD_BYTES, wanted[1] * PAD_BYTES)


class BlockRecord:
    """One block. Every step is in the ledger before anything happens because of it."""

    def __init__(self, ctx: Context, block: int, key_bits: int, test_bits: int) -> None:
        self._ctx = ctx
        self.block, self.key_bits, self.test_bits = block, key_bits, test_bits
        self._record("open", sifted_bits=key_bits + test_bits, key_bits=key_bits,
                     test_bits=test_bits, session=ctx.session_name)  # fmt: skip

    def _record(self, status: str, **fields: str | int | float) -> None:
        self._ctx.ledger.append({"t": "block", "block": self.block, "status": status, **fields})

    @property
    def entry(self) -> BlockEntry:
        return self._ctx.ledger.state.blocks[self.block]

    def prepare(
        self, secret: SecretBits, refill: Refill, lengths: Lengths, leak_bits: int, epsilon: float
    ) -> None:
        """Store refill and key; the block is in doubt until it is released."""
        ctx = self._ctx
        seals = {}
        with secret:
            if refill.bits:
                with secret.slice(0, refill.bits) as pads:
                    seals["pad_seal"] = ctx.store.put_pads(self.block, pads)
            if len(secret) > refill.bits:
                with secret.slice(refill.bits, len(secret)) as key:
                    seals["key_seal"] = ctx.store.put_key(self.block, key)
            self._record(
                "prepared",
                leak_bits=leak_bits + lengths.verification_bits,
                secret_bits=len(secret),
                refill_handshake_bytes=refill.handshake_bytes,
                refill_block_bytes=refill.block_bytes,
                epsilon=epsilon,
                provenance=str(ctx.provenance),
                **seals,
            )

    def release(self) -> None:
        release(self._ctx, self.block)

    def end(self, status: str, reason: str, leak_bits: int = 0) -> None:
        """``aborted`` (agreed) or ``burnt`` (one-sided): nothing of it is ever used."""
        self._record(status, reason=reason, leak_bits=leak_bits)
        self._ctx.store.remove(self.block)


def release(ctx: Context, block: int) -> None:
    """From now on the key may be delivered and the refill used."""
    ctx.ledger.append({"t": "block", "block": block, "status": "released"})


def burn(ctx: Context, block: int, reason: str) -> None:
    """In doubt, and neither side released it: gone on both."""
    ctx.ledger.append({"t": "block", "block": block, "status": "burnt", "reason": reason})
    ctx.store.remove(block)


def stored_bits(ctx: Context) -> int:
    """Key bits released, not refilled and not delivered yet: what the store holds."""
    return ctx.ledger.state.secret_bits - ctx.ledger.state.delivered_bits


def emulated(ctx: Context) -> bool:
    return is_emulated(ctx.provenance)
