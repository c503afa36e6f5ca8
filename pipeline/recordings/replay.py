"""Distil two recordings of one run: both nodes' sessions in one process, on a virtual clock.

As fast as the CPU allows; the pre-shared key is made for the occasion and the key it gives is
marked. Recordings come as iterators of TagBlocks, so this module knows no file format.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from photonlink.hal.tags import (
    AcquisitionStart,
    LostInterval,
    Provenance,
    TagBlock,
    TaggerCapabilities,
)
from photonlink.pipeline.keys.ledger import Ledger
from photonlink.pipeline.keys.policy import is_emulated
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store import DigestStore
from photonlink.pipeline.protocol.session import Session
from photonlink.pipeline.protocol.setup import Effect, Publish, Role, Send, SessionSetup
from photonlink.pipeline.protocol.sifting.peer_taggers import (
    MAX_RAW_SPREAD_S,
    AcquisitionOrigin,
    announce,
)
from photonlink.pipeline.recordings.learned_bench import Start, learn, unknown
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import BenchConstants
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.status.model import Alarm, BlockReport, LinkState, SessionRecord
from photonlink.pipeline.status.run_summary import account

PS = 10**12
PSK_BYTES = 8192  # made for this run; every block refills it
_PIECE_PS = PS // 10
NO_CLAIM = "nothing is claimed against Eve: delays were learned from the recordings"
_LEARN_S = (2.0, 5.0, 10.0, 20.0)  # seconds of the recordings in which the clock must be found
_RAW_SPREAD_PS = round(MAX_RAW_SPREAD_S * PS)


@dataclass(slots=True)
class ReplayResult:
    """The demo's figures and the clock at the start. ``secret_bits`` is net.

    claim: delays were learned from the recordings, so nothing is claimed against Eve."""

    secret_bits: int = 0
    keys_match: bool = False
    qber: float | None = None
    sifted_bits: int = 0
    leak_bits: int = 0
    f_ec: float | None = None
    epsilon: float = 0.0
    skr_bps: float = 0.0
    emulated: bool = False
    blocks: int = 0
    aborts: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)  # codes, in the order they first came
    clock_offset_s: float | None = None
    clock_frequency_ppm: float | None = None
    duration_s: float = 0.0
    reports: list[BlockReport] = field(default_factory=list)
    claim: str = NO_CLAIM


@dataclass(slots=True)
class Side:
    """One recording as it is fed to its session. ``ahead``: pieces that were read in advance."""

    pieces: Iterator[TagBlock]
    detectors: DetectorMap
    resolution_ps: float
    start: AcquisitionStart | None
    origin_ps: int = 0
    ahead: deque[TagBlock] = field(default_factory=deque)
    done: bool = False
    clicks: int = 0

    def open(self) -> None:
        if self.next is not None:
            self.origin_ps = 0 if self.start else self.next.start_ps

    @property
    def next(self) -> TagBlock | None:
        """The next piece; None at the end."""
        if not self.ahead:
            self.ahead.extend(itertools.islice(self.pieces, 1))
        return self.ahead[0] if self.ahead else None

    def take(self) -> TagBlock | None:
        """The next piece, counted from ``origin_ps``."""
        block = self.next
        if block is None:
            return None
        self.ahead.popleft()
        self.clicks += len(block)
        return rebase(block, self.origin_ps)

    def first(self, seconds: float) -> Start | None:
        """Its first seconds, to learn delays from; None when it is empty."""
        if self.next is None:
            return None
        begin = self.ahead[0].start_ps
        while self.ahead[-1].end_ps - begin < seconds * PS:
            more = next(self.pieces, None)
            if more is None:
                break
            self.ahead.append(more)
        blocks = [rebase(block, self.origin_ps) for block in self.ahead]
        started = AcquisitionOrigin(self.start, self.resolution_ps, self.origin_ps)
        announced = announce(started, blocks[0].start_ps, Provenance.REPLAYED)
        return Start(blocks, self.detectors, announced)


def rebase(block: TagBlock, origin_ps: int) -> TagBlock:
    """The same events on a clock that starts at ``origin_ps``."""
    return TagBlock(
        block.time_ps - origin_ps,
        block.channel.copy(),
        block.start_ps - origin_ps,
        block.end_ps - origin_ps,
        tuple(
            LostInterval(i.start_ps - origin_ps, i.end_ps - origin_ps, i.count, i.reason)
            for i in block.lost
        ),
        block.provenance,
    )


def from_first_click(blocks: Iterable[TagBlock], detectors: DetectorMap) -> Iterator[TagBlock]:
    """The blocks from the first click of a mapped detector on; its time starts the first."""
    channels = np.array(sorted(detectors.channels.values()), np.uint8)
    rest = iter(blocks)
    for block in rest:
        found = np.flatnonzero(np.isin(block.channel, channels))
        if not len(found):
            continue
        low = int(found[0])
        start = int(block.time_ps[low])
        lost = tuple(i for i in block.lost if i.end_ps > start)
        yield TagBlock(
            block.time_ps[low:], block.channel[low:], start, max(block.end_ps, start), lost,
            block.provenance,
        )  # fmt: skip
        yield from rest


def cut(blocks: Iterable[TagBlock]) -> Iterator[TagBlock]:
    """Blocks of any length in pieces of at most 0.1 s, as a live tagger would hand them out.

    A longer time without events stays one piece.
    """
    for block in blocks:
        start, lost, low, last = block.start_ps, block.lost, 0, False
        while not last:
            end = min(start + _PIECE_PS, block.end_ps)
            high = int(np.searchsorted(block.time_ps, end))
            if high == low:
                end = int(block.time_ps[low]) if low < len(block) else block.end_ps
            last = end == block.end_ps
            high = len(block) if last else high
            yield TagBlock(
                block.time_ps[low:high], block.channel[low:high], start, end, lost, block.provenance
            )
            start, lost, low = end, (), high


class Pair:
    """Two sessions joined by perfect pipes; effects are collected."""

    def __init__(self, alice: Session, bob: Session) -> None:
        self.sessions = {Role.ALICE: alice, Role.BOB: bob}
        self.now_s = 0.0
        self.reports: list[BlockReport] = []
        self.alarms: list[Alarm] = []
        self.state: LinkState | None = None
        self._pipe: deque[tuple[Role, bytes]] = deque()

    def run(self, role: Role, step: Callable[[Session], list[Effect]]) -> None:
        """Give one input to one session, and deliver all resulting messages between both."""
        self._collect(role, step(self.sessions[role]))
        while self._pipe:
            to, data = self._pipe.popleft()
            self._collect(to, self.sessions[to].receive(data, self.now_s))

    def connect(self) -> None:
        effects = {role: s.connected(self.now_s) for role, s in self.sessions.items()}
        for role, found in effects.items():
            self._collect(role, found)
        self.run(Role.ALICE, lambda s: s.tick(self.now_s))

    def tick(self) -> None:
        for role in Role:
            self.run(role, lambda s: s.tick(self.now_s))

    def _collect(self, role: Role, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._pipe.append((role.peer, effect.data))
            elif isinstance(effect, Publish) and role is Role.ALICE:
                self._keep(effect.record)

    def _keep(self, record: SessionRecord) -> None:
        if isinstance(record, BlockReport):
            self.reports.append(record)
        elif isinstance(record, Alarm):
            self.alarms.append(record)
        elif isinstance(record, LinkState):
            self.state = record


def replay_pair(
    alice_blocks: Iterable[TagBlock],
    bob_blocks: Iterable[TagBlock],
    alice_map: DetectorMap,
    bob_map: DetectorMap,
    resolutions_ps: tuple[float, float],
    parameters: AgreedParameters | None = None,
    *,
    starts: tuple[AcquisitionStart | None, AcquisitionStart | None] = (None, None),
    randomness: Callable[[int], bytes] = os.urandom,
    progress: Callable[[SessionRecord], None] | None = None,
) -> ReplayResult:
    """Run both recordings through two sessions. resolutions_ps: of Alice's, Bob's tagger.

    Errors of the iterators (a damaged recording) pass through.
    """
    agreed = parameters or AgreedParameters(multi_click_limit=0.05)
    agreed = replace(
        agreed, noise_ps=0, hardware_hold_off=1, charge_mismatch=0
    )  # nothing is claimed
    sides = {
        role: Side(cut(blocks if start else from_first_click(blocks, mapped)), mapped, res, start)
        for role, blocks, mapped, res, start in zip(
            Role, (alice_blocks, bob_blocks), (alice_map, bob_map), resolutions_ps, starts,
            strict=True,
        )
    }  # fmt: skip
    for side in sides.values():
        side.open()
    bench = _learned(agreed, sides)
    psk = PreSharedKey.generate(PSK_BYTES)
    copies = {role: psk.copy() for role in Role}  # each session zeroes the pads that it spends
    nonce = os.urandom(32)
    stores = {role: DigestStore(nonce) for role in Role}
    sessions = [
        Session(
            SessionSetup(
                role, copies[role], side.detectors, bench, agreed,
                randomness_provenance=Provenance.REPLAYED,
            ),
            ledger=Ledger.memory(),
            store=stores[role],
            randomness=randomness,
        )
        for role, side in sides.items()
    ]  # fmt: skip
    pair = Pair(*sessions)
    pair.connect()
    _feed(pair, sides, progress)
    result = _result(pair, sides)
    digests = [store.digests for store in stores.values()]
    result.keys_match = bool(digests[0]) and digests[0] == digests[1]
    for each in (psk, *copies.values()):
        each.close()
    return result


def _learned(agreed: AgreedParameters, sides: dict[Role, Side]) -> BenchConstants:
    """Others' recordings have no calibration: delays come from the data, and nothing is claimed."""
    for seconds in _LEARN_S:
        alice, bob = (side.first(seconds) for side in sides.values())
        if alice is None or bob is None:
            break
        found = learn(agreed, alice, bob)
        if found is not None:
            return found
    ticks = [max(side.resolution_ps, 1.0) for side in sides.values()]
    return unknown(ticks[0], ticks[1])


def _feed(
    pair: Pair,
    sides: dict[Role, Side],
    progress: Callable[[SessionRecord], None] | None,
) -> None:
    for role, side in sides.items():
        capabilities = TaggerCapabilities((), side.resolution_ps, 0.0)
        pair.run(
            role,
            lambda s, side=side, c=capabilities: s.acquisition_started(  # type: ignore[misc]
                side.start, c, pair.now_s, origin_ps=side.origin_ps
            ),
        )
    origins = [side.origin_ps for side in sides.values()]
    common = abs(origins[0] - origins[1]) < _RAW_SPREAD_PS
    shown = 0
    while any(not side.done for side in sides.values()):
        role, side = min(
            ((r, s) for r, s in sides.items() if not s.done),
            key=lambda item: _due_ps(item[1], min(origins), common=common),
        )
        due_s = _due_ps(side, min(origins), common=common) / PS
        pair.now_s = max(pair.now_s, due_s)
        block = side.take()
        if block is None:
            side.done = True
            pair.run(role, lambda s: s.end_of_input(pair.now_s))
        else:
            pair.run(role, lambda s, b=block: s.tags(b, pair.now_s))  # type: ignore[misc]
        if progress is not None:
            for report in pair.reports[shown:]:
                progress(report)
            shown = len(pair.reports)
            if pair.state is not None:
                progress(pair.state)
    pair.tick()


def _due_ps(side: Side, earliest_ps: int, *, common: bool) -> int:
    """When a piece is fed: in the order of the raw clocks if these can refer to the same time."""
    if side.next is None:
        return -(1 << 62)
    start = side.next.start_ps - side.origin_ps
    return start + side.origin_ps - earliest_ps if common else start


def _why_no_block(sides: dict[Role, Side]) -> str:
    empty = [str(role) for role, side in sides.items() if not side.clicks]
    if empty:
        return f"no click of a mapped detector at {' and '.join(empty)}"
    return "the recordings end before there are bits enough for a positive length"


def _result(pair: Pair, sides: dict[Role, Side]) -> ReplayResult:
    alice = pair.sessions[Role.ALICE]
    figures = account(pair.reports, pair.now_s, emulated=is_emulated(alice.provenance))
    aborts = figures["aborts"]
    if not pair.reports:
        aborts += [f"{a.code}: {a.text}" for a in pair.alarms if a.active]
    if figures["secret_bits"] <= 0 and not aborts:
        aborts += [f"no_block: {_why_no_block(sides)}"]
    clock = alice.clock_at_start()
    offset = None
    if clock is not None:
        origins = sides[Role.BOB].origin_ps - sides[Role.ALICE].origin_ps
        offset = clock[0] + origins / PS
    return ReplayResult(
        **{name: value for name, value in figures.items() if name != "elapsed_s"},
        alarms=list(dict.fromkeys(a.code for a in pair.alarms if a.active)),
        clock_offset_s=offset,
        clock_frequency_ppm=clock[1] if clock else None,
        duration_s=figures["elapsed_s"],
        reports=pair.reports,
    )
