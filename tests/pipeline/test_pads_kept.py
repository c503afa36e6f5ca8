"""Row M5: pads before = pads after, whatever interrupts a block's commitment: a cut at any byte of
any of its messages, an abort, a full disk, an unauthenticated client, a peer with other parameters.

``PHOTONLINK_LONG=1`` cuts at every byte; otherwise at a sample of them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from link import BENCH, SMALL, Node, Wire, clicks_of, keys, message_of, narrow_clock_search, pair
from test_strangers import hello_of, knock

from photonlink.pipeline.keys.ledger import Ledger, LedgerUnwritable
from photonlink.pipeline.keys.pads import DIRECTIONS, BlockPads
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store import MemoryStore, StoreError
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.commitment import Commitment
from photonlink.pipeline.protocol.messages import (
    AbortBlock,
    Amplify,
    Commit,
    Hello,
    Message,
    Prepared,
    Proof,
    VerifyResult,
)
from photonlink.pipeline.protocol.setup import Role
from photonlink.pipeline.protocol.tentative import Offer

EVERY_BYTE = bool(os.environ.get("PHOTONLINK_LONG"))
ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)
LIGHT = replace(BENCH, duration_s=3.0)
COMMITTING = (VerifyResult, Amplify, Prepared, Commit)
SENDERS = {VerifyResult: Role.BOB, Amplify: Role.ALICE, Prepared: Role.BOB, Commit: Role.ALICE}


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def left(node: Node) -> dict[str, int]:
    pads = BlockPads(node.psk, node.ledger, node.store)
    return {direction: pads.left(direction) for direction in DIRECTIONS}


def assert_kept(wire: Wire, before: dict[str, int]) -> None:
    alice, bob = wire.nodes[Role.ALICE], wire.nodes[Role.BOB]
    assert keys(alice) == keys(bob) != {}
    assert left(alice) == left(bob) == before
    assert alice.ledger.state.pads == bob.ledger.state.pads


@dataclass
class Trouble:
    """A hook that calls ``happens`` for the first ``times`` messages of this kind and sender and
    delivers what it returns instead. ``cut``: the line must be connected again."""

    kind: type[Message]
    sender: Role
    happens: Callable[[Wire, bytes], list[bytes] | None]
    times: int = 1
    cut: bool = False
    wire: Wire = field(init=False)

    def __call__(self, n: int, sender: Role, data: bytes) -> list[bytes] | None:
        if self.times == 0 or data[0] != self.kind.TYPE or sender is not self.sender:
            return [data]
        self.times -= 1
        arriving = self.happens(self.wire, data)
        self.cut |= arriving is None
        return arriving


def play(trouble: Trouble, alice: Node, bob: Node, seconds: float = 3.0) -> Wire:
    """Feed light until the trouble is over and a later block has given key."""
    wire = trouble.wire = Wire(alice, bob, trouble)
    wire.connect()
    pieces = list(zip(*clicks_of(replace(LIGHT, duration_s=seconds)), strict=True))
    over_at: int | None = None
    for block_a, block_b in pieces:
        for role, block in zip(Role, (block_a, block_b), strict=True):
            wire.input(role, lambda s, b=block: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.tick()
        while trouble.cut or any(n.session._line is None for n in wire.nodes.values()):
            trouble.cut = False
            wire.now_s += 0.5
            wire.connect()
        released = min(len(keys(node)) for node in (alice, bob))
        if trouble.times == 0 and over_at is None:
            over_at = released
        if over_at is not None and released > over_at:
            return wire
    raise AssertionError(f"{trouble.times} times were left, {over_at} blocks when it was over")


def sample(size: int) -> list[int]:
    """Byte positions before which the line is cut."""
    if EVERY_BYTE:
        return list(range(size))
    return sorted({0, 1, 3, 4, 5, size // 2, size - 17, size - 16, size - 1})


def cut_at_each_byte(places: Iterator[int]) -> Callable[[Wire, bytes], None]:
    def happens(wire: Wire, data: bytes) -> None:
        to = Role.ALICE if message_of(data).TYPE in (VerifyResult.TYPE, Prepared.TYPE) else Role.BOB
        session = wire.nodes[to].session
        wire._take(to, session.receive(data[: next(places)], wire.now_s))

    return happens


def size_of(kind: type[Message]) -> int:
    """Size of this message in a conversation."""
    sizes: list[int] = []

    def look(wire: Wire, data: bytes) -> list[bytes]:
        sizes.append(len(data))
        return [data]

    play(Trouble(kind, SENDERS[kind], look), *pair(parameters=ONE_BLOCK))
    return sizes[0]


@pytest.mark.parametrize("kind", COMMITTING)
def test_m5_a_cut_at_any_byte_of_a_committing_message_costs_no_pad(kind: type[Message]) -> None:
    """After each cut, Amplify and Prepared are sent again, byte for byte. Each cut of another
    message needs a new block."""
    places = sample(size_of(kind))
    again = kind in (Amplify, Prepared)
    alice, bob = pair(parameters=ONE_BLOCK)
    before = left(alice)
    trouble = Trouble(kind, SENDERS[kind], cut_at_each_byte(iter(places)), times=len(places))
    wire = play(trouble, alice, bob, seconds=4.0 if again else 3.0 + 1.2 * len(places))
    assert_kept(wire, before)


@pytest.mark.parametrize("sender", list(Role))
@pytest.mark.parametrize("kind", [Hello, Proof])
def test_m5_a_cut_at_any_byte_of_the_handshake_costs_no_pad(
    kind: type[Message], sender: Role
) -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    before, sizes = left(alice), [0]

    def happens(wire: Wire, data: bytes) -> None:
        sizes[0] = len(data)
        peer = wire.nodes[sender.peer].session
        wire._take(sender.peer, peer.receive(data[: sizes[-1]], wire.now_s))

    step = 1 if EVERY_BYTE else 97
    trouble = Trouble(kind, sender, happens)
    wire = trouble.wire = Wire(alice, bob, trouble)
    for place in itertools.count(0, step):
        if place and place >= sizes[0]:
            break
        sizes.append(place)
        trouble.times = 1
        wire.connect()
        assert left(alice) == left(bob) == before
        assert alice.ledger.state.pads == bob.ledger.state.pads == {}
    trouble.times = 0


def refuse(wire: Wire, data: bytes) -> list[bytes]:
    """Flip a bit, so that the receiver closes the connection."""
    return [data[:-1] + bytes((data[-1] ^ 1,))]


def strangers(wire: Wire, data: bytes) -> list[bytes]:
    numbers = itertools.count(10**7)
    for node in wire.nodes.values():
        recorded = hello_of(wire.nodes[node.role.peer])
        for _ in range(5):
            knock(node, numbers, recorded, wire.now_s)
    return [data]


def other_parameters(wire: Wire, data: bytes) -> None:
    """Cut the line; then connect a peer with the same key and other parameters."""
    for role in Role:
        node = wire.nodes[role]
        other = Node(role.peer, node.psk.copy(), parameters=replace(ONE_BLOCK, q_tol=0.04))
        wire._take(role, node.session.disconnected(wire.now_s, "cut"))
        apart = Wire(*((node, other) if role is Role.ALICE else (other, node)))
        apart.now_s = wire.now_s
        apart.connect()
        assert "parameter_mismatch" in node.codes() | other.codes()


CAUSES: dict[str, Callable[[Wire, bytes], list[bytes] | None]] = {
    "abort": refuse, "stranger": strangers, "other parameters": other_parameters,
}  # fmt: skip


@pytest.mark.parametrize("kind", COMMITTING)
@pytest.mark.parametrize("cause", CAUSES)
def test_m5_no_cause_at_any_committing_message_costs_a_pad(cause: str, kind: type[Message]) -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    before = left(alice)
    wire = play(Trouble(kind, SENDERS[kind], CAUSES[cause]), alice, bob)
    assert_kept(wire, before)


def test_m5_an_agreed_abort_costs_no_pad_when_it_is_cut_at_any_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No block of Alice can pay for its tags. Each time she aborts, the line is cut, one byte later
    than before."""

    def unpaid(self: Commitment, step: Offer, *_: object) -> str:
        for string in step.strings:
            string.close()
        return "no_secret_bits: test"

    monkeypatch.setattr(Commitment, "offer", unpaid)
    alice, bob = pair(parameters=ONE_BLOCK)
    before, aborts = left(alice), [0]

    def happens(wire: Wire, data: bytes) -> None:
        said = data[: aborts[0] % len(data)]
        aborts[0] += 1 if EVERY_BYTE else 7
        wire._take(Role.BOB, wire.nodes[Role.BOB].session.receive(said, wire.now_s))

    trouble = Trouble(AbortBlock, Role.ALICE, happens, times=1000)
    with pytest.raises(AssertionError, match="times were left"):
        play(trouble, alice, bob, seconds=60.0 if EVERY_BYTE else 8.0)
    assert trouble.times < 995
    for node in (alice, bob):
        assert left(node) == before
        assert node.ledger.state.pads == {}


class FullAt(Ledger):
    """The disk is full at one record, once; the ledger stays unchanged."""

    at = 0
    count = 0

    def append(self, record: dict[str, Any]) -> None:
        self.count += 1
        if self.count == self.at:
            raise LedgerUnwritable("cannot write (No space left on device)")
        super().append(record)


class StoreFullAt(MemoryStore):
    at = 0
    count = 0

    def _put(self, block: int, kind: str, bits: SecretBits) -> str:
        self.count += 1
        if self.count == self.at:
            raise StoreError("cannot be written (No space left on device)")
        return super()._put(block, kind, bits)


@pytest.mark.parametrize("victim", list(Role))
@pytest.mark.parametrize("what", ["ledger", "store"])
def test_m5_a_disk_that_is_full_at_any_record_costs_no_pad(victim: Role, what: str) -> None:
    """The disk is full at each record of the first connection and block, and at each key file."""
    for at in range(2, 11) if what == "ledger" else range(1, 4):
        psk = PreSharedKey.generate(4096)
        ledger, store = FullAt.memory(), StoreFullAt()
        assert isinstance(ledger, FullAt)
        ledger.at, store.at = (at, 0) if what == "ledger" else (0, at)
        hit: dict[str, Any] = {"ledger": ledger, "store": store}
        nodes = {
            role: Node(role, psk.copy(), parameters=ONE_BLOCK, **(hit if role is victim else {}))
            for role in Role
        }
        before = left(nodes[Role.ALICE])
        calm = Trouble(Commit, Role.ALICE, lambda wire, data: [data], times=2)
        wire = play(calm, nodes[Role.ALICE], nodes[Role.BOB], seconds=4.0)
        assert (ledger.count if what == "ledger" else store.count) >= at
        assert_kept(wire, before)
