"""Bright light on a diode: blinding, thresholds, recovery, time walk with pulse energy."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import numpy as np
import numpy.typing as npt
import pytest

from photonlink.firmware_sim.physics.engine import HORIZON_LAG_PS, DetectorParams, Engine

DIODE = DetectorParams(
    0.3, 0.0, 1000.0, 0.0, 0.0, 0.0, (), (), 0,
    blinding_hz=1e15, bias_tau_ps=1e6, never_photons=1.5e7, always_photons=1.9e7,
)  # fmt: skip
Times = npt.NDArray[np.int64]
EVERY_PS = 10_000_000


def clicks(diode: DetectorParams, *pulses: tuple[Times, float], seed: int = 1) -> Times:
    """Clicks of one diode under pulses (times, photons each)."""
    engine = Engine(seed)
    engine.set_detector(0, diode)
    end = 0
    for at, photons in pulses:
        engine.pulses(0, at, np.full(len(at), photons))
        end = max(end, int(at.max()))
    engine.detect(end + 10 * HORIZON_LAG_PS)
    return engine.clicks(0)


def train(n: int, start_ps: int = 10**6) -> Times:
    return start_ps + EVERY_PS * np.arange(n, dtype=np.int64)


@pytest.mark.parametrize("photons", [1.0, 3.0, 20.0])
def test_a_weak_pulse_starts_an_avalanche_as_its_photons_do(photons: float) -> None:
    n = 20_000
    share = len(clicks(DIODE, (train(n), photons))) / n
    assert share == pytest.approx(1 - 0.7**photons, abs=5 * 0.5 / np.sqrt(n))


@pytest.mark.parametrize(
    ("photons", "share"),
    [(1.0, 0.0), (1e6, 0.0), (1.5e7, 0.0), (1.7e7, 0.5), (1.9e7, 1.0), (1e8, 1.0)],
)
def test_a_blinded_diode_clicks_above_always_and_never_below_never(
    photons: float, share: float
) -> None:
    n = 2000
    blinded = replace(DIODE, bright_hz=1e15, dark_hz=1e6)
    found = len(clicks(blinded, (train(n), photons)))
    if share in (0.0, 1.0):
        assert found == share * n
    else:
        assert found == pytest.approx(share * n, abs=5 * np.sqrt(n) / 2)


def test_dim_continuous_light_lowers_the_efficiency() -> None:
    n = 20_000
    share = len(clicks(replace(DIODE, bright_hz=5e14), (train(n), 1.0))) / n
    assert share == pytest.approx(0.15, abs=0.015)


def test_a_pulse_blinds_for_as_long_as_the_bias_remembers_it() -> None:
    """5e9 photons in 1 us are five times the blinding power: linear mode for tau ln 5."""
    n = 4000
    at = train(n)
    for after_ps, expected in ((1_500_000, 0.0), (3_000_000, 0.3 * (1 - 5 * exp(-3)))):
        found = clicks(DIODE, (at, 5e9), (at + after_ps, 1.0))
        late = np.isin(found, at + after_ps).sum() / n
        assert late == pytest.approx(expected, abs=0.03), after_ps


def test_a_brighter_pulse_clicks_earlier() -> None:
    walk = replace(DIODE, walk_ps=400.0, efficiency=1.0)
    at = train(10)
    assert (at - clicks(walk, (at, 1.0))).max() == 0
    assert (at - clicks(walk, (at, 1e5)))[0] == 2000  # 2 ns over 50 dB


def test_the_efficiency_returns_exponentially_after_the_dead_time() -> None:
    diode = replace(DIODE, efficiency=1.0, recovery_ps=100_000.0)
    n = 20_000
    at = train(n)
    for after_ps in (51_000, 101_000, 301_000):
        found = clicks(diode, (at, 100.0), (at + after_ps, 1.0))
        share = np.isin(found, at + after_ps).sum() / n
        assert share == pytest.approx(1 - exp(-(after_ps - 1000) / 1e5), abs=0.02)


def test_a_dead_diode_takes_no_pulse() -> None:
    at = train(100)
    dead = replace(DIODE, efficiency=1.0, dead_ps=50_000.0)
    found = clicks(dead, (at, 100.0), (at + 40_000, 1e8), (at + 60_000, 100.0))
    assert np.isin(at, found).all()
    assert not np.isin(at + 40_000, found).any()


def test_pulses_of_wrong_shape_are_refused() -> None:
    engine = Engine(1)
    with pytest.raises(ValueError, match="energies"):
        engine.pulses(0, np.zeros(3, np.int64), np.zeros(2))
