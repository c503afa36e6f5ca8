"""Row M5: a block whose tags were in transit when both nodes crashed is finished after the restart
from the stores; its pads are not erased before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from link import BENCH, SMALL, Node, Wire, feed, keys, message_of, narrow_clock_search
from stores import place

from photonlink.pipeline.keys.node_store import NodeStore
from photonlink.pipeline.keys.pads import BlockPads, PadReused
from photonlink.pipeline.keys.psk import PreSharedKey, create_psk, load_psk
from photonlink.pipeline.protocol.messages import Amplify, Commit, Message, Prepared
from photonlink.pipeline.protocol.setup import Role

SHORT = replace(BENCH, duration_s=1.2)
ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


@contextlib.contextmanager
def both(folder: Path, life: int) -> Iterator[dict[Role, Node]]:
    """Both nodes on their stores, as freshly started processes."""
    with contextlib.ExitStack() as stack:
        nodes = {}
        for role in Role:
            store = stack.enter_context(NodeStore.open(place(folder / role, role)))
            psk = stack.enter_context(contextlib.closing(store.psk(folder / "link.psk")))
            nodes[role] = Node(
                role, psk, ONE_BLOCK, ledger=store.ledger, store=store.keys, seed=life
            )
        yield nodes


def run(nodes: dict[Role, Node], lost: type[Message] | None = None, seed: int = 1) -> list[bytes]:
    """One conversation; with ``lost``, both ends crash while that message is in transit."""
    seen: list[bytes] = []

    def hook(n: int, sender: Role, data: bytes) -> list[bytes] | None:
        if seen and lost:
            return []
        if isinstance(message_of(data), lost or Amplify):
            seen.append(data)
            return [] if lost else [data]
        return [data]

    wire = Wire(nodes[Role.ALICE], nodes[Role.BOB], hook)
    wire.connect()
    feed(wire, replace(SHORT, seed=seed), end=not lost, until=lambda: bool(seen and lost))
    return seen


@pytest.mark.parametrize("lost", [Amplify, Prepared, Commit])
def test_m5_a_block_in_doubt_is_finished_or_burnt_quietly_after_both_were_killed(
    tmp_path: Path, lost: type[Message]
) -> None:
    create_psk(tmp_path / "link.psk", 4096)
    with both(tmp_path, 1) as nodes:
        assert run(nodes, lost)
    with both(tmp_path, 2) as nodes:
        run(nodes, seed=5)
        alice, bob = nodes[Role.ALICE], nodes[Role.BOB]
        assert keys(alice) == keys(bob) != {}
        assert alice.ledger.state.pads == bob.ledger.state.pads
        first = alice.ledger.state.blocks[1]
        # Bob had not stored his half of the block before the crash
        assert first.status == ("burnt" if lost is Amplify else "released")
        assert "authentication_failed" not in alice.codes() | bob.codes()


@pytest.mark.parametrize("lost", [Prepared, Commit])
def test_m8_a_damaged_message_of_a_block_in_doubt_is_named_and_burns_at_both_ends(
    tmp_path: Path, lost: type[Message]
) -> None:
    """Unless the peer has released the block: then it needs the message no more."""
    victim = Role.ALICE if lost is Prepared else Role.BOB
    create_psk(tmp_path / "link.psk", 4096)
    with both(tmp_path, 1) as nodes:
        assert run(nodes, lost)
    path = tmp_path / victim / "state/keys/block-00000001.msg"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with NodeStore.open(place(tmp_path / victim, victim)) as store:
        (finding,) = store.findings
        assert "message of block 1" in finding
        assert "block-00000001.msg" in finding
    with both(tmp_path, 2) as nodes:
        run(nodes, seed=5)
        assert keys(nodes[Role.ALICE]) == keys(nodes[Role.BOB]) != {}
        assert nodes[Role.ALICE].ledger.state.pads == nodes[Role.BOB].ledger.state.pads
        first = {role: node.ledger.state.blocks[1] for role, node in nodes.items()}
        if lost is Commit:
            assert {entry.status for entry in first.values()} == {"released"}
        else:
            assert {entry.status for entry in first.values()} == {"burnt"}
            assert first[victim].reason.startswith("damaged: ")
            assert "the peer cannot send its stored message again" in first[victim.peer].reason
        assert not list((tmp_path / victim / "state/keys").glob("*00000001.msg"))


def test_m5_pads_of_a_block_in_doubt_are_kept_and_then_erased(tmp_path: Path) -> None:
    create_psk(tmp_path / "link.psk", 4096)
    with contextlib.closing(load_psk(tmp_path / "link.psk")) as psk:
        wanted = first_pad(psk)
    with both(tmp_path, 1) as nodes:
        run(nodes, Prepared)
    with both(tmp_path, 2) as nodes:
        alice = nodes[Role.ALICE]
        assert first_pad(alice.psk) == wanted != bytes(16)
        run(nodes, seed=5)
        assert first_pad(alice.psk) == bytes(16)
        with pytest.raises(PadReused, match="erased"):
            BlockPads(alice.psk, alice.ledger, alice.store).take(1, "bob")
    with both(tmp_path, 3) as nodes:
        assert first_pad(nodes[Role.ALICE].psk) == bytes(16)


def first_pad(psk: PreSharedKey) -> bytes:
    with psk.pad("bob", False, 0, 16) as pad:
        return pad.disclose()
