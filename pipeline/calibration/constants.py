"""The protocol's constants, computed from a calibration."""

from __future__ import annotations

from photonlink.pipeline.calibration.model import Calibration, StationCalibration
from photonlink.pipeline.stages.bench_constants import BenchConstants, DetectorConstants
from photonlink.pipeline.stages.finite_key import Jitter, StationMismatch, link_ratio
from photonlink.pipeline.stages.finite_key.inputs import ParameterError
from photonlink.pipeline.stages.finite_key.mismatch import MAX_RATIO

BLUR = 2.0
"""On M - 1: the partners' jitter hides 1 - 1/sqrt(1 + (sigma_p / sigma)^2) of what two Gaussian
jitters differ by; twice covers partners up to sqrt 3 times as wide as the detector itself."""
NOISE_GRID_PS = 1.0  # noise is whole picoseconds, added to the tagger's ticks


def constants_of_calibration(calibration: Calibration, noise_ps: int) -> BenchConstants:
    """Delays to the picosecond (the rest adds to their uncertainty), efficiencies as bounded."""
    stations = (calibration.alice, calibration.bob)
    return BenchConstants(
        _station(calibration.alice),
        _station(calibration.bob),
        calibration.digest,
        ticks_ps=(calibration.alice.resolution_ps, calibration.bob.resolution_ps),
        quiet_time_ps=max(station.quiet_time_ps for station in stations),
        ratio=mismatch_ratio(calibration, noise_ps),
    )


def mismatch_ratio(calibration: Calibration, noise_ps: int) -> float:
    """r of the length: both stations' largest ratios between detectors. Without noise, or with too
    little, it has no bound: MAX_RATIO, which leaves no key where it is charged.
    """
    if not noise_ps:
        return MAX_RATIO
    try:
        both = [_mismatch(s, noise_ps) for s in (calibration.alice, calibration.bob)]
        return min(link_ratio(both), MAX_RATIO)
    except ParameterError:
        return MAX_RATIO


def _mismatch(station: StationCalibration, noise_ps: int) -> StationMismatch:
    detectors = station.detectors.values()
    jitter = []
    for d in detectors:
        counts = [max(n - d.jitter.background, 0.0) for n in d.jitter.counts]
        jitter.append(Jitter(d.jitter.centres_ps, tuple(counts)))
    return StationMismatch(
        station.delay_uncertainty_ps + 0.5,
        station.resolution_ps,
        NOISE_GRID_PS,
        noise_ps,
        tuple(jitter),
        tuple((d.efficiency.low, d.efficiency.high) for d in detectors),
        BLUR,
    )


def _station(station: StationCalibration) -> dict[str, DetectorConstants]:
    return {
        letter: DetectorConstants(
            delay_ps=round(d.delay_ps),
            delay_uncertainty_ps=d.delay_uncertainty_ps + 0.5,
            efficiency_low=d.efficiency.low,
            efficiency_high=d.efficiency.high,
        )
        for letter, d in station.detectors.items()
    }
