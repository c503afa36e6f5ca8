"""Key delivery: one block, once, into a file that only its owner can read.

Both nodes hold the same block under the same number, so the same number taken at both ends is
the same key. Ledger and anchor say "delivered" before the first byte is written: a crash in
between loses the block rather than giving it twice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.damage import burn_damaged
from photonlink.pipeline.keys.ledger import Ledger
from photonlink.pipeline.keys.policy import DeliveryRefused, require_deliverable
from photonlink.pipeline.keys.store import DamagedRecord, KeyStore


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block of key that can be delivered, or the reason why it cannot."""

    block: int
    bits: int
    provenance: str
    delivered: bool


def stored_blocks(ledger: Ledger) -> list[StoredBlock]:
    """Every released block that holds key, in order; of those delivered, the last ones."""
    state = ledger.state
    return [
        StoredBlock(b.block, b.net_bits, b.provenance, b.block in state.delivered)
        for b in state.blocks.values()
        if b.status == "released" and b.net_bits > 0
    ]


def deliver(ledger: Ledger, store: KeyStore, block: int, to: Path, *, allow_marked: bool) -> int:
    """Write a block's key into a new file (0600) and wipe it from the store; its bits.

    Raises DeliveryRefused: no such block, delivered before, or marked key (emulated, replayed,
    recorded) at a station that does not allow its delivery; DamagedRecord: its record does not
    decrypt; the block is burnt here and the peer will be told.
    """
    found = {b.block: b for b in stored_blocks(ledger)}.get(block)
    if found is None:
        entry = ledger.state.blocks.get(block)
        gone = f": it is {entry.status} ({entry.reason})" if entry and entry.reason else ""
        raise DeliveryRefused(
            f"there is no key in block {block}{gone}", hint="'photonlink key list' shows them."
        )
    if found.delivered:
        raise DeliveryRefused(f"block {block} was delivered before; no bit is given twice")
    require_deliverable(found.provenance, allow_marked=allow_marked)
    try:
        key = store.get_key(block, found.bits, ledger.state.blocks[block].key_seal)
    except DamagedRecord as error:
        burn_damaged(ledger, store, block, f"damaged: {error.what}")
        error.hint = f"Block {block} is burnt; the peer is told when the link is up again."
        raise
    with key:
        try:
            descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise PhotonlinkError(
                "the key file cannot be made",
                where=str(to),
                seen=str(error),
                hint="Nothing is lost",
            ) from error
        try:
            ledger.append({"t": "delivered", "block": block})
            key.write_file(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    store.remove_key(block)
    return found.bits
