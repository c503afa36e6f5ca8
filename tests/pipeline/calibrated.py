"""Calibrations for tests: that of a simulated bench (clicks.py), and one with simple values."""

from __future__ import annotations

import numpy as np
from clicks import MAP, Bench, generate

from photonlink.pipeline.calibration.files import with_digest
from photonlink.pipeline.calibration.measure import Clicks, measure
from photonlink.pipeline.calibration.model import (
    Calibration,
    DetectorCalibration,
    Histogram,
    Interval,
    StationCalibration,
)
from photonlink.pipeline.stages.sift import coincidence_parameters

NOW_S = 1_700_000_000
PS = 1e12
INSTRUMENTS = {
    "alice": {"tagger": "sfifteen.tdc1 1", **{x: f"sfifteen.irspd1 1{x}" for x in "HVDA"}},
    "bob": {"tagger": "picoquant.multiharp150 2", **{x: f"sfifteen.irspd1 2{x}" for x in "HVDA"}},
}


def calibration_of(
    alice: dict[str, DetectorCalibration], bob: dict[str, DetectorCalibration], **changes: object
) -> Calibration:
    """A calibration record that contains these detectors."""
    ends = {
        role: StationCalibration("test", True, 1.0, INSTRUMENTS[role], detectors)
        for role, detectors in (("alice", alice), ("bob", bob))
    }
    fields: dict[str, object] = {
        "measured_at_s": NOW_S, "valid_until_s": NOW_S + 86_400, "failure_probability": 1e-6,
        "light_s": 5.0, **ends, **changes,
    }  # fmt: skip
    return with_digest(Calibration(**fields))  # type: ignore[arg-type]


def plain(
    *,
    delay_ps: float = 0.0,
    uncertainty_ps: float = 30.0,
    efficiency: float = 1.0,
    spread: float = 0.02,
    jitter_fwhm_ps: float = 300.0,
    dead_time_ps: int = 50_000,
) -> dict[str, DetectorCalibration]:
    """Four equal detectors."""
    centres = 50 * (np.arange(-60, 60) + 0.5)
    sigma = max(jitter_fwhm_ps / 2.3548 * np.sqrt(2), 25.0)
    counts = tuple(int(n) for n in 1e4 * np.exp(-0.5 * (centres / sigma) ** 2))
    share = Interval(efficiency, efficiency * (1 - spread), efficiency * (1 + spread))
    return {
        letter: DetectorCalibration(
            MAP[letter], delay_ps, uncertainty_ps, share, Histogram(-3000, 50, counts, 0.0),
            dead_time_ps, dead_time_ps, 100.0, 10_000,
        )
        for letter in "HVDA"
    }  # fmt: skip


def plain_calibration(**changes: object) -> Calibration:
    return calibration_of(plain(), plain(), **changes)


def measured(bench: Bench) -> tuple[dict[str, DetectorCalibration], dict[str, DetectorCalibration]]:
    """The calibration measured from a bench's clicks; both clocks must run at the same rate."""
    made = generate(bench)
    sigma = coincidence_parameters(
        bench.resolution_a_ps, bench.resolution_b_ps, bench.jitter_fwhm_ps, bench.jitter_fwhm_ps
    ).sigma_ps
    ends = [
        Clicks(side.time_ps, side.channel - np.uint8(1), bench.duration_s, MAP, {})
        for side in (made.alice, made.bob)
    ]
    return measure(ends[0], ends[1], sigma)
