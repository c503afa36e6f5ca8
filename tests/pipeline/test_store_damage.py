"""Rows M8 and low D of the attacks: every flipped bit, cut, exchange, zeroed page and appended byte
of every file of the store is reported, is never used as key, and loses nothing silently."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import add_block, place
from typer.testing import CliRunner

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.damage import damage_to_tell, hear_of_damage, told
from photonlink.pipeline.keys.delivery import deliver
from photonlink.pipeline.keys.ledger import HEAD_BYTES, LedgerError
from photonlink.pipeline.keys.node_store import NodeStore
from photonlink.pipeline.keys.policy import DeliveryRefused
from photonlink.pipeline.keys.psk import PreSharedKey, create_psk
from photonlink.pipeline.keys.store import DamagedRecord
from photonlink.pipeline.keys.store_key import StoreKeyError

DOUBT = 4
EVERY_BIT = bool(os.environ.get("PHOTONLINK_LONG"))


@pytest.fixture
def life(tmp_path: Path) -> dict[int, bytes]:
    """A store with three released blocks with key and refill, a block in doubt with a message that
    may be sent again, and a pre-shared key. Returns the released keys."""
    create_psk(tmp_path / "link.psk", 1024)
    with NodeStore.open(place(tmp_path)) as store:
        store.psk(tmp_path / "link.psk").close()
        keys = {number: add_block(store, number, 256, refill=1) for number in (1, 2, 3)}
        add_block(store, DOUBT, 256, released=False)
        store.keys.put_message(DOUBT, b"a tagged message")
        store.ledger.append({"t": "session", "epoch": 1, "id": "s", "incarnation": "ab" * 16})
    return keys


def variants(data: bytes, seed: int, flips: int) -> Iterator[tuple[str, bytes]]:
    """Every kind of damage to a file's bytes, with its name."""
    rng = random.Random(seed)
    places = range(8 * len(data)) if EVERY_BIT else rng.sample(range(8 * len(data)), flips)
    for at in places:
        changed = bytearray(data)
        changed[at // 8] ^= 1 << at % 8
        yield f"bit {at}", bytes(changed)
    for size in {0, 1, len(data) // 2, len(data) - 1, *rng.sample(range(len(data)), 8)}:
        yield f"cut to {size}", data[:size]
    for extra in (b"\0", b"\xff", data[:1]):
        yield "a byte behind", data + extra
    for page in range(0, len(data), 4096):
        zeroed = bytearray(data)
        zeroed[page : page + 4096] = bytes(len(zeroed[page : page + 4096]))
        if bytes(zeroed) != data:
            yield f"page at {page} zeroed", bytes(zeroed)


def take_all(folder: Path, life: dict[int, bytes]) -> tuple[list[str], dict[int, bytes]]:
    """All messages to the operator, and every key that can be delivered."""
    told_of, had = [], {}
    try:
        with NodeStore.open(place(folder)) as store:
            told_of += store.findings
            store.psk(folder / "absent").close()
            told_of += store.check()
            for number in life:
                target = folder / "out" / f"{number}.key"
                target.parent.mkdir(exist_ok=True)
                try:
                    deliver(store.ledger, store.keys, number, target, allow_marked=False)
                    had[number] = target.read_bytes()
                except PhotonlinkError as error:
                    told_of.append(str(error))
    except PhotonlinkError as error:
        told_of.append(str(error))
    return told_of, had


FILES = ["state/ledger.log", "state/psk", "state/keys/block-00000002.key",
         "state/keys/block-00000002.pad", "state/keys/block-00000004.msg", "state.anchor",
         "store.key"]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_m8_damage_to_any_file_is_named_and_is_never_key(
    tmp_path: Path, life: dict[int, bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # without a crash, not needed
    whole, work = tmp_path / "whole", tmp_path / "work"
    whole.mkdir()
    for item in ("state", "state.anchor", "store.key"):
        (tmp_path / item).rename(whole / item)
    data = (whole / name).read_bytes()
    flips = 160 if name == "state/ledger.log" else 60
    for what, changed in variants(data, 7, flips):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(whole, work)
        (work / name).write_bytes(changed)
        told_of, had = take_all(work, life)
        assert told_of, f"{what} of {name}: nobody was told"
        for number, key in had.items():
            assert key == life[number], f"{what} of {name}: a wrong key"
        lost = life.keys() - had.keys()
        assert not lost or any(Path(name).name.split(".")[0] in t or "block" in t for t in told_of)


def test_m8_an_undamaged_store_says_nothing(tmp_path: Path, life: dict[int, bytes]) -> None:
    assert take_all(tmp_path, life) == ([], life)


@pytest.mark.parametrize(
    ("first", "second"),
    [("block-00000001.key", "block-00000002.key"), ("block-00000001.pad", "block-00000002.pad"),
     ("block-00000001.key", "block-00000001.pad")],
)  # fmt: skip
def test_m8_an_exchanged_file_is_not_taken(
    tmp_path: Path, life: dict[int, bytes], first: str, second: str
) -> None:
    keys = tmp_path / "state" / "keys"
    shutil.copy(keys / first, keys / second)
    with NodeStore.open(place(tmp_path)) as store:
        assert len(store.check()) == 1
    _, had = take_all(tmp_path, life)
    assert had.items() <= life.items()


def test_m8_an_older_record_of_the_same_block_is_not_taken(
    tmp_path: Path, life: dict[int, bytes]
) -> None:
    """Authentic, of the right block and length, but not the one recorded in the ledger."""
    with NodeStore.open(place(tmp_path)) as store:
        add_block(store, 5, 256)
        path = tmp_path / "state/keys/block-00000005.key"
        known = path.read_bytes()
        with store.keys.get_key(1, 256) as other:
            store.keys.put_key(5, other)
        with pytest.raises(DamagedRecord, match="exchanged"):
            deliver(store.ledger, store.keys, 5, tmp_path / "out", allow_marked=False)
        assert not path.exists()
        path.write_bytes(known)  # the restored record comes too late: the block is burnt
        with pytest.raises(DeliveryRefused, match="burnt"):
            deliver(store.ledger, store.keys, 5, tmp_path / "out", allow_marked=False)
    assert not (tmp_path / "out").exists()


def test_m8_a_store_of_another_link_or_role_does_not_open(
    tmp_path: Path, life: dict[int, bytes]
) -> None:
    for role, link in (("bob", "test"), ("alice", "other")):
        with pytest.raises(LedgerError, match="does not open"):
            NodeStore.open(place(tmp_path, role, link))
    (tmp_path / "store.key").unlink()
    with pytest.raises(LedgerError, match="does not open"):  # a new store key
        NodeStore.open(place(tmp_path))


def test_m8_the_damaged_block_burns_at_both_ends(tmp_path: Path) -> None:
    ends = {role: NodeStore.open(place(tmp_path / role, role)) for role in ("alice", "bob")}
    for store in ends.values():
        for number in (1, 2, 3):
            add_block(store, number, 256, refill=1)
    alice, bob = ends["alice"], ends["bob"]
    for kind, number in (("key", 1), ("pad", 2)):
        path = tmp_path / f"alice/state/keys/block-{number:08d}.{kind}"
        path.write_bytes(path.read_bytes()[:-1])
    assert len(alice.check()) == 2
    message = damage_to_tell(alice.ledger)
    assert message == {1: True, 2: False}
    assert hear_of_damage(bob.ledger, bob.keys, message) == [1]
    assert hear_of_damage(bob.ledger, bob.keys, message) == [], "once"
    told(alice.ledger, list(message))
    assert damage_to_tell(alice.ledger) == {} == damage_to_tell(bob.ledger)
    for store in ends.values():
        assert store.ledger.state.blocks[1].status == "burnt"
        assert store.ledger.state.burnt_refill == {2}
        assert store.ledger.state.secret_bits == 512
        names = {p.name for p, _, _ in store.keys.files()}
        assert names == {
            "block-00000001.pad", "block-00000002.key", "block-00000003.key", "block-00000003.pad"
        }  # fmt: skip
        store.close()
    with NodeStore.open(place(tmp_path / "alice")) as again:
        assert again.ledger.state.blocks[1].reason.startswith("damaged")


def test_low_d_a_torn_last_record_is_cut_off_and_a_damaged_one_is_not(
    tmp_path: Path, life: dict[int, bytes]
) -> None:
    path = tmp_path / "state/ledger.log"
    before = path.read_bytes()
    with NodeStore.open(place(tmp_path)) as store:
        store.ledger.append({"t": "told", "blocks": []})
    after = path.read_bytes()
    for size in range(len(before) + 1, len(after), 7):
        # a crash during the append: the head does not count the record yet
        path.write_bytes(before[:HEAD_BYTES] + after[HEAD_BYTES:size])
        (tmp_path / "state.anchor").write_bytes((tmp_path / "state.anchor").read_bytes())
        with NodeStore.open(place(tmp_path)) as store:
            assert any("never completed" in f for f in store.findings)
            assert store.ledger.recovered_bytes == size - len(before)
        assert path.read_bytes()[HEAD_BYTES:] == before[HEAD_BYTES:]
    path.write_bytes(before[:HEAD_BYTES] + after[HEAD_BYTES:])
    with NodeStore.open(place(tmp_path)) as store:
        assert not store.findings, "it was complete: it counts"
    for at in range(len(before), len(after)):  # the head counts the record
        changed = bytearray(after)
        changed[at] ^= 4
        path.write_bytes(changed)
        with pytest.raises(LedgerError, match="damaged or cut off"):
            NodeStore.open(place(tmp_path))


def test_m8_key_take_ends_with_an_error_and_writes_nothing(tmp_path: Path) -> None:
    from photonlink.pipeline.cli.main import app
    from photonlink.pipeline.demo.files import write_demo_files
    from photonlink.pipeline.node.open_store import open_store
    from photonlink.pipeline.node.station import load_node_station

    station = write_demo_files(tmp_path, 1, 7101, seed=None, block_bits=None).stations["alice"]
    with open_store(load_node_station(station)) as store:
        add_block(store, 1)
        add_block(store, 2)
    path = tmp_path / "alice-state/keys/block-00000001.key"
    changed = bytearray(path.read_bytes())
    changed[40] ^= 1
    path.write_bytes(changed)
    run = CliRunner().invoke(app, ["key", "take", str(station), "1", str(tmp_path / "out")])
    assert isinstance(run.exception, DamagedRecord)
    assert "Block 1 is burnt; the peer is told" in str(run.exception)
    assert not (tmp_path / "out").exists()
    run = CliRunner().invoke(app, ["key", "check", str(station)])
    assert run.exit_code == 0
    assert "every record opens" in run.output
    run = CliRunner().invoke(app, ["key", "take", str(station), "2", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "out").stat().st_size == 64


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_store_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    where = place(tmp_path)
    (tmp_path / "store.key").chmod(mode)
    with pytest.raises(StoreKeyError, match="chmod 600"):
        NodeStore.open(where)


def test_stored_messages_come_back_byte_for_byte(tmp_path: Path) -> None:
    message = bytes(range(256)) * 500
    with NodeStore.open(place(tmp_path)) as store:
        add_block(store, 1)
        store.keys.put_message(1, message)
    with NodeStore.open(place(tmp_path)) as store:
        assert store.keys.get_message(1) == message
        assert store.keys.get_message(2) is None
        path = tmp_path / "state/keys/block-00000001.msg"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(DamagedRecord):
            store.keys.get_message(1)
        store.keys.remove_message(1)
        assert store.keys.get_message(1) is None


def test_a_purpose_key_is_the_same_at_both_ends_and_for_one_purpose() -> None:
    psk = PreSharedKey.generate(1024)
    other = psk.copy()
    assert psk.purpose_key("mask").digest(b"x") == other.purpose_key("mask").digest(b"x")
    assert psk.purpose_key("mask").digest(b"x") != psk.purpose_key("hmac").digest(b"x")
