"""Two sessions and the wire between them, for tests: a hook can alter everything on the wire.

``Wire`` delivers one message at a time; a hook may drop, change or repeat it, or cut the line.
``Node`` models a killed process: its Session is lost, its ledger and store stay.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from clicks import MAP, Bench, blocks, generate

from photonlink.hal.tags import AcquisitionStart, TagBlock, TaggerCapabilities
from photonlink.pipeline.keys.ledger import Ledger
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store import KeyStore, MemoryStore
from photonlink.pipeline.protocol.channel.framing import HEADER_BYTES, MAC_BYTES
from photonlink.pipeline.protocol.messages import STRANGERS, Message, decode
from photonlink.pipeline.protocol.session import Session
from photonlink.pipeline.protocol.setup import (
    Disconnect,
    Effect,
    Finished,
    Limits,
    Publish,
    Role,
    Send,
    SessionSetup,
)
from photonlink.pipeline.protocol.sifting import clockfinder
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import (
    BenchConstants,
    DetectorConstants,
    constants_of,
    ideal,
)
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.stages.window import LETTERS
from photonlink.pipeline.status.model import Alarm, BlockReport, CoincidenceHistogram, LinkState

SMALL = AgreedParameters(block_sifted_bits=5_000, q_tol=0.05, eps_sec=1e-6, eps_cor=1e-9)
BENCH = Bench(
    duration_s=2.5, pairs_hz=20_000, singles_a_hz=20_000, singles_b_hz=20_000, offset_s=0.01
)
STEP_PS = 10**11
STARTED = AcquisitionStart(1e9, 0.01)
CAPABILITIES = TaggerCapabilities((1, 2, 3, 4), 1.0, 1e7)


def seeded(label: str) -> Callable[[int], bytes]:
    """Deterministic bytes for tests."""
    state = {"n": 0}

    def randomness(n: int) -> bytes:
        state["n"] += 1
        return hashlib.shake_256(f"{label}/{state['n']}".encode()).digest(n)

    return randomness


@dataclass
class Node:
    """One side: its ledger and store, which survive a crash, and its session, which does not."""

    role: Role
    psk: PreSharedKey
    parameters: AgreedParameters = SMALL
    limits: Limits = field(default_factory=Limits)
    constants: BenchConstants = field(default_factory=ideal)
    ledger: Ledger = field(default_factory=Ledger.memory)
    store: KeyStore = field(default_factory=MemoryStore)
    lives: int = 0
    seed: int = 0
    session: Session = field(init=False)
    states: list[LinkState] = field(default_factory=list)
    reports: list[BlockReport] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    histograms: list[CoincidenceHistogram] = field(default_factory=list)
    disconnects: list[str] = field(default_factory=list)
    finished: bool = False

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new process: new session, new randomness, same ledger and store."""
        self.lives += 1
        setup = SessionSetup(
            self.role,
            self.psk,
            DetectorMap(MAP),
            self.constants,
            self.parameters,
            limits=self.limits,
        )
        self.session = Session(
            setup,
            ledger=self.ledger,
            store=self.store,
            randomness=seeded(f"{self.role}/{self.lives}/{self.seed}"),
        )
        self.session.acquisition_started(STARTED, CAPABILITIES, 0.0)

    def codes(self) -> set[str]:
        return {alarm.code for alarm in self.alarms}


def message_of(frame: bytes) -> Message:
    """The message in a frame from the wire."""
    body = frame[HEADER_BYTES:]
    strangers = {cls.TYPE for cls in STRANGERS}
    return decode(frame[0], body if frame[0] in strangers else body[:-MAC_BYTES])


def bench_with(alice: tuple[int, int, int, int], bob: tuple[int, int, int, int]) -> BenchConstants:
    """Constants with these detector delays (ps)."""
    sides = [
        {c: DetectorConstants(delay_ps=d) for c, d in zip(LETTERS, side, strict=True)}
        for side in (alice, bob)
    ]
    return constants_of(sides[0], sides[1], claimed=True)


Hook = Callable[[int, Role, bytes], list[bytes] | None]


class Wire:
    """Connects two nodes. ``hook(n, sender, message)`` returns what arrives; None cuts."""

    def __init__(self, alice: Node, bob: Node, hook: Hook | None = None) -> None:
        self.nodes = {Role.ALICE: alice, Role.BOB: bob}
        self.hook = hook
        self.now_s = 0.0
        self.count = 0
        self.log: list[tuple[Role, bytes]] = []
        self._queue: deque[tuple[Role, bytes]] = deque()
        self._hung_up = False

    def connect(self) -> None:
        self._hung_up = False
        self._queue.clear()
        found = [(role, node.session.connected(self.now_s)) for role, node in self.nodes.items()]
        for role, effects in found:
            self._take(role, effects)
        self.run()

    def cut(self, reason: str = "cut") -> None:
        """The stream breaks; messages in transit are lost."""
        self._queue.clear()
        for role, node in self.nodes.items():
            self._take(role, node.session.disconnected(self.now_s, reason))
        self._queue.clear()

    def input(self, role: Role, step: Callable[[Session], list[Effect]]) -> None:
        self._take(role, step(self.nodes[role].session))
        self.run()

    def run(self) -> None:
        while self._queue:
            sender, data = self._queue.popleft()
            self.count += 1
            self.log.append((sender, data))
            arriving = self.hook(self.count, sender, data) if self.hook else [data]
            if arriving is None:
                self.cut()
                return
            for part in arriving:
                session = self.nodes[sender.peer].session
                self._take(sender.peer, session.receive(part, self.now_s))
        if self._hung_up:
            self._hung_up = False
            self.cut("the peer hung up")

    def _take(self, role: Role, effects: list[Effect]) -> None:
        node = self.nodes[role]
        for effect in effects:
            if isinstance(effect, Send | Disconnect) and effect.stream:
                continue  # addressed to an unauthenticated connection
            if isinstance(effect, Send):
                self._queue.append((role, effect.data))
            elif isinstance(effect, Disconnect):
                node.disconnects.append(effect.reason)
                self._hung_up = True
            elif isinstance(effect, Finished):
                node.finished = True
            elif isinstance(effect, Publish):
                kept = {
                    LinkState: node.states, BlockReport: node.reports, Alarm: node.alarms,
                    CoincidenceHistogram: node.histograms,
                }  # fmt: skip
                kept[type(effect.record)].append(effect.record)  # type: ignore[attr-defined]

    def tick(self, dt_s: float = 0.1) -> None:
        self.now_s += dt_s
        for role in Role:
            self.input(role, lambda s: s.tick(self.now_s))


_cache: dict[Bench, tuple[list[TagBlock], list[TagBlock]]] = {}


def clicks_of(bench: Bench) -> tuple[list[TagBlock], list[TagBlock]]:
    """Fresh copies of both sides' blocks of 0.1 s."""
    if bench not in _cache:
        made = generate(bench)
        _cache[bench] = blocks(made.alice, STEP_PS), blocks(made.bob, STEP_PS)
    return tuple(  # type: ignore[return-value]
        [replace(b, time_ps=b.time_ps.copy(), channel=b.channel.copy()) for b in side]
        for side in _cache[bench]
    )


def pair(
    psk: PreSharedKey | None = None, bob_psk: PreSharedKey | None = None, **changes: object
) -> tuple[Node, Node]:
    psk = psk or PreSharedKey.generate(4096)
    return (
        Node(Role.ALICE, psk, **changes),  # type: ignore[arg-type]
        Node(Role.BOB, bob_psk or psk.copy(), **changes),  # type: ignore[arg-type]
    )


def feed(
    wire: Wire,
    bench: Bench = BENCH,
    *,
    end: bool = True,
    skip: int = 0,
    until: Callable[[], bool] = lambda: False,
) -> None:
    """Feed all tags of a bench except the first ``skip`` pieces to both sides, 0.1 s at a time,
    then the end of input."""
    pieces = list(zip(*clicks_of(bench), strict=True))
    for block_a, block_b in pieces[skip:]:
        if until():
            return
        wire.input(Role.ALICE, lambda s, b=block_a: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.input(Role.BOB, lambda s, b=block_b: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.tick()
    if end and not until():
        for role in Role:
            wire.input(role, lambda s: s.end_of_input(wire.now_s))
        wire.tick()


def keys(node: Node) -> dict[int, bytes]:
    """The key bytes of every released block (tests only)."""
    state = node.ledger.state
    found = {}
    for block in state.released:
        entry = state.blocks[block]
        if entry.net_bits:
            with node.store.get_key(block, entry.net_bits) as key:
                found[block] = bytes(key.export())
    return found


def run_link(bench: Bench = BENCH, hook: Hook | None = None, **changes: object) -> Wire:
    alice, bob = pair(**changes)  # type: ignore[arg-type]
    wire = Wire(alice, bob, hook)
    wire.connect()
    feed(wire, bench)
    return wire


@contextlib.contextmanager
def narrow_clock_search() -> Iterator[None]:
    """Search few clock rates: for tests that run the whole protocol a few hundred times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clockfinder, "tolerance_s", lambda alice, bob: 0.02)
        patch.setattr(clockfinder, "_ATTEMPTS_PS", (3 * 10**11, 10**12))
        yield
