"""The ledger: written before the effect, complete after a crash, refused when damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stores import SEAL, open_ledger

from photonlink.hal.tags import Provenance
from photonlink.pipeline.keys.ledger import Ledger, LedgerError
from photonlink.pipeline.keys.policy import (
    DeliveryRefused,
    is_marked,
    least_real,
    require_deliverable,
)
from photonlink.pipeline.keys.store import DirectoryStore, MemoryStore, StoreError
from photonlink.pipeline.native.secret import SecretBits

PREPARED = {
    "t": "block", "block": 1, "status": "prepared", "secret_bits": 1000, "leak_bits": 80,
    "refill_handshake_bytes": 16, "refill_block_bytes": 32,
    "provenance": "emulated",
}  # fmt: skip


def some_life(ledger: Ledger) -> None:
    ledger.bind("ab" * 16)
    ledger.append({"t": "session", "epoch": 1, "id": "s"})
    ledger.append({"t": "peer", "epoch": 4})
    ledger.spend_pad("alice/handshake", 16)
    ledger.append(
        {"t": "block", "block": 1, "status": "open", "sifted_bits": 5000, "epsilon": 1e-10}
    )
    ledger.append(PREPARED)
    ledger.append({"t": "block", "block": 1, "status": "released"})
    ledger.append({"t": "block", "block": 2, "status": "open"})
    ledger.append({"t": "block", "block": 2, "status": "aborted", "reason": "qber"})


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    ledger = open_ledger(tmp_path / "state")
    some_life(ledger)
    before = ledger.state
    ledger.close()
    again = open_ledger(tmp_path / "state")
    assert again.state == before
    assert again.recovered_bytes == 0
    assert again.state.next_block == 3
    assert again.state.released == [1]
    assert again.state.secret_bits == 1000 - 2 * 8 * (16 + 32)
    assert again.state.epsilon == 1e-10
    again.close()
    if os.name == "posix":
        assert (tmp_path / "state" / "ledger.log").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_pads_and_blocks_never_run_backwards() -> None:
    ledger = Ledger.memory()
    some_life(ledger)
    refused = (
        {"t": "pad", "pool": "alice/handshake", "end": 0},
        {"t": "block", "block": 1, "status": "burnt"},
        {"t": "block", "block": 2, "status": "prepared"},
        {"t": "block", "block": 7, "status": "released"},
    )
    for record in refused:
        with pytest.raises(LedgerError):
            ledger.append(record)
    assert ledger.state.released == [1]


def test_a_ledger_belongs_to_one_pre_shared_key() -> None:
    ledger = Ledger.memory()
    ledger.bind("aa")
    ledger.bind("aa")
    with pytest.raises(LedgerError, match="belongs to the pre-shared key"):
        ledger.bind("bb")


def test_the_directory_store_keeps_wipes_and_hides(tmp_path: Path) -> None:
    for store in (MemoryStore(), DirectoryStore(tmp_path / "keys", SEAL)):
        bits = SecretBits.random(1003)
        store.put_key(4, bits)
        store.put_pads(4, bits.slice(0, 256))
        with store.get_key(4, 1003) as key:
            assert key.equals(bits)
        with pytest.raises(StoreError):
            store.get_key(5, 10)
        store.remove(4)
        store.remove(4)
        with pytest.raises(StoreError):
            store.get_pads(4, 256)
    assert list((tmp_path / "keys").iterdir()) == []


def test_a_full_disk_is_an_error_of_the_store_and_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX")
    store, bits = DirectoryStore(tmp_path / "keys", SEAL), SecretBits.random(80_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(StoreError) as caught:
            store.put_key(1, bits)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "block-00000001.key" in caught.value.where
    assert "full" in caught.value.hint
    store.remove(1)
    assert list((tmp_path / "keys").iterdir()) == []
    store.put_key(1, bits)
    with store.get_key(1, 80_000) as key:
        assert key.equals(bits)


def test_key_files_are_private(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "keys", SEAL)
    store.put_key(1, SecretBits.random(64))
    (path,) = (tmp_path / "keys").iterdir()
    assert path.stat().st_size == 8 + 8 + 40  # magic, bits, nonce and tag
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("provenance", list(Provenance))
def test_marked_key_is_refused_for_delivery(provenance: Provenance) -> None:
    if provenance is not Provenance.SEEDED:  # no setting allows delivery of seeded key
        require_deliverable(provenance, allow_marked=True)
    if provenance is Provenance.REAL:
        require_deliverable(provenance, allow_marked=False)
        assert not is_marked(provenance)
        return
    assert is_marked(provenance)
    word = "seed" if provenance is Provenance.SEEDED else str(provenance)
    with pytest.raises(DeliveryRefused, match=word):
        require_deliverable(provenance, allow_marked=False)


def test_a_key_is_no_more_real_than_its_least_real_part() -> None:
    real, emulated, replayed = Provenance.REAL, Provenance.EMULATED, Provenance.REPLAYED
    assert least_real(real, replayed) is replayed
    assert least_real(replayed, real) is replayed
    assert least_real(replayed, emulated) is emulated
    assert least_real(real, real) is real
