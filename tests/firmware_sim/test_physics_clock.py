"""The taggers' oscillators: frequency, drift, Allan deviation, jumps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from photonlink.firmware_sim.physics.clock import EmulatedClock

STEP = 20_000_000_000  # 20 ms
PERFECT = {"frequency": 0.0, "drift_per_s": 0.0, "white_fm": 0.0, "random_walk_fm": 0.0}


def readings(seed: int, steps: int, step_ps: int = STEP, **kw: float) -> npt.NDArray[np.float64]:
    """Clock minus bench time in ps after each step."""
    clock = EmulatedClock(seed)
    values = {**PERFECT, **kw}
    out = np.empty(steps)
    for k in range(steps):
        clock.step(k * step_ps, (k + 1) * step_ps, **values)  # type: ignore[arg-type]
        out[k] = clock.now_ps() - (k + 1) * step_ps
    return out


def allan(x_ps: npt.NDArray[np.float64], m: int, step_s: float) -> float:
    """Overlapping Allan deviation from phase data."""
    tau = m * step_s
    second = x_ps[2 * m :] - 2 * x_ps[m:-m] + x_ps[: -2 * m]
    return float(np.sqrt(np.mean((second * 1e-12) ** 2) / (2 * tau**2)))


def test_frequency_and_drift_are_exact_without_noise() -> None:
    x = readings(1, 500, frequency=3e-6)
    assert np.abs(x - 3e-6 * STEP * np.arange(1, 501)).max() <= 1.0
    x = readings(1, 500, drift_per_s=1e-9)
    t = 0.02 * np.arange(1, 501)
    assert np.abs(x - 1e12 * 0.5e-9 * t * (t - 0.02)).max() <= 2.0


@pytest.mark.parametrize("sigma", [1e-9, 1e-10])
def test_white_fm_has_its_allan_deviation(sigma: float) -> None:
    x = readings(2, 20_000, white_fm=sigma)
    for m in (5, 50, 250):
        expected = sigma / np.sqrt(m * 0.02)
        assert allan(x, m, 0.02) == pytest.approx(expected, rel=0.2)


def test_random_walk_fm_has_its_allan_deviation() -> None:
    # sigma_y²(tau) = q3 tau / 3: grows as the square root of tau.
    x = readings(3, 100_000, random_walk_fm=1e-9)
    for m in (50, 200):
        assert allan(x, m, 0.02) == pytest.approx(1e-9 * np.sqrt(m * 0.02), rel=0.3)


def test_clocks_are_repeatable_and_differ_by_seed() -> None:
    noisy = {"white_fm": 1e-9, "random_walk_fm": 1e-9}
    assert np.array_equal(readings(7, 100, **noisy), readings(7, 100, **noisy))
    assert not np.array_equal(readings(7, 100, **noisy), readings(8, 100, **noisy))


def test_segments_join_without_a_step() -> None:
    clock = EmulatedClock(4)
    values = {**PERFECT, "frequency": 1e-5, "white_fm": 1e-8}
    before = clock.step(0, STEP, **values)
    after = clock.step(STEP, 2 * STEP, **values)
    end = before.own_ps + before.own_fraction + STEP * (1 + before.rate)
    assert after.own_ps + after.own_fraction == pytest.approx(end, abs=1e-2)


def test_a_jump_stays() -> None:
    clock = EmulatedClock(1)
    clock.step(0, STEP, **PERFECT)
    clock.step(STEP, 2 * STEP, **PERFECT, jump_ps=5000)
    clock.step(2 * STEP, 3 * STEP, **PERFECT)
    assert clock.now_ps() == 3 * STEP + 5000
