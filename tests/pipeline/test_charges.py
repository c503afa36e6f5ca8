"""What is told is charged, attempts are charged, thresholds follow the link."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from photonlink.pipeline.stages import finite_key as fk
from photonlink.pipeline.stages.finite_key import following


def test_multi_clicks_cost_their_places_and_their_bits() -> None:
    """0.045 bit a bit at 100 kcps and 50 ns: a share of 0.5 % of events with followers."""
    assert fk.multi_click_bits(1000, 0.005) / 1000 == pytest.approx(0.0504, abs=1e-4)
    assert fk.multi_click_bits(1000, 0.0) == 0
    assert fk.multi_click_bits(1000, 0.7) == 1700  # h of a bound does not fall again


def test_a_number_that_is_told_costs_its_range() -> None:
    assert fk.told_bits(1) == 0
    assert fk.told_bits(1024) == 10
    assert fk.leak_bits(500, 1023) == 510
    with pytest.raises(fk.ParameterError, match="sent"):
        fk.leak_bits(1024, 1023)
    assert fk.VERIFICATION_OUTCOME_BITS == 1


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_m2_attempts_are_charged_and_not_successes(announced: int, a: int, b: int) -> None:
    budget = fk.EpsilonBudget(1e-4, 1e-5, 1e-6)
    verified, tagged = min(announced, a), min(announced, a, b)
    attempts = fk.Attempts(announced, verified, tagged)
    sum_ = announced * 1e-4 + verified * 1e-5 + tagged * 1e-6
    assert attempts.epsilon(budget) == pytest.approx(min(1.0, sum_))
    assert attempts.epsilon(budget) <= budget.after(announced) + 1e-15


def test_m2_four_attempts_without_key_are_not_nothing() -> None:
    budget = fk.EpsilonBudget()
    assert fk.Attempts(announced=4).epsilon(budget) == pytest.approx(4e-10)
    assert fk.Attempts(announced=4).left(budget, 1e-9) == 5
    assert fk.Attempts(announced=40).left(budget, 1e-9) == 0
    with pytest.raises(fk.ParameterError, match="verified"):
        fk.Attempts(announced=1, verified=2)


def _refused(earlier_sd: float, drift: float, refused: float, rng: np.random.Generator) -> float:
    """Share of honest blocks above the threshold."""
    n, runs, bad = 20_000, 4000, 0
    for _ in range(runs):
        rates = 0.025 + drift * np.arange(17) + earlier_sd * rng.standard_normal(17)
        errors = rng.binomial(n, rates.clip(0, 0.5))
        earlier = [fk.EarlierBlock(int(e), n) for e in errors[:16]]
        q = fk.threshold_from(earlier, n, refused, first=0.08)
        bad += errors[16] > math.floor(q * n)
    return bad / runs


@pytest.mark.parametrize(
    ("sd", "drift"), [(0.0, 0.0), (0.002, 0.0), (0.0, 0.0005), (0.001, 0.0005)]
)
def test_honest_blocks_are_refused_as_seldom_as_agreed(sd: float, drift: float) -> None:
    share = _refused(sd, drift, 0.01, np.random.default_rng(9))
    assert share < 0.02
    assert sd > 0 or drift > 0 or share > 0.002  # and the threshold is not simply far away


def test_a_threshold_is_near_the_link_and_the_same_at_both_ends() -> None:
    n = 140_000
    earlier = [fk.EarlierBlock(3500, n)] * 8
    q = fk.threshold_from(earlier, n, 0.01, first=0.08)
    assert 0.0255 < q < 0.0265
    assert q % 2.0**-16 == 0
    assert fk.threshold_from(list(earlier), n, 0.01, first=0.08) == q
    assert fk.threshold_from([], n, 0.01, first=0.08) == pytest.approx(0.08, abs=2**-16)
    # no error yet is no reason to tolerate none
    assert fk.threshold_from([fk.EarlierBlock(0, n)], n, 0.01, first=0.08) > 0


def test_a_leap_of_the_error_rate_is_forgiven_later() -> None:
    n = 50_000
    calm = [fk.EarlierBlock(1250, n)] * 6
    q = fk.threshold_from(calm, n, 0.01, first=0.08)
    leapt = fk.EarlierBlock(3000, n)
    assert leapt.errors > q * n  # that block gives no key
    after = fk.threshold_from([*calm, leapt], n, 0.01, first=0.08)
    assert after * n > leapt.errors  # the next one at that rate may
    later = fk.threshold_from([*calm, leapt, *calm * 6], n, 0.01, first=0.08)
    assert later == pytest.approx(q, rel=0.01)  # and it is forgotten


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=40),
    st.integers(0, 10**8), st.floats(1e-12, 0.5), st.floats(0, 0.5),
)  # fmt: skip
def test_any_history_gives_a_legal_threshold(
    rows: list[tuple[int, int]], bits: int, refused: float, first: float
) -> None:
    earlier = [fk.EarlierBlock(min(a, b), max(a, b)) for a, b in rows]
    q = fk.threshold_from(earlier, bits, refused, first=first)
    assert 0 < q <= 0.5
    fk.TwoBasisThresholds(q, q)


@pytest.mark.parametrize("degrees", [*range(1, 12), 30, 31])
@pytest.mark.parametrize("beyond", [0.4, 0.05, 1e-3, 1e-6])
def test_students_quantile_is_scipys(degrees: int, beyond: float) -> None:
    wanted = -float(stdtrit(degrees, beyond))
    assert following.student_quantile(degrees, beyond) == pytest.approx(wanted, rel=1e-6)


def test_histories_that_are_none_are_named() -> None:
    for odd in ("abc", None, [1, 2], {3}):
        with pytest.raises(fk.ParameterError, match="earlier"):
            fk.threshold_from(odd, 10, 0.01, first=0.08)  # type: ignore[arg-type]
