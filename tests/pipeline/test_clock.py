"""Clock recovery over the requirement grid, its refusals, tracking, loss and finding again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from clicks import Bench, Clicks, generate

from photonlink.pipeline.stages.clock import recovery as clock_module
from photonlink.pipeline.stages.clock.recovery import (
    AMBIGUOUS,
    FREQUENCY,
    HOLDOVER,
    NO_CORRELATION,
    TOO_FEW_EVENTS,
    VANISHED,
    ClockParameters,
    ClockRecovery,
    Lock,
    NoLock,
)
from photonlink.pipeline.stages.clock.search import ClockModel, coarse_search
from photonlink.pipeline.stages.sift import coincidence_parameters
from photonlink.pipeline.stages.window import Int64s

PS = 10**12


def recovery(bench: Bench, hint_error_s: float = 0.0) -> ClockRecovery:
    sift = coincidence_parameters(
        bench.resolution_a_ps, bench.resolution_b_ps, bench.jitter_fwhm_ps, bench.jitter_fwhm_ps
    )
    return ClockRecovery(
        ClockParameters(sigma_ps=sift.sigma_ps), hint_offset_s=bench.offset_s + hint_error_s
    )


def acquire(
    clock: ClockRecovery, clicks: Clicks, from_s: float = 0.0, most_s: float = 5.0
) -> Lock | NoLock:
    """As a node does: with what there is, growing."""
    result: Lock | NoLock = NoLock("", 0, 0, 0)
    for span_s in (0.5, 1, 2, 3, 4, 5):
        if span_s > most_s:
            break
        start, end = round(from_s * PS), round((from_s + span_s) * PS)
        a = between(clicks.alice.time_ps, start, end)
        b = between(clicks.bob.time_ps, start, end)
        result = clock.acquire(a, b)
        if result:
            break
    return result


def between(times: np.ndarray, start: int, end: int) -> np.ndarray:
    low, high = np.searchsorted(times, (start, end))
    return times[low:high]


def error_ps(clock: ClockRecovery, clicks: Clicks, t_s: float) -> float:
    return clock.to_bob(round(t_s * PS)) - clicks.bob_clock_ps(t_s)


GRID = {
    "plain": (Bench(), 0.3),
    "hint at its limit": (Bench(seed=2, offset_s=-0.2), -0.399),
    "fast, early": (Bench(seed=3, frequency_ppm=10, offset_s=0.35), 0.399),
    "slow, late, drifting": (
        Bench(seed=4, frequency_ppm=-10, offset_s=-0.39, drift_ppb_per_s=5, wander=1e-11),
        0.2,
    ),
    "two TDC1": (
        Bench(seed=5, resolution_a_ps=2000, resolution_b_ps=2000, drift_ppb_per_s=-5),
        0.1,
    ),
    "TDC1 and MultiHarp": (Bench(seed=6, resolution_a_ps=80, resolution_b_ps=2000), -0.1),
    "1 % heralding": (Bench(seed=7, duration_s=5.5, pairs_hz=1000, visibility=0.87), 0.1),
    "few of both": (Bench(seed=8, pairs_hz=1000, singles_a_hz=5000, singles_b_hz=20_000), 0.4),
    "bright": (
        Bench(seed=9, duration_s=0.6, pairs_hz=30_000, singles_a_hz=1e6, singles_b_hz=1e6),
        0.0,
    ),
    "very good": (
        Bench(seed=10, duration_s=1.2, pairs_hz=1e5, singles_a_hz=3e5, singles_b_hz=2e5),
        0.0,
    ),
    "pulsed pump": (Bench(seed=11, pump_period_ps=13_157.9), 0.2),
    "dead time": (
        Bench(seed=12, duration_s=1.2, dead_time_ps=10_000_000, singles_b_hz=40_000),
        0.1,
    ),
    "unequal delays": (
        Bench(seed=13, delay_a_ps=(0, 8000, -5000, 3000), delay_b_ps=(900, -7000, 0, 11_000)),
        -0.3,
    ),
    "unequal detectors": (Bench(seed=14, weights_b=(1, 0.5, 0.8, 0.3)), 0.0),
}


@pytest.mark.parametrize("name", GRID)
def test_locks_over_the_grid(name: str) -> None:
    bench, hint_error = GRID[name]
    clicks = generate(bench)
    clock = recovery(bench, hint_error)
    lock = acquire(clock, clicks)
    assert isinstance(lock, Lock), lock
    assert clock.locked
    assert lock.data_s <= 5
    assert lock.false_lock_probability <= 1e-6
    ticks = (bench.resolution_a_ps - bench.resolution_b_ps) / 2  # both round down
    delays = max(map(abs, bench.delay_a_ps + bench.delay_b_ps)) * 2
    bend = abs(bench.drift_ppb_per_s) * 1000 * min(lock.data_s, 1) ** 2 / 12  # line, not parabola
    tolerance = 60 + 0.08 * max(bench.resolution_a_ps, bench.resolution_b_ps) + delays + bend
    assert abs(error_ps(clock, clicks, lock.at_ps / PS) - ticks) < tolerance
    middle_s = lock.at_ps / PS - min(lock.data_s, 1) / 2
    frequency = bench.frequency_ppm + bench.drift_ppb_per_s * 1e-3 * middle_s
    assert abs(lock.frequency_ppm - frequency) < 3e-3
    assert abs(lock.start_offset_s - bench.offset_s) < 1e-7
    assert lock.significance > 4


@pytest.mark.parametrize("seed", range(20, 26))
def test_the_required_link_locks_from_half_a_second_at_any_seed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bench = Bench(
        seed=seed,
        duration_s=1.1,
        offset_s=rng.uniform(-0.15, 0.15),
        frequency_ppm=rng.uniform(-10, 10),
        drift_ppb_per_s=rng.uniform(-5, 5),
        wander=1e-11,
    )
    clicks = generate(bench)
    clock = recovery(bench, rng.uniform(-0.4, 0.4))
    lock = acquire(clock, clicks, most_s=1.0)
    assert isinstance(lock, Lock)
    bend = abs(bench.drift_ppb_per_s) * 1000 * lock.data_s**2 / 12
    assert abs(error_ps(clock, clicks, lock.at_ps / PS)) < 60 + bend


# ---- what must not lock ----


@pytest.mark.parametrize("beyond_s", [0.6, -0.41])
def test_an_offset_beyond_the_hint_is_named_and_not_locked(beyond_s: float) -> None:
    bench = Bench(seed=30, duration_s=1.1)
    result = acquire(recovery(bench, beyond_s), generate(bench), most_s=1)
    assert isinstance(result, NoLock)
    assert result.reason == NO_CORRELATION == "no_correlation_within_0.4_s"


@pytest.mark.parametrize("seed", range(3))
def test_without_pairs_there_is_no_lock(seed: int) -> None:
    bench = Bench(seed=40 + seed, pairs_hz=0, duration_s=1.1)
    clock = recovery(bench, 0.1)
    result = acquire(clock, generate(bench), most_s=1)
    assert not result
    assert result.reason == NO_CORRELATION  # type: ignore[union-attr]
    assert not clock.locked


def test_chopped_light_without_pairs_does_not_lock() -> None:
    """Strong common modulation at 50 kHz: correlation everywhere, but nowhere a sharp peak."""
    rng = np.random.default_rng(50)

    def side() -> np.ndarray:
        t = np.sort(rng.integers(0, PS, 200_000))
        return t[(t // 10_000_000) % 2 == 0]

    clock = recovery(Bench(offset_s=0.0))
    result = clock.acquire(side(), side())
    assert not result
    assert result.reason == NO_CORRELATION  # type: ignore[union-attr]


def test_a_side_peak_almost_as_high_is_called_ambiguous() -> None:
    """Pulses at 100 kHz and mostly multi-photon accidentals: every period has its peak."""
    bench = Bench(seed=51, duration_s=1.1, pump_period_ps=1e7, pairs_hz=3000)
    result = acquire(recovery(bench), generate(bench), most_s=1)
    assert isinstance(result, NoLock)
    assert result.reason == AMBIGUOUS


def test_a_dark_side_is_named() -> None:
    bench = Bench(seed=52, duration_s=0.6, dark_a=True)
    result = acquire(recovery(bench), generate(bench), most_s=0.5)
    assert isinstance(result, NoLock)
    assert result.reason == TOO_FEW_EVENTS
    empty = np.empty(0, np.int64)
    assert recovery(bench).acquire(empty, empty).reason == TOO_FEW_EVENTS  # type: ignore[union-attr]


@pytest.mark.parametrize("ppm", [15, 30, -60, 100])
def test_a_frequency_beyond_the_oscillators_is_named_and_not_locked(ppm: float) -> None:
    bench = Bench(seed=53, duration_s=1.1, frequency_ppm=ppm, pairs_hz=5000)
    clicks = generate(bench)
    clock = recovery(bench, -0.3)
    result = acquire(clock, clicks, most_s=1)
    assert isinstance(result, NoLock)
    assert result.reason == FREQUENCY == "frequency_beyond_10_ppm"
    assert not clock.locked
    assert clock.lock is None


def test_the_search_for_far_frequencies_follows_only_a_search_that_found_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searches: list[tuple[float, float]] = []  # seconds of data, largest rate

    def counted(a: Int64s, b: Int64s, guess: ClockModel, half: int, rate: float, n: int) -> Any:
        searches.append(((int(a[-1]) - int(a[0])) / PS, rate))
        return coarse_search(a, b, guess, half, rate, n)

    monkeypatch.setattr(clock_module, "coarse_search", counted)
    bench = Bench(seed=54, duration_s=2.1, pairs_hz=3000)
    clicks = generate(bench)
    assert acquire(recovery(bench), clicks)
    assert [rate for _, rate in searches] == [pytest.approx(10.5e-6)] * len(searches)
    searches.clear()
    alone = generate(replace(bench, pairs_hz=0))
    a, b = alone.alice.time_ps, alone.bob.time_ps
    assert recovery(bench).acquire(a, b, explain=False).reason == NO_CORRELATION  # type: ignore[union-attr]
    assert len(searches) == 1
    assert recovery(bench).acquire(a, b).reason == NO_CORRELATION  # type: ignore[union-attr]
    assert len(searches) == 3
    assert searches[-1][0] <= 1.0, "its cost is bounded"


# ---- tracking ----


class Follower:
    """Tracks slot by slot and keeps the worst error against the truth."""

    def __init__(self, clock: ClockRecovery, clicks: Clicks, start_s: float) -> None:
        self.clock, self.clicks, self.at_s = clock, clicks, start_s
        self.errors: list[float] = []
        self.alarms = 0

    def run(self, until_s: float, slot_s: float) -> None:
        while self.at_s + slot_s <= until_s and self.clock.locked:
            start, end = round(self.at_s * PS), round((self.at_s + slot_s) * PS)
            a = between(self.clicks.alice.time_ps, start, end)
            low, high = self.clock.to_bob(start), self.clock.to_bob(end)
            b = between(self.clicks.bob.time_ps, low, high)
            self.clock.track(a, b)
            middle_s = self.at_s + slot_s / 2
            self.errors.append(error_ps(self.clock, self.clicks, middle_s))
            self.alarms += self.clock.drift_alarm
            self.at_s += slot_s


@pytest.mark.parametrize(
    ("bench", "slot_s", "limit_ps"),
    [
        (Bench(seed=60, drift_ppb_per_s=5, wander=1e-11), 1.0, 60),
        (Bench(seed=61, drift_ppb_per_s=-5, wander=3e-11), 0.1, 60),
        (
            Bench(seed=62, drift_ppb_per_s=5, resolution_a_ps=2000, resolution_b_ps=2000),
            0.5,
            200,
        ),
    ],
)
def test_tracks_the_largest_drift_without_an_alarm(
    bench: Bench, slot_s: float, limit_ps: float
) -> None:
    bench = replace(bench, duration_s=36.0, pairs_hz=4000, singles_a_hz=20_000, singles_b_hz=20_000)
    clicks = generate(bench)
    clock = recovery(bench, 0.2)
    lock = acquire(clock, clicks)
    assert lock
    follower = Follower(clock, clicks, clock._now_ps / PS)
    follower.run(35.0, slot_s)
    assert clock.locked
    assert follower.alarms == 0
    assert clock.steps == 0
    assert follower.at_s > 33
    assert max(map(abs, follower.errors)) < limit_ps
    assert abs(clock.drift_ppb_per_s - bench.drift_ppb_per_s) < 1
    assert clock.age_s > 30


def test_weak_links_are_tracked() -> None:
    bench = Bench(
        seed=63, duration_s=12, pairs_hz=1000, singles_a_hz=100_000, singles_b_hz=100_000,
        drift_ppb_per_s=3,
    )  # fmt: skip
    clicks = generate(bench)
    clock = recovery(bench)
    assert acquire(clock, clicks)
    follower = Follower(clock, clicks, clock._now_ps / PS)
    follower.run(11, 0.1)
    assert clock.locked
    assert max(map(abs, follower.errors)) < 80


def test_more_drift_than_any_such_oscillator_raises_the_alarm() -> None:
    bench = Bench(seed=64, duration_s=8, drift_ppb_per_s=12)
    clicks = generate(bench)
    clock = recovery(bench)
    assert acquire(clock, clicks)
    follower = Follower(clock, clicks, clock._now_ps / PS)
    follower.run(7, 0.5)
    assert clock.locked
    assert follower.alarms > 5


def test_a_small_delay_step_is_followed_and_counted() -> None:
    bench = Bench(seed=65, duration_s=6, jump_at_s=3.03, jump_ps=7000)
    clicks = generate(bench)
    clock = recovery(bench)
    assert acquire(clock, clicks)
    follower = Follower(clock, clicks, clock._now_ps / PS)
    follower.run(5.5, 0.25)
    assert clock.locked
    assert clock.steps == 1
    assert abs(follower.errors[-1]) < 60


@pytest.mark.parametrize("jump_ps", [80_000.0, -3e9])
def test_a_jump_is_detected_and_found_again(jump_ps: float) -> None:
    bench = Bench(seed=66, duration_s=7, jump_at_s=2.5, jump_ps=jump_ps)
    clicks = generate(bench)
    clock = recovery(bench)
    first = acquire(clock, clicks)
    assert first
    follower = Follower(clock, clicks, clock._now_ps / PS)
    follower.run(6.5, 0.5)
    assert not clock.locked
    assert clock.lost_reason == VANISHED
    assert follower.at_s <= 4.5  # noticed within two seconds
    again = acquire(clock, clicks, from_s=4.5)
    assert isinstance(again, Lock)
    assert clock.locked
    assert again.jump_s is not None
    assert abs(again.jump_s * PS - jump_ps) < 3000
    assert abs(error_ps(clock, clicks, again.at_ps / PS)) < 60
    assert clock.first_lock is first


def test_light_that_goes_out_for_a_while_does_not_lose_the_clock() -> None:
    bench = Bench(seed=67, duration_s=8)
    clicks = generate(bench)
    clock = recovery(bench)
    assert acquire(clock, clicks)
    follower = Follower(clock, clicks, clock._now_ps / PS)
    follower.run(3, 0.5)
    rng = np.random.default_rng(1)
    for start in range(3, 6):  # dark counts only
        a = np.sort(rng.integers(start * PS, (start + 1) * PS, 2000))
        b = np.sort(rng.integers(clock.to_bob(start * PS), clock.to_bob((start + 1) * PS), 2000))
        clock.track(a, b)
    assert clock.locked
    follower.at_s = 6.0
    follower.run(7.5, 0.5)
    assert clock.locked
    assert abs(follower.errors[-1]) < 60


def test_fewer_coincidences_than_before_do_not_lose_the_clock() -> None:
    """The channel gets worse by 10 dB while background light hides it in the singles."""
    before = generate(Bench(seed=72, duration_s=5.2))
    after = generate(Bench(seed=73, duration_s=5.2, pairs_hz=1000))
    a = splice(before.alice.time_ps, after.alice.time_ps, 2 * PS)
    b = splice(before.bob.time_ps, after.bob.time_ps, round(before.bob_clock_ps(2)))
    clock = recovery(before.bench)
    assert clock.acquire(a[a < PS], b[b < PS])
    for slot in range(2, 10):
        low, high = slot * PS // 2, (slot + 1) * PS // 2
        clock.track(between(a, low, high), between(b, clock.to_bob(low), clock.to_bob(high)))
        assert clock.locked
    assert clock.steps == 0
    assert abs(error_ps(clock, after, 5)) < 80


def splice(first: np.ndarray, then: np.ndarray, at: int) -> np.ndarray:
    return np.concatenate([first[first < at], then[then >= at]])


def test_a_long_darkness_ends_the_lock_by_name() -> None:
    bench = Bench(seed=68, duration_s=3.2)
    clicks = generate(bench)
    clock = recovery(bench)
    assert acquire(clock, clicks)
    Follower(clock, clicks, clock._now_ps / PS).run(3, 0.5)
    for second in range(4, 60):
        lonely = np.array([second * PS], np.int64)
        clock.track(lonely, np.array([clock.to_bob(second * PS) + 10**9]))
        if not clock.locked:
            break
    assert clock.lost_reason == HOLDOVER
    assert 7 < second < 40
    clock.track(np.array([61 * PS]), np.array([61 * PS]))  # no effect any more
    assert not clock.locked


def test_clocks_that_show_the_time_of_day_lock_too() -> None:
    """Recordings with absolute time stamps: the hint holds at the start of the data."""
    bench = Bench(seed=69, duration_s=0.6, frequency_ppm=9)
    clicks = generate(bench)
    early, late = 71_234 * PS, 71_240 * PS
    clock = ClockRecovery(ClockParameters(sigma_ps=180), hint_offset_s=6 + bench.offset_s + 0.3)
    lock = clock.acquire(clicks.alice.time_ps + early, clicks.bob.time_ps + late)
    assert isinstance(lock, Lock)
    assert abs(lock.start_offset_s - 6 - bench.offset_s) < 1e-8
    at = early + int(0.3e12)
    assert abs(clock.to_bob(at) - late - clicks.bob_clock_ps(0.3)) < 50


def test_rubbish_from_the_peer_loses_the_lock_and_nothing_else() -> None:
    bench = Bench(seed=70, duration_s=3.2)
    clicks = generate(bench)
    clock = recovery(bench)
    assert acquire(clock, clicks)
    for start in (1, 2):
        a = between(clicks.alice.time_ps, start * PS, (start + 1) * PS)
        b = np.sort(np.concatenate([np.repeat(clock.to_bob(int(a[5])), 300_000), a]))
        clock.track(a, b)
    assert clock.lost_reason == VANISHED
    assert acquire(clock, clicks, from_s=2)


def test_data_of_an_hour_are_not_all_searched() -> None:
    """A few events long ago must not make the search grow without bound."""
    bench = Bench(seed=71, duration_s=1.2)
    clicks = generate(bench)
    old = np.arange(10, dtype=np.int64) * PS
    a = np.concatenate([old, clicks.alice.time_ps + 3600 * PS])
    b = np.concatenate([old, clicks.bob.time_ps + 3600 * PS])
    assert recovery(bench).acquire(a, b)


# ---- the mapping ----


def test_mapping_is_exact_over_hours_and_its_own_inverse() -> None:
    model = ClockModel(5 * PS, 7 * PS + 123, 9.87654321e-6, 4e-21)
    a = np.array([0, 5 * PS, 3600 * PS, 5 * 3600 * PS], np.int64)
    b = np.array([model.to_bob(int(t)) for t in a], np.int64)
    assert np.abs(model.to_alice(b) - a).max() <= 10
    # against integers: 9.87654321 ppm of an hour
    straight = ClockModel(0, 0, 9.87654321e-6)
    exact = 3600 * PS + 3600 * PS * 987654321 // 10**14
    assert abs(straight.to_bob(3600 * PS) - exact) <= 1
    later = model.at(1000 * PS)
    assert abs(later.to_bob(3600 * PS) - model.to_bob(3600 * PS)) <= 2
