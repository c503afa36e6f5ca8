"""Row M5: a link that was attacked for a day makes key a minute after the attack (virtual time)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from forger import Forger, changed_field
from link import (
    BENCH,
    CAPABILITIES,
    SMALL,
    STARTED,
    Node,
    Wire,
    feed,
    keys,
    narrow_clock_search,
    pair,
)

from photonlink.pipeline.protocol.messages import Amplify, Message
from photonlink.pipeline.protocol.setup import Role

SHORT = replace(BENCH, duration_s=1.2)
ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)
HOUR_S = 3600.0


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def forge_tags(sender: Role, message: Message) -> list[Message]:
    """Eve can compute the MACs of frames and replaces one-time tags by invalid ones."""
    return [changed_field(message, "tag")] if isinstance(message, Amplify) else [message]


def talk(wire: Wire, seed: int, *, end: bool = False) -> None:
    """Start the taggers, connect the nodes, feed light, then cut the line."""
    for node in wire.nodes.values():
        node.session.acquisition_started(STARTED, CAPABILITIES, wire.now_s)
    wire.connect()
    feed(wire, replace(SHORT, seed=seed), end=end)
    wire.cut()


def spent(node: Node) -> int:
    return max(node.ledger.state.pads.values(), default=0) // 16


def test_m5_a_link_that_was_attacked_for_a_day_makes_key_a_minute_after_it_ends() -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    forger = Forger(alice.psk, forge_tags)
    wire = Wire(alice, bob, forger)
    tries = 0
    for hour in range(24):
        for minute in range(0, 60, 6):  # cut immediately
            wire.now_s = hour * HOUR_S + 60.0 * minute
            wire.connect()
            wire.cut()
        if hour % 3 == 0:  # every third hour, continue up to a wrong one-time tag
            wire.now_s += 60.0
            tries += 1
            talk(wire, tries % 4)
    assert keys(alice) == keys(bob) == {}
    assert "authentication_failed" in alice.codes() | bob.codes()
    assert 0 < spent(bob) <= tries + 1, "two pads a forged tag, and none for anything else"
    forger.active = False
    wire.now_s += 60.0
    talk(wire, 5, end=True)
    assert keys(alice) == keys(bob) != {}


def test_backing_off_begins_anew_after_a_block_that_gave_key() -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    forger = Forger(alice.psk, forge_tags)
    wire = Wire(alice, bob, forger)
    waits = []
    for turn in range(4):
        forger.active = turn != 2
        wire.now_s += 100.0
        talk(wire, turn)
        waits.append(bob.session._backoff_s)
    assert waits == [1.0, 2.0, 2.0, 1.0]
