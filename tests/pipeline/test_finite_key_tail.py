"""The tail bound (row F1) against 60-digit arithmetic: exact where summed, larger elsewhere."""

from __future__ import annotations

import math
from typing import Any

import pytest
import slow_tail
from hypothesis import example, given, settings
from hypothesis import strategies as st

from photonlink.pipeline.stages import finite_key as fk
from photonlink.pipeline.stages.finite_key import tails

COUNTS = st.floats(0, 7).map(lambda x: round(10**x))
HUGE = st.floats(0, 15.9).map(lambda x: round(10**x))
FAILURE = st.floats(-40, -0.01).map(lambda x: 10.0**x)


def _is_sound_and_tight(observed: int, k: int, n: int, failure: float, slack: float) -> None:
    """The true law excludes the next number of errors, but not this one, within the slack."""
    errors = fk.max_errors_unseen(observed, k, n, failure)
    assert 0 <= errors <= n
    if errors < n:
        assert slow_tail.cdf(observed, n + k, observed + errors + 1, k) <= failure
    if errors > 0:
        assert slow_tail.cdf(observed, n + k, observed + errors, k) > failure * (1 - slack)


@settings(max_examples=60, deadline=None)
@given(k=COUNTS, n=COUNTS, share=st.floats(0, 1), failure=FAILURE)
@example(k=1, n=1, share=0.0, failure=0.5)
@example(k=1, n=10**7, share=1.0, failure=1e-10)
@example(k=10**7, n=1, share=1e-3, failure=1e-10)
def test_f1_any_sizes(k: int, n: int, share: float, failure: float) -> None:
    """Includes test bases much larger and much smaller than the key basis."""
    observed = min(k, math.floor(share**3 * k))
    if observed > 20_000:  # the reference would take too long
        observed = 20_000
    _is_sound_and_tight(observed, k, n, failure, 1e-6)


@settings(max_examples=60, deadline=None)
@given(k=HUGE, n=HUGE, observed=st.integers(0, 300), failure=FAILURE)
@example(k=2**53, n=2**53, observed=0, failure=1e-10)
@example(k=2**53, n=2**53, observed=300, failure=1e-10)
@example(k=2**53, n=1, observed=0, failure=1e-300)
@example(k=1, n=2**53, observed=1, failure=1e-300)
def test_f1_few_errors_at_any_size(k: int, n: int, observed: int, failure: float) -> None:
    # in 2^53 bits, one error is a step of about 1e-16 of the count
    _is_sound_and_tight(min(observed, k), k, n, failure, 1e-5)


@pytest.mark.parametrize(
    ("observed", "k", "n", "failure"),
    [
        (2_500_000, 10**8, 10**8, 1e-10), (250_000, 10**8, 10**6, 1e-20),
        (25_000, 10**6, 10**8, 1e-10), (100, 10**10, 10**3, 1e-15),
        (5_000_000, 10**7, 10**7, 1e-3), (30_000, 3 * 10**4, 10**8, 1e-10),
    ],
)  # fmt: skip
def test_f1_many_errors_in_large_blocks(observed: int, k: int, n: int, failure: float) -> None:
    _is_sound_and_tight(observed, k, n, failure, 1e-6)


@pytest.mark.parametrize(("n", "observed"), [(10**12, 10**10), (2**53, 10**13), (2**53, 2**52)])
def test_f1_beyond_what_is_summed_the_bound_is_larger_and_close(n: int, observed: int) -> None:
    """The true tail lies between two Riemann sums with steps of 1/200 of the standard deviation."""
    failure = 1e-10
    errors = fk.max_errors_unseen(observed, n, n, failure)
    step = math.isqrt(observed) // 200

    def steps(marked: int, first: int) -> Any:
        tops = (slow_tail.pmf(observed - j * step, 2 * n, marked, n) for j in range(first, 2500))
        return step * sum(tops)

    assert steps(observed + errors + 1, 0) <= 1.05 * failure
    assert steps(observed + errors + 1, 1) <= failure
    assert steps(observed + errors, 0) >= 0.95 * failure
    spread = math.sqrt(observed)
    assert errors - observed < 1.01 * spread * math.sqrt(2) * 6.5


def test_f1_the_counterexample() -> None:
    """Without the exact tail phi is 0.00372: it fails with 2.1e-4 where 4.8e-12 is allowed."""
    seen = fk.lim2014(
        [0.5, 0.15, 0], [0.6, 0.3, 0.1], [20596, 1903, 1], [183471911, 52420546, 930],
        [8958, 2559, 0], 0, 1e-10, 1e-15, thresholds=fk.OBSERVED, bound="chernoff",
    )  # fmt: skip
    assert seen.phi == pytest.approx(0.01185, abs=5e-6)
    printed = seen.phase.rate + (seen.phase.gamma or 0.0)
    k, n = math.floor(seen.s_test_1), math.floor(seen.s_key_1)
    observed = math.ceil(seen.v_test_1)
    allowed = 1e-10 / 21

    def failure(phi: float) -> Any:
        return slow_tail.cdf(observed, n + k, observed + math.floor(phi * n) + 1, k)

    assert failure(seen.phi) <= allowed
    assert failure(printed) > 1e6 * allowed


@settings(max_examples=80, deadline=None)
@given(
    v=st.floats(0, 12).map(lambda x: 10**x - 1), s_test=st.floats(0, 13).map(lambda x: 10**x),
    s_key=st.floats(0, 13).map(lambda x: 10**x), eps=FAILURE,
)  # fmt: skip
def test_f1_the_guard_holds_at_every_size(
    v: float, s_test: float, s_key: float, eps: float
) -> None:
    """At no size is the phase error below what the exact tail allows."""
    v = min(v, s_test)
    phase = fk.phase_error(v, s_test, s_key, eps, 21, "exact")
    k, n = math.floor(s_test), math.floor(s_key)
    exact = tails.max_errors_unseen_log(min(k, math.ceil(v)), k, n, math.log(eps / 21))
    assert phase.phi >= min(0.5, exact / n)
    assert fk.phase_error(v, s_test, s_key, eps, 21, "strict").phi >= phase.phi * (1 - 1e-12)


@pytest.mark.parametrize("size", [10**7, 10**8, 10**12, 2**53])
@pytest.mark.parametrize("rate", [0.0, 1e-6, 0.025, 0.5, 1.0])
def test_f1_work_is_bounded_at_every_size(
    size: int, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """About a millisecond: few probabilities, each a sum of at most about 40,000 terms."""
    calls = terms = 0
    cdf, cumprod = tails.log_hypergeometric_cdf, tails.np.cumprod

    def counted_cdf(*a: int) -> float:
        nonlocal calls
        calls += 1
        return cdf(*a)

    def counted_terms(a: Any) -> Any:
        nonlocal terms
        terms += a.size
        return cumprod(a)

    monkeypatch.setattr(tails, "log_hypergeometric_cdf", counted_cdf)
    monkeypatch.setattr(tails.np, "cumprod", counted_terms)
    for k in (size, size // 1000):
        for failure in (1e-10, 1e-300, 0.3):
            calls = terms = 0
            fk.max_errors_unseen(math.floor(rate * k), k, size, failure)
            assert calls <= 40
            assert terms <= 45_000 * calls
