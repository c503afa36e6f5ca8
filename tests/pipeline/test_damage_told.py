"""Damaged records listed in a Hello: they are stored only after a one-time tag has covered it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from link import BENCH, SMALL, Node, Wire, feed, narrow_clock_search, pair

from photonlink.pipeline.keys.damage import PEER_REASON, burn_damaged
from photonlink.pipeline.protocol.setup import Role

SHORT = replace(BENCH, duration_s=1.6)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def with_a_damaged_block() -> tuple[Node, Node]:
    """Both have released block 1; Bob's stored record of it no longer opens."""
    alice, bob = pair(parameters=replace(SMALL, block_sifted_bits=4_000))
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, SHORT)
    assert alice.ledger.state.blocks[1].status == "released"
    burn_damaged(bob.ledger, bob.store, 1, "damaged: test")
    for node in (alice, bob):
        node.finished = False
        node.start()
    return alice, bob


def test_damage_told_under_the_mac_alone_burns_nothing() -> None:
    alice, bob = with_a_damaged_block()
    Wire(alice, bob).connect()
    assert set(bob.ledger.state.untold) == {1}
    assert alice.ledger.state.blocks[1].status == "released"
    assert alice.ledger.state.has_key(1)


def test_damage_burns_at_both_ends_with_the_first_tag_over_the_connection() -> None:
    alice, bob = with_a_damaged_block()
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, SHORT)
    assert alice.ledger.state.last_released > 1
    for node in (alice, bob):
        assert node.ledger.state.blocks[1].status == "burnt"
    assert alice.ledger.state.blocks[1].reason == PEER_REASON
    assert not bob.ledger.state.untold


@pytest.mark.parametrize("forged", [False, True])
def test_a_tag_over_another_connection_vouches_for_nothing(forged: bool) -> None:
    """The line is cut before the first valid Amplify of the connection: nothing is recorded."""
    alice, bob = with_a_damaged_block()

    def cut_at_amplify(_: int, sender: Role, frame: bytes) -> list[bytes] | None:
        if frame[0] == 0x40 and sender is Role.ALICE:
            return None if not forged else [frame[:-1] + bytes([frame[-1] ^ 1])]
        return [frame]

    wire = Wire(alice, bob, cut_at_amplify)
    wire.connect()
    feed(wire, SHORT)
    assert set(bob.ledger.state.untold) == {1}
    assert alice.ledger.state.blocks[1].status == "released"
