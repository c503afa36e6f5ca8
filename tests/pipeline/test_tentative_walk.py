"""Every field of every message, forged: lasting state does not change (rule 1).

Eve's frames carry valid MACs: she has broken the early authentication but cannot make a one-time
tag. The cases come from messages.py: each message type is altered field by field where it is sent,
and inserted where it is not sent. Lasting state is compared before and after the forged frame, and
records written ahead after the line is cut; then an honest run gives key without an alarm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import lasting_state
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
    message_of,
    narrow_clock_search,
    pair,
)

from photonlink.hal.tags import Provenance
from photonlink.pipeline.protocol.channel.authentication import Covered
from photonlink.pipeline.protocol.commitment import Commitment
from photonlink.pipeline.protocol.connection import Connection
from photonlink.pipeline.protocol.lasting import Verified
from photonlink.pipeline.protocol.messages import (
    MESSAGES,
    STRANGERS,
    AbortBlock,
    Acquisition,
    Amplify,
    Bye,
    Commit,
    EndOfInput,
    Message,
    Ping,
    Prepared,
    Refuse,
    VerifyResult,
)
from photonlink.pipeline.protocol.session import Session
from photonlink.pipeline.protocol.setup import Limits, Role
from photonlink.pipeline.stages.agreed import AgreedParameters

SHORT = replace(BENCH, duration_s=1.0)
ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)
NOISY = replace(ONE_BLOCK, q_tol=0.001)  # blocks are aborted
PROVED = [cls for cls in MESSAGES.values() if not issubclass(cls, STRANGERS)]
FIELDS = [(cls, f.name) for cls in MESSAGES.values() for f in dataclasses.fields(cls)]


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


@dataclass
class Walk:
    """A conversation with one frame by Eve. differs: lasting states that the frame changed."""

    kind: type[Message]
    name: str = ""  # field to alter; empty: a message is inserted instead
    at: int = 0  # insert it at the at-th frame after the handshake, once
    parameters: AgreedParameters = ONE_BLOCK
    touched: int = 0
    differs: list[str] = field(default_factory=list)
    released: list[int] = field(default_factory=list)  # keys at both ends on its arrival
    alice: Node = field(init=False)
    bob: Node = field(init=False)
    wire: Wire = field(init=False)

    def __post_init__(self) -> None:
        self.alice, self.bob = pair(parameters=self.parameters)
        self.forger = Forger(self.alice.psk, self._alter)
        self.wire = Wire(self.alice, self.bob, self._hook)
        self._mine = False
        self._frames = 0

    def _alter(self, sender: Role, message: Message) -> list[Message]:
        self._frames += 1
        if self.touched:
            return [message]
        if not self.name:
            if self._frames < self.at or not self._is_for(sender.peer):
                return [message]
            self.touched, self._mine = 1, True
            return [any_of(self.kind), message]
        if not isinstance(message, self.kind):
            return [message]
        self.touched, self._mine = 1, True
        return [changed_field(message, self.name)]

    def _is_for(self, receiver: Role) -> bool:
        """Whether this end receives messages of this kind."""
        only = {Amplify: Role.BOB, Commit: Role.BOB, Prepared: Role.ALICE}
        line = self.wire.nodes[receiver].session._line
        assert line is not None
        assert line.role is not None
        heard = self.kind in line.role._handlers or self.kind in (Ping, Bye)
        return heard or only.get(self.kind) is receiver

    def _hook(self, n: int, sender: Role, data: bytes) -> list[bytes] | None:
        message = message_of(data)
        frames = self.forger(n, sender, data)
        stranger = isinstance(message, STRANGERS)
        if stranger and isinstance(message, self.kind) and not self.touched and self.name:
            self.touched, self._mine = 1, True
            frames = [changed_field(message, self.name).encode()]
        if not self._mine or frames is None:
            return frames
        self._mine = False
        self._deliver(sender.peer, frames)
        return []

    def _deliver(self, receiver: Role, frames: list[bytes]) -> None:
        """Deliver the frames and record how Eve's frame, the first, changes lasting state."""
        node = self.wire.nodes[receiver]
        self.released = [len(keys(each)) for each in self.nodes]
        for k, part in enumerate(frames):
            before = lasting_state.state(node)
            self.wire._take(receiver, node.session.receive(part, self.wire.now_s))
            if k == 0:
                after = lasting_state.state(node)
                self.differs += [name for name in before if before[name] != after[name]]

    def attack(self) -> None:
        """Deliver Eve's frame and continue the run until the line is cut."""
        self.wire.connect()
        feed(self.wire, SHORT, end=self.kind in (EndOfInput, Bye))
        for _ in range(25):  # long enough for Pings
            self.wire.tick()
        self.wire.cut()
        self.forger.active = False

    def heal(self) -> None:
        """Continue on an honest line."""
        self.wire.now_s += 70.0
        for role, node in self.wire.nodes.items():
            node.parameters = ONE_BLOCK
            if node.session.finished or self.parameters is not ONE_BLOCK:
                node.start()
            else:
                self.wire.input(role, _tagger_starts)
        self.wire.connect()
        feed(self.wire, replace(SHORT, seed=5), end=False)

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.alice, self.bob


def _tagger_starts(session: Session) -> list[object]:
    return session.acquisition_started(STARTED, CAPABILITIES, 0.0)  # type: ignore[return-value]


def any_of(kind: type[Message]) -> Message:
    """A message of this kind with fields that decode."""
    values: list[object] = []
    for f in dataclasses.fields(kind):
        size = {"nonce": 16, "seed": 32, "mac": 32, "tag": 16, "point": 16}.get(f.name, 0)
        plain: dict[str, object] = {"int": 1, "float": 1.0, "bytes": bytes(size)}
        values.append(plain[str(f.type)])
    return kind(*values)


BEHIND_THE_TAGS = (Prepared, Commit, Bye)  # sent when Bob or both hold a verified key


def check(walk: Walk, *, heal: bool = True) -> None:
    """Check the rule at each end."""
    walk.attack()
    assert walk.touched == 1, f"nobody says {walk.kind.__name__}: say how it comes about"
    assert walk.differs == []
    for node in walk.nodes:
        assert lasting_state.written_ahead(node) == []
    if walk.kind not in BEHIND_THE_TAGS and (walk.kind, walk.name) != (Amplify, "block"):
        assert [len(keys(n)) for n in walk.nodes] == walk.released, "not verified, and gave key"
    if heal:
        heals(walk)


def heals(walk: Walk) -> None:
    """Alarms end, and the link makes equal keys with the true provenance."""
    walk.heal()
    assert keys(walk.alice) == keys(walk.bob) != {}
    for node in walk.nodes:
        assert lasting_state.written_ahead(node) == []
        assert {str(e.provenance) for e in node.ledger.state.blocks.values() if e.provenance} == {
            "emulated"
        }
        assert node.session._publisher._alarms == {}, "an alarm outlives its cause"


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda v: getattr(v, "__name__", v))
def test_a_forged_field_leaves_nothing_that_lasts(kind: type[Message], name: str) -> None:
    if kind is Refuse:  # is not sent in a successful conversation
        pytest.skip("test_a_forged_message_leaves_nothing_that_lasts puts it in")
    first = name == dataclasses.fields(kind)[0].name
    walk = Walk(kind, name, parameters=NOISY if kind is AbortBlock else ONE_BLOCK)
    check(walk, heal=first or kind in BEHIND_THE_TAGS)


PLACES = (1, 20, 36, 50)  # at the start, during sifting, within a block


@pytest.mark.parametrize("kind", PROVED, ids=lambda v: v.__name__)
def test_a_forged_message_leaves_nothing_that_lasts(kind: type[Message]) -> None:
    turn = PROVED.index(kind)
    check(Walk(kind, at=PLACES[turn % 4]), heal=False)
    check(Walk(kind, at=PLACES[(turn + 2) % 4]))


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_refusal_from_anyone_leaves_nothing_that_lasts(at: int) -> None:
    alice, bob = pair(parameters=ONE_BLOCK)

    def hook(n: int, sender: Role, data: bytes) -> list[bytes]:
        if n == at:
            return [Refuse(b'{"code":"ledger_rolled_back","text":"Exchange the key."}').encode()]
        return [data]

    wire = Wire(alice, bob, hook)
    before = [lasting_state.digest(node) for node in (alice, bob)]
    wire.connect()
    wire.cut()
    for node, was in zip((alice, bob), before, strict=True):
        changed = [n for n in wire.nodes.values() if n.ledger.state.epoch]
        assert lasting_state.digest(node) == was or node in changed, "but for the session's mark"
        assert lasting_state.written_ahead(node) == []


# ---- the test detects violations ----


def test_every_attribute_that_could_last_is_named() -> None:
    assert lasting_state.unnamed() == []


def test_a_new_attribute_that_is_not_named_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lasting_state.PASSES, Session, lasting_state.PASSES[Session] - {"_phase"})
    assert lasting_state.unnamed() == ["Session._phase"]


def test_a_new_type_that_nobody_says_is_seen() -> None:
    @dataclass(frozen=True, slots=True)
    class Wish(Message):
        TYPE = 0x7E
        LAYOUT = "Q"
        what: int

    with pytest.raises(AssertionError, match="nobody says Wish"):
        check(Walk(Wish, "what"))


def test_a_tag_that_is_not_checked_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Covered, "check_alice_tag", lambda *arguments: True)
    with pytest.raises(AssertionError, match="not verified, and gave key"):
        check(Walk(Acquisition, "uncertainty_s"))


PLANTS = {
    "provenance": lambda s: s._lasting.mark(Provenance.REPLAYED),
    "tags": lambda s: setattr(s._tags, "first_ps", 7),
    "ledger": lambda s: s._lasting._ledger.append({"t": "peer", "epoch": 99}),
    "keys": lambda s: _released(s),
    "setup": lambda s: setattr(s, "_setup", replace(s._setup, limits=Limits(doors=1))),
}


def _released(session: Session) -> None:
    """A handler that releases key without a verified tag."""
    from photonlink.pipeline.native.secret import SecretBits

    lasting = session._lasting
    lasting._ledger.append({"t": "block", "block": 1, "status": "open", "epsilon": 0.0})
    with SecretBits.random(128) as key:
        lasting._store.put_key(1, key)
    lasting._ledger.append({"t": "block", "block": 1, "status": "prepared", "secret_bits": 128})
    lasting.release(Verified(1))


@pytest.mark.parametrize("what", list(PLANTS))
def test_a_handler_that_reaches_what_lasts_is_seen(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Session._on_frame

    def reaching(self: Session, line: Connection, frame: bytes) -> None:
        plain(self, line, frame)
        if frame[0] == Acquisition.TYPE:
            PLANTS[what](self)

    monkeypatch.setattr(Session, "_on_frame", reaching)
    walk = Walk(Acquisition, "uncertainty_s")
    walk.attack()
    assert what in walk.differs


def test_pads_that_an_unverified_message_costs_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Commitment.expect

    def costly(self: Commitment, *arguments: object) -> str | None:
        self._lasting._ledger.append({"t": "pad", "pool": "bob/block", "end": 64})
        return plain(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Commitment, "expect", costly)
    with pytest.raises(AssertionError, match="pads are gone"):
        check(Walk(VerifyResult, "equal"))
