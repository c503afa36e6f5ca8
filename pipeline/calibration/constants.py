"""From a calibration to what the protocol compares the light with."""

from __future__ import annotations

from photonlink.pipeline.calibration.model import Calibration, StationCalibration
from photonlink.pipeline.stages.bench_constants import BenchConstants, DetectorConstants


def constants_of_calibration(calibration: Calibration) -> BenchConstants:
    """Delays to the picosecond (the rest adds to their uncertainty), efficiencies as bounded."""
    stations = (calibration.alice, calibration.bob)
    return BenchConstants(
        _station(calibration.alice),
        _station(calibration.bob),
        calibration.digest,
        ticks_ps=(calibration.alice.resolution_ps, calibration.bob.resolution_ps),
        quiet_time_ps=max(station.quiet_time_ps for station in stations),
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
