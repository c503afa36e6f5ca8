"""``photonlink check --calibrate``: measure both ends' detectors and write the calibration.

Both ends run it at the same time, each with light its operator vouches for. Every message between
them is under the pre-shared key. Alice computes the record and seals it; Bob checks it as his node
will, against his own instruments, before either end writes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from photonlink.hal import machine
from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.safety import guard
from photonlink.hal.tasks import together
from photonlink.pipeline.calibration.files import decode, encode, load, with_digest, write
from photonlink.pipeline.calibration.instruments import instruments_of
from photonlink.pipeline.calibration.measure import (
    FAILURE_PROBABILITY,
    Clicks,
    MeasurementError,
    measure,
)
from photonlink.pipeline.calibration.model import (
    SIDES,
    TAGGER,
    Calibration,
    CalibrationOtherInstruments,
    DetectorCalibration,
    Interval,
    StationCalibration,
)
from photonlink.pipeline.check.measure import (
    SideClicks,
    exchange,
    find_clock,
    measure_own,
    search_window,
)
from photonlink.pipeline.check.peer import CheckPeer, peer_of
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.recorded_session import detector_map
from photonlink.pipeline.node.simulated_station import with_emulator_addresses
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.stages.clock.recovery import Lock
from photonlink.pipeline.stages.window import LETTERS


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """operator: who vouches for the light at this end.   detector: ``"bob.V"`` when only that one
    was replaced; all others keep their values and must still agree with them."""

    operator: str
    seconds: float = 5.0
    valid_h: float = 24.0
    detector: str | None = None


async def calibrate_stations(
    stations: list[NodeStation], options: CalibrateOptions
) -> list[Calibration]:
    """One end, or both ends of a bench at once; the calibration that each end has written."""
    return await together(*(calibrate(s, options) for s in stations))


async def calibrate(station: NodeStation, options: CalibrateOptions) -> Calibration:
    """Measure, agree, write. Light and bias are off afterwards."""
    # locked before any instrument is touched
    with open_store(station) as store, contextlib.closing(store.psk(station.node.psk)) as psk:
        old = load(station.calibration_path, psk) if options.detector else None
        bench = await open_bench(with_emulator_addresses(station))
        async with guard(bench) as state, peer_of(station, psk=psk) as peer:
            if peer is None:
                raise PhotonlinkError(
                    "the other end's check --calibrate did not come",
                    where=station.peer.connect or station.peer.listen or "",
                    hint="Start it at both ends, or give both station files.",
                )
            await peer.greet()
            return await _with_peer(station, bench, psk, peer, options, old)
        raise PhotonlinkError(f"the check was stopped by {state.signal}", where=station.name)


async def _with_peer(
    station: NodeStation,
    bench: Bench,
    psk: PreSharedKey,
    peer: CheckPeer,
    options: CalibrateOptions,
    old: Calibration | None,
) -> Calibration:
    try:
        own = await measure_own(station, bench, options.seconds, peer)
        other = await exchange(peer, own)
        mine = _described(station, bench, options, own)
        await peer.send({"check": "instruments", "station": mine.as_dict()})
        theirs = _Described.from_dict((await peer.receive("instruments"))[0].get("station"))
        if station.node.role == "alice":
            ends = (_End(own, mine), _End(other, theirs))
            data = await asyncio.to_thread(lambda: encode(_compute(*ends, options, old), psk))
            await peer.send({"check": "calibration"}, data)
            await peer.receive("written")
        else:
            _, data = await peer.receive("calibration")
        calibration = decode(data, psk)
        inputs = dict(detector_map(station, bench).channels)
        calibration.require(station.node.role, mine.instruments, inputs, machine.wall_s())
        write(station.calibration_path, data)
    except PhotonlinkError as error:
        await tell_failure(peer, error)
        raise
    if station.node.role == "bob":
        await peer.send({"check": "written"})
    return calibration


async def tell_failure(peer: CheckPeer, error: PhotonlinkError) -> None:
    """Send our reason, so that the other end reports it instead of a lost connection."""
    try:
        await peer.send({"check": "failed", "why": str(error)})
    except PhotonlinkError:
        return


@dataclass(frozen=True, slots=True)
class _Described:
    """The description that an end sends beside its clicks."""

    operator: str
    instruments: Mapping[str, str]
    inputs: Mapping[str, int]

    def as_dict(self) -> dict[str, object]:
        return {
            "operator": self.operator,
            "instruments": dict(self.instruments),
            "inputs": dict(self.inputs),
        }

    @classmethod
    def from_dict(cls, found: object) -> _Described:
        try:
            if not isinstance(found, dict):
                raise TypeError(type(found).__name__)
            return cls(
                str(found["operator"]),
                {str(k): str(v) for k, v in found["instruments"].items()},
                {letter: int(found["inputs"][letter]) for letter in LETTERS},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PhotonlinkError(
                "the peer's list of instruments cannot be read", where="peer", seen=str(error)
            ) from error


@dataclass(frozen=True, slots=True)
class _End:
    clicks: SideClicks
    described: _Described


def _described(
    station: NodeStation, bench: Bench, options: CalibrateOptions, own: SideClicks
) -> _Described:
    if own.lost_s > 0:
        raise MeasurementError(
            f"the tagger lost {own.lost_s * 1e3:.1f} ms", where=station.name, hint="less light"
        )
    channels = detector_map(station, bench).channels
    instruments = instruments_of(bench, station.channels.detectors)
    return _Described(options.operator, instruments, {x: channels[x] for x in LETTERS})


def _compute(
    alice: _End, bob: _End, options: CalibrateOptions, old: Calibration | None
) -> Calibration:
    a, b = alice.clicks, bob.clicks
    clock, lock = find_clock(a, b)
    if not isinstance(lock, Lock):
        raise MeasurementError(
            f"the clocks were not found: {lock.reason}",
            where="both ends",
            hint="photonlink check without --calibrate shows more",
        )
    found = measure(
        _clicks(alice),
        dataclasses.replace(_clicks(bob), time_ps=clock.to_alice(b.time_ps)),
        search_window(a, b).sigma_ps,  # the widths are measured
    )
    now_s = round(machine.wall_s())
    fresh = Calibration(
        measured_at_s=now_s,
        valid_until_s=now_s + max(round(3600 * options.valid_h), 1),
        failure_probability=FAILURE_PROBABILITY,
        light_s=min(a.seconds, b.seconds),
        alice=_station(alice, found[0]),
        bob=_station(bob, found[1]),
    )
    if old is not None and options.detector is not None:
        fresh = with_one_replaced(old, fresh, options.detector)
    fresh.validate()
    return with_digest(fresh)


def _clicks(end: _End) -> Clicks:
    c = end.clicks
    return Clicks(c.time_ps, c.detector, c.seconds, end.described.inputs, c.dark_hz)


def _station(end: _End, detectors: Mapping[str, DetectorCalibration]) -> StationCalibration:
    return StationCalibration(
        operator=end.described.operator,
        emulated=end.clicks.emulated,
        resolution_ps=end.clicks.resolution_ps,
        instruments=end.described.instruments,
        detectors=detectors,
    )


def with_one_replaced(old: Calibration, fresh: Calibration, detector: str) -> Calibration:
    """``old`` with one detector (``"bob.V"``) from ``fresh``; it stays valid as long as before.

    The other three of its station set the scale: their mean delay and efficiency keep the old
    values. CalibrationOtherInstruments when another detector was exchanged or has changed beyond
    its uncertainty.
    """
    role, _, letter = detector.partition(".")
    if role not in SIDES or letter not in LETTERS:
        raise PhotonlinkError(
            "no such detector", where=detector, hint="alice.H … alice.A, bob.H … bob.A"
        )
    stations = {}
    for side in SIDES:
        changed = letter if side == role else None
        stations[side] = _merged(side, old.station(side), fresh.station(side), changed)
    return dataclasses.replace(old, alice=stations["alice"], bob=stations["bob"], digest="")


def _merged(
    side: str, old: StationCalibration, fresh: StationCalibration, changed: str | None
) -> StationCalibration:
    kept = [x for x in LETTERS if x != changed]
    pairs = [(old.detectors[x], fresh.detectors[x]) for x in kept]
    shift = sum(o.delay_ps - f.delay_ps for o, f in pairs) / len(pairs)
    logs = [math.log(o.efficiency.value / f.efficiency.value) for o, f in pairs]
    scale = math.exp(sum(logs) / len(logs))
    for letter, (o, f) in zip(kept, pairs, strict=True):
        moved = f.delay_ps + shift - o.delay_ps
        apart = abs(moved) > o.delay_uncertainty_ps + f.delay_uncertainty_ps
        low, high = f.efficiency.low * scale, f.efficiency.high * scale
        other = low > o.efficiency.high or high < o.efficiency.low
        swapped = old.instruments.get(letter) != fresh.instruments.get(letter)
        if apart or other or swapped or o.input != f.input:
            raise CalibrationOtherInstruments(
                "another detector has changed too",
                where=f"{side} {letter}",
                seen=f"delay moved by {moved:+.0f} ps, {fresh.instruments.get(letter, '')}",
                hint="Calibrate all: photonlink check --calibrate",
            )
    if old.instruments.get(TAGGER) != fresh.instruments.get(TAGGER):
        raise CalibrationOtherInstruments(
            "the time tagger is another", where=side, hint="photonlink check --calibrate"
        )
    if changed is None:
        return old
    f = fresh.detectors[changed]
    widest = max(o.delay_uncertainty_ps for o, _ in pairs)
    e = f.efficiency
    value = Interval(*(round(x * scale, 5) for x in (e.value, e.low, e.high)))
    new = dataclasses.replace(
        f,
        delay_ps=round(f.delay_ps + shift, 1),
        delay_uncertainty_ps=round(f.delay_uncertainty_ps + widest, 1),
        efficiency=value,
    )
    return dataclasses.replace(
        old,
        operator=fresh.operator,
        instruments=fresh.instruments,
        detectors={**old.detectors, changed: new},
    )


def describe(calibration: Calibration, now_s: float) -> list[str]:
    """Lines for a person."""
    left_h = calibration.seconds_left(now_s) / 3600
    lines = [
        f"calibration {calibration.digest[:12]}, valid for {left_h:.1f} h, "
        f"wrong by chance with {calibration.failure_probability:g}"
    ]
    for side in SIDES:
        station = calibration.station(side)
        lines.append(f"{side}, by {station.operator}: {station.instruments[TAGGER]}")
        for letter in LETTERS:
            d = station.detectors[letter]
            e = d.efficiency
            lines.append(
                f"  {letter}  delay {d.delay_ps:+9.1f} ± {d.delay_uncertainty_ps:.1f} ps"
                f"  efficiency {e.value:.3f} ({e.low:.3f} to {e.high:.3f})"
                f"  dead {d.dead_time_ps / 1e6:.3f} us, quiet after {d.quiet_time_ps / 1e6:.3f} us"
            )
    return lines
