"""Two sessions and the line between them, in one process: Eve may touch every frame.

``hook(n, sender, frame)`` returns what arrives instead of the n-th frame; None cuts the line. The
transcript records what left each end.
"""

from __future__ import annotations

import copy
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from photonlink.hal.tags import AcquisitionStart, TagBlock, TaggerCapabilities
from photonlink.pipeline.attacks.transcript import WireTranscript
from photonlink.pipeline.keys.ledger import Ledger, LedgerState
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store import MemoryStore
from photonlink.pipeline.protocol.session import Session
from photonlink.pipeline.protocol.setup import (
    Disconnect,
    Effect,
    Limits,
    Publish,
    Role,
    Send,
    SessionSetup,
)
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import BenchConstants
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.status.model import Alarm, BlockReport, LinkState

CHANNELS = {"H": 1, "V": 2, "D": 3, "A": 4}
STEP_S = 0.1
LAST_WORDS_S = 12.0  # an end that still waits for an answer then raises its alarm
Hook = Callable[[int, Role, bytes], list[bytes] | None]
Tick = Callable[["Line"], None]


def seeded(label: str) -> Callable[[int], bytes]:
    """Repeatable bytes: these keys protect nothing, and a run can be repeated."""
    count = 0

    def randomness(n: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{label}/{count}".encode()).digest(n)

    return randomness


@dataclass
class LinkEnd:
    """One side: what survives a restart, and the session that does not."""

    role: Role
    psk: PreSharedKey
    bench: BenchConstants
    parameters: AgreedParameters
    seed: int
    randomness: Callable[[int], bytes] | None = None
    resolution_ps: float = 1.0
    limits: Limits = field(default_factory=Limits)
    ledger: Ledger = field(default_factory=Ledger.memory)
    store: MemoryStore = field(default_factory=MemoryStore)
    lives: int = 0
    session: Session = field(init=False)
    reports: list[tuple[float, BlockReport]] = field(default_factory=list)
    alarms: list[tuple[float, Alarm]] = field(default_factory=list)
    states: list[tuple[int, LinkState]] = field(default_factory=list)  # own time by then, ps
    disconnects: list[str] = field(default_factory=list)
    restored: bool = False
    _copy: tuple[LedgerState, MemoryStore, PreSharedKey] | None = None

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new process on the same ledger and store."""
        self.lives += 1
        setup = SessionSetup(
            self.role, self.psk, DetectorMap(CHANNELS), self.bench, self.parameters,
            limits=self.limits,
        )  # fmt: skip
        drawn = self.randomness or seeded(f"{self.role}/{self.lives}/{self.seed}")
        self.session = Session(setup, ledger=self.ledger, store=self.store, randomness=drawn)
        capable = TaggerCapabilities((1, 2, 3, 4), self.resolution_ps, 1e7)
        self.session.acquisition_started(AcquisitionStart(1e9, 0.01), capable, 0.0)

    def take_copy(self) -> None:
        """Copy all files, the anchor included."""
        self._copy = copy.deepcopy(self.ledger.state), self.store.copy(), self.psk.copy()

    def go_back(self) -> None:
        """A new process on the copy."""
        assert self._copy is not None  # noqa: S101 - a copy was taken
        self.restored = True
        self.session.close(0.0)
        self.ledger = Ledger.memory()
        self.ledger.state, self.store, self.psk = self._copy
        self._copy = None
        self.start()

    def keys(self) -> dict[int, bytes]:
        """Released blocks' key bytes, to compare both ends."""
        found = {}
        for block in self.ledger.state.released:
            bits = self.ledger.state.blocks[block].net_bits
            if bits:
                with self.store.get_key(block, bits) as key:
                    found[block] = bytes(key.export())
        return found


class Line:
    """The line. Time is virtual: a step per piece of tags, of a tenth of a second as a rule."""

    def __init__(
        self, alice: LinkEnd, bob: LinkEnd, transcript: WireTranscript, hook: Hook | None = None
    ) -> None:
        self.ends = {Role.ALICE: alice, Role.BOB: bob}
        self.transcript = transcript
        self.hook = hook
        self.now_s = 0.0
        self.fed_ps = 0  # end of the tags that both have
        self.frames = self.steps = 0
        self.frozen = False  # no tags are fed
        self._queue: deque[tuple[Role, bytes]] = deque()
        self._hung_up = False
        self.up = False

    def connect(self) -> None:
        self._hung_up, self.up = False, True
        self._queue.clear()
        found = [(role, end.session.connected(self.now_s)) for role, end in self.ends.items()]
        for role, effects in found:
            self._take(role, effects)
        self.run()

    def cut(self, reason: str = "cut") -> None:
        """The stream breaks; what was under way is lost."""
        self.up = False
        self._queue.clear()
        for role, end in self.ends.items():
            self._take(role, end.session.disconnected(self.now_s, reason))
        self._queue.clear()

    def give(self, role: Role, step: Callable[[Session], list[Effect]]) -> None:
        self._take(role, step(self.ends[role].session))
        self.run()

    def run(self) -> None:
        """Deliver until nothing is under way."""
        while self._queue and not self.frozen:
            sender, frame = self._queue.popleft()
            self.frames += 1
            self.transcript.feed(str(sender), frame)
            arriving = self.hook(self.frames, sender, frame) if self.hook else [frame]
            if arriving is None:
                self.cut()
                return
            for part in arriving:
                session = self.ends[sender.peer].session
                self._take(sender.peer, session.receive(part, self.now_s))
        if self._hung_up:
            self._hung_up = False
            self.cut("an end hung up")

    def tick(self, seconds: float = STEP_S) -> None:
        self.now_s += seconds
        for role in Role:
            self.give(role, lambda s: s.tick(self.now_s))

    def _take(self, role: Role, effects: list[Effect]) -> None:
        end = self.ends[role]
        for effect in effects:
            if isinstance(effect, Send | Disconnect) and effect.stream:
                continue  # streams of strangers
            if isinstance(effect, Send):
                self._queue.append((role, effect.data))
            elif isinstance(effect, Disconnect):
                end.disconnects.append(effect.reason)
                self._hung_up = True
            elif isinstance(effect, Publish) and isinstance(effect.record, BlockReport):
                end.reports.append((self.now_s, effect.record))
            elif isinstance(effect, Publish) and isinstance(effect.record, Alarm):
                end.alarms.append((self.now_s, effect.record))
            elif isinstance(effect, Publish) and isinstance(effect.record, LinkState):
                end.states.append((self.fed_ps, effect.record))

    # ---- a whole run ----
    def play(
        self, blocks: Iterator[tuple[TagBlock, TagBlock]], every_step: Tick | None = None
    ) -> None:
        """Connect, feed all tags, and end the input."""
        self.connect()
        for alice, bob in blocks:
            if not self.up:
                self.connect()
            self.fed_ps = alice.end_ps
            self.give(Role.ALICE, lambda s, b=alice: s.tags(b, self.now_s))  # type: ignore[misc]
            self.give(Role.BOB, lambda s, b=bob: s.tags(b, self.now_s))  # type: ignore[misc]
            if every_step is not None:
                every_step(self)
            self.tick((alice.end_ps - alice.start_ps) * 1e-12)
        for role in Role:
            self.give(role, lambda s: s.end_of_input(self.now_s))
        for _ in range(round(LAST_WORDS_S / STEP_S)):
            if all(end.session.finished for end in self.ends.values()):
                return
            self.tick()

    def alarms(self) -> list[tuple[float, str]]:
        """(time, code) of every alarm raised at either end, in order."""
        found = [(t, a.code) for end in self.ends.values() for t, a in end.alarms if a.active]
        return sorted(found)
