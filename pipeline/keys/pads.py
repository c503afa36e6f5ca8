"""One-time pads of the blocks' tags, one pool per direction, spent one per block and direction.

A pool is one sequence of bytes: first its share of the pre-shared key, then the refills of released
blocks in the order of their release, which is the same at both ends. A pad is reserved when a block
is about to be committed and at no other time: handshakes, aborted blocks, cut lines and full disks
spend none. A reserved pad is spent, also when the block then burns.
"""

from __future__ import annotations

import bisect

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.damage import burn_refill
from photonlink.pipeline.keys.ledger import PAD_BYTES, Ledger
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store import DamagedRecord, KeyStore
from photonlink.pipeline.native.secret import SecretBits

DIRECTIONS = ("alice", "bob")


class PadsExhausted(PhotonlinkError):
    """The pool has no pad left: exchange a new pre-shared key."""


class PadReused(PhotonlinkError):
    """The pad was reserved before, or lies below one that was."""


class BlockPads:
    """The pools of both directions, from pre-shared key, ledger and store."""

    def __init__(self, psk: PreSharedKey, ledger: Ledger, store: KeyStore) -> None:
        self._psk, self._ledger, self._store = psk, ledger, store

    def size(self, direction: str) -> int:
        """Bytes that the pool has had in all, spent ones included."""
        return self._own + self._ledger.state.refilled[-1][1]

    @property
    def _own(self) -> int:
        return self._psk.pool_bytes(False)

    def left(self, direction: str) -> int:
        """Bytes that can still be reserved."""
        state = self._ledger.state
        burnt = sum(
            max(0, end - max(start, self.next(direction)))
            for start, end, block in self._refills()
            if block in state.burnt_refill
        )
        return max(0, self.size(direction) - self.next(direction) - burnt)

    def next(self, direction: str) -> int:
        """Position of the next pad that is free and readable."""
        position = self._ledger.state.pads.get(f"{direction}/block", 0)
        for start, end, block in self._refills():
            if block in self._ledger.state.burnt_refill and start <= position < end:
                position = end
        return position

    def _refills(self) -> list[tuple[int, int, int]]:
        """Start, end and block of each refill that is not all spent, as positions in the pool."""
        state = self._ledger.state
        ends = [self._own + refill[1] for refill in state.refilled]
        return list(zip(ends, ends[1:], state.released, strict=False))

    def reserve(self, block: int, positions: dict[str, int]) -> None:
        """Reserve both pads of a block; the record is on disk when this returns.

        positions: of Alice's and of Bob's tag, each the higher of both ends' first free positions.
        Raises PadReused, PadsExhausted (then nothing is spent), LedgerError.
        """
        for direction in DIRECTIONS:
            position = positions[direction]
            if position % PAD_BYTES or position < self.next(direction):
                raise PadReused(f"the pad at byte {position} of {direction} was used before")
            if position + PAD_BYTES > self.size(direction):
                raise PadsExhausted(
                    f"{direction} has no pad at byte {position}",
                    hint="Exchange a new pre-shared key: 'photonlink psk replace', on both nodes.",
                )
        pads = {direction: positions[direction] for direction in DIRECTIONS}
        self._ledger.append({"t": "reserve", "block": block, "pads": pads})

    def take(self, block: int, direction: str) -> SecretBits:
        """The pad that was reserved for a block's tag, to close after its one use; it is then
        erased by ``burn``. Raises PadReused for a block without a reservation, DamagedRecord."""
        entry = self._ledger.state.blocks.get(block)
        if entry is None or direction not in entry.reserved:
            raise PadReused(f"no pad is reserved for block {block}")
        return self._read(direction, entry.reserved[direction])

    def _read(self, direction: str, position: int) -> SecretBits:
        if position < self._psk.erased(direction):
            raise PadReused(f"the pad at byte {position} of {direction} was spent and is erased")
        if position < self._own:
            return self._psk.pad(direction, False, position, PAD_BYTES)
        state, offset = self._ledger.state, position - self._own
        segment = bisect.bisect_right(state.refilled, offset, key=lambda ends: ends[1])
        if not 0 < segment <= len(state.released):
            raise PadReused(f"the pad at byte {position} of {direction} is gone")
        entry = state.blocks[state.released[segment - 1]]
        start = 2 * entry.refill_handshake_bytes + (offset - state.refilled[segment - 1][1])
        if direction == "bob":
            start += entry.refill_block_bytes
        try:
            with self._store.get_pads(entry.block, entry.refill_bits, entry.pad_seal) as pads:
                return pads.slice(8 * start, 8 * (start + PAD_BYTES))
        except DamagedRecord as error:
            burn_refill(self._ledger, self._store, entry.block, f"damaged: {error.what}")
            raise

    def burn(self) -> None:
        """Erase spent pads in memory and in the store. Raises StoreError.

        Call it when a block's two tags were made and checked, or the block has burnt. Pads of a
        block in doubt stay.
        """
        erasable = self._ledger.state.erasable()
        ends = [erasable.get(f"{d}/block", 0) for d in DIRECTIONS]
        self._psk.burn({f"{d}/block": end for d, end in zip(DIRECTIONS, ends, strict=True)})
        for _, end, block in self._refills():
            if min(ends) >= end and self._only_block_pool(block):
                self._store.remove_pads(block)

    def spent(self, direction: str) -> int:
        """Bytes of the pool below the first free pad."""
        return self._ledger.state.pads.get(f"{direction}/block", 0)

    def _only_block_pool(self, block: int) -> bool:
        return self._ledger.state.blocks[block].refill_handshake_bytes == 0
