"""Diodes and tagger front ends, directly on the event engine, against their equations."""

from __future__ import annotations

from dataclasses import replace
from math import exp, sqrt

import numpy as np
import numpy.typing as npt
import pytest

from photonlink.firmware_sim.config import Detector
from photonlink.firmware_sim.physics.clock import Segment
from photonlink.firmware_sim.physics.detector import operating_point
from photonlink.firmware_sim.physics.engine import (
    DETECTORS,
    HORIZON_LAG_PS,
    ArmParams,
    DetectorParams,
    Engine,
    SourceParams,
    TaggerParams,
    component_seed,
)

Times = npt.NDArray[np.int64]
IDEAL = DetectorParams(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, (), (), 0)
DARK = SourceParams(
    0.0,
    0.0,
    0.0,
    (ArmParams(1.0, 0.5, 0, 0.0, 0.0), ArmParams(1.0, 0.5, 0, 0.0, 0.0)),
    np.eye(2),
    0.0,
    np.eye(2),
    np.eye(2),
)
SLICE = 20_000_000_000


def run(diode: DetectorParams, seconds: float, light: SourceParams = DARK, seed: int = 1) -> Times:
    """Clicks of Alice's H with all eight diodes alike."""
    engine = Engine(seed)
    engine.set_source(light)
    for i in range(8):
        engine.set_detector(i, diode)
    found = []
    for k in range(round(seconds / 0.02)):
        engine.emit(k * SLICE, (k + 1) * SLICE)
        engine.detect((k + 1) * SLICE - HORIZON_LAG_PS)
        found.append(engine.clicks(0))
    return np.concatenate(found)


def test_dark_counts_are_a_poisson_process() -> None:
    t = run(replace(IDEAL, dark_hz=20_000.0), 10.0)
    assert abs(len(t) - 2e5) < 5 * sqrt(2e5)
    gaps = np.sort(np.diff(t)) * 1e-12 * 2e4
    uniform = -np.expm1(-gaps)  # Kolmogorov and Smirnov, 1e-6 level
    distance = np.abs(uniform - np.arange(1, len(gaps) + 1) / len(gaps)).max()
    assert distance < 2.7 / sqrt(len(gaps))


@pytest.mark.parametrize("dead_s", [1e-6, 1e-5])
@pytest.mark.parametrize("rate", [3e4, 5e5])
def test_dead_time_is_non_paralysable(dead_s: float, rate: float) -> None:
    t = run(replace(IDEAL, dark_hz=rate, dead_ps=dead_s * 1e12), 2.0)
    expected = rate / (1 + rate * dead_s) * 2.0
    assert abs(len(t) / expected - 1) < 5 / sqrt(expected)
    assert np.diff(t).min() >= dead_s * 1e12


@pytest.mark.parametrize("dead_s", [0.0, 5e-6])
def test_afterpulses_follow_traps_and_dead_time(dead_s: float) -> None:
    amplitude, tau = (0.2, 0.1), (2e-6, 2e-5)
    diode = replace(
        IDEAL,
        dark_hz=500.0,
        dead_ps=dead_s * 1e12,
        trap_amplitude=amplitude,
        trap_tau_ps=[x * 1e12 for x in tau],
    )
    t = run(diode, 100.0)
    # Expected releases after the dead time; each click, afterpulse or not, has as many.
    mean = sum(a * exp(-dead_s / x) for a, x in zip(amplitude, tau, strict=True))
    darks, late = 500.0 * 100, 500.0 * 1.5e-4
    children = int((np.diff(t) < 1.5e8).sum())
    assert abs(len(t) * (1 - mean) / darks - 1.0) < 5 * sqrt(2 / darks) + 0.03 * mean
    assert children > 0.6 * mean * len(t)
    assert children < (mean + late) * len(t) * 1.05
    if dead_s:
        assert np.diff(t).min() >= dead_s * 1e12


def test_afterpulses_wait_exponentially() -> None:
    diode = replace(IDEAL, dark_hz=20.0, dead_ps=1e6, trap_amplitude=(0.1,), trap_tau_ps=(3e6,))
    gaps = np.diff(run(diode, 1000.0))
    waits = gaps[gaps < 2.5e7] - 1e6
    assert len(waits) > 1000
    assert abs(waits.mean() / 3e6 - 1.0) < 5 / sqrt(len(waits))


def test_jitter_is_gaussian_with_a_tail() -> None:
    light = replace(DARK, pair_rate_hz=2e5)
    plain = run(IDEAL, 2.0, light)
    for diode, mean, variance in (
        (replace(IDEAL, jitter_ps=100.0), 0.0, 100.0**2),
        # A fraction f gets an exponential of mean m: mean f m, variance s² + 2 f m² - f² m².
        (replace(IDEAL, jitter_ps=100.0, tail_fraction=0.3, tail_ps=400.0), 120.0, 91_600.0),
    ):
        moved = run(diode, 2.0, light)
        assert len(moved) == pytest.approx(len(plain), abs=2)
        n = min(len(moved), len(plain))
        d = (moved[:n] - plain[:n]).astype(float)
        d = d[np.abs(d) < 20_000]
        assert abs(d.mean() - mean) < 5 * sqrt(variance / len(d)) + 1
        assert abs(d.var() / variance - 1) < 0.05


def test_a_change_of_one_diode_leaves_the_others_alone() -> None:
    def all_clicks(dark_hz: float) -> list[Times]:
        engine = Engine(5)
        engine.set_source(replace(DARK, pair_rate_hz=1e5))
        for i in range(8):
            engine.set_detector(i, replace(IDEAL, efficiency=0.3, jitter_ps=80.0))
        engine.set_detector(2, replace(IDEAL, efficiency=0.3, dark_hz=dark_hz))
        engine.emit(0, SLICE)
        engine.detect(SLICE - HORIZON_LAG_PS)
        return [engine.clicks(i) for i in range(8)]

    quiet, loud = all_clicks(0.0), all_clicks(1e5)
    for i in range(8):
        assert np.array_equal(quiet[i], loud[i]) == (i != 2)


def test_seeds_of_components_differ() -> None:
    assert component_seed(1, "alice.h") != component_seed(1, "alice.v")
    assert component_seed(1, "alice.h") != component_seed(2, "alice.h")
    assert component_seed(1, "alice.h") == component_seed(1, "alice.h")


def test_slices_do_not_tear_the_stream() -> None:
    """Clicks stay in order across slices; pending afterpulses and photons in flight are kept."""
    diode = replace(IDEAL, jitter_ps=2000.0, trap_amplitude=(0.5,), trap_tau_ps=(1e11,))
    light = replace(
        DARK,
        pair_rate_hz=3e4,
        arms=(ArmParams(1.0, 0.5, 5_000_000_000, 0.0, 0.0), DARK.arms[1]),
    )
    t = run(diode, 4.0, light)
    assert (np.diff(t) >= 0).all()
    # Each click has on average half an afterpulse: photons / (1 - 0.5), less the last 0.2 s' share.
    photons = 3e4 * 4.0 / 4
    assert len(t) / (2 * photons) == pytest.approx(1.0, abs=0.07)


# ---- operating point ---------------------------------------------------------------------------


def test_nominal_bias_gives_the_nominal_figures() -> None:
    d = Detector()
    now = operating_point(d)
    assert now.efficiency == pytest.approx(d.efficiency, rel=1e-3)
    assert now.dark_hz == pytest.approx(d.dark_hz, rel=1e-3)
    assert now.afterpulse_factor == now.trap_time_factor == 1.0


def test_bias_temperature_and_threshold_move_the_diode() -> None:
    d = Detector()

    def at(**kw: float) -> tuple[float, float]:
        now = operating_point(d.model_copy(update=kw))
        return now.efficiency, now.dark_hz

    assert at(excess_bias_v=0.0) == (0.0, pytest.approx(0.0, abs=1.0))
    assert at(excess_bias_v=-60.0) == at(excess_bias_v=0.0)
    low, mid, high = (at(excess_bias_v=v) for v in (1.0, 2.0, 3.0))
    assert low[0] < mid[0] < high[0] <= 1.0
    assert low[1] < mid[1] < high[1]
    assert at(temperature_c=-20.0)[1] == pytest.approx(2 * at()[1])
    assert at(threshold_mv=400.0)[0] < 0.05 * at()[0]
    assert at(threshold_mv=5.0)[1] > 1e6
    warm = operating_point(d.model_copy(update={"temperature_c": 0.0}))
    assert warm.trap_time_factor < 1.0


# ---- tagger front end --------------------------------------------------------------------------


def front_end(params: TaggerParams, segment: Segment, zero_ps: int = 0) -> tuple[Times, Times]:
    """Tags and Alice's clicks of one slice at 4 x 100 kcps."""
    engine = Engine(3)
    engine.set_source(DARK)
    for i in range(8):
        engine.set_detector(i, replace(IDEAL, dark_hz=1e5))
    engine.set_tagger(0, params)
    engine.emit(0, SLICE)
    engine.detect(SLICE - HORIZON_LAG_PS)
    time_ps, channel, _ = engine.tag(0, segment, zero_ps)
    assert set(channel) <= set(params.inputs)
    return time_ps, np.sort(np.concatenate([engine.clicks(i) for i in range(4)]))


@pytest.mark.parametrize("resolution", [1.0, 80.0, 2000.0, 3.90625])
def test_tags_are_multiples_of_the_resolution_rounded_down(resolution: float) -> None:
    params = TaggerParams(resolution, 0.0, 0.0, 0, (0, 1, 2, 3))
    tags, clicks = front_end(params, Segment(0, 0, 0.0, 0.0))
    expected = np.floor(np.floor(clicks / resolution) * resolution).astype(np.int64)
    assert np.array_equal(tags, expected)


def test_tags_run_in_the_taggers_own_clock() -> None:
    params = TaggerParams(1.0, 0.0, 0.0, 0, (0, 1, 2, 3))
    years = 10**20 // 1000
    tags, clicks = front_end(params, Segment(0, years, 0.25, 1e-5), years - 777)
    assert np.abs(tags - 777 - clicks * (1 + 1e-5)).max() <= 1.0


def test_tagger_dead_time_start_zero_and_closed_inputs() -> None:
    still = Segment(0, 0, 0.0, 0.0)
    all_open = TaggerParams(1.0, 0.0, 0.0, 0, (0, 1, 2, 3))
    every, _ = front_end(all_open, still)
    dead, _ = front_end(replace(all_open, dead_ps=1e6), still)
    expected = len(every) / (1 + 1e5 * 1e-6)
    assert abs(len(dead) - expected) < 5 * sqrt(len(every) * 0.1)
    half, _ = front_end(replace(all_open, inputs=(0, 255, 2, 255)), still)
    assert abs(len(half) - len(every) / 2) < 5 * sqrt(len(every) / 4)
    late, _ = front_end(replace(all_open, start_ps=SLICE // 2), still)
    assert late.min() >= SLICE // 2
    shifted, _ = front_end(all_open, still, zero_ps=SLICE // 2)
    assert shifted.min() >= 0
    assert len(shifted) == len(late)


def test_tagger_jitter_keeps_the_order() -> None:
    params = TaggerParams(1.0, 0.0, 1000.0, 0, (0, 1, 2, 3))
    tags, clicks = front_end(params, Segment(0, 0, 0.0, 0.0))
    assert (np.diff(tags) >= 0).all()
    assert 500 < np.std(tags - clicks) < 1100


def test_engine_names_eight_diodes() -> None:
    assert DETECTORS[0] == "alice.h"
    assert DETECTORS[7] == "bob.a"
