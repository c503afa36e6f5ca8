"""Data are tentative until verified: forged data have no lasting effect (rows C1, H3 and H4), and
no handler can reach lasting state. Every field of every message: test_tentative_walk.py.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from forger import Forger
from link import BENCH, SMALL, Wire, clicks_of, feed, keys, narrow_clock_search, pair

from photonlink.hal.tags import Provenance
from photonlink.pipeline.keys.ledger import Ledger
from photonlink.pipeline.keys.store import KeyStore
from photonlink.pipeline.protocol.commitment import Commitment
from photonlink.pipeline.protocol.lasting import Lasting, Verified
from photonlink.pipeline.protocol.messages import (
    MESSAGES,
    Acquisition,
    Message,
)
from photonlink.pipeline.protocol.setup import Role
from photonlink.pipeline.protocol.tentative import Tentative

SHORT = replace(BENCH, duration_s=1.0)
ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def real(side: list) -> list:  # type: ignore[type-arg]
    return [replace(b, provenance=Provenance.REAL) for b in side]


def forged_provenance(*, guard: bool) -> list[str]:
    """H4: Eve changes one byte of Acquisition to mark Bob's light as emulated, then stops."""
    alice, bob = pair(parameters=ONE_BLOCK)
    emulated = list(Provenance).index(Provenance.EMULATED)

    def alter(sender: Role, message: Message) -> list[Message]:
        if isinstance(message, Acquisition) and sender is Role.BOB:
            return [replace(message, provenance=emulated)]
        return [message]

    forger = Forger(alice.psk, alter)
    wire = Wire(alice, bob, forger)
    wire.connect()
    for k, blocks in enumerate(zip(*map(real, clicks_of(BENCH)), strict=True)):
        if k == 5:
            if not guard:  # without the rule, unverified data take effect at once
                alice.session._lasting.mark(alice.session._line.view.peer_provenance)  # type: ignore[union-attr]
            wire.cut()
            forger.active = False
            wire.connect()
        for role, block in zip(Role, blocks, strict=True):
            wire.input(role, lambda s, b=block: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.tick()
    assert keys(alice) == keys(bob) != {}
    return [e.provenance for e in alice.ledger.state.blocks.values() if e.status == "released"]


def test_h4_a_forged_provenance_marks_no_later_key() -> None:
    assert set(forged_provenance(guard=True)) == {"real"}
    assert "emulated" in forged_provenance(guard=False), "the test sees the fault"


def test_c1_no_message_reaches_the_delays() -> None:
    """Delays are fixed when acquisition starts: no message and no handler sets them."""
    assert not any("elay" in cls.__name__ for cls in MESSAGES.values())
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, SHORT, end=False)
    for node in (alice, bob):
        assert not hasattr(node.session._tags.buffer, "set_delays")
        assert node.session._setup.bench == node.constants


def test_c1_h4_handlers_cannot_reach_what_lasts() -> None:
    """No reference from a connection's role and view leads to a ledger, store, pads or commitment.

    The search stops at modules, classes and functions without closures.
    """
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, SHORT, end=False)
    for node in (alice, bob):
        line = node.session._line
        assert line is not None
        found = reachable(line.role) | reachable(line.view)
        assert Tentative in found, "the walk walks"
        for forbidden in (Ledger, KeyStore, Lasting, Commitment, Verified):
            assert not any(issubclass(kind, forbidden) for kind in found), forbidden


def reachable(start: object) -> set[type]:
    seen: dict[int, object] = {}
    queue = [start]
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(one, type) or type(one).__name__ == "module":
            continue
        seen[id(one)] = one
        if type(one).__name__ in ("function", "builtin_function_or_method"):
            queue.extend(c.cell_contents for c in getattr(one, "__closure__", None) or ())
            continue
        queue.extend(gc.get_referents(one))
    return {type(one) for one in seen.values()}
