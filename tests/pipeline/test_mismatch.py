"""Phase errors with unequal detectors: random states, an optimal adaptive Eve, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photonlink.pipeline.claim import both_bases
from photonlink.pipeline.stages import finite_key as fk
from photonlink.pipeline.stages.finite_key import mismatch, tails

HADAMARD = np.kron([[1, 1], [1, -1]], [[1, 1], [1, -1]]) / 2
DIFFER = np.array([0.0, 1.0, 1.0, 0.0])  # 1 where Alice's and Bob's bits differ


def _filters(rng: np.random.Generator, ratio: np.ndarray) -> np.ndarray:
    """Acceptance of Alice's two detectors times that of Bob's. ``ratio`` is split between the
    stations; half of the stations lie at an end of their range."""
    alice = ratio ** rng.random(ratio.size)
    sides = []
    for part in (alice, ratio / alice):
        power = rng.random((ratio.size, 2))
        ends = rng.random(ratio.size) < 0.5
        power[ends] = np.round(power[ends])
        sides.append(part[:, None] ** power)
    product: np.ndarray = np.einsum("si,sj->sij", *sides).reshape(-1, 4)
    return product


def _states(rng: np.random.Generator, size: int) -> np.ndarray:
    """Random mixtures of two pure two-qubit states with few errors in the test basis, half of them
    pure. Axes: [state, level, part]."""
    error = HADAMARD @ np.diag(DIFFER) @ HADAMARD
    columns = rng.normal(size=(size, 4, 2)) + 1j * rng.normal(size=(size, 4, 2))
    columns[: size // 2, :, 1] = 0
    bad = error @ columns
    good = columns - bad
    share = np.sin(rng.random((size, 1, 1)) * 0.6) ** 2

    def norm(parts: np.ndarray) -> np.ndarray:
        square: np.ndarray = (np.abs(parts) ** 2).sum(axis=(1, 2), keepdims=True)
        return np.sqrt(square)

    mixed: np.ndarray = good * np.sqrt(1 - share) / norm(good) + bad * np.sqrt(share) / norm(bad)
    return mixed


def test_random_states_and_filters_never_violate_the_bounds_and_reach_them() -> None:
    rng = np.random.default_rng(3)
    size = 100_000
    ratio = 1 + rng.random(size) ** 2
    states = _states(rng, size)
    key, test = _filters(rng, ratio), _filters(rng, ratio)
    seen = (np.abs(HADAMARD @ states) ** 2).sum(axis=2) * test
    kept = np.sqrt(key)[:, :, None] * states
    phase = (np.abs(HADAMARD @ kept) ** 2).sum(axis=2) @ DIFFER
    accepted = (np.abs(kept) ** 2).sum(axis=(1, 2))
    errors, x = seen @ DIFFER, phase / accepted
    for bound, given_errors in (
        (mismatch.phase_error_bound, errors / seen.sum(axis=1)),
        (mismatch.phase_errors_per_key_bit, errors / accepted),
    ):
        limit = np.array([bound(e, r) for e, r in zip(given_errors, ratio, strict=True)])
        reached = (x / limit)[limit < 0.5]
        assert 0.95 <= reached.max() <= 1 + 1e-9


@given(st.floats(0, 0.5), st.floats(1, 10))
def test_the_bound_is_never_above_the_triangle_inequality(e: float, r: float) -> None:
    s = (math.sqrt(r) - 1) / (math.sqrt(r) + 1)
    looser = ((math.sqrt(r) + 1) / 2) ** 2 * (math.sqrt(r * e) + s) ** 2
    assert mismatch.phase_error_bound(e, r) <= looser * (1 + 1e-12)
    assert mismatch.phase_error_bound(e, 1.0) == pytest.approx(e)
    assert mismatch.phase_errors_per_key_bit(e, 1.0) == pytest.approx(e)


@pytest.mark.parametrize("bound", [fk.phase_error_bound, fk.phase_errors_per_key_bit])
@given(a=st.floats(0, 0.5), b=st.floats(0, 0.5), r=st.floats(1, 3), more=st.floats(0, 1))
def test_bounds_are_concave_and_grow(bound: object, a: float, b: float, r: float,
                                     more: float) -> None:  # fmt: skip
    assert callable(bound)
    assert (bound(a, r) + bound(b, r)) / 2 <= bound((a + b) / 2, r) + 1e-12
    assert bound(a, r) <= bound(a, r + more) + 1e-12
    assert bound(min(a, b), r) <= bound(max(a, b), r) + 1e-12


def _best_eve(test: fk.PhaseErrorTest, pairs: int, ratio: float, log_failure: float) -> float:
    """Probability that an optimal Eve exceeds the bound. She sees all outcomes, and chooses each
    state or stops. Backward induction over (key pairs, phase errors, test errors)."""
    bias = np.array([1.0, 1.0, 1 / test.basis_ratio, 1 / test.basis_ratio])
    states = [bias * both_bases._exploiting_state(x, ratio) for x in (*np.linspace(0, 1, 13), 0.02)]
    states = [state / state.sum() for state in states]
    size = pairs + 1
    n, phase, _ = np.ogrid[:size, :size, :size]
    limit = np.vectorize(
        lambda a, b: test.max_phase_errors(int(a), int(b), log_failure)
    )(np.arange(size)[:, None], np.arange(size)[None, :])  # fmt: skip
    won = (phase > limit[:, None, :]) & (phase <= n)
    value = won.astype(float)
    for _ in range(pairs):
        grown = np.pad(value, ((0, 1), (0, 1), (0, 1)), mode="edge")
        choices = [
            c[0] * grown[1:, 1:, :-1] + c[1] * grown[1:, :-1, :-1] + c[2] * grown[:-1, :-1, 1:]
            + c[3] * value
            for c in states
        ]  # fmt: skip
        value = np.maximum(won, np.max(choices, axis=0))
    return float(value[0, 0, 0])


@pytest.mark.parametrize("ratio", [1.0, 1.1, 1.5])
@pytest.mark.parametrize("failure", [0.3, 0.03])
@pytest.mark.parametrize("basis_ratio", [1.0, 3.0, 0.4])
def test_the_best_adaptive_eve_stays_below_the_failure_probability(
    ratio: float, failure: float, basis_ratio: float
) -> None:
    pairs = 32
    log_failure = math.log(failure)
    test = fk.PhaseErrorTest.agreed(
        16, 2, log_failure, ratio=ratio, basis_ratio=basis_ratio
    )  # fmt: skip
    assert 1e-4 < _best_eve(test, pairs, ratio, log_failure) <= failure
    # a bound for equal detectors does not hold for unequal ones
    unaware = fk.PhaseErrorTest.agreed(16, 2, log_failure, ratio=1.0, basis_ratio=basis_ratio)
    if ratio == 1.5 and failure == 0.03:
        assert _best_eve(unaware, pairs, ratio, log_failure) > failure


@pytest.mark.parametrize("n", [10_000, 140_000, 1_500_000, 10**8])
def test_without_mismatch_it_costs_hardly_more_than_sampling(n: int) -> None:
    log_failure = 2 * math.log(1e-10 / 6)
    errors = n // 40
    ours = fk.PhaseErrorTest.agreed(n, errors, log_failure, ratio=1.0)
    bound = ours.max_phase_errors(n, errors, log_failure)
    exact = tails.max_errors_unseen_log(errors, n, n, log_failure)
    assert exact - errors <= bound - errors <= 1.1 * (exact - errors)
    wide = fk.PhaseErrorTest.agreed(n, errors, log_failure, ratio=1.1)
    assert wide.max_phase_errors(n, errors, log_failure) > bound
    # for large blocks it approaches the asymptotic bound per pair
    if n == 10**8:
        limit = n * mismatch.phase_errors_per_key_bit(errors / n, 1.1)
        assert wide.max_phase_errors(n, errors, log_failure) == pytest.approx(limit, rel=0.01)


def test_key_from_one_basis_pays_for_unequal_detectors_too() -> None:
    n, k, q, eps = 100_000, 20_000, 0.03, 1e-10
    log_failure = 2 * math.log(eps / 3)

    def length(test: fk.PhaseErrorTest | None, **more: float) -> int:
        return fk.bbm92_key_length(n, k, q, 20_000, 64, eps, 1e-15, test=test, **more).length

    lengths = [length(None)]
    for ratio in (1.0, 1.02, 1.1):
        test = fk.PhaseErrorTest.agreed(n, 600, log_failure, ratio=ratio, basis_ratio=n / k)
        lengths.append(length(test))
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[1] > 0.97 * lengths[0]
    assert length(None, other_bits=100.0) == lengths[0] - 100


def test_the_agreed_test_is_the_best_of_its_kind() -> None:
    log_failure = math.log(1e-20)
    n, errors, ratio = 100_000, 2600, 1.05
    agreed = fk.PhaseErrorTest.agreed(n, errors, log_failure, ratio=ratio)
    best = agreed.max_phase_errors(n, errors, log_failure)
    rng = np.random.default_rng(2)
    for _ in range(300):
        other = fk.PhaseErrorTest(
            ratio, 1.0, agreed.tangent * 2 ** rng.normal(), agreed.lam * 1.5 ** rng.normal()
        )
        assert other.max_phase_errors(n, errors, log_failure) >= best * (1 - 1e-5)
    assert fk.PhaseErrorTest.agreed(n, errors, log_failure, ratio=ratio) == agreed


@pytest.mark.parametrize(
    ("n", "errors", "rho"), [(10**6, 260, 100.0), (10**4, 26_000, 0.01), (100, 0, 1.0), (1, 0, 1.0)]
)
def test_bases_of_very_different_size(n: int, errors: int, rho: float) -> None:
    log_failure = math.log(1e-20)
    test = fk.PhaseErrorTest.agreed(n, errors, log_failure, ratio=1.0, basis_ratio=rho)
    bound = test.max_phase_errors(n, errors, log_failure)
    k = round(n / rho)
    exact = tails.max_errors_unseen_log(errors, k, n, log_failure)
    assert exact <= bound <= 1.3 * exact + 70


def test_simulated_mismatch_is_caught_only_by_a_bound_that_knows_it() -> None:
    rng = np.random.default_rng(4)
    for eps in (1e-2, 1e-3):
        knows = both_bases.check_mismatch(1.1, eps, 20_000, rng, charged_ratio=None)
        assert knows.claimed
        assert knows.sound, knows
        unaware = both_bases.check_mismatch(1.1, eps, 20_000, rng, charged_ratio=1.0)
        assert not unaware.sound, unaware


@pytest.mark.parametrize(
    ("change", "named"),
    [({"ratio": 0.99}, "ratio"), ({"ratio": math.nan}, "ratio"), ({"ratio": 1e9}, "ratio"),
     ({"basis_ratio": 0.0}, "basis_ratio"), ({"lam": 0}, "lam"), ({"lam": 50.0}, "lam"),
     ({"tangent": -1}, "tangent")],
)  # fmt: skip
def test_impossible_tests_are_named(change: dict[str, float], named: str) -> None:
    legal = {"ratio": 1.1, "basis_ratio": 1.0, "tangent": 0.03, "lam": 0.1}
    with pytest.raises(fk.ParameterError) as caught:
        fk.PhaseErrorTest(**(legal | change))
    assert caught.value.parameter == named
    with pytest.raises(fk.ParameterError, match="log_failure"):
        fk.PhaseErrorTest(**legal).max_phase_errors(10, 1, 0.1)
