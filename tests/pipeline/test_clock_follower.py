"""The clock follower uses only times, only earlier slots, and stays within the agreed limits."""

from __future__ import annotations

import numpy as np
import pytest

from photonlink.pipeline.stages.clock.follower import (
    BEYOND,
    TOO_FAST,
    VANISHED,
    ClockFollower,
    ClockLimits,
)

PS = 10**12
SLOT = PS // 5
TRACK, BIN = 16_000, 256
LIMITS = ClockLimits(rate=1.05e-5, drift_per_s=5e-9, step_ps_per_s=2000, patience_s=2)
Clock = np.ndarray


def histogram(
    rng: np.random.Generator, residual_ps: float, pairs: int, accidentals: int = 300
) -> np.ndarray:
    """Residuals of one slot: two Laplace noises and jitter around residual_ps, and accidentals."""
    spread = rng.laplace(0, 400, pairs) + rng.laplace(0, 400, pairs) + rng.normal(0, 200, pairs)
    chance = rng.uniform(-TRACK, TRACK, accidentals)
    edges = np.arange(-TRACK, TRACK + 2 * BIN, BIN)
    return np.histogram(np.concatenate([residual_ps + spread, chance]), edges)[0].astype(np.uint32)


def follow(
    follower: ClockFollower,
    truth: np.ndarray,
    *,
    pairs: int = 400,
    seed: int = 1,
) -> np.ndarray:
    """truth: Bob minus Alice in the middle of each slot, ps. Returns the error of each slot."""
    rng, errors = np.random.default_rng(seed), []
    for k, offset in enumerate(truth.tolist()):
        start = k * SLOT
        clock = follower.clock(start)
        predicted = clock.offset_ps + clock.rate * SLOT / 2
        errors.append(offset - predicted)
        data = histogram(rng, offset - predicted, pairs)
        follower.learn(start, start + SLOT, data, track_ps=TRACK, bin_ps=BIN)
    return np.array(errors)


def fresh(offset_ps: int = 0, rate: float = 0.0, limits: ClockLimits = LIMITS) -> ClockFollower:
    return ClockFollower(limits, at_ps=0, offset_ps=offset_ps, rate=rate)


def middles(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5) * SLOT / PS


@pytest.mark.parametrize("pairs", [60, 400, 5000])
def test_a_drifting_clock_is_followed(pairs: int) -> None:
    """3 ppm, 0.5 ppb/s of drift and a random walk of the offset, for two minutes."""
    t = middles(600)
    walk = np.cumsum(np.random.default_rng(2).normal(0, 20, 600))
    truth = 5e9 + 3e6 * t + 0.5 * 500 * t * t + walk
    follower = fresh(5_000_000_000, 3e-6)
    errors = follow(follower, truth, pairs=pairs)
    assert follower.locked
    assert np.abs(errors[50:]).max() < (1500 if pairs == 60 else 500)
    assert abs(follower.rate - (3e-6 + 0.5e-9 * t[-1])) < 3e-9


def test_a_slot_is_placed_by_earlier_slots_only() -> None:
    follower, other = fresh(), fresh()
    rng = np.random.default_rng(3)
    for k in range(20):
        assert follower.clock(k * SLOT) == other.clock(k * SLOT)
        data = histogram(rng, 300.0, 400)
        follower.learn(k * SLOT, (k + 1) * SLOT, data, track_ps=TRACK, bin_ps=BIN)
        if k < 19:
            other.learn(k * SLOT, (k + 1) * SLOT, data, track_ps=TRACK, bin_ps=BIN)
    assert follower.clock(20 * SLOT) != other.clock(20 * SLOT)


@pytest.mark.parametrize("ahead", [0.3, 0.9])
def test_c2_light_moves_the_clock_no_faster_than_agreed(ahead: float) -> None:
    """An attacker's light moves the clock slot by slot without failing a check. In any interval the
    clock moves by at most the agreed limit for that interval plus one second, for all detectors
    alike.
    """
    follower = fresh()
    follow(follower, np.zeros(100))
    rng, slot_s = np.random.default_rng(4), SLOT / PS
    start, at, moved = follower.rate, follower.clock(100 * SLOT), 0.0
    for k in range(100, 600):
        rate, before = follower.rate, follower.clock(k * SLOT).offset_ps
        data = histogram(rng, ahead * LIMITS.slew_ps(slot_s), 4000, 0)
        follower.learn(k * SLOT, (k + 1) * SLOT, data, track_ps=TRACK, bin_ps=BIN)
        if not follower.locked:
            break
        seconds = (k + 1 - 100) * slot_s
        turned = follower.rate - rate
        moved += follower.clock((k + 1) * SLOT).offset_ps - before - rate * SLOT - turned * SLOT / 2
        assert abs(follower.rate - start) <= 1.01 * LIMITS.drift_per_s * (seconds + 1)
        assert moved <= (seconds / slot_s) * LIMITS.slew_ps(slot_s) + LIMITS.slew_ps(1.0) + k
        assert abs(follower.rate) <= LIMITS.rate
    assert at != follower.clock(600 * SLOT)


@pytest.mark.parametrize("jump_ps", [-2000.0, 3000.0, 7000.0])
def test_c2_a_step_beyond_the_limits_stops_key_and_says_by_how_much(jump_ps: float) -> None:
    """A follower without limits would follow the step of the light. This one does not move."""
    follower = fresh()
    follow(follower, np.zeros(100))
    at = follower.clock(100 * SLOT).offset_ps
    seen = histogram(np.random.default_rng(4), jump_ps, 4000, 0)
    follower.learn(100 * SLOT, 101 * SLOT, seen, track_ps=TRACK, bin_ps=BIN)
    reason = follower.lost_reason or ""
    assert reason.startswith(BEYOND)
    assert float(reason.split()[1].replace(",", "")) == pytest.approx(jump_ps, abs=100)
    assert abs(follower.clock(101 * SLOT).offset_ps - at) < 30


def test_without_pairs_it_holds_the_line_and_then_gives_up() -> None:
    follower = fresh(0, 2e-6)
    follow(follower, 2e6 * middles(100), pairs=1000)
    before = follower.clock(100 * SLOT)
    empty = histogram(np.random.default_rng(5), 0.0, 0)
    for k in range(100, 109):
        follower.learn(k * SLOT, (k + 1) * SLOT, empty, track_ps=TRACK, bin_ps=BIN)
    assert follower.locked
    held = follower.clock(109 * SLOT)
    assert held.rate == before.rate
    assert abs(held.offset_ps - before.offset_ps - held.rate * 9 * SLOT) <= 1
    for k in range(109, 112):
        follower.learn(k * SLOT, (k + 1) * SLOT, empty, track_ps=TRACK, bin_ps=BIN)
    assert follower.lost_reason == VANISHED
    assert not follower.locked


def test_a_rate_beyond_the_limit_is_no_lock() -> None:
    assert fresh(0, 2e-5).lost_reason == TOO_FAST


def test_offsets_of_days_keep_every_picosecond() -> None:
    start = 10**17 + 12_345
    follower = ClockFollower(LIMITS, at_ps=start, offset_ps=3 * 10**16 + 7, rate=0.0)
    assert follower.clock(start).offset_ps == 3 * 10**16 + 7
    assert follower.to_alice(np.array([start])).tolist() == [start - 3 * 10**16 - 7]
    rng = np.random.default_rng(6)
    for k in range(50):
        at = start + k * SLOT
        residual = 3 * 10**16 - follower.clock(at).offset_ps
        data = histogram(rng, float(residual), 2000)
        follower.learn(at, at + SLOT, data, track_ps=TRACK, bin_ps=BIN)
    assert abs(follower.clock(start + 50 * SLOT).offset_ps - 3 * 10**16) < 200
