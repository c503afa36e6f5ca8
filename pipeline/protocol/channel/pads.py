"""One-time pads for tags: per direction a pool for handshakes and one for blocks.

A pool is one long row of bytes: first its share of the pre-shared key, then what released
blocks put back, in the order of their release, which is the same on both sides. A position is
spent once. The sender of a direction owns its positions: it writes them ahead to the ledger;
the receiver follows and refuses a position it has already seen.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from photonlink.pipeline.keys.ledger import PAD_BYTES, BlockEntry, Ledger
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store import KeyStore
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.messages import PoolName


@dataclass(frozen=True, slots=True)
class PoolKey:
    """``direction``: the role that sends, "alice" or "bob"."""

    direction: str
    pool: PoolName

    def __str__(self) -> str:
        return f"{self.direction}/{self.pool.name.lower()}"


DIRECTIONS = ("alice", "bob")
POOLS = tuple(PoolKey(d, p) for p in PoolName for d in DIRECTIONS)


def refill_bytes(entry: BlockEntry, pool: PoolName) -> int:
    """Bytes per direction that a block puts back into this kind of pool."""
    if pool is PoolName.HANDSHAKE:
        return entry.refill_handshake_bytes
    return entry.refill_block_bytes


def refill_offset(entry: BlockEntry, key: PoolKey) -> int:
    """Where in the block's refill (handshake alice, bob, block alice, bob) a pool's part lies."""
    offset = 0
    for other in POOLS:
        if other == key:
            return offset
        offset += refill_bytes(entry, other.pool)
    raise KeyError(str(key))


class Pads:
    """Both directions' pools as ledger, store and pre-shared key give them."""

    def __init__(self, psk: PreSharedKey, ledger: Ledger, store: KeyStore) -> None:
        self._psk, self._ledger, self._store = psk, ledger, store
        self._wiped = 0  # released blocks whose refill is gone

    def position(self, key: PoolKey) -> int:
        """First byte not yet spent."""
        return self._ledger.state.pads.get(str(key), 0)

    def size(self, key: PoolKey) -> int:
        refilled = self._ledger.state.refilled[-1][key.pool]
        return self._psk.pool_bytes(key.pool is PoolName.HANDSHAKE) + refilled

    def left(self, key: PoolKey) -> int:
        """Bytes that can still be spent."""
        return self.size(key) - self.position(key)

    def mark_spent(self, key: PoolKey, position: int) -> None:
        """The pad at ``position`` and all below are used from now on: on disk when this returns."""
        self._ledger.spend_pad(str(key), position + PAD_BYTES)
        self._psk.burn({str(key): position + PAD_BYTES})
        self._wipe_spent()

    def _wipe_spent(self) -> None:
        """Remove the refill of the oldest blocks once every pool has passed it."""
        state = self._ledger.state
        while self._wiped < len(state.released):
            ends = state.refilled[self._wiped + 1]
            for key in POOLS:
                own = self._psk.pool_bytes(key.pool is PoolName.HANDSHAKE)
                if self.position(key) < own + ends[key.pool]:
                    return
            self._store.remove_pads(state.released[self._wiped])
            self._wiped += 1

    def read(self, key: PoolKey, position: int) -> SecretBits:
        """The pad at ``position``. Raises ProtocolError when it was spent or does not exist."""
        if position < self.position(key):
            raise ProtocolError(
                "pad_reuse",
                f"the pad at byte {position} of {key} was used before",
                hint="A replay, or a ledger that was rolled back.",
            )
        if position + PAD_BYTES > self.size(key):
            raise ProtocolError(
                "pads_exhausted",
                f"the pool {key} has no pad at byte {position}",
                hint="Exchange a new pre-shared key between the nodes.",
            )
        return self._read(key, position)

    def _read(self, key: PoolKey, position: int) -> SecretBits:
        own = self._psk.pool_bytes(key.pool is PoolName.HANDSHAKE)
        if position < own:
            return self._psk.pad(key.direction, key.pool is PoolName.HANDSHAKE, position, PAD_BYTES)
        state = self._ledger.state
        offset = position - own
        segment = bisect.bisect_right(state.refilled, offset, key=lambda ends: ends[key.pool])
        entry = state.blocks[state.released[segment - 1]]
        within = offset - state.refilled[segment - 1][key.pool]
        start = refill_offset(entry, key) + within
        with self._store.get_pads(entry.block, entry.refill_bits, entry.pad_seal) as pads:
            return pads.slice(8 * start, 8 * (start + PAD_BYTES))
