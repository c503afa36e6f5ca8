"""The measurements of ``photonlink check``: clicks without and with light, at one end or both.

Both ends go through the same steps and signal the end of each: connect, all light off, count; light
on, record; then each sends its clicks to the other, all of them public.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from dataclasses import dataclass

import numpy as np

from photonlink.hal import machine
from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import LinkError, PhotonlinkError
from photonlink.hal.facets import Biased, Emits, StreamsTags
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.safety import guard
from photonlink.hal.tags import AcquisitionStart, TagBlock
from photonlink.pipeline.check.peer import STEP_TIMEOUT_S, CheckPeer, peer_of
from photonlink.pipeline.keys.locking import lock_node
from photonlink.pipeline.node.emitting import emitting
from photonlink.pipeline.node.recorded_session import detector_map
from photonlink.pipeline.node.simulated_station import with_emulator_addresses
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.stages.clock.recovery import (
    ClockParameters,
    ClockRecovery,
    Lock,
    NoLock,
    hint_tolerance_s,
)
from photonlink.pipeline.stages.sift import (
    SiftParameters,
    coincidence_parameters,
    decode_calibration,
    encode_calibration,
)
from photonlink.pipeline.stages.window import LETTERS, Int64s, Uint8s

PS = 10**12
DARK_S = 1.0
SETTLE_S = 0.5
_USUAL_JITTER_PS = 300.0


@dataclass(frozen=True, slots=True)
class SideClicks:
    """One end: labelled clicks with the light on (detector 0..3 = H, V, D, A), dark rates."""

    role: str
    resolution_ps: float
    host_start_s: float  # of time zero, good to host_uncertainty_s
    host_uncertainty_s: float
    time_ps: Int64s
    detector: Uint8s
    seconds: float
    dark_hz: dict[str, float]
    lost_s: float
    emulated: bool

    def rates_hz(self) -> dict[str, float]:
        counts = np.bincount(self.detector, minlength=4)
        return {x: float(counts[i]) / self.seconds for i, x in enumerate(LETTERS)}

    def times(self, letter: str) -> Int64s:
        return self.select(self.time_ps, letter)

    def select(self, times: Int64s, letter: str) -> Int64s:
        """Those of ``times`` (one per click) that belong to a detector."""
        return np.ascontiguousarray(times[self.detector == LETTERS.index(letter)])


def find_clock(alice: SideClicks, bob: SideClicks) -> tuple[ClockRecovery, Lock | NoLock]:
    """Bob's clock in Alice's, from clicks recorded at once."""
    tolerance_s = hint_tolerance_s(alice.host_uncertainty_s, bob.host_uncertainty_s)
    clock = ClockRecovery(
        ClockParameters(search_window(alice, bob).sigma_ps, hint_tolerance_s=tolerance_s),
        hint_offset_s=alice.host_start_s - bob.host_start_s,
    )
    return clock, clock.acquire(alice.time_ps, bob.time_ps)


def search_window(alice: SideClicks, bob: SideClicks) -> SiftParameters:
    """Used only to find the peaks: their width by the ticks and usual detectors."""
    ticks = alice.resolution_ps, bob.resolution_ps
    return coincidence_parameters(*ticks, _USUAL_JITTER_PS, _USUAL_JITTER_PS)


async def measure(station: NodeStation, seconds: float, *, wait_for_peer: bool) -> list[SideClicks]:
    """This end's clicks, and the peer's when it is there. Light and bias are off afterwards."""
    with contextlib.ExitStack() as locks:
        lock_node(station.node.state_dir, locks)  # the light of a running node must stay on
        bench = await open_bench(with_emulator_addresses(station))
        async with guard(bench) as state, peer_of(station, wanted=wait_for_peer) as peer:
            own = await measure_own(station, bench, seconds, peer)
            if peer is None:
                return [own]
            return [own, await exchange(peer, own)]
    raise PhotonlinkError(f"the check was stopped by {state.signal}", where=station.name)


async def exchange(peer: CheckPeer, own: SideClicks) -> SideClicks:
    """Send all our clicks to the other end, and receive all of its clicks."""
    await peer.send(_meta(own), encode_calibration(own.time_ps, own.detector, 0))
    return _from_peer(*await peer.receive("clicks"))


async def measure_own(
    station: NodeStation, bench: Bench, seconds: float, peer: CheckPeer | None
) -> SideClicks:
    """In step with the peer: all light off, count; light on, record."""
    for laser in bench.having(Emits).values():
        await laser.set_emission(False)
    await asyncio.gather(*(d.set_bias(True) for d in bench.having(Biased).values()))
    await asyncio.sleep(SETTLE_S)
    dark_hz: dict[str, float] = {}
    if peer is not None:
        await peer.in_step("dark")
    if peer is not None or bench.having(Emits):
        dark_hz = (await record(station, bench, DARK_S)).rates_hz()
    if peer is not None:
        await peer.in_step("light")
    async with emitting(bench):
        await asyncio.sleep(SETTLE_S)
        lit = await record(station, bench, seconds, peer)
    return dataclasses.replace(lit, dark_hz=dark_hz)


async def record(
    station: NodeStation, bench: Bench, seconds: float, peer: CheckPeer | None = None
) -> SideClicks:
    """This end's labelled clicks of ``seconds`` from a fresh acquisition.

    With a peer they begin when both ends record: a tagger that takes long to start, or a busy
    host, costs no overlap. Time zero is where they begin.
    """
    tagger = bench.tagger
    letters = detector_map(station, bench).channels
    number = np.full(256, 255, np.uint8)
    for letter, channel in letters.items():
        number[channel] = LETTERS.index(letter)
    start = await tagger.start()
    both = asyncio.create_task(_both_record(peer), name="both record")
    try:
        begin_ps, times, channels, lost_s = await _collect(tagger, start, both, seconds)
    finally:
        both.cancel()
        await asyncio.gather(both, return_exceptions=True)
        await tagger.stop()
    detector = number[channels]
    keep = detector < 4
    return SideClicks(
        station.node.role, tagger.capabilities.resolution_ps,
        start.host_time_s + begin_ps / PS, start.uncertainty_s,
        np.ascontiguousarray(times[keep]), np.ascontiguousarray(detector[keep]), seconds, {},
        lost_s, bench.emulated,
    )  # fmt: skip


async def _both_record(peer: CheckPeer | None) -> float:
    """When both ends' taggers run, UNIX time; without a peer at once."""
    if peer is not None:
        await peer.in_step("record")
        return machine.wall_s()
    return 0.0


async def _collect(
    tagger: StreamsTags, start: AcquisitionStart, both: asyncio.Task[float], seconds: float
) -> tuple[int, Int64s, Uint8s, float]:
    """(begin, times since then, channels, lost s) of ``seconds`` from when both ends record."""
    decoder = decoder_for(tagger.wire_format)
    blocks: list[TagBlock] = []
    begin = end = 0
    deadline = machine.monotonic_s() + 3 * seconds + 2 * STEP_TIMEOUT_S
    async for chunk in tagger.chunks():
        block = decoder.feed(chunk)
        if both.done():
            if not end:
                begin = max(0, round((both.result() - start.host_time_s) * PS))
                end = begin + round(seconds * PS)
            blocks.append(block)
            if block.end_ps >= end:
                break
        if machine.monotonic_s() > deadline:
            break
    if not blocks:
        raise LinkError("the tagger's stream ended early", where=tagger.wire_format.name)
    times = np.concatenate([b.time_ps for b in blocks])
    channels = np.concatenate([b.channel for b in blocks])
    inside = (times >= begin) & (times < end)
    lost_ps = sum(
        max(0, min(x.end_ps, end) - max(x.start_ps, begin)) for b in blocks for x in b.lost
    )
    return begin, times[inside] - begin, channels[inside], lost_ps / PS


def _meta(own: SideClicks) -> dict[str, object]:
    return {
        "check": "clicks", "role": own.role, "resolution_ps": own.resolution_ps,
        "host_start_s": own.host_start_s, "host_uncertainty_s": own.host_uncertainty_s,
        "seconds": own.seconds, "dark_hz": own.dark_hz,
        "lost_s": own.lost_s, "emulated": own.emulated,
    }  # fmt: skip


def _from_peer(meta: dict[str, object], payload: bytes) -> SideClicks:
    try:
        seconds = float(str(meta["seconds"]))
        time_ps, detector = decode_calibration(payload, 0, round(seconds * 1e12) + 1)
        dark = meta["dark_hz"]
        dark_hz = {str(k): float(v) for k, v in dark.items()} if isinstance(dark, dict) else {}
        return SideClicks(
            str(meta["role"]), float(str(meta["resolution_ps"])), float(str(meta["host_start_s"])),
            float(str(meta["host_uncertainty_s"])),
            time_ps, detector, seconds, dark_hz, float(str(meta["lost_s"])), bool(meta["emulated"]),
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise LinkError(
            "the peer's clicks cannot be read", where="peer", seen=str(error)
        ) from error
