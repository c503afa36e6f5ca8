"""From tags to pairs: the quiet rule on noised times, announcement and pairs, against the method
without noise (merged clicks, times with bases, matching), on the same tags in the same run.

2 M tags/s a side, 1 M pairs/s, 300 ps of jitter, blocks of 50 ms; both sides in one process, each
block once through every step. Both methods are given the clock between the sides.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.matching import partners
from benchmarks.measure import Effort, Row, against, medians
from photonlink.hal.tags import TagBlock
from photonlink.pipeline.native.quiet import SlotClock
from photonlink.pipeline.stages.events import DetectorMap, EventBuffer
from photonlink.pipeline.stages.quiet import (
    QuietBuffer,
    TimeRule,
    noise_bound_ps,
    quiet_length_ps,
)
from photonlink.pipeline.stages.sift import decode_announcement, encode_announcement, match
from photonlink.pipeline.stages.window import EventWindow

GAP_PS, SHARE, JITTER_PS = 500_000, 0.5, 300
BLOCK_PS = 50_000_000_000
EVENTS, DELTA = 1e12, 1e-12  # the noise exceeds its bound in EVENTS clicks with probability DELTA
SCALE_PS, VETO_PS, WINDOW_PS, GRID_BITS = 300, 30_000, 2500, 8
MAP = DetectorMap({"H": 1, "V": 2, "D": 3, "A": 4})
RULE = TimeRule(
    SCALE_PS,
    noise_bound_ps(SCALE_PS, EVENTS, DELTA),
    quiet_length_ps(VETO_PS, SCALE_PS, EVENTS, DELTA),
    WINDOW_PS,
    GRID_BITS,
)


@dataclass(frozen=True, slots=True)
class Work:
    """Blocks of Alice's and Bob's tags; ``tags`` of both."""

    sides: tuple[list[TagBlock], list[TagBlock]]
    tags: int


def work_of(effort: Effort) -> Work:
    n = effort.scaled(400_000, 20_000)
    sides = []
    rng = np.random.default_rng(34)
    for times in partners(n, GAP_PS, SHARE, JITTER_PS):
        channel = rng.integers(1, 5, len(times)).astype(np.uint8)
        edges = np.arange(0, int(times[-1]) + BLOCK_PS, BLOCK_PS)
        cut = np.searchsorted(times, edges)
        sides.append(
            [
                TagBlock(
                    times[cut[k] : cut[k + 1]].copy(), channel[cut[k] : cut[k + 1]].copy(),
                    int(edges[k]), int(edges[k + 1]),
                )
                for k in range(len(edges) - 1)
            ]
        )  # fmt: skip
    return Work((sides[0], sides[1]), sum(len(b) for side in sides for b in side))


def _frozen(block: TagBlock) -> TagBlock:
    """The block, read-only: it cannot be wiped and can be used again."""
    block.time_ps.flags.writeable = block.channel.flags.writeable = False
    return block


def new_way(work: Work, record: dict[str, float] | None = None) -> int:
    """Number of pairs; ``record`` is given bytes and events."""
    zero = dict.fromkeys("HVDA", 0)
    alice, bob = (QuietBuffer(MAP, RULE, delay_ps=zero, seed=os.urandom(32)) for _ in range(2))
    pairs, start = 0, 0
    for mine, theirs in zip(*work.sides, strict=False):
        alice.add(_frozen(mine))
        bob.add(_frozen(theirs))
        end = min(alice.horizon_ps, bob.horizon_ps) - 100_000
        slot = RULE.slot(start, end)
        data = bob.announce(start, end)
        found = alice.pairs(data, slot, SlotClock(0), track_ps=16_000)
        pairs += len(found.own_index)
        if record is not None:
            record["bytes"] += len(data)
            record["events"] += found.announced
        alice.discard_before(end - 100_000)
        bob.discard_before(end)
        start = end
    alice.close()
    bob.close()
    return pairs


def old_way(work: Work, record: dict[str, float] | None = None) -> int:
    """Number of pairs without noise: clicks within 2 ns are one event."""
    alice, bob = (
        EventBuffer(MAP, multi_click_window_ps=2000, randomness=os.urandom, resolution_ps=r)
        for r in (0, 80)
    )
    pairs, start = 0, 0
    for mine, theirs in zip(*work.sides, strict=False):
        alice.add(_frozen(mine))
        bob.add(_frozen(theirs))
        end = min(alice.horizon_ps, bob.horizon_ps) - 100_000
        window: EventWindow = bob.window(start, end)
        data = encode_announcement(window.time_ps, start, 1 << GRID_BITS)
        times = decode_announcement(data, start, end, 1 << GRID_BITS)
        found = match(alice.window(start, end), times, 2500)
        pairs += found.coincidences
        if record is not None:
            record["bytes"] += len(data)
            record["events"] += len(times)
        alice.discard_before(end - 100_000)
        bob.discard_before(end)
        start = end
    alice.close()
    bob.close()
    return pairs


def quiet(name: str, effort: Effort) -> Row:
    work = work_of(effort)
    record = {"bytes": 0.0, "events": 0.0}
    kept, before = new_way(work, record), old_way(work)
    row = against(
        name, "M tags/s", work.tags / 1e6, lambda: new_way(work), lambda: old_way(work),
        baseline="the way without noise", least=1.5, effort=effort,
    )  # fmt: skip
    row.note = "tags of both sides, one core; from decoded tags to pairs"
    row.details = {
        **{f"{step}_ns": spent for step, spent in steps(effort).items()},
        "bytes_per_event": record["bytes"] / max(record["events"], 1),
        "pairs": kept,
        "pairs_without_noise": before,
        "quiet_ns": RULE.quiet_ps / 1000,
    }
    return row


def steps(effort: Effort) -> dict[str, float]:
    """Core-nanoseconds per tag of one side (add) and per announced event (announce, pairs)."""
    work = work_of(effort)
    zero = dict.fromkeys("HVDA", 0)
    sides = [QuietBuffer(MAP, RULE, delay_ps=zero, seed=bytes([k] * 32)) for k in (1, 2)]

    def add() -> None:
        events = QuietBuffer(MAP, RULE, delay_ps=zero, seed=bytes(32))
        for block in work.sides[0]:
            events.add(_frozen(block))
            events.discard_before(events.horizon_ps)
        events.close()

    for events, blocks in zip(sides, work.sides, strict=True):
        for block in blocks:
            events.add(_frozen(block))
    alice, bob = sides
    end = min(alice.horizon_ps, bob.horizon_ps)
    data = bob.announce(0, end)
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "add": (add, sum(len(block) for block in work.sides[0])),
        "announce": (lambda: bob.announce(0, end), bob.indices(0, end)[1]),
        "pairs": (
            lambda: alice.pairs(data, RULE.slot(0, end), SlotClock(0), track_ps=16_000),
            bob.indices(0, end)[1],
        ),
    }
    spent = medians([call for call, _ in calls.values()], effort.repeats)
    found = zip(calls.items(), spent, strict=True)
    return {name: 1e9 * seconds / n for (name, (_, n)), seconds in found}
