"""Key leaves the house once, and not at all when it is marked."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.cli.main import app
from photonlink.pipeline.demo.files import write_demo_files
from photonlink.pipeline.keys.delivery import deliver, stored_blocks
from photonlink.pipeline.keys.ledger import Ledger
from photonlink.pipeline.keys.policy import DeliveryRefused
from photonlink.pipeline.keys.store import DirectoryStore
from photonlink.pipeline.native.secret import SecretBits

BITS = 512


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "state" / "keys")


def _ledger(tmp_path: Path, store: DirectoryStore, provenance: str) -> Ledger:
    ledger = Ledger.open(tmp_path / "state")
    ledger.bind("id")
    record = {"t": "block", "block": 1, "status": "open", "sifted_bits": 9, "key_bits": 5,
              "test_bits": 4, "session": "s"}  # fmt: skip
    ledger.append(record)
    with SecretBits.random(BITS) as key:
        store.put_key(1, key)
    ledger.append({"t": "block", "block": 1, "status": "prepared", "secret_bits": BITS,
                   "leak_bits": 0, "refill_handshake_bytes": 0, "refill_block_bytes": 0,
                   "epsilon": 1e-10, "provenance": provenance})  # fmt: skip
    ledger.append({"t": "block", "block": 1, "status": "released"})
    return ledger


def test_a_block_is_given_once(tmp_path: Path, store: DirectoryStore) -> None:
    ledger = _ledger(tmp_path, store, "real")
    with store.get_key(1, BITS) as key:
        wanted = bytes(key.export())
    to = tmp_path / "key.bin"
    assert deliver(ledger, store, 1, to, allow_marked=False) == BITS
    assert to.read_bytes() == wanted
    assert to.stat().st_mode & 0o077 == 0
    assert stored_blocks(ledger)[0].delivered
    with pytest.raises(DeliveryRefused, match="before"):
        deliver(ledger, store, 1, tmp_path / "again.bin", allow_marked=False)
    assert not (tmp_path / "again.bin").exists()
    ledger.close()
    again = Ledger.open(tmp_path / "state")  # the ledger remembers
    with pytest.raises(DeliveryRefused, match="before"):
        deliver(again, store, 1, tmp_path / "again.bin", allow_marked=False)
    again.close()
    assert not list((tmp_path / "state" / "keys").glob("*.key"))


@pytest.mark.parametrize("provenance", ["emulated", "replayed"])
def test_marked_key_is_refused(tmp_path: Path, store: DirectoryStore, provenance: str) -> None:
    ledger = _ledger(tmp_path, store, provenance)
    with pytest.raises(DeliveryRefused, match=provenance):
        deliver(ledger, store, 1, tmp_path / "key.bin", allow_marked=False)
    assert not (tmp_path / "key.bin").exists()
    assert deliver(ledger, store, 1, tmp_path / "key.bin", allow_marked=True) == BITS
    ledger.close()


def test_nothing_is_lost_when_the_file_cannot_be_made(
    tmp_path: Path, store: DirectoryStore
) -> None:
    ledger = _ledger(tmp_path, store, "real")
    with pytest.raises(PhotonlinkError, match="cannot be made"):
        deliver(ledger, store, 1, tmp_path / "no" / "folder", allow_marked=False)
    with pytest.raises(DeliveryRefused, match="no key in block 2"):
        deliver(ledger, store, 2, tmp_path / "key.bin", allow_marked=False)
    assert deliver(ledger, store, 1, tmp_path / "key.bin", allow_marked=False) == BITS
    ledger.close()


@pytest.mark.parametrize(
    ("provenance", "allowed", "can"),
    [("real", "false", BITS), ("emulated", "false", 0), ("emulated", "true", BITS)],
)
def test_the_list_counts_only_what_take_would_give(
    tmp_path: Path, store: DirectoryStore, provenance: str, allowed: str, can: int
) -> None:
    _ledger(tmp_path, store, provenance).close()
    station = write_demo_files(tmp_path, 1, 7101, seed=None, block_bits=None).stations["alice"]
    text = station.read_text().replace("alice-state", "state")
    station.write_text(text.replace("_keys = false", f"_keys = {allowed}"))
    result = CliRunner().invoke(app, ["key", "list", str(station)])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"block 1: {BITS} bits, {provenance}",
        f"{BITS} bits stored, {can} can be taken",
    ]
