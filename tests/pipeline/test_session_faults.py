"""The attacker controls the channel: flipped bits, replays, cuts; nodes are killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from link import (
    BENCH,
    CAPABILITIES,
    SMALL,
    STARTED,
    Node,
    Wire,
    clicks_of,
    feed,
    keys,
    message_of,
    narrow_clock_search,
    pair,
)

from photonlink.pipeline.keys.ledger import Ledger, LedgerUnwritable
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store import MemoryStore, StoreError
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.messages import (
    Amplify,
    Announcement,
    CascadeReply,
    Disclosure,
    Ping,
    Prepared,
)
from photonlink.pipeline.protocol.setup import Role

SHORT = replace(BENCH, duration_s=1.2)
ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


class PadOracle:
    """Watches the wire: no pad position may be used with two different tags."""

    def __init__(self) -> None:
        self.seen: dict[tuple[Role, int], bytes] = {}

    def watch(self, sender: Role, data: bytes) -> None:
        if data[0] in (Amplify.TYPE, Prepared.TYPE):
            message = message_of(data)
            assert isinstance(message, Amplify | Prepared)
            key = (sender, message.pad)
            assert self.seen.setdefault(key, message.tag) == message.tag, f"pad {key} used twice"


def name_of(data: bytes) -> str:
    return type(message_of(data)).__name__


@pytest.fixture(scope="module")
def script(quick_clock: None) -> list[tuple[Role, str]]:
    """Senders and names of all messages of an undisturbed run (the seeds are fixed)."""
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, SHORT)
    assert keys(alice)
    return [(sender, name_of(data)) for sender, data in wire.log]


def first_of_each(script: list[tuple[Role, str]]) -> list[int]:
    """Positions (from 1) of the first message of every kind."""
    seen: dict[tuple[Role, str], int] = {}
    chosen = []
    for n, (sender, name) in enumerate(script, 1):
        times = seen[(sender, name)] = seen.get((sender, name), 0) + 1
        if times <= 1:
            chosen.append(n)
    return chosen


def assert_safe(alice: Node, bob: Node) -> None:
    """Check: shared keys are equal; a key at one end only is still in doubt at the other."""
    shared = keys(alice).keys() & keys(bob).keys()
    assert {b: keys(alice)[b] for b in shared} == {b: keys(bob)[b] for b in shared}
    for one, other in ((alice, bob), (bob, alice)):
        for block in keys(one).keys() - shared:
            assert other.ledger.state.blocks[block].status == "prepared", "in doubt there"


POSITIONS = ("type", "length", "first", "middle", "last")


def test_one_flipped_bit_is_refused_in_every_message(script: list[tuple[Role, str]]) -> None:
    """In every kind of message, at two of the five classes of position, in rotation."""
    for turn, n in enumerate(first_of_each(script)):
        for where in (POSITIONS[turn % 5], POSITIONS[(turn + 2) % 5]):
            if where in ("type", "length") or script[n - 1][1] not in ("Ping", "Bye"):
                _flip(n, where)


def _flip(target: int, where: str) -> None:
    touched: list[str] = []

    def hook(n: int, sender: Role, data: bytes) -> list[bytes]:
        if n != target:
            return [data]
        touched.append(name_of(data))
        at = {"type": 0, "length": 3, "first": 4, "middle": (len(data) + 4) // 2, "last": -1}
        changed = bytearray(data)
        changed[at[where]] ^= 1 << (target % 8)
        return [bytes(changed)]

    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob, hook)
    wire.connect()
    feed(wire, SHORT)
    wire.tick(11.0)
    assert touched
    label = f"{touched[0]} {where}"
    assert_safe(alice, bob)
    assert alice.codes() | bob.codes(), f"{label}: nobody noticed"
    for node in (alice, bob):
        assert all(r.abort is not None for r in node.reports[len(keys(node)) :]), label
    committed = touched[0] in ("Committed", "Commit") or target > 100
    assert committed or not (keys(alice) and keys(bob)), label


BLOCK_PHASES = (
    "BlockBases", "Sift", "Disclosure", "CascadeReply", "Verify", "VerifyResult", "Amplify",
    "Prepared", "Commit",
)  # fmt: skip


@pytest.mark.parametrize("name", BLOCK_PHASES)
def test_a_burnt_block_is_in_the_account_of_both_nodes(
    script: list[tuple[Role, str]], name: str
) -> None:
    """A bit of the authenticated message flips; the block in doubt is settled after the
    reconnection.
    """
    target = next(n for n, (_, found) in enumerate(script, 1) if found == name)

    def hook(n: int, sender: Role, data: bytes) -> list[bytes]:
        flipped = data[:-2] + bytes((data[-2] ^ 1,)) + data[-1:]
        return [flipped if n == target else data]

    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob, hook)
    wire.connect()
    feed(wire, SHORT, end=False)
    if not wire.nodes[Role.ALICE].session.finished:
        wire.connect()
    for node in (alice, bob):
        first = node.reports[0]
        assert first.block == 1
        if name in KEPT:  # both held the key, or the tag is sent again
            assert first.abort is None
            assert first.net_bits == node.ledger.state.blocks[1].net_bits > 0
        else:
            assert first.abort is not None
            assert first.secret_bits == first.refill_bits == first.net_bits == 0
            assert first.epsilon > 0, "attempts are charged"
            assert node.ledger.state.blocks[1].status == "burnt"
            assert node.ledger.state.blocks[1].reason == first.abort
    assert keys(alice) == keys(bob)
    if name not in KEPT:
        assert alice.ledger.state.pads == bob.ledger.state.pads == {}, "a burnt block costs no pad"
        reasons = {str(node.reports[0].abort).split(":")[0] for node in (alice, bob)}
        assert reasons <= NAMED_REASONS
        assert "authentication_failed" in reasons


KEPT = ("Amplify", "Prepared", "Commit")
NAMED_REASONS = {"authentication_failed", "connection_lost", "in_doubt_after_connection_loss"}


def test_the_loss_of_a_connection_is_said_once() -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()
    wire.cut("the connection ended")
    for node in (alice, bob):
        (text,) = (a.text for a in node.alarms if a.code == "connection_lost")
        assert text.count("connection ended") == 1


def test_replayed_reordered_reflected_dropped(script: list[tuple[Role, str]]) -> None:
    for turn, target in enumerate(first_of_each(script)):
        if script[target - 1][1] != "Ping":
            _rearrange(target, MISCHIEF[turn % 4])


MISCHIEF = ("twice", "swapped", "reflected", "dropped")


def _rearrange(target: int, how: str) -> None:
    held: list[bytes] = []
    last: dict[Role, bytes] = {}

    def hook(n: int, sender: Role, data: bytes) -> list[bytes]:
        before = last.get(sender.peer, Ping().encode())
        last[sender] = data
        if n == target:
            if how == "swapped":
                held.append(data)
                return []
            return {"twice": [data, data], "reflected": [before, data], "dropped": []}[how]
        if held and how == "swapped":
            return [data, held.pop()]
        return [data]

    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob, hook)
    wire.connect()
    feed(wire, SHORT)
    wire.tick(11.0)
    assert_safe(alice, bob)
    assert alice.codes() | bob.codes(), f"message {target} {how}: nobody noticed"


VICTIMS: tuple[tuple[Role, ...], ...] = ((), (Role.ALICE,), (Role.BOB,), tuple(Role))


def test_cut_or_kill_at_every_step(script: list[tuple[Role, str]]) -> None:
    """A message and the connection are lost and nodes are killed; then the link makes key again."""
    for turn, target in enumerate(first_of_each(script)):
        _cut_at(target, VICTIMS[turn % 4])


def _cut_at(target: int, victims: tuple[Role, ...]) -> None:
    oracle = PadOracle()
    done: list[int] = []

    def hook(n: int, sender: Role, data: bytes) -> list[bytes] | None:
        oracle.watch(sender, data)
        if n == target and not done:
            done.append(n)
            return None
        return [data]

    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob, hook)
    wire.connect()
    feed(wire, SHORT, until=lambda: bool(done))
    assert done
    assert_safe(alice, bob)
    for role, node in wire.nodes.items():
        if role in victims or node.session.finished:
            node.start()
        else:  # the tagger restarts, the session continues
            node.session.acquisition_started(STARTED, CAPABILITIES, wire.now_s)
    wire.connect()
    feed(wire, replace(SHORT, seed=5))
    assert keys(alice) == keys(bob)
    assert any(keys(alice)), f"no key after message {target} was cut ({victims})"
    positions = [node.ledger.state.pads for node in (alice, bob)]
    assert positions[0] == positions[1]
    for node in (alice, bob):
        assert not node.ledger.state.pending()


class Killed(BaseException):
    """The process is killed at this step."""


class MortalLedger(Ledger):
    """Crashes before or after its ``dies_at``-th record."""

    dies_at = 0
    after = False
    count = 0

    def append(self, record: dict[str, Any]) -> None:
        self.count += 1
        if self.count == self.dies_at and not self.after:
            raise Killed
        super().append(record)
        if self.count == self.dies_at:
            raise Killed


@pytest.mark.parametrize("victim", list(Role))
@pytest.mark.parametrize("after", [False, True])
def test_killed_before_or_after_every_record(victim: Role, after: bool) -> None:
    """F80: kill -9 at each write of the ledger; a new process continues with the same ledger."""
    for dies_at in range(2, 40):
        if not _killed_at(dies_at, victim, after):
            assert dies_at > 8, "a block has more records than that"
            return
    raise AssertionError("the run has more records than were tried")


def _killed_at(dies_at: int, victim: Role, after: bool) -> bool:
    oracle = PadOracle()

    def hook(n: int, sender: Role, data: bytes) -> list[bytes]:
        oracle.watch(sender, data)
        return [data]

    ledger = MortalLedger.memory()
    assert isinstance(ledger, MortalLedger)
    ledger.dies_at, ledger.after = dies_at, after
    psk = PreSharedKey.generate(4096)
    nodes = {
        role: Node(role, psk.copy(), parameters=ONE_BLOCK,
                   **({"ledger": ledger} if role is victim else {}))
        for role in Role
    }  # fmt: skip
    alice, bob = nodes[Role.ALICE], nodes[Role.BOB]
    wire = Wire(alice, bob, hook)
    try:
        wire.connect()
        feed(wire, SHORT)
    except Killed:
        pass
    else:
        return False
    ledger.dies_at = 0
    nodes[victim].start()
    wire.cut()
    assert_safe(alice, bob)
    if nodes[victim.peer].session.finished:
        nodes[victim.peer].start()
    else:
        nodes[victim.peer].session.acquisition_started(STARTED, CAPABILITIES, wire.now_s)
    wire.connect()
    feed(wire, replace(SHORT, seed=5))
    assert keys(alice) == keys(bob) != {}
    assert alice.ledger.state.pads == bob.ledger.state.pads
    assert not alice.ledger.state.pending()
    return True


@pytest.mark.parametrize("victim", list(Role))
@pytest.mark.parametrize("records", range(1, 9))
def test_a_ledger_that_cannot_be_written_stops_the_link_by_name(victim: Role, records: int) -> None:
    """The disk is full at each record of a block: a key at one end is in doubt at the other."""

    class FullDisk(Ledger):
        count = 0

        def append(self, record: dict[str, Any]) -> None:
            self.count += 1
            if self.count > records:
                raise LedgerUnwritable("cannot write (No space left on device)")
            super().append(record)

    psk = PreSharedKey.generate(4096)
    nodes = {
        role: Node(role, psk.copy(), parameters=ONE_BLOCK,
                   **({"ledger": FullDisk.memory()} if role is victim else {}))
        for role in Role
    }  # fmt: skip
    wire = Wire(nodes[Role.ALICE], nodes[Role.BOB])
    wire.connect()
    feed(wire, SHORT)
    hit, other = nodes[victim], nodes[victim.peer]
    assert "ledger_failed" in hit.codes() or records == 8
    assert_safe(nodes[Role.ALICE], nodes[Role.BOB])
    assert len(keys(hit)) <= len(keys(other)) + (records >= 7)
    if records < 5:
        assert keys(hit) == keys(other) == {}


@pytest.mark.row("alarms that outlive their cause within a run")
def test_a_store_that_is_full_is_named_until_a_block_finds_room() -> None:
    class FullStore(MemoryStore):
        full = True

        def _put(self, block: int, kind: str, bits: SecretBits) -> str:
            if self.full:
                raise StoreError("cannot be written", where=f"/disk/{block}.{kind}", hint="Full?")
            return super()._put(block, kind, bits)

    psk, store = PreSharedKey.generate(4096), FullStore()
    alice = Node(Role.ALICE, psk, parameters=ONE_BLOCK, store=store)
    bob = Node(Role.BOB, psk.copy(), parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()

    def make_room() -> bool:
        if store.full and "store_failed" in alice.codes():
            assert keys(alice) == keys(bob) == {}
            store.full = False
            wire.connect()
        return False

    feed(wire, BENCH, until=make_room)
    first, *others = (a for a in alice.alarms if a.code == "store_failed")
    assert first.active
    assert "/disk/1." in first.text
    assert [a.active for a in others] == [False], "said once, cleared once"
    assert str(alice.reports[0].abort).startswith("store_failed")
    assert keys(alice) == keys(bob) != {}


def test_a_peer_that_never_takes_the_next_step_is_left() -> None:
    for kind in (Disclosure, Announcement, CascadeReply, Prepared, Amplify):
        alice, bob = pair(parameters=ONE_BLOCK)
        wire = Wire(alice, bob, _swallow_from(kind.TYPE))
        wire.connect()
        feed(wire, SHORT, end=False)
        for _ in range(12):
            wire.tick(1.0)
        codes = alice.codes() | bob.codes()
        assert codes & {"phase_timeout", "peer_silent"}, kind
        assert keys(alice) == {}


def _swallow_from(kind: int) -> Callable[[int, Role, bytes], list[bytes]]:
    """The first message of a kind and all later ones of its sender never arrive."""
    gone: list[Role] = []

    def hook(n: int, sender: Role, data: bytes) -> list[bytes]:
        if data[0] == kind:
            gone.append(sender)
        return [data] if sender not in gone else []

    return hook


def test_a_cut_connection_goes_on_with_the_same_acquisition() -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    oracle = PadOracle()

    def hook(n: int, sender: Role, data: bytes) -> list[bytes]:
        oracle.watch(sender, data)
        return [data]

    wire = Wire(alice, bob, hook)
    wire.connect()
    for k, (block_a, block_b) in enumerate(zip(*clicks_of(BENCH), strict=True)):
        if k == 12:
            wire.cut()
            assert keys(alice) == keys(bob) != {}
            before = set(keys(alice))
            wire.connect()
        wire.input(Role.ALICE, lambda s, b=block_a: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.input(Role.BOB, lambda s, b=block_b: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.tick()
    assert keys(alice) == keys(bob)
    assert set(keys(alice)) > before
    for node in (alice, bob):
        cleared = [a.code for a in node.alarms if not a.active]
        assert cleared == ["connection_lost"]


def test_a_crash_between_the_tags_burns_nothing(quick_clock: None) -> None:
    """Alice, then Bob, is killed after storing the tag: the same bytes are sent again."""
    for victim in Role:
        done: list[int] = []
        wanted = Amplify if victim is Role.ALICE else Prepared

        def hook(
            n: int, sender: Role, data: bytes, wanted: type = wanted, done: list[int] = done
        ) -> list[bytes] | None:
            if isinstance(message_of(data), wanted) and not done:
                done.append(n)
                return None
            return [data]

        alice, bob = pair(parameters=ONE_BLOCK)
        wire = Wire(alice, bob, hook)
        wire.connect()
        feed(wire, SHORT, until=lambda done=done: bool(done))  # type: ignore[misc]
        wire.nodes[victim].start()
        wire.connect()
        assert keys(alice) == keys(bob) != {}, victim
