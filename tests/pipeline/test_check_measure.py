"""Both ends of a check record the same light, despite late starts and inaccurate host stamps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from clicks import Bench, generate
from test_check_peer import ends

from photonlink.hal import machine
from photonlink.hal.errors import LinkError
from photonlink.hal.tags import AcquisitionStart, TagBlock
from photonlink.pipeline.check import measure
from photonlink.pipeline.check.measure import PS, SideClicks, find_clock, record
from photonlink.pipeline.node.recorded_session import DetectorMap
from photonlink.pipeline.stages.clock.recovery import Lock

EVERY_PS = 10**9


class World:
    """One clock for hosts and taggers; it advances as the taggers are read."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0


class Tagger:
    """A click every millisecond on input 1, from ``starts_after_s`` of the world's clock on."""

    wire_format = SimpleNamespace(name="test")
    capabilities = SimpleNamespace(resolution_ps=1.0, channels=(1, 2, 3, 4))

    def __init__(self, world: World, starts_after_s: float = 0.0, ends: bool = False) -> None:
        self.world, self.wait_s, self.ends = world, starts_after_s, ends

    async def start(self) -> AcquisitionStart:
        end_s = self.world.now_s + self.wait_s
        while self.world.now_s < end_s:  # noqa: ASYNC110 - the world has no event
            await asyncio.sleep(0)
        self.zero_s = self.world.now_s
        return AcquisitionStart(self.zero_s, 0.01)

    async def stop(self) -> None: ...

    async def chunks(self) -> AsyncIterator[TagBlock]:
        last = 0
        while not self.ends:
            await asyncio.sleep(0)
            self.world.now_s += 0.01
            now = round((self.world.now_s - self.zero_s) * PS)
            times = np.arange(last + -last % EVERY_PS, now, EVERY_PS, dtype=np.int64)
            yield TagBlock(times, np.ones(len(times), np.uint8), last, now)
            last = now


async def _recorded(
    monkeypatch: pytest.MonkeyPatch, alice: Tagger, bob: Tagger
) -> list[SideClicks]:
    monkeypatch.setattr(machine, "wall_s", lambda: alice.world.now_s)
    decoder = SimpleNamespace(feed=lambda block: block)
    monkeypatch.setattr(measure, "decoder_for", lambda _: decoder)
    inputs = DetectorMap(dict(zip("HVDA", (1, 2, 3, 4), strict=True)))
    monkeypatch.setattr(measure, "detector_map", lambda *_: inputs)

    async def one(tagger: Tagger, peer: Any, role: str) -> SideClicks:
        station: Any = SimpleNamespace(node=SimpleNamespace(role=role))
        bench: Any = SimpleNamespace(tagger=tagger, emulated=True)
        return await record(station, bench, 1.0, peer)

    peers = ends()
    async with asyncio.timeout(20):
        return list(await asyncio.gather(one(alice, peers[0], "alice"), one(bob, peers[1], "bob")))


async def test_a_tagger_that_starts_late_costs_no_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alice's tagger runs for five seconds before Bob's starts; both measure the same second."""
    world = World()
    alice, bob = await _recorded(monkeypatch, Tagger(world), Tagger(world, starts_after_s=5.0))
    assert len(alice.time_ps) == len(bob.time_ps) == 1000
    assert 0 <= alice.time_ps[0] < alice.time_ps[-1] < PS
    assert alice.host_start_s == pytest.approx(bob.host_start_s, abs=0.1)
    assert alice.host_start_s > 1_000_004.9


async def test_a_stream_that_ends_early_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    with pytest.raises(LinkError, match="ended early"):
        await _recorded(monkeypatch, Tagger(world, ends=True), Tagger(world, ends=True))


@pytest.mark.parametrize(("uncertainty_s", "found"), [(0.01, False), (0.9, True)])
def test_a_stamp_is_searched_as_far_as_it_may_be_wrong(uncertainty_s: float, found: bool) -> None:
    """The host stamps the start 0.8 s late: a lock needs an uncertainty that covers this."""
    clicks = generate(Bench(seed=21, duration_s=2.0, offset_s=0.0))
    nothing = np.zeros(1, np.uint8)
    late_s = 0.8
    alice = SideClicks(
        "alice", 1.0, 1e6 + late_s, uncertainty_s, clicks.alice.time_ps, nothing, 2.0, {}, 0.0, True
    )
    bob = SideClicks("bob", 1.0, 1e6, 0.01, clicks.bob.time_ps, nothing, 2.0, {}, 0.0, True)
    _, lock = find_clock(alice, bob)
    assert isinstance(lock, Lock) == found
