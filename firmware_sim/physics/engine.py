"""The one place where Python meets the event engine: handles, parameters in, clicks and tags out.

Per slice [start, end) of bench time: :meth:`Engine.emit` sends light, :meth:`Engine.detect` makes
the clicks before the *horizon* final, :meth:`Engine.tag` writes them as one tagger's tags. The
horizon lags the slice's end by the largest jitter, so that nothing arrives late.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.physics._kernels import ffi, lib
from photonlink.firmware_sim.physics.clock import Segment

HORIZON_LAG_PS = 20_000
"""Largest deviation by jitter (SIM_JITTER_MAX_PS in detector.h)."""
NOT_CONNECTED = 255
DETECTORS = tuple(f"{side}.{letter}" for side in ("alice", "bob") for letter in "hvda")
_SOURCE_SEEDS = (
    "source",
    "source.spectrum",
    "eve",
    *(f"{side}.{part}" for side in ("alice", "bob") for part in ("loss", "analyser", "background")),
)


def component_seed(seed: int, component: str) -> int:
    """64-bit seed of one component's stream: changing a component leaves the others alone."""
    digest = hashlib.sha256(f"{seed}/{component}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


@dataclass(frozen=True, slots=True)
class ArmParams:
    """Parameters of one arm."""

    transmission: float
    hv_fraction: float
    delay_ps: int
    dispersion_ps: float
    background_hz: float


@dataclass(frozen=True, slots=True)
class SourceParams:
    """Source, arms and Eve; correlations are 2 by 2, row Alice's (or Eve's) basis HV, DA."""

    pair_rate_hz: float
    companion_probability: float
    coherence_ps: float
    arms: tuple[ArmParams, ArmParams]
    correlation: npt.NDArray[np.float64]
    intercept_fraction: float
    alice_eve: npt.NDArray[np.float64]
    eve_bob: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DetectorParams:
    """One diode at its operating point."""

    efficiency: float
    dark_hz: float
    dead_ps: float
    jitter_ps: float
    tail_fraction: float
    tail_ps: float
    trap_amplitude: Sequence[float]
    trap_tau_ps: Sequence[float]
    delay_ps: int
    recovery_ps: float = 0.0
    blinding_hz: float = 0.0
    bias_tau_ps: float = 0.0
    bright_hz: float = 0.0
    never_photons: float = 0.0
    always_photons: float = 0.0
    walk_ps: float = 0.0


@dataclass(frozen=True, slots=True)
class TaggerParams:
    """One tagger's front end; ``inputs`` of detectors H, V, D, A (255: none)."""

    resolution_ps: float
    dead_ps: float
    jitter_ps: float
    start_ps: int
    inputs: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class DetectorTruth:
    """True counts of a diode since the start."""

    photons_detected: int
    dark_counts: int
    afterpulses: int
    lost_to_dead_time: int
    clicks: int
    bright_clicks: int
    lost_to_low_bias: int


def _four(values: Sequence[float]) -> list[float]:
    return [*values, 0.0, 0.0, 0.0, 0.0][:4]


class Engine:
    """Source, eight detectors and two tagger front ends, seeded. Not thread-safe."""

    def __init__(self, seed: int) -> None:
        seeds = [component_seed(seed, name) for name in _SOURCE_SEEDS]
        self._source = self._own(lib.sim_source_new(ffi.new("uint64_t[]", seeds)), "source")
        self._detectors = [
            self._own(lib.sim_detector_new(component_seed(seed, name)), "detector")
            for name in DETECTORS
        ]
        self._all = ffi.new("sim_detector *[8]", self._detectors)
        self._of_side = [ffi.new("sim_detector *[4]", self._detectors[i : i + 4]) for i in (0, 4)]
        self._taggers = [
            self._own(lib.sim_tagger_new(component_seed(seed, f"{side}.tagger")), "tagger")
            for side in ("alice", "bob")
        ]
        self._clicks = [0] * len(DETECTORS)

    @staticmethod
    def _own(handle: Any, kind: str) -> Any:
        if handle == ffi.NULL:
            raise MemoryError(f"no memory for a {kind}")
        return ffi.gc(handle, getattr(lib, f"sim_{kind}_free"))

    def set_source(self, p: SourceParams) -> None:
        """Parameters of source, arms and Eve from the next :meth:`emit` on."""
        arms = [
            {
                "transmission": a.transmission,
                "hv_fraction": a.hv_fraction,
                "delay_ps": a.delay_ps,
                "dispersion_ps": a.dispersion_ps,
                "background_hz": a.background_hz,
            }
            for a in p.arms
        ]
        lib.sim_source_set(
            self._source,
            ffi.new(
                "sim_source_params *",
                {
                    "pair_rate_hz": p.pair_rate_hz,
                    "companion_probability": p.companion_probability,
                    "coherence_ps": p.coherence_ps,
                    "arm": arms,
                    "correlation": p.correlation.tolist(),
                    "intercept_fraction": p.intercept_fraction,
                    "alice_eve": p.alice_eve.tolist(),
                    "eve_bob": p.eve_bob.tolist(),
                },
            ),
        )

    def set_detector(self, index: int, p: DetectorParams) -> None:
        """Parameters of one diode (order of ``DETECTORS``)."""
        fields = {
            "efficiency": p.efficiency,
            "dark_hz": p.dark_hz,
            "dead_ps": p.dead_ps,
            "jitter_ps": p.jitter_ps,
            "tail_fraction": p.tail_fraction,
            "tail_ps": p.tail_ps,
            "trap_amplitude": _four(p.trap_amplitude),
            "trap_tau_ps": _four(p.trap_tau_ps),
            "delay_ps": p.delay_ps,
            "recovery_ps": p.recovery_ps,
            "blinding_hz": p.blinding_hz,
            "bias_tau_ps": p.bias_tau_ps,
            "bright_hz": p.bright_hz,
            "never_photons": p.never_photons,
            "always_photons": p.always_photons,
            "walk_ps": p.walk_ps,
        }
        lib.sim_detector_set(self._detectors[index], ffi.new("sim_detector_params *", fields))

    def set_tagger(self, side: int, p: TaggerParams) -> None:
        """Parameters of Alice's (0) or Bob's (1) front end."""
        fields = {
            "resolution_ps": p.resolution_ps,
            "dead_ps": p.dead_ps,
            "jitter_ps": p.jitter_ps,
            "start_ps": p.start_ps,
            "input": list(p.inputs),
        }
        lib.sim_tagger_set(self._taggers[side], ffi.new("sim_tagger_params *", fields))

    def restart_tagger(self, side: int) -> None:
        """A new acquisition: order and dead time are reset."""
        lib.sim_tagger_restart(self._taggers[side])

    def emit(self, start_ps: int, end_ps: int) -> int:
        """Pairs emitted in [start, end)."""
        return self._checked(lib.sim_source_run(self._source, start_ps, end_ps, self._all))

    def pulses(
        self, index: int, time_ps: npt.NDArray[np.int64], photons: npt.NDArray[np.float64]
    ) -> None:
        """Pulses of ``photons`` each (n,) fall on one diode at bench times (n,), any order, not
        before the last horizon. One photon is a single photon."""
        if len(time_ps) != len(photons):
            raise ValueError(f"{len(time_ps)} times, {len(photons)} energies")
        at = np.ascontiguousarray(time_ps, np.int64)
        energy = np.ascontiguousarray(photons, np.float64)
        self._checked(
            lib.sim_detector_pulses(
                self._detectors[index],
                ffi.from_buffer("int64_t[]", at),
                ffi.from_buffer("double[]", energy),
                len(at),
            )
        )

    def detect(self, horizon_ps: int) -> list[int]:
        """Make every diode's clicks before the horizon final; how many each had."""
        self._clicks = [self._checked(lib.sim_detector_run(d, horizon_ps)) for d in self._detectors]
        return self._clicks

    def skip(self, horizon_ps: int) -> None:
        """Drop everything before the horizon."""
        for d in self._detectors:
            lib.sim_detector_skip(d, horizon_ps)
        self._clicks = [0] * len(DETECTORS)

    def clicks(self, index: int) -> npt.NDArray[np.int64]:
        """Bench times (n,) of the last clicks of one diode; a copy."""
        n = self._clicks[index]
        if n == 0:
            return np.empty(0, np.int64)
        pointer = lib.sim_detector_clicks(self._detectors[index])
        return np.frombuffer(ffi.buffer(pointer, 8 * n), np.int64).copy()

    def tag(
        self, side: int, segment: Segment, zero_ps: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], int]:
        """The last clicks as tags in the tagger's clock, counted from its reading ``zero_ps``, and
        the time before which no later tag will be."""
        room = sum(self._clicks[4 * side : 4 * side + 4])
        time_ps, channel = np.empty(room, np.int64), np.empty(room, np.uint8)
        n = self._checked(
            lib.sim_tagger_run(
                self._taggers[side],
                self._of_side[side],
                segment.origin_ps,
                segment.own_ps - zero_ps,
                segment.own_fraction,
                segment.rate,
                ffi.from_buffer("int64_t[]", time_ps, require_writable=True),
                ffi.from_buffer("uint8_t[]", channel, require_writable=True),
                room,
            )
        )
        return time_ps[:n], channel[:n], int(lib.sim_tagger_horizon(self._taggers[side]))

    def source_truth(self) -> dict[str, int]:
        """Pairs emitted, detected on both sides, lost per arm, intercepted."""
        out = ffi.new("uint64_t[5]")
        lib.sim_source_truth(self._source, out)
        names = ("pairs", "pairs_detected", "lost_alice", "lost_bob", "intercepted")
        return dict(zip(names, map(int, out), strict=True))

    def detector_truth(self, index: int) -> DetectorTruth:
        """True counts of one diode."""
        out = ffi.new("uint64_t[7]")
        lib.sim_detector_truth(self._detectors[index], out)
        return DetectorTruth(*map(int, out))

    @staticmethod
    def _checked(n: int) -> int:
        if n < 0:
            raise MemoryError("the event engine is out of memory")
        return n
