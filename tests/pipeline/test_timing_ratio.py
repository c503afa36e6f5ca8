"""For any arrival times that Eve picks, the ratio of two detectors stays below the charged one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.signal import fftconvolve

from photonlink.pipeline.calibration.constants import BLUR
from photonlink.pipeline.stages import finite_key as fk

STEP = 5  # ps, step of the simulated time axis
TICK, GRID, WINDOW, DELAY = 20, 10, 300, 30
AXIS = np.arange(-6000, 6001, STEP)


def _jitter(spread: float, tail: float, shift: float = 0.0) -> fk.Jitter:
    """A normal distribution with an exponential tail, in steps of a tick."""
    times = np.arange(-600, 1201, TICK)
    p = np.exp(-((times - shift) ** 2) / (2 * spread**2))
    late = np.where(times > 0, np.exp(-np.maximum(times, 0) / 200), 0)
    p = (1 - tail) * p / p.sum() + tail * late / late.sum()
    return fk.Jitter(tuple(times.tolist()), tuple(p.tolist()))


DETECTORS = (_jitter(120, 0.02), _jitter(135, 0.05, 6), _jitter(125, 0.03), _jitter(120, 0.04, -6))


def _station(noise_ps: float) -> fk.StationMismatch:
    equal = ((1.0, 1.0),) * len(DETECTORS)
    return fk.StationMismatch(DELAY, TICK, GRID, noise_ps, DETECTORS, equal)


def _noised(rule: np.ndarray, noise_ps: float) -> np.ndarray:
    """The rule as a function of the time before the discrete Laplace noise, cut at 1e-13."""
    if noise_ps == 0:
        return rule
    k = np.arange(-round(30 * noise_ps / GRID), 0)
    p = np.exp(k * GRID / noise_ps)
    p = np.concatenate([p, [1.0], p[::-1]])
    smooth: np.ndarray = fftconvolve(rule, p / p.sum(), mode="same")
    return smooth


def _acceptance(jitter: fk.Jitter, delay: float, rule: np.ndarray, noise_ps: float) -> np.ndarray:
    """P(accepted) for light that arrives at each time of AXIS. The model: residual delay, jitter,
    tick, grid, noise, and an acceptance rule on the noised grid (its middle entry at time 0)."""
    smooth = _noised(rule, noise_ps)
    accepted = np.zeros(AXIS.size)
    for time, p in zip(jitter.times_ps, np.array(jitter.counts) / sum(jitter.counts), strict=True):
        tagged = np.floor((AXIS + delay + time) / TICK) * TICK
        accepted += p * smooth[np.round(tagged / GRID).astype(int) + rule.size // 2]
    return accepted


def _window() -> np.ndarray:
    grid = np.arange(-3000, 3001) * GRID
    return (np.abs(grid) <= WINDOW).astype(float)


def _worst(rule: np.ndarray, noise_ps: float, first: int, second: int) -> float:
    """The largest ratio over all arrival times. Any distribution of them is a mixture, so it cannot
    give more. Delays are at the ends of their uncertainty."""
    worst = 0.0
    for a, b in ((DELAY, -DELAY), (-DELAY, DELAY)):
        one = _acceptance(DETECTORS[first], a, rule, noise_ps)
        other = _acceptance(DETECTORS[second], b, rule, noise_ps)
        seen = (one > 1e-9) | (other > 1e-9)
        with np.errstate(divide="ignore", over="ignore"):
            worst = max(worst, float((one[seen] / other[seen]).max()))
    return worst


@pytest.mark.parametrize("noise_ps", [200.0, 500.0])
def test_noised_window_keeps_the_ratio(noise_ps: float) -> None:
    ratio = _station(noise_ps).ratio()
    worst = max(_worst(_window(), noise_ps, i, j) for i, j in ((0, 1), (1, 0), (3, 1)))
    assert 1 < worst <= ratio.total
    assert worst > 1 + 0.4 * (ratio.total - 1)  # the charged ratio is not far above the true one


def test_any_rule_on_noised_times_keeps_it() -> None:
    """Acceptance is post-processing of noised times: the bound holds for rules chosen by Eve."""
    rng = np.random.default_rng(8)
    ratio = _station(300.0).ratio().total
    for _ in range(3):
        rule = (rng.random(6001) < 0.3).astype(float)
        assert _worst(rule, 300.0, 0, 1) <= ratio


def test_a_window_without_noise_is_a_tool_for_eve() -> None:
    """The same with the hard window on times without noise: no bound on the ratio holds."""
    assert _worst(_window(), 0.0, 0, 1) > 100 * _station(500.0).ratio().total


def test_two_stations_multiply() -> None:
    """Pairs are accepted by the difference of two noised times: one station's time fixes the window
    of the other. The product of the ratios bounds any pair of arrival times."""
    noise = 400.0
    own = _station(noise).ratio().total
    grid = np.arange(-3000, 3001) * GRID
    accepted = {}
    for bob, delay in ((0, -DELAY), (1, DELAY)):
        rule = np.zeros(grid.size)
        jitter = DETECTORS[bob]
        for time, p in zip(jitter.times_ps, jitter.counts, strict=True):
            at = np.round((np.floor((delay + time) / TICK) * TICK) / GRID) * GRID
            rule += p * (np.abs(grid - at) <= WINDOW)
        rule = _noised(rule, noise)
        for alice in (0, 1):
            side = DELAY if alice != bob else -DELAY
            accepted[alice, bob] = _acceptance(DETECTORS[alice], side, rule, noise)
    for one in accepted.values():
        for other in accepted.values():
            seen = other > 1e-9
            assert (one[seen] / other[seen]).max() <= own * own
    assert fk.link_ratio([_station(noise)] * 2) == pytest.approx(own * own)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=5, max_size=24), st.integers(0, 2**32 - 1),
    st.floats(20, 2000),
)  # fmt: skip
def test_jitter_ratio_is_the_optimum_of_the_linear_programme(
    counts: list[int], seed: int, noise_ps: float
) -> None:
    rng = np.random.default_rng(seed)
    p = np.array(counts, float) + 1e-3
    q = rng.random(p.size) + 1e-3
    times = np.cumsum(rng.integers(1, 40, p.size)).astype(float)
    m = fk.jitter_ratio(
        fk.Jitter(tuple(times), tuple(p)), fk.Jitter(tuple(times), tuple(q)), noise_ps
    )
    rows = []
    for k, gap in enumerate(np.diff(times)):
        for a, b in ((k, k + 1), (k + 1, k)):
            row = np.zeros(p.size)
            row[a], row[b] = 1, -math.exp(gap / noise_ps)
            rows.append(row)
    found = linprog(
        -p / p.sum(), A_ub=np.array(rows), b_ub=np.zeros(len(rows)), A_eq=[q / q.sum()], b_eq=[1],
        bounds=(0, None),
    )  # fmt: skip
    assert m == pytest.approx(max(1.0, -found.fun), rel=1e-5)
    for _ in range(20):  # no Lipschitz log g exceeds it
        log_g = np.concatenate(([0], np.cumsum(rng.uniform(-1, 1, p.size - 1) * np.diff(times))))
        g = np.exp((log_g - log_g.max()) / noise_ps)
        assert (p @ g / p.sum()) / (q @ g / q.sum()) <= m * (1 + 1e-12)


def test_uncertain_tails_are_charged() -> None:
    plain = fk.jitter_ratio(DETECTORS[0], DETECTORS[1], 500.0)

    def doubtful(j: fk.Jitter, uncertain: float) -> fk.Jitter:
        return fk.Jitter(j.times_ps, j.counts, uncertain, 1300.0)

    share = fk.uncertain_share(1_000_000, 1e-10)
    assert 0.006 < share < 0.008
    both = fk.jitter_ratio(doubtful(DETECTORS[0], share), doubtful(DETECTORS[1], share), 500.0)
    assert plain < both < plain + 4 * share * math.exp(1300 / 500)
    with pytest.raises(fk.ParameterError, match="no bound"):
        fk.jitter_ratio(DETECTORS[0], doubtful(DETECTORS[1], 0.5), 500.0)
    with pytest.raises(fk.ParameterError, match="reach"):
        fk.Jitter((0.0, 100.0), (1.0, 1.0), 0.01, 50.0)


def test_efficiencies_shift_and_jitter_multiply() -> None:
    calibration = fk.StationMismatch(
        2.0, 4.0, 1.0, 300.0, DETECTORS[:2], ((0.98, 1.0), (1.0, 1.03))
    )
    ratio = calibration.ratio()
    assert ratio.shift == pytest.approx(math.exp(9 / 300))
    assert ratio.total == pytest.approx(ratio.shift * ratio.jitter * ratio.efficiency)
    assert ratio.efficiency == pytest.approx(1.03 / 0.98)


def test_noise_is_cut_where_its_tail_is_charged() -> None:
    noise, grid, failure = 500.0, 10.0, 1e-12
    reach = fk.noise_reach_ps(noise, grid, failure)
    q = math.exp(-grid / noise)

    def beyond(reach: float) -> float:
        return 2 * q ** (reach / grid + 1) / (1 + q)

    assert beyond(reach) <= failure < beyond(reach - grid)
    assert fk.quiet_time_ps(50_000, 500.0, 10**6, 1e-12) == pytest.approx(
        50_000 + 500 * math.log(1e18)
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [({"noise_ps": 0.0}, "noise_ps"), ({"noise_ps": 0.1}, "noise_ps"),
     ({"delay_uncertainty_ps": -1}, "delay_uncertainty_ps"),
     ({"efficiency": ((1, 1),)}, "efficiency"),
     ({"efficiency": ((1, 0.9), (1, 1))}, "efficiency"),
     ({"efficiency": ((0, 1), (1, 1))}, "efficiency"),
     ({"jitter": (None, None)}, "jitter"), ({"tick_ps": math.nan}, "tick_ps")],
)  # fmt: skip
def test_calibrations_without_a_bound_are_named(change: dict[str, object], named: str) -> None:
    legal: dict[str, object] = {
        "delay_uncertainty_ps": 20.0, "tick_ps": 4.0, "grid_ps": 1.0, "noise_ps": 300.0,
        "jitter": DETECTORS[:2], "efficiency": ((1.0, 1.0), (1.0, 1.0)),
    }  # fmt: skip
    with pytest.raises(fk.ParameterError) as caught:
        fk.StationMismatch(**(legal | change)).ratio()  # type: ignore[arg-type]
    assert caught.value.parameter == named


def _blurred(jitter: fk.Jitter, partner: fk.Jitter) -> fk.Jitter:
    """The jitter histogram that coincidences show, centred on its mean."""
    table = np.convolve(jitter.counts, partner.counts)
    start = jitter.times_ps[0] + partner.times_ps[0]
    times = start + TICK * np.arange(table.size)
    mean = float((times * table).sum() / table.sum())
    return fk.Jitter(tuple((times - mean).tolist()), tuple(table.tolist()))


def _centred(spread: float) -> fk.Jitter:
    times = np.arange(-1400, 1401, TICK)
    counts = np.exp(-(times**2) / (2 * spread**2))
    return fk.Jitter(tuple(times.tolist()), tuple(counts.tolist()))


@pytest.mark.parametrize("partner", [60.0, 130.0, 200.0])
@pytest.mark.parametrize("spreads", [(120.0, 130.0), (110.0, 150.0), (125.0, 126.0)])
def test_twice_what_blurred_histograms_tell_covers_the_detectors_own(
    spreads: tuple[float, float], partner: float
) -> None:
    """A histogram of coincidences is blurred by the partner's jitter: used directly, it gives too
    small a ratio.
    """
    first, second = (_centred(spread) for spread in spreads)
    blurred = [_blurred(one, _centred(partner)) for one in (first, second)]
    for noise in (500.0, 1000.0):
        own = max(fk.jitter_ratio(first, second, noise), fk.jitter_ratio(second, first, noise))
        seen = max(fk.jitter_ratio(*blurred, noise), fk.jitter_ratio(*blurred[::-1], noise))
        assert seen < own
        assert 1 + BLUR * (seen - 1) >= own
        equal = ((1.0, 1.0),) * 2
        station = fk.StationMismatch(0.0, 0.0, 0.0, noise, tuple(blurred), equal, BLUR)
        assert station.ratio().jitter == pytest.approx(1 + BLUR * (seen - 1))
