"""Rows H2, M9, M10 and M12: restored backups, deliveries, wiping after a crash, second starts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stores import add_block, place

from photonlink.pipeline.keys import claims
from photonlink.pipeline.keys.claims import Claim, ClaimError
from photonlink.pipeline.keys.delivery import deliver
from photonlink.pipeline.keys.ledger import Ledger, LedgerError
from photonlink.pipeline.keys.locking import InUseError
from photonlink.pipeline.keys.node_store import NodeStore
from photonlink.pipeline.keys.policy import DeliveryRefused
from photonlink.pipeline.keys.psk import PskError, create_psk
from photonlink.pipeline.native.secret import SecretBits


def take(folder: Path, block: int, to: str = "out") -> bytes:
    with NodeStore.open(place(folder)) as store:
        deliver(store.ledger, store.keys, block, folder / to, allow_marked=False)
    return (folder / to).read_bytes()


def backup(folder: Path, name: str = "backup") -> Path:
    shutil.rmtree(folder / name, ignore_errors=True)
    return Path(shutil.copytree(folder / "state", folder / name))


def restore(folder: Path, name: str = "backup") -> None:
    shutil.rmtree(folder / "state")
    shutil.copytree(folder / name, folder / "state")


def test_m9_a_key_leaves_once_also_after_a_restored_backup(tmp_path: Path) -> None:
    with NodeStore.open(place(tmp_path)) as store:
        key = add_block(store, 1)
    backup(tmp_path)
    assert take(tmp_path, 1) == key
    restore(tmp_path)
    with pytest.raises(LedgerError, match=r"ledger_rolled_back.*anchor"):
        take(tmp_path, 1, "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("what", ["ledger.log", "everything"])
def test_m9_an_emptied_store_is_not_an_empty_list(tmp_path: Path, what: str) -> None:
    with NodeStore.open(place(tmp_path)) as store:
        add_block(store, 1)
    if what == "everything":
        shutil.rmtree(tmp_path / "state")
    else:
        (tmp_path / "state" / what).unlink()
    with pytest.raises(LedgerError):
        NodeStore.open(place(tmp_path))
    with pytest.raises(LedgerError):  # the same again: the refusal changes nothing
        NodeStore.open(place(tmp_path))


def test_m9_key_files_that_are_newer_than_the_ledger_are_named(tmp_path: Path) -> None:
    with NodeStore.open(place(tmp_path)) as store:
        add_block(store, 1)
    shutil.copy(tmp_path / "state/ledger.log", tmp_path / "old")
    with NodeStore.open(place(tmp_path)) as store:
        add_block(store, 2)
    shutil.copy(tmp_path / "old", tmp_path / "state/ledger.log")
    with pytest.raises(LedgerError, match=r"ledger_rolled_back: block-00000002.key"):
        NodeStore.open(place(tmp_path))


def test_m9_erased_pads_tell_of_an_older_ledger(tmp_path: Path) -> None:
    """Store and anchor are restored together, the sealed pre-shared key is not."""
    create_psk(tmp_path / "link.psk", 1024)
    with NodeStore.open(place(tmp_path)) as store:
        store.psk(tmp_path / "link.psk").close()
    old = {name: (tmp_path / name).read_bytes() for name in ("state/ledger.log", "state.anchor")}
    with NodeStore.open(place(tmp_path)) as store:
        store.ledger.spend_pad("alice/block", 64)
    with NodeStore.open(place(tmp_path)) as store:
        psk = store.psk(tmp_path / "link.psk")
        assert psk.pad("alice", False, 0, 64).disclose() == bytes(64), "spent pads are zero"
        assert any(psk.pad("alice", False, 64, 16).disclose())
        psk.close()
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)
    with (
        NodeStore.open(place(tmp_path)) as store,
        pytest.raises(LedgerError, match=r"ledger_rolled_back: erased pads of alice/block"),
    ):
        store.psk(tmp_path / "link.psk")


def test_m9_a_lost_anchor_is_named_and_renewed_on_the_operators_word(tmp_path: Path) -> None:
    with NodeStore.open(place(tmp_path)) as store:
        add_block(store, 1)
    (tmp_path / "state.anchor").unlink()
    with pytest.raises(LedgerError, match="anchor is gone"):
        NodeStore.open(place(tmp_path))
    NodeStore.open(place(tmp_path), renew_anchor=True).close()
    backup(tmp_path)
    take(tmp_path, 1)
    restore(tmp_path)
    with pytest.raises(LedgerError, match="ledger_rolled_back"):
        NodeStore.open(place(tmp_path))


def test_an_anchor_behind_the_store_is_a_crash_and_harmless(tmp_path: Path) -> None:
    NodeStore.open(place(tmp_path)).close()
    anchor = (tmp_path / "state.anchor").read_bytes()
    with NodeStore.open(place(tmp_path)) as store:
        store.ledger.append({"t": "session", "epoch": 1, "id": "s"})
    assert (tmp_path / "state.anchor").read_bytes() != anchor
    (tmp_path / "state.anchor").write_bytes(anchor)
    with NodeStore.open(place(tmp_path)) as store:
        assert store.ledger.state.epoch == 1
    assert (tmp_path / "state.anchor").read_bytes() != anchor, "it was brought up again"


def test_m9_a_crash_between_anchor_and_bytes_loses_the_key_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with NodeStore.open(place(tmp_path)) as store:
        add_block(store, 1)

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(SecretBits, "write_file", die)
        with pytest.raises(Died):
            take(tmp_path, 1)
    with pytest.raises(DeliveryRefused, match="delivered before"):
        take(tmp_path, 1, "again")
    assert not list((tmp_path / "state/keys").iterdir())


@pytest.mark.parametrize("effect", ["delivered", "burnt", "aborted"])
def test_m10_wiping_is_finished_after_a_crash_between_record_and_wipe(
    tmp_path: Path, effect: str
) -> None:
    with NodeStore.open(place(tmp_path)) as store:
        add_block(store, 1, refill=1)
        ledger = store.ledger
        if effect == "delivered":
            ledger.append({"t": "delivered", "block": 1})
        elif effect == "burnt":
            ledger.append({"t": "block", "block": 1, "status": "burnt", "reason": "damaged"})
        else:
            ledger.append({"t": "block", "block": 2, "status": "open"})
            with SecretBits.random(64) as bits:
                store.keys.put_key(2, bits)
            ledger.append({"t": "block", "block": 2, "status": "aborted", "reason": "x"})
        (tmp_path / "state/keys/block-00000001.key.new").write_bytes(b"half")
    names = {p.name for p in (tmp_path / "state/keys").iterdir()}
    assert names >= {"block-00000001.key"}
    with NodeStore.open(place(tmp_path)) as store:
        assert store.findings
        left = {p.name for p, _, _ in store.keys.files()}
    wanted = {"block-00000001.pad"} | ({"block-00000001.key"} if effect == "aborted" else set())
    assert left == wanted


HOLD = """
import sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from stores import place
from photonlink.pipeline.keys.node_store import NodeStore
store = NodeStore.open(place(Path(sys.argv[1])))
print("held", flush=True)
sys.stdin.read()
"""


def test_m12_a_second_start_touches_nothing_and_says_who_holds_the_store(tmp_path: Path) -> None:
    NodeStore.open(place(tmp_path)).close()
    command = [sys.executable, "-c", HOLD, str(tmp_path), str(Path(__file__).parent)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin
    assert holder.stdout
    try:
        assert holder.stdout.readline() == "held\n"
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        with pytest.raises(InUseError) as caught:
            NodeStore.open(place(tmp_path))
        assert f"process {holder.pid} (" in caught.value.what
        assert "python" in caught.value.what
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    finally:
        holder.stdin.close()
        holder.wait(20)
        holder.stdout.close()
    NodeStore.open(place(tmp_path)).close()  # the lock ends with its holder


async def test_m12_the_lock_is_taken_before_any_instrument_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from photonlink.pipeline.demo.files import write_demo_files
    from photonlink.pipeline.node import node as node_module
    from photonlink.pipeline.node.node import Node, NodeOptions
    from photonlink.pipeline.node.open_store import open_store
    from photonlink.pipeline.node.report import Reporter
    from photonlink.pipeline.node.station import load_node_station

    async def open_bench(*_: object, **__: object) -> None:
        raise AssertionError("an instrument was opened")

    monkeypatch.setattr(node_module, "open_bench", open_bench)
    files = write_demo_files(tmp_path, 1, 7101, seed=None, block_bits=None)
    station = load_node_station(files.stations["alice"]).model_copy(update={"mqtt": None})
    report = Reporter("alice", json_lines=True)
    with open_store(station), pytest.raises(InUseError):
        await Node(station, NodeOptions(), report).run()
    with pytest.raises(AssertionError, match="an instrument was opened"):  # the test can fail
        await Node(station, NodeOptions(), report).run()


def claim(ledger: Ledger, **changes: object) -> Claim:
    fields = Claim.of(ledger.state, "ab" * 16).as_dict() | changes
    return Claim.parse(fields)


@pytest.fixture
def lived() -> Ledger:
    ledger = Ledger.memory()
    ledger.append({"t": "session", "epoch": 7, "id": "s"})
    for number in (1, 2):
        ledger.append({"t": "block", "block": number, "status": "open"})
        ledger.append({"t": "reserve", "block": number,
                       "pads": {"alice": 16 * number - 16, "bob": 16 * number - 16}})  # fmt: skip
        ledger.append({"t": "block", "block": number, "status": "prepared", "secret_bits": 64})
        ledger.append({"t": "block", "block": number, "status": "released"})
    ledger.append({"t": "delivered", "block": 1})
    return ledger


@pytest.mark.parametrize(
    "changes",
    [{"epoch": 7}, {"epoch": 3}, {"next_block": 2}, {"released": 1}, {"delivered": 0},
     {"pads": {"alice": 16, "bob": 32}}, {"pads": {"alice": 32, "bob": 16}}, {"head": "00" * 32}],
)  # fmt: skip
def test_h2_a_peer_that_claims_less_than_before_is_refused_by_name(
    lived: Ledger, changes: dict[str, object]
) -> None:
    remembered = claim(lived, epoch=7)
    claims.check(claim(lived), remembered)
    claims.check(claim(lived), None)
    with pytest.raises(ClaimError) as caught:
        claims.check(claim(lived, **changes), remembered)
    assert caught.value.rolled_back
    if "head" not in changes:  # the rolled-back end detects it too
        with pytest.raises(ClaimError) as caught:
            claims.own_memory(claim(lived, **changes), remembered)
        assert caught.value.rolled_back
    claims.own_memory(claim(lived), remembered)
    claims.own_memory(claim(lived), None)


def test_h2_a_claim_moves_what_is_remembered_by_a_bounded_step(lived: Ledger) -> None:
    peer = Ledger.memory()
    claims.remember(peer, claim(lived))
    first = claims.remembered(peer.state)
    assert first == claim(lived)
    far = {"epoch": 10**9, "next_block": 10**9, "released": 10**9, "delivered": 10**9,
           "pads": {"alice": 16 * 10**9, "bob": 16 * 10**9}}  # fmt: skip
    claims.remember(peer, claim(lived, **far))
    moved = claims.remembered(peer.state)
    assert moved
    assert first
    assert moved.epoch == first.epoch + 1
    assert moved.next_block == first.next_block + 1
    assert moved.pads == {d: p + 16 for d, p in first.pads.items()}
    assert moved.delivered == peer.state.next_block


@pytest.mark.parametrize(
    "changes",
    [{"epoch": -1}, {"epoch": True}, {"epoch": 1e300}, {"epoch": 1 << 62}, {"head": "zz"},
     {"incarnation": "ab"}, {"pads": {}}, {"pads": {"alice": 1, "bob": 0}}, {"pads": None},
     {"more": 1}, {"delivered": "7"}, {"head": "AB" * 32}],
)  # fmt: skip
def test_a_malformed_claim_is_refused_before_it_is_believed(
    lived: Ledger, changes: dict[str, object]
) -> None:
    with pytest.raises(ClaimError) as caught:
        claim(lived, **changes)
    assert not caught.value.rolled_back


def test_the_pre_shared_key_of_a_pair_is_replaced(tmp_path: Path) -> None:
    """Stored key stays, pads restart at zero, blocks in doubt are burnt, and the old pre-shared key
    is refused.
    """
    for name in ("old.psk", "new.psk"):
        create_psk(tmp_path / name, 1024)
    with NodeStore.open(place(tmp_path)) as store:
        store.psk(tmp_path / "old.psk").close()
        key = add_block(store, 1, refill=1)
        store.ledger.spend_pad("alice/block", 160)
        store.ledger.append({"t": "block", "block": 2, "status": "open"})
    with NodeStore.open(place(tmp_path)) as store, pytest.raises(PskError, match="psk replace"):
        store.psk(tmp_path / "new.psk")
    with NodeStore.open(place(tmp_path)) as store:
        new = store.replace_psk(tmp_path / "new.psk")
        with pytest.raises(PskError, match="in use already"):
            store.replace_psk(tmp_path / "new.psk")
        state = store.ledger.state
        assert (state.psk_id, state.pads, state.claim, state.released) == (new, {}, {}, [])
        assert state.blocks[2].status == "burnt"
        assert {p.name for p, _, _ in store.keys.files()} == {"block-00000001.key"}
    with NodeStore.open(place(tmp_path)) as store:
        psk = store.psk(tmp_path / "absent")
        assert psk.key_id == new
        psk.close()
    assert take(tmp_path, 1) == key
