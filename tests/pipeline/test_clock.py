"""Clock recovery over the grid of requirements; refusals, tracking, loss and reacquisition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from clicks import Bench, Clicks, generate

from photonlink.pipeline.native.matching import delay_pairs
from photonlink.pipeline.stages.clock import recovery as clock_module
from photonlink.pipeline.stages.clock.follower import (
    BEYOND,
    VANISHED,
    ClockFollower,
    ClockLimits,
)
from photonlink.pipeline.stages.clock.recovery import (
    AMBIGUOUS,
    FREQUENCY,
    NO_CORRELATION,
    TOO_FEW_EVENTS,
    ClockParameters,
    ClockRecovery,
    Lock,
    NoLock,
)
from photonlink.pipeline.stages.clock.search import ClockModel, coarse_search, refine
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
    """Search as a node does: in all data so far, again each time there are more."""
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
    assert clock.lock is lock
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


@pytest.mark.parametrize("seed", [*range(30), 110, 130, 132, 149])
def test_every_phase_of_a_strong_line_is_followed_down_to_the_finest_bins(seed: int) -> None:
    """A narrow line in wide bins fits several rates: the search must not miss it between two of its
    rate steps."""
    rng = np.random.default_rng(seed)
    alice = np.sort(rng.integers(0, 2 * PS, 6_000))
    offset, rate = rng.uniform(-1.5e6, 1.5e6), rng.uniform(-1.6e-6, 1.6e-6)
    bob = np.sort(alice + np.rint(offset + rate * alice + rng.normal(0, 300, 6_000))).astype("i8")
    found = refine(alice, bob, ClockModel(PS, PS), 4e6, 2e-6, 600, PS)
    assert found.model.rate == pytest.approx(rate, abs=3e-9)
    assert found.excess_hz > 2_000


# ---- what must not lock ----


@pytest.mark.parametrize("beyond_s", [0.6, -0.41])
def test_an_offset_beyond_the_hint_is_named_and_not_locked(beyond_s: float) -> None:
    bench = Bench(seed=30, duration_s=1.1)
    result = acquire(recovery(bench, beyond_s), generate(bench), most_s=1)
    assert isinstance(result, NoLock)
    assert result.reason == "no_correlation_within_0.4_s"


@pytest.mark.parametrize("seed", range(3))
def test_without_pairs_there_is_no_lock(seed: int) -> None:
    bench = Bench(seed=40 + seed, pairs_hz=0, duration_s=1.1)
    clock = recovery(bench, 0.1)
    result = acquire(clock, generate(bench), most_s=1)
    assert not result
    assert result.reason.startswith(NO_CORRELATION)  # type: ignore[union-attr]
    assert clock.lock is None


def test_chopped_light_without_pairs_does_not_lock() -> None:
    """Strong common modulation at 50 kHz gives a broad correlation without a sharp peak."""
    rng = np.random.default_rng(50)

    def side() -> np.ndarray:
        t = np.sort(rng.integers(0, PS, 200_000))
        return t[(t // 10_000_000) % 2 == 0]

    clock = recovery(Bench(offset_s=0.0))
    result = clock.acquire(side(), side())
    assert not result
    assert result.reason.startswith(NO_CORRELATION)  # type: ignore[union-attr]


def test_a_side_peak_almost_as_high_is_called_ambiguous() -> None:
    """Pulses at 100 kHz and mostly multi-photon accidentals: every period has a peak."""
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
    assert result.reason == f"{FREQUENCY}_10_ppm"
    assert clock.lock is None
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
    assert recovery(bench).acquire(a, b, explain=False).reason.startswith(NO_CORRELATION)  # type: ignore[union-attr]
    assert len(searches) == 1
    assert recovery(bench).acquire(a, b).reason.startswith(NO_CORRELATION)  # type: ignore[union-attr]
    assert len(searches) == 3
    assert searches[-1][0] <= 1.0, "its cost is bounded"


# ---- tracking ----

TRACK, BIN = 10_000, 64


class Following:
    """Tracks slot by slot and records the prediction error of each slot before learning from it."""

    def __init__(self, lock: Lock | NoLock, clicks: Clicks) -> None:
        assert isinstance(lock, Lock)
        self.clock = ClockFollower.from_lock(ClockLimits(), lock)
        self.clicks, self.at_s = clicks, lock.at_ps / PS
        self.errors: list[float] = []

    def learn(self, a: np.ndarray, b: np.ndarray, start: int, end: int) -> None:
        """Alice's and Bob's times of the slot from start to end of Alice's clock."""
        low, high = self.clock.line.to_bob(start), self.clock.line.to_bob(end)
        b_in_a = self.clock.to_alice(b)
        own, theirs = delay_pairs(a, b_in_a, -TRACK, TRACK, 4 * (len(a) + len(b)) + 4096)
        edges = np.arange(-TRACK, TRACK + 2 * BIN, BIN)
        seen = np.histogram(b_in_a[theirs] - a[own], edges)[0].astype(np.uint32)
        self.clock.learn(low, high, seen, track_ps=TRACK, bin_ps=BIN)

    def run(self, until_s: float, slot_s: float) -> None:
        while self.at_s + slot_s <= until_s and self.clock.locked:
            start, end = round(self.at_s * PS), round((self.at_s + slot_s) * PS)
            middle_s = self.at_s + slot_s / 2
            told = self.clock.line.to_bob(round(middle_s * PS))
            self.errors.append(float(told - self.clicks.bob_clock_ps(middle_s)))
            low, high = self.clock.line.to_bob(start), self.clock.line.to_bob(end)
            self.learn(
                between(self.clicks.alice.time_ps, start, end),
                between(self.clicks.bob.time_ps, low, high),
                start,
                end,
            )
            self.at_s += slot_s


@pytest.mark.parametrize(
    ("bench", "slot_s", "limit_ps"),
    [
        (Bench(seed=60, drift_ppb_per_s=4.5, wander=1e-11), 0.2, 250),
        (Bench(seed=61, drift_ppb_per_s=-4.5, wander=3e-11), 0.1, 250),
        (
            Bench(seed=62, drift_ppb_per_s=4, resolution_a_ps=2000, resolution_b_ps=2000),
            0.2,
            500,
        ),
    ],
)
def test_a_clock_within_its_limits_is_followed(
    bench: Bench, slot_s: float, limit_ps: float
) -> None:
    bench = replace(bench, duration_s=21.0, pairs_hz=4000, singles_a_hz=20_000, singles_b_hz=20_000)
    clicks = generate(bench)
    following = Following(acquire(recovery(bench, 0.2), clicks), clicks)
    following.run(20.0, slot_s)
    clock = following.clock
    assert clock.locked, clock.lost_reason
    assert following.at_s > 19
    assert max(map(abs, following.errors)) < 700  # the lock is a line, the clock drifts
    assert max(map(abs, following.errors[5:])) < limit_ps
    assert clock.drift_ppb_per_s is not None
    assert abs(clock.drift_ppb_per_s - bench.drift_ppb_per_s) < 1
    assert clock.age_s > 18


def test_weak_links_are_followed() -> None:
    bench = Bench(
        seed=63, duration_s=12, pairs_hz=1000, singles_a_hz=100_000, singles_b_hz=100_000,
        drift_ppb_per_s=3,
    )  # fmt: skip
    clicks = generate(bench)
    following = Following(acquire(recovery(bench), clicks), clicks)
    following.run(11, 0.1)
    assert following.clock.locked, following.clock.lost_reason
    assert max(map(abs, following.errors)) < 700
    assert max(map(abs, following.errors[5:])) < 300


def test_more_drift_than_agreed_ends_the_lock() -> None:
    bench = Bench(seed=64, duration_s=16, drift_ppb_per_s=60)
    clicks = generate(bench)
    following = Following(acquire(recovery(bench), clicks), clicks)
    following.run(15, 0.1)
    assert following.clock.lost_reason is not None


@pytest.mark.parametrize("jump_ps", [-3000.0, 7000.0])
def test_a_jump_within_reach_is_named_with_its_size(jump_ps: float) -> None:
    bench = Bench(seed=65, duration_s=6, jump_at_s=3.03, jump_ps=jump_ps)
    clicks = generate(bench)
    following = Following(acquire(recovery(bench), clicks), clicks)
    following.run(5.5, 0.1)
    reason = following.clock.lost_reason or ""
    assert following.at_s < 3.4
    assert reason.startswith(BEYOND)
    told = float(reason.split()[1].replace(",", ""))
    assert told == pytest.approx(jump_ps, abs=200)


@pytest.mark.parametrize("jump_ps", [80_000.0, -3e9])
def test_a_jump_is_detected_and_found_again(jump_ps: float) -> None:
    bench = Bench(seed=66, duration_s=7, jump_at_s=2.5, jump_ps=jump_ps)
    clicks = generate(bench)
    clock = recovery(bench)
    first = acquire(clock, clicks)
    following = Following(first, clicks)
    following.run(6.5, 0.25)
    assert following.clock.lost_reason == VANISHED
    assert following.at_s <= 5  # noticed within the patience
    clock.lost(following.clock.line)
    again = acquire(clock, clicks, from_s=5)
    assert isinstance(again, Lock)
    assert abs(clock.to_bob(again.at_ps) - clicks.bob_clock_ps(again.at_ps / PS)) < 60
    assert clock.first_lock is first


def test_light_that_goes_out_for_a_moment_does_not_lose_the_clock() -> None:
    bench = Bench(seed=67, duration_s=6)
    clicks = generate(bench)
    following = Following(acquire(recovery(bench), clicks), clicks)
    following.run(3, 0.5)
    rng = np.random.default_rng(1)
    for start in (6, 7, 8):  # dark counts only
        low, high = start * PS // 2, (start + 1) * PS // 2
        line = following.clock.line
        a = np.sort(rng.integers(low, high, 1000))
        b = np.sort(rng.integers(line.to_bob(low), line.to_bob(high), 1000))
        following.learn(a, b, low, high)
    assert following.clock.locked, following.clock.lost_reason
    following.at_s = 4.5
    following.run(5.9, 0.1)
    assert following.clock.locked, following.clock.lost_reason
    assert abs(following.errors[-1]) < 150


def test_fewer_coincidences_than_before_do_not_lose_the_clock() -> None:
    """The loss rises by 10 dB while background light keeps the singles rate unchanged."""
    before = generate(Bench(seed=72, duration_s=5.2))
    after = generate(Bench(seed=73, duration_s=5.2, pairs_hz=1000))
    lock = recovery(before.bench).acquire(
        between(before.alice.time_ps, 0, PS), between(before.bob.time_ps, 0, PS)
    )
    following = Following(lock, before)
    following.run(2, 0.25)
    following.clicks = after
    following.run(5, 0.25)
    assert following.clock.locked, following.clock.lost_reason
    assert abs(following.errors[-1]) < 200


def test_rubbish_from_the_peer_loses_the_lock_and_nothing_else() -> None:
    bench = Bench(seed=70, duration_s=3.2)
    clicks = generate(bench)
    clock = recovery(bench)
    following = Following(acquire(clock, clicks), clicks)
    for start in range(1, 5):
        low, high = start * PS, (start + 1) * PS
        a = between(clicks.alice.time_ps, low, high)
        line = following.clock.line
        crowd = np.repeat(line.to_bob(low + PS // 2), 3000)
        following.learn(a[:50], np.sort(crowd), low, high)
    assert not following.clock.locked
    clock.lost(following.clock.line)
    assert acquire(clock, clicks, from_s=2)


def test_clocks_that_show_the_time_of_day_lock_too() -> None:
    """Recordings with absolute time stamps: the offset hint is valid at the start of the data."""
    bench = Bench(seed=69, duration_s=0.6, frequency_ppm=9)
    clicks = generate(bench)
    early, late = 71_234 * PS, 71_240 * PS
    clock = ClockRecovery(ClockParameters(sigma_ps=180), hint_offset_s=6 + bench.offset_s + 0.3)
    lock = clock.acquire(clicks.alice.time_ps + early, clicks.bob.time_ps + late)
    assert isinstance(lock, Lock)
    assert abs(lock.start_offset_s - 6 - bench.offset_s) < 1e-8
    at = early + int(0.3e12)
    assert abs(clock.to_bob(at) - late - clicks.bob_clock_ps(0.3)) < 50


def test_data_of_an_hour_are_not_all_searched() -> None:
    """A few events long ago must not make the search grow without bound."""
    bench = Bench(seed=71, duration_s=1.2)
    clicks = generate(bench)
    old = np.arange(10, dtype=np.int64) * PS
    a = np.concatenate([old, clicks.alice.time_ps + 3600 * PS])
    b = np.concatenate([old, clicks.bob.time_ps + 3600 * PS])
    assert recovery(bench).acquire(a, b)


# ---- conversion of times ----


def test_mapping_is_exact_over_hours_and_its_own_inverse() -> None:
    model = ClockModel(5 * PS, 7 * PS + 123, 9.87654321e-6)
    a = np.array([0, 5 * PS, 3600 * PS, 5 * 3600 * PS], np.int64)
    b = np.array([model.to_bob(int(t)) for t in a], np.int64)
    assert np.abs(model.to_alice(b) - a).max() <= 10
    # against integer arithmetic: 9.87654321 ppm of an hour
    straight = ClockModel(0, 0, 9.87654321e-6)
    exact = 3600 * PS + 3600 * PS * 987654321 // 10**14
    assert abs(straight.to_bob(3600 * PS) - exact) <= 1
    later = model.at(1000 * PS)
    assert abs(later.to_bob(3600 * PS) - model.to_bob(3600 * PS)) <= 2
