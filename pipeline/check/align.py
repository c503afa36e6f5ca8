"""``photonlink align``: both ends measure the polarization, one end turns it.

Every click is sent to the other end and none becomes key; every message is under the pre-shared
key. The end whose station has ``[alignment]`` fits the model of its controllers and moves them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from photonlink.hal import machine
from photonlink.hal.errors import PhotonlinkError, StationError
from photonlink.hal.facets import Biased
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.safety import guard
from photonlink.hal.tasks import together
from photonlink.pipeline.calibration import alignment
from photonlink.pipeline.calibration.alignment import AlignmentRecord
from photonlink.pipeline.check.calibrate import tell_failure
from photonlink.pipeline.check.measure import (
    SETTLE_S,
    SideClicks,
    exchange,
    find_clock,
    record,
    search_window,
)
from photonlink.pipeline.check.peer import CheckPeer, peer_of
from photonlink.pipeline.check.verdicts import pair_histogram
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.node.emitting import emitting
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.polarization import ControllerStack
from photonlink.pipeline.node.simulated_station import with_emulator_addresses
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.stages.alignment.align import Alignment, AlignmentError
from photonlink.pipeline.stages.alignment.model import Floats
from photonlink.pipeline.stages.clock.recovery import Lock
from photonlink.pipeline.stages.window import LETTERS

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AlignOptions:
    """seconds: of clicks at each setting."""

    seconds: float = 3.0


@dataclass(frozen=True, slots=True)
class Aligned:
    """The result at one end; floor and setting only at the end with the controllers."""

    moves: int
    qber: float
    record: AlignmentRecord | None

    def as_dict(self) -> dict[str, object]:
        found: dict[str, object] = {"moves": self.moves, "qber": self.qber}
        if self.record is not None:
            found["floor"] = self.record.floor
            found["setting_deg"] = list(self.record.setting_deg)
            found["controllers"] = list(self.record.controllers)
            found["emulated"] = self.record.emulated
        return found


async def align_stations(
    stations: list[NodeStation], options: AlignOptions, tell: Tell
) -> list[Aligned]:
    """One end, or both ends of a bench at once."""
    return await together(*(align(s, options, tell) for s in stations))


async def align(station: NodeStation, options: AlignOptions, tell: Tell) -> Aligned:
    """Bring the link to its least QBER. Light and bias are off afterwards; the controllers keep
    their setting.
    """
    # locked before any instrument is touched: a node that runs keeps its light
    with open_store(station) as store, contextlib.closing(store.psk(station.node.psk)) as psk:
        bench = await open_bench(with_emulator_addresses(station))
        async with guard(bench) as state, peer_of(station, psk=psk) as peer:
            if peer is None:
                raise PhotonlinkError(
                    "the other end's align did not come",
                    where=station.peer.connect or station.peer.listen or "",
                    hint="Start it at both ends, or give both station files.",
                )
            await peer.greet("align")
            try:
                return await _with_peer(station, bench, psk, peer, options, tell)
            except PhotonlinkError as error:
                await tell_failure(peer, error)
                raise
        raise PhotonlinkError(f"the alignment was stopped by {state.signal}", where=station.name)


async def _with_peer(
    station: NodeStation,
    bench: Bench,
    psk: PreSharedKey,
    peer: CheckPeer,
    options: AlignOptions,
    tell: Tell,
) -> Aligned:
    stack = None if station.alignment is None else ControllerStack(bench, station.alignment)
    await peer.send({"check": "controllers", "turns": stack is not None})
    meta, _ = await peer.receive("controllers")
    if (stack is not None) == bool(meta.get("turns")):
        which = "both ends have" if stack is not None else "neither end has"
        raise StationError(
            f"{which} [alignment] controllers", where=station.name,
            hint="Exactly one end turns the polarization: see docs/station.md",
        )  # fmt: skip
    await asyncio.gather(*(d.set_bias(True) for d in bench.having(Biased).values()))
    async with emitting(bench, "alignment of polarization"):
        await asyncio.sleep(SETTLE_S)
        if stack is None:
            return await _look_on(station, bench, peer, options)
        return await _turn(station, bench, stack, psk, peer, options, tell)


async def _one_setting(
    station: NodeStation, bench: Bench, peer: CheckPeer, options: AlignOptions
) -> tuple[SideClicks, SideClicks]:
    own = await record(station, bench, options.seconds, peer)
    return own, await exchange(peer, own)


async def _look_on(
    station: NodeStation, bench: Bench, peer: CheckPeer, options: AlignOptions
) -> Aligned:
    """The end without controllers: counts each time the other end requests it."""
    while True:
        await _one_setting(station, bench, peer, options)
        meta, _ = await peer.receive("turned")
        if meta.get("done"):
            return Aligned(int(str(meta["moves"])), float(str(meta["qber"])), None)


async def _turn(
    station: NodeStation,
    bench: Bench,
    stack: ControllerStack,
    psk: PreSharedKey,
    peer: CheckPeer,
    options: AlignOptions,
    tell: Tell,
) -> Aligned:
    wanted = station.alignment
    assert wanted is not None  # noqa: S101 - there is a stack
    search = Alignment(stack.retarders, await stack.now_deg(), tolerance=wanted.tolerance)
    while True:
        await stack.move(search.setting_deg.tolist())
        own, other = await _one_setting(station, bench, peer, options)
        counts = await asyncio.to_thread(coincidences, other, own)
        at = ", ".join(f"{angle:.1f}°" for angle in search.setting_deg)
        moves = search.moves
        await asyncio.to_thread(search.counted, counts)
        tell(f"move {moves}: {at}: QBER {search.qber:.2%} of {counts.sum():,.0f} pairs")
        if search.done:
            break
        await peer.send({"check": "turned", "done": False})
    found = _record_of(search, stack, wanted.valid_h, emulated=own.emulated or other.emulated)
    alignment.save(station.alignment_path, found, psk)
    await peer.send({"check": "turned", "done": True, "moves": search.moves, "qber": search.qber})
    return Aligned(search.moves, search.qber, found)


def _record_of(
    search: Alignment, stack: ControllerStack, valid_h: float, *, emulated: bool
) -> AlignmentRecord:
    model = search.model
    assert model is not None  # noqa: S101 - it is done
    now_s = round(machine.wall_s())
    setting = tuple(float(angle) for angle in search.setting_deg)
    return AlignmentRecord(
        now_s, now_s + round(3600 * valid_h), stack.names, setting, search.moves, search.qber,
        model.floor, emulated, model.as_dict(),
    )  # fmt: skip


def coincidences(far: SideClicks, near: SideClicks) -> Floats:
    """(4, 4) true coincidences, rows H, V, D, A of the far end. AlignmentError without a clock."""
    alice, bob = (far, near) if far.role == "alice" else (near, far)
    clock, lock = find_clock(alice, bob)
    if not isinstance(lock, Lock):
        raise AlignmentError(
            f"the clocks were not found: {lock.reason}", where="both ends",
            hint="photonlink check shows more",
        )  # fmt: skip
    bob_ps = clock.to_alice(bob.time_ps)
    bin_ps = max(round(max(alice.resolution_ps, bob.resolution_ps)), 100)
    window_ps = search_window(alice, bob).window_ps
    counts = np.zeros((4, 4))
    for i, a in enumerate(LETTERS):
        for j, b in enumerate(LETTERS):
            times = bob.select(bob_ps, b)
            found = pair_histogram(a, alice.times(a), b, times, bin_ps, window_ps)
            counts[i, j] = found.coincidences
    return counts if far.role == "alice" else counts.T
