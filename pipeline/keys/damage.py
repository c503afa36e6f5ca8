"""A stored record that does not decrypt is burnt here, and the peer is told.

The peer burns the same block; until it has confirmed that, the block stays among ``untold``.
"""

from __future__ import annotations

from photonlink.pipeline.keys.ledger import Ledger
from photonlink.pipeline.keys.store import DamagedRecord, KeyStore

PEER_REASON = "damaged_at_the_peer"


def burn_damaged(ledger: Ledger, store: KeyStore, block: int, reason: str) -> None:
    """Burn a block whose key does not decrypt, and note it for the peer.

    Its refill stays in use. Raises LedgerError, StoreError.
    """
    ledger.append(
        {"t": "block", "block": block, "status": "burnt", "reason": reason, "untold": True}
    )
    store.remove_key(block)


def burn_refill(ledger: Ledger, store: KeyStore, block: int, reason: str) -> None:
    """Burn a refill that does not decrypt: both ends skip its pads."""
    ledger.append({"t": "refill_burnt", "block": block, "reason": reason, "untold": True})
    store.remove_pads(block)


def hear_of_damage(ledger: Ledger, store: KeyStore, blocks: dict[int, bool]) -> list[int]:
    """The peer's damaged blocks, each with whether its key (True) or refill (False) is gone.

    Burns them here too; returns those whose key was burnt now. A block whose key was delivered
    here, or is not in the ledger any more, is unchanged; the peer's ledger records the loss.
    """
    burnt = []
    state = ledger.state
    for block, key in sorted(blocks.items()):
        if key and state.has_key(block) and state.blocks[block].status == "released":
            record = {"t": "block", "block": block, "status": "burnt", "reason": PEER_REASON}
            ledger.append(record)
            store.remove_key(block)
            burnt.append(block)
        elif not key and state.has_pads(block):
            ledger.append({"t": "refill_burnt", "block": block, "reason": PEER_REASON})
            store.remove_pads(block)
    return burnt


def damage_to_tell(ledger: Ledger) -> dict[int, bool]:
    """Damaged blocks that the peer has not confirmed; True: the key, False: the refill."""
    state = ledger.state
    return {block: block not in state.burnt_refill for block in sorted(state.untold)}


def told(ledger: Ledger, blocks: list[int]) -> None:
    """The peer has confirmed these blocks, under a valid tag."""
    known = [block for block in blocks if block in ledger.state.untold]
    if known:
        ledger.append({"t": "told", "blocks": known})


def damaged_messages(ledger: Ledger, store: KeyStore) -> list[str]:
    """Of blocks in doubt, the stored messages that do not open. Nothing burns yet: the peer may
    have released the block, and then its message is not needed any more."""
    found = []
    for entry in ledger.state.pending():
        try:
            store.get_message(entry.block)
        except DamagedRecord as error:
            found.append(
                f"message of block {entry.block}: {error}; the block burns at both ends unless "
                "the peer has released it"
            )
    return found


def check_all(ledger: Ledger, store: KeyStore) -> list[str]:
    """Decrypt every record of key and pads; burn those that fail. Returns what was burnt, and
    why.
    """
    found = []
    state = ledger.state
    for entry in list(state.blocks.values()):
        if entry.status == "released" and state.has_key(entry.block) and entry.net_bits:
            try:
                store.get_key(entry.block, entry.net_bits, entry.key_seal).close()
            except DamagedRecord as error:
                burn_damaged(ledger, store, entry.block, f"damaged: {error.what}")
                found.append(f"key of block {entry.block}: {error}")
        if entry.block in state.released and state.has_pads(entry.block) and entry.refill_bits:
            try:
                store.get_pads(entry.block, entry.refill_bits, entry.pad_seal).close()
            except DamagedRecord as error:
                burn_refill(ledger, store, entry.block, f"damaged: {error.what}")
                found.append(f"refill of block {entry.block}: {error}")
    return found
