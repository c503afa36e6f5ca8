"""Stores for tests: a folder with its own key, and blocks in it."""

from __future__ import annotations

import functools
from pathlib import Path

from photonlink.pipeline.keys.ledger import Ledger
from photonlink.pipeline.keys.node_store import NodeStore, StorePlace
from photonlink.pipeline.keys.seals import StoreSeal
from photonlink.pipeline.keys.store_key import KeySource, create_key_file
from photonlink.pipeline.native.sealing import SealingKey
from photonlink.pipeline.native.secret import SecretBits

SEAL = StoreSeal(SealingKey.fresh(), "test", "alice")


def place(folder: Path, role: str = "alice", link: str = "test") -> StorePlace:
    """The store in ``folder/state``; its key is in ``folder``."""
    key = folder / "store.key"
    if not key.exists():
        folder.mkdir(parents=True, exist_ok=True)
        create_key_file(key)
    return StorePlace(folder / "state", link, role, KeySource(key))


open_ledger = functools.partial(Ledger.open, seal=SEAL)


def add_block(
    store: NodeStore,
    number: int,
    bits: int = 512,
    *,
    provenance: str = "real",
    refill: int = 0,
    released: bool = True,
) -> bytes:
    """Add a block with ``bits`` of key and ``refill`` pads per direction, released or in doubt;
    returns its key."""
    ledger = store.ledger
    ledger.append({"t": "block", "block": number, "status": "open", "sifted_bits": 9,
                   "key_bits": 5, "test_bits": 4, "session": "s", "epsilon": 1e-10})  # fmt: skip
    seals = {}
    with SecretBits.random(bits) as key:
        value = key.disclose()
        seals["key_seal"] = store.keys.put_key(number, key)
    if refill:
        with SecretBits.random(256 * refill) as pads:
            seals["pad_seal"] = store.keys.put_pads(number, pads)
    ledger.append({"t": "block", "block": number, "status": "prepared", "leak_bits": 0,
                   "secret_bits": bits + 256 * refill, "refill_handshake_bytes": 0,
                   "refill_block_bytes": 16 * refill,
                   "provenance": provenance, **seals})  # fmt: skip
    if released:
        ledger.append({"t": "block", "block": number, "status": "released"})
    return value
