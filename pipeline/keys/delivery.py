"""Key leaves the house: one block, once, into a file only its owner can read.

Both nodes hold the same block under the same number, so the same number taken at both ends is
the same key. The ledger says "delivered" before the file is written: a crash in between loses
the block rather than giving it twice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.ledger import Ledger
from photonlink.pipeline.keys.policy import DeliveryRefused, require_deliverable
from photonlink.pipeline.keys.store import KeyStore


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block of key that can be taken, or why not."""

    block: int
    bits: int
    provenance: str
    delivered: bool


def stored_blocks(ledger: Ledger) -> list[StoredBlock]:
    """Every released block that holds key, in order."""
    state = ledger.state
    return [
        StoredBlock(b, state.blocks[b].net_bits, state.blocks[b].provenance, b in state.delivered)
        for b in state.released
        if state.blocks[b].net_bits > 0
    ]


def deliver(ledger: Ledger, store: KeyStore, block: int, to: Path, *, allow_marked: bool) -> int:
    """Write a block's key into a new file (0600) and wipe it from the store; its bits.

    Raises DeliveryRefused: no such block, delivered before, or marked key (emulated, replayed,
    recorded) at a station that does not allow its delivery.
    """
    found = {b.block: b for b in stored_blocks(ledger)}.get(block)
    if found is None:
        raise DeliveryRefused(
            f"there is no key in block {block}", hint="'photonlink key list' shows them."
        )
    if found.delivered:
        raise DeliveryRefused(f"block {block} was delivered before; no bit is given twice")
    require_deliverable(found.provenance, allow_marked=allow_marked)
    with store.get_key(block, found.bits) as key:
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
