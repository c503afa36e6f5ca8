"""Generated failures of a conversation: at which message, how, at which end, with which delay.

A case takes one message of a real conversation. At that message the connection breaks, an end
refuses the message, or an end crashes: Alice, Bob or both. An end that does not notice the failure
keeps the old connection until the new one is authenticated. Then the link continues.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from link import BENCH, SMALL, Node, Wire, clicks_of, keys, message_of, pair

from photonlink.pipeline.protocol.messages import Amplify, Message, Prepared
from photonlink.pipeline.protocol.setup import Disconnect, Effect, Role, Send

ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)
ONE_BASIS = replace(ONE_BLOCK, bases="one")  # the last, partial block is aborted
LIGHT = replace(BENCH, duration_s=2.6)
HOW = ("cut_before", "cut_after", "refuse", "crash")
WHO = ("alice", "bob", "both")
WHEN = ("at_once", "delayed", "reordered")
DELAY_S = 3.0


@dataclass(frozen=True, slots=True)
class Case:
    """kind: name of the message; sender: alice or bob."""

    sender: str
    kind: str
    how: str
    who: str
    when: str

    def __str__(self) -> str:
        return f"{self.sender}-{self.kind}-{self.how}-{self.who}-{self.when}"

    @property
    def ends(self) -> tuple[Role, ...]:
        return tuple(Role) if self.who == "both" else (Role(self.who),)


class StreamWire(Wire):
    """Each connection has its own stream number; an end may still hold the previous stream."""

    def __init__(self, alice: Node, bob: Node) -> None:
        super().__init__(alice, bob)
        self.stream = 0
        self.frozen = False

    def connect(self) -> None:
        self._hung_up = False
        self._queue.clear()
        self.stream += 1
        for role, node in self.nodes.items():
            self._take(role, node.session.connected(self.now_s, self.stream))
        self.run()

    def break_at(self, ends: Sequence[Role]) -> None:
        """Report to these ends that the stream is closed."""
        self._queue.clear()
        old, self.stream = self.stream, self.stream + 1
        for role in ends:
            self._take(role, self.nodes[role].session.disconnected(self.now_s, "cut", old))
        self._queue.clear()

    def run(self) -> None:
        while self._queue and not self.frozen:
            sender, data = self._queue.popleft()
            self.count += 1
            self.log.append((sender, data))
            for part in self.hook(self.count, sender, data) if self.hook else [data]:  # type: ignore[union-attr]
                self.hand(sender.peer, part)
        if self._hung_up:
            self._hung_up = False
            self.break_at(tuple(Role))

    def hand(self, role: Role, data: bytes) -> None:
        self._take(role, self.nodes[role].session.receive(data, self.now_s, self.stream))

    def _take(self, role: Role, effects: list[Effect]) -> None:
        now = [
            replace(e, stream=0) if isinstance(e, Send | Disconnect) else e
            for e in effects
            if not isinstance(e, Send | Disconnect) or e.stream == self.stream
        ]
        super()._take(role, now)


def script() -> list[tuple[str, str]]:
    """(sender, kind) of every message of undisturbed conversations, each once, in order."""
    found: dict[tuple[str, str], None] = {}
    for parameters in (ONE_BLOCK, ONE_BASIS):
        wire = StreamWire(*pair(parameters=parameters))
        wire.connect()
        _idle(wire)
        _feed(wire, 0)
        _end(wire)
        assert keys(wire.nodes[Role.ALICE])
        found |= dict.fromkeys((str(s), _name(data)) for s, data in wire.log)
    return list(found)


def cases(found: list[tuple[str, str]]) -> list[Case]:
    """All cases: every message with every failure, end and delay."""
    return [
        Case(sender, kind, how, who, when)
        for (sender, kind), how, who, when in itertools.product(found, HOW, WHO, WHEN)
    ]


def _name(data: bytes) -> str:
    return type(message_of(data)).__name__


class Ended:
    """The case as a hook. ``done``: the failure has occurred. ``tagged``: a one-time tag was sent
    before it. ``tags``: every tag that was sent, by sender and pad position."""

    def __init__(self, case: Case, wire: StreamWire) -> None:
        self.case, self.wire = case, wire
        self.done = self.tagged = False
        self.tags: dict[tuple[Role, int], bytes] = {}
        self._held: bytes | None = None

    def __call__(self, n: int, sender: Role, data: bytes) -> list[bytes]:
        message = message_of(data)
        self._watch(sender, message)
        case = self.case
        if self.done or str(sender) != case.sender:
            return [data]
        if self._held is not None:  # the next message of this direction overtakes it
            self.wire.hand(sender.peer, data)
            return self._happens(sender, self._held)
        if type(message).__name__ != case.kind:
            return [data]
        if case.when == "reordered":
            self._held = data
            return []
        if case.when == "delayed":
            self.wire.frozen = True
            for _ in range(round(DELAY_S / 0.5)):
                self.wire.tick(0.5)
            self.wire.frozen = False
        return self._happens(sender, data)

    def give_up(self, sender: Role) -> None:
        """Deliver the held message now: no later message overtook it."""
        held, self._held = self._held, None
        if held is not None and not self.done:
            for part in self._happens(sender, held):
                self.wire.hand(sender.peer, part)

    def look(self) -> None:
        """Record the tags of messages in transit."""
        for who, answer in self.wire._queue:
            self._watch(who, message_of(answer))

    def _watch(self, sender: Role, message: Message) -> None:
        if isinstance(message, Amplify | Prepared):
            self.tagged = True
            known = self.tags.setdefault((sender, message.pad), message.tag)
            assert known == message.tag, "a pad goes with two tags"

    def _happens(self, sender: Role, data: bytes) -> list[bytes]:
        self.done = True
        wire, case = self.wire, self.case
        if case.how == "refuse":
            for role in case.ends:
                wire.hand(role, bytes((data[0], 0, 0, 0)) + data[4:])
            return [data]
        if case.how in ("cut_after", "crash"):
            wire.hand(sender.peer, data)
            self.look()  # the answers are sent and then lost
        if case.how == "crash":
            for role in case.ends:
                wire.nodes[role].start()
            wire.break_at([role for role in Role if role not in case.ends])
        else:
            wire.break_at(case.ends)
        return []


def run(case: Case) -> None:
    """Run one case. AssertionError names the broken rule."""
    parameters = ONE_BASIS if case.kind == "AbortBlock" else ONE_BLOCK
    wire = StreamWire(*pair(parameters=parameters))
    ended = Ended(case, wire)
    wire.hook = ended
    wire.connect()
    _idle(wire)
    k = _feed(wire, 0, ended)
    if not ended.done:  # the message is sent only at the end
        _end(wire)
        ended.give_up(Role(case.sender))
    assert ended.done, "the message was never said"
    ended.look()
    tagged = ended.tagged
    alice, bob = wire.nodes[Role.ALICE], wire.nodes[Role.BOB]
    _safe(alice, bob)
    if not tagged:
        for node in (alice, bob):
            assert node.ledger.state.pads == {}, "no tag was made, and pads are gone"
    _go_on(wire, k)
    _safe(alice, bob)
    assert keys(alice) == keys(bob) != {}, "the link has not come back"
    assert alice.ledger.state.pads == bob.ledger.state.pads
    for node in (alice, bob):
        assert not node.ledger.state.pending(), "a block is still in doubt"
        most = 16 * sum(e.status != "aborted" for e in node.ledger.state.blocks.values())
        assert max(node.ledger.state.pads.values()) <= most


def _go_on(wire: StreamWire, k: int) -> None:
    """Connect again and feed the remaining light; restart a node whose session has finished."""
    for node in wire.nodes.values():
        if node.session.finished:
            node.start()
    left = len(clicks_of(LIGHT)[0]) - k
    for node in wire.nodes.values():
        if left < 12 and node.lives == 1:
            node.start()
    for _ in range(2):
        wire.now_s += 2.0
        wire.connect()
        if all(n.session._line is not None for n in wire.nodes.values()):
            break
    _feed(wire, k if left >= 12 else 0)
    _end(wire)


def _idle(wire: StreamWire) -> None:
    """Wait long enough for a Ping."""
    for _ in range(5):
        wire.tick(0.5)


def _feed(wire: StreamWire, k: int, ended: Ended | None = None) -> int:
    """Feed tags from the k-th tenth of a second on until the case has occurred; returns next k."""
    pieces = list(zip(*clicks_of(LIGHT), strict=True))
    while k < len(pieces) and not (ended and ended.done):
        for role, block in zip(Role, pieces[k], strict=True):
            wire.input(role, lambda s, b=block: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.tick()
        if ended is not None:
            ended.give_up(Role(ended.case.sender))
        k += 1
    return k


def _end(wire: StreamWire) -> None:
    for role in Role:
        wire.input(role, lambda s: s.end_of_input(wire.now_s))
    for _ in range(4):
        wire.tick(1.0)


def _safe(alice: Node, bob: Node) -> None:
    """Check: keys at both ends are equal; a key at one end only is in doubt at the other."""
    mine, theirs = keys(alice), keys(bob)
    for block in mine.keys() & theirs.keys():
        assert mine[block] == theirs[block], f"block {block} differs"
    for one, other in ((alice, bob), (bob, alice)):
        for block in keys(one).keys() - keys(other).keys():
            assert other.ledger.state.blocks[block].status == "prepared", f"block {block}"
