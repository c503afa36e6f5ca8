"""Tag streams of a link under attack, without real time: pairs, Eve's light, eight diodes, two
taggers.

``python -m photonlink.firmware_sim light REQUEST.json OUT.npz`` writes the records of both taggers,
and Eve's record of her own light. Alice's clock is bench time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from photonlink.firmware_sim.physics.clock import Segment
from photonlink.firmware_sim.physics.detector import FWHM_PER_SIGMA
from photonlink.firmware_sim.physics.engine import (
    HORIZON_LAG_PS,
    DetectorParams,
    Engine,
    TaggerParams,
    component_seed,
)
from photonlink.firmware_sim.physics.eve import (
    STRATEGIES,
    Arriving,
    Scene,
    Strategy,
    emitted,
    entangled,
    lone_photons,
)

SLICE_PS = 100_000_000_000
MARGIN_PS = 1_000_000_000  # seconds of light before the clocks' zero
Four = tuple[float, float, float, float]
Positive = Annotated[float, Field(gt=0, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]


class EveRequest(BaseModel):
    """Her strategy (``STRATEGIES``), the share of pairs she touches, from when on, its numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = "none"
    share: Share = 1.0
    start_s: Annotated[float, Field(ge=0)] = 0.0
    numbers: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> EveRequest:
        if self.name not in STRATEGIES:
            raise ValueError(f"unknown strategy {self.name!r}; known: {', '.join(STRATEGIES)}")
        return self


class LightRequest(BaseModel):
    """A link at its receivers. pairs_hz: pairs whose photons both arrive; lone_hz: photons
    without a partner, per side. Delays and efficiencies in the order H, V, D, A. phases: Eve's
    strategies, each from its start_s on."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    seed: int = 1
    duration_s: Annotated[float, Field(gt=0, le=3600)] = 2.0
    pairs_hz: Positive = 20_000.0
    lone_hz: Annotated[float, Field(ge=0, le=1e7)] = 0.0
    visibility: Share = 0.98
    alice_delay_ps: Four = (0, 0, 0, 0)
    bob_delay_ps: Four = (0, 0, 0, 0)
    alice_efficiency: Four = (1, 1, 1, 1)
    bob_efficiency: Four = (1, 1, 1, 1)
    bob_step_ps: Four = (0, 0, 0, 0)
    """Added to Bob's delays from step_s on: a bench that drifts."""
    step_s: Annotated[float, Field(ge=0)] = 0.0
    jitter_fwhm_ps: Annotated[float, Field(ge=0, le=5000)] = 300.0
    dead_time_ps: Annotated[float, Field(ge=0, le=1e9)] = 50_000.0
    bias_tau_ps: Annotated[float, Field(ge=0, le=1e12)] = 1e6
    blinding_hz: Annotated[float, Field(ge=0, le=1e20)] = 1e15
    walk_ps: Annotated[float, Field(ge=0, le=1000)] = 400.0
    dark_hz: Annotated[float, Field(ge=0, le=1e7)] = 0.0
    resolution_ps: tuple[Positive, Positive] = (1.0, 1.0)
    offset_s: Annotated[float, Field(ge=0, le=10)] = 0.01
    frequency_ppm: Annotated[float, Field(ge=-100, le=100)] = 3.0
    phases: tuple[EveRequest, ...] = ()

    def strategy_at(self, time_s: float) -> Strategy:
        now = EveRequest()
        for phase in self.phases:
            if phase.start_s <= time_s:
                now = phase
        return Strategy(now.name, now.share, dict(now.numbers))


def generate(request: LightRequest) -> dict[str, npt.NDArray[Any]]:
    """Arrays: ``alice_time_ps``, ``alice_channel`` (1..4 = H, V, D, A), the same for Bob in his own
    clock, and ``known_ps`` (bench time), ``known_alice``, ``known_bob`` of Eve's record."""
    rng = np.random.default_rng(component_seed(request.seed, "pairs"))
    eve = np.random.default_rng(component_seed(request.seed, "eve"))
    engine = Engine(request.seed)
    for side in (0, 1):
        inputs = (1, 2, 3, 4)
        engine.set_tagger(side, TaggerParams(request.resolution_ps[side], 0.0, 0.0, 0, inputs))
    tags: tuple[list[Any], list[Any]] = ([], [])
    known: list[Scene] = []
    # Alice's zero is late enough for Bob's stream to be complete from his own zero on
    zero = round(request.offset_s * 1e12) + MARGIN_PS
    end_ps = round(request.duration_s * 1e12)
    for start in range(0, zero + end_ps + MARGIN_PS, SLICE_PS):
        stop = start + SLICE_PS
        scene = _light(request, rng, eve, start, zero)
        _set_diodes(engine, request, start - zero, scene.bright_hz)
        _shine(engine, 0, scene.alice, start, stop)
        _shine(engine, 1, scene.bob, start, stop)
        engine.detect(stop - HORIZON_LAG_PS)
        known.append(scene)
        for side in (0, 1):
            time_ps, channel, _ = engine.tag(side, _clock(request, side, start, zero), 0)
            tags[side].append((time_ps.copy(), channel.copy()))
    for scene in known:
        scene.known_ps[:] -= zero
    return _arrays(tags, known, end_ps)


def _clock(request: LightRequest, side: int, start: int, zero: int) -> Segment:
    """Alice's clock is bench time from ``zero`` on; Bob's runs ahead by his offset and faster."""
    origin = start - HORIZON_LAG_PS
    rate = 1e-6 * request.frequency_ppm * side
    ahead = side * request.offset_s * 1e12 + rate * (origin - zero)
    whole = int(np.floor(ahead))
    return Segment(origin, origin - zero + whole, ahead - whole, rate)


def _arrays(
    tags: tuple[list[Any], list[Any]], known: list[Scene], end_ps: int
) -> dict[str, npt.NDArray[Any]]:
    out: dict[str, npt.NDArray[Any]] = {}
    for side, name in enumerate(("alice", "bob")):
        time_ps = np.concatenate([t for t, _ in tags[side]])
        channel = np.concatenate([c for _, c in tags[side]])
        inside = (time_ps >= 0) & (time_ps < end_ps)
        out[f"{name}_time_ps"], out[f"{name}_channel"] = time_ps[inside], channel[inside]
    out["known_ps"] = np.concatenate([s.known_ps for s in known])
    out["known_alice"] = np.concatenate([s.known_alice for s in known])
    out["known_bob"] = np.concatenate([s.known_bob for s in known])
    order = np.argsort(out["known_ps"], kind="stable")
    for name in ("known_ps", "known_alice", "known_bob"):
        out[name] = out[name][order]
    return out


def _light(
    request: LightRequest, rng: np.random.Generator, eve: np.random.Generator, start: int, zero: int
) -> Scene:
    stop = start + SLICE_PS
    pairs = entangled(rng, emitted(rng, request.pairs_hz, start, stop), request.visibility)
    strategy = request.strategy_at(max(start - zero, 0) * 1e-12)
    scene = STRATEGIES[strategy.name](eve, pairs, strategy)
    arms = [
        Arriving.join(arm, lone_photons(rng, request.lone_hz, start, stop))
        for arm in (scene.alice, scene.bob)
    ]
    return Scene(
        arms[0], arms[1], scene.known_ps, scene.known_alice, scene.known_bob, scene.bright_hz
    )


def _set_diodes(engine: Engine, r: LightRequest, start: int, bright_hz: float) -> None:
    step = r.bob_step_ps if start >= r.step_s * 1e12 else (0, 0, 0, 0)
    for side, (delay, efficiency) in enumerate(
        ((r.alice_delay_ps, r.alice_efficiency), (r.bob_delay_ps, r.bob_efficiency))
    ):
        for k in range(4):
            moved = delay[k] + (step[k] if side else 0)
            engine.set_detector(
                4 * side + k,
                DetectorParams(
                    efficiency=efficiency[k],
                    dark_hz=r.dark_hz,
                    dead_ps=r.dead_time_ps,
                    jitter_ps=r.jitter_fwhm_ps / FWHM_PER_SIGMA,
                    tail_fraction=0.0,
                    tail_ps=0.0,
                    trap_amplitude=(),
                    trap_tau_ps=(),
                    delay_ps=round(moved),
                    blinding_hz=r.blinding_hz,
                    bias_tau_ps=r.bias_tau_ps,
                    bright_hz=bright_hz if side else 0.0,
                    never_photons=1.5e7,
                    always_photons=1.9e7,
                    walk_ps=r.walk_ps,
                ),
            )


def _shine(engine: Engine, side: int, arm: Arriving, start: int, stop: int) -> None:
    """Light that would be late for this slice, or beyond its end, is moved to its border: Eve's
    pulses reach a few microseconds beyond the pairs they belong to."""
    at = np.clip(arm.time_ps, start, stop - 1)
    for k in range(4):
        mine = arm.diode == k
        engine.pulses(4 * side + k, at[mine], arm.photons[mine])


def write(request_path: Path, out: Path) -> None:
    """``light`` of the command line: the request as JSON, the arrays as .npz."""
    request = LightRequest.model_validate(json.loads(request_path.read_text(encoding="utf-8")))
    np.savez(out, **generate(request))  # type: ignore[arg-type]
