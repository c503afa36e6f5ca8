"""Row M4: unauthenticated connections beside that of the peer change nothing."""

from __future__ import annotations

import dataclasses
import itertools
import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from link import BENCH, SMALL, Node, Wire, feed, keys, narrow_clock_search, pair

from photonlink.pipeline.protocol.messages import Hello, Ping, Proof, Refuse
from photonlink.pipeline.protocol.setup import Disconnect, Publish, Role, Send
from photonlink.pipeline.status.model import Alarm, Phase, Severity

SHORT = replace(BENCH, duration_s=1.2)
ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def hello_of(node: Node) -> bytes:
    """A genuine Hello, as recorded on the line."""
    stream = 10**6 + len(node.states)
    effects = node.session.connected(0.0, stream)
    node.session.disconnected(0.0, "gone", stream)
    return next(e.data for e in effects if isinstance(e, Send) and e.stream == stream)


def manners(recorded: bytes) -> list[bytes]:
    forged = Refuse(b'{"code":"ledger_rolled_back","text":"Exchange the key!"}').encode()
    return [
        b"",
        recorded[:1],
        recorded,
        recorded + Proof(bytes(32)).encode(),
        forged,
        bytes((0x12,)) + b"\x80\0\0",
        b"\xff" * 64,
        Ping().encode(),
        Hello(b'{"protocol":1,"role":"bob"}').encode(),
    ]


def knock(
    node: Node, numbers: Iterator[int], recorded: bytes, now_s: float, wire: Wire | None = None
) -> list[object]:
    """Connect one unauthenticated client of each kind; messages to the peer go to ``wire``."""
    found: list[object] = []
    for said in manners(recorded):
        number = next(numbers)
        found += node.session.connected(now_s, number)
        for byte in (said[:3], said[3:]):
            found += node.session.receive(byte, now_s, number)
    if wire is not None:
        wire._take(node.role, [e for e in found if isinstance(e, Send) and e.stream == 0])
        wire.run()
    return found


def alarms(effects: list[object]) -> list[Alarm]:
    return [e.record for e in effects if isinstance(e, Publish) and isinstance(e.record, Alarm)]


def test_m4_the_peer_is_in_at_once_among_a_hundred_strangers_a_second() -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    numbers, recorded = itertools.count(1), hello_of(bob)
    before = dataclasses.asdict(alice.ledger.state)
    told: list[object] = []
    for turn in range(60):
        told += knock(alice, numbers, recorded, turn * 0.1)
        told += alice.session.tick(turn * 0.1)
    assert dataclasses.asdict(alice.ledger.state) == before
    assert {a.severity for a in alarms(told)} <= {Severity.MINOR}
    assert len(alice.session._doors) <= alice.limits.doors
    wire = Wire(alice, bob)
    wire.now_s = 6.0
    wire.connect()
    knock(alice, numbers, recorded, 6.0, wire)
    assert alice.session.phase in (Phase.ACQUIRING, Phase.SIFTING)
    feed(wire, SHORT)
    assert keys(alice) == keys(bob) != {}


def test_m4_a_link_that_is_up_stays_up_and_says_nothing_of_strangers() -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    recorded, numbers = hello_of(bob), itertools.count(1)
    wire = Wire(alice, bob)
    wire.connect()
    told: list[object] = []
    for k in range(12):
        told += knock(alice, numbers, recorded, wire.now_s, wire)
        feed(wire, SHORT, end=False, skip=k, until=lambda k=k: wire.now_s > 0.1 * k + 0.05)  # type: ignore[misc]
    wire.input(Role.ALICE, lambda s: s.end_of_input(wire.now_s))
    wire.input(Role.BOB, lambda s: s.end_of_input(wire.now_s))
    wire.tick()
    assert keys(alice) == keys(bob) != {}
    assert alarms(told) == []
    assert alice.codes() == set()
    hung_up = {e.stream for e in told if isinstance(e, Disconnect)}
    assert 0 not in hung_up


def test_m4_the_peer_that_comes_again_replaces_a_dead_line() -> None:
    """The old stream is half open: Alice has not detected its end."""
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()
    bob.session.disconnected(0.0, "gone")
    hello = [e.data for e in bob.session.connected(0.0, 1) if isinstance(e, Send)]
    effects = alice.session.connected(0.0, 1)
    pipes = {Role.ALICE: hello, Role.BOB: [e.data for e in effects if isinstance(e, Send)]}
    gone = []
    for _ in range(4):
        for role, node in wire.nodes.items():
            data, pipes[role] = pipes[role], []
            for frame in data:
                effects = node.session.receive(frame, 0.0, 1)
                pipes[role.peer] += [e.data for e in effects if isinstance(e, Send)]
                gone += [e.stream for e in effects if isinstance(e, Disconnect)]
    assert gone == [0]
    assert alice.session._line is not None
    assert alice.session._line.stream == 1
    assert bob.session._line is not None


def test_m4_strangers_cost_no_memory() -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    recorded, numbers = hello_of(bob), itertools.count(1)
    for turn in range(30):  # up to the bounded number of connections
        knock(alice, numbers, recorded, turn * 0.1)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for turn in range(30, 90):
        knock(alice, numbers, recorded, turn * 0.1)
        alice.session.tick(turn * 0.1)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1 << 20


def test_m4_any_bytes_at_any_door() -> None:
    """A short fuzz test of the handshake; the long one is tests/reliability/fuzz_session.py."""
    rng = random.Random(4)
    alice, bob = pair(parameters=ONE_BLOCK)
    recorded = hello_of(bob)
    for number in range(1, 400):
        alice.session.connected(0.01 * number, number)
        data = bytearray(recorded + Proof(rng.randbytes(32)).encode())
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        alice.session.receive(bytes(data[: rng.randrange(len(data))]), 0.01 * number, number)
    assert alice.session._line is None
    assert alice.ledger.state.epoch == 0
