"""A key is delivered once, and never when it is marked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import add_block, place
from typer.testing import CliRunner

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.tags import Provenance
from photonlink.pipeline.cli.main import app
from photonlink.pipeline.demo.files import write_demo_files
from photonlink.pipeline.keys.delivery import deliver, stored_blocks
from photonlink.pipeline.keys.node_store import NodeStore
from photonlink.pipeline.keys.policy import (
    DeliveryRefused,
    is_emulated,
    is_marked,
    least_real,
)
from photonlink.pipeline.node.open_store import store_place
from photonlink.pipeline.node.station import load_node_station

BITS = 512


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeStore]:
    with NodeStore.open(place(tmp_path)) as store:
        yield store


def test_a_block_is_given_once(tmp_path: Path, node: NodeStore) -> None:
    wanted = add_block(node, 1, BITS)
    ledger, store = node.ledger, node.keys
    to = tmp_path / "key.bin"
    assert deliver(ledger, store, 1, to, allow_marked=False) == BITS
    assert to.read_bytes() == wanted
    assert to.stat().st_mode & 0o077 == 0
    assert stored_blocks(ledger)[0].delivered
    with pytest.raises(DeliveryRefused, match="before"):
        deliver(ledger, store, 1, tmp_path / "again.bin", allow_marked=False)
    assert not (tmp_path / "again.bin").exists()
    node.close()
    with (
        NodeStore.open(place(tmp_path)) as again,  # the ledger records the delivery
        pytest.raises(DeliveryRefused, match="before"),
    ):
        deliver(again.ledger, again.keys, 1, tmp_path / "again.bin", allow_marked=False)
    assert not list((tmp_path / "state" / "keys").glob("*.key"))


@pytest.mark.parametrize("provenance", ["emulated", "replayed"])
def test_marked_key_is_refused(tmp_path: Path, node: NodeStore, provenance: str) -> None:
    add_block(node, 1, BITS, provenance=provenance)
    ledger, store = node.ledger, node.keys
    with pytest.raises(DeliveryRefused, match=provenance):
        deliver(ledger, store, 1, tmp_path / "key.bin", allow_marked=False)
    assert not (tmp_path / "key.bin").exists()
    assert deliver(ledger, store, 1, tmp_path / "key.bin", allow_marked=True) == BITS


@pytest.mark.parametrize("allow", [False, True])
def test_key_from_a_seed_is_refused_whatever_the_station_says(
    tmp_path: Path, node: NodeStore, allow: bool
) -> None:
    add_block(node, 1, BITS, provenance="seeded")
    with pytest.raises(DeliveryRefused, match="virtual run"):
        deliver(node.ledger, node.keys, 1, tmp_path / "key.bin", allow_marked=allow)
    assert not (tmp_path / "key.bin").exists()


def test_key_is_as_little_real_as_its_least_real_part() -> None:
    for other in Provenance:
        assert least_real(other, Provenance.SEEDED) is Provenance.SEEDED
        assert least_real(Provenance.SEEDED, other) is Provenance.SEEDED
    assert is_emulated(Provenance.SEEDED)
    assert is_marked(Provenance.SEEDED)


def test_nothing_is_lost_when_the_file_cannot_be_made(tmp_path: Path, node: NodeStore) -> None:
    add_block(node, 1, BITS)
    ledger, store = node.ledger, node.keys
    with pytest.raises(PhotonlinkError, match="cannot be made"):
        deliver(ledger, store, 1, tmp_path / "no" / "folder", allow_marked=False)
    with pytest.raises(DeliveryRefused, match="no key in block 2"):
        deliver(ledger, store, 2, tmp_path / "key.bin", allow_marked=False)
    assert deliver(ledger, store, 1, tmp_path / "key.bin", allow_marked=False) == BITS


@pytest.mark.parametrize(
    ("provenance", "allowed", "can"),
    [("real", "false", BITS), ("emulated", "false", 0), ("emulated", "true", BITS)],
)
def test_the_list_counts_only_what_take_would_give(
    tmp_path: Path, provenance: str, allowed: str, can: int
) -> None:
    station = write_demo_files(tmp_path, 1, 7101, seed=None, block_bits=None).stations["alice"]
    text = station.read_text()
    with NodeStore.open(store_place(load_node_station(station))) as node:
        add_block(node, 1, BITS, provenance=provenance)
    station.write_text(text.replace("_keys = false", f"_keys = {allowed}"))
    result = CliRunner().invoke(app, ["key", "list", str(station)])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"block 1: {BITS} bits, {provenance}",
        f"{BITS} bits stored, {can} can be taken",
    ]
