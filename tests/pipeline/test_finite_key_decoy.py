"""Key lengths of decoy-state blocks: the guard for few errors, thresholds, refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest

from photonlink.pipeline.stages import finite_key as fk

LIM: dict[str, Any] = {
    "mus": [0.5, 0.1, 0.0], "ps": [0.7, 0.2, 0.1], "n_key": [28_282_763, 1_621_575, 2592],
    "n_test": [349_132, 20_233, 30], "m_test": [1838, 137, 7], "leak_ec": 1_618_849,
    "eps_sec": 1e-10, "eps_cor": 1e-15, "thresholds": fk.OBSERVED,
}  # fmt: skip
RUSCA: dict[str, Any] = {
    "mus": [0.5, 0.15], "ps": [0.7, 0.3], "n_key": [28_284_928, 3_643_013],
    "m_key": [145_165, 19_570], "n_test": [348_686, 44_767], "m_test": [2265, 280],
    "leak_ec": 1_726_999, "eps_sec": 1e-9, "eps_cor": 1e-15, "thresholds": fk.OBSERVED,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mus": [0.5, 0.1]}, "mus"), ({"mus": None}, "mus"), ({"mus": [0.5, math.nan, 0]}, "mus"),
        ({"mus": [0.5, 0.3, 0.3]}, "mus"), ({"mus": [0.5, 0.3, 0.2]}, "mus"),
        ({"mus": [0.5, 0.1, -0.1]}, "mus"), ({"mus": [800.0, 0.1, 0.0]}, "mus"),
        ({"ps": [0.7, 0.3, 0.0]}, "ps"), ({"ps": [0.7, 0.2]}, "ps"),
        ({"ps": [1.2, -0.1, -0.1]}, "ps"), ({"ps": [0.7, 0.2, math.nan]}, "ps"),
        ({"n_key": [10, 10]}, "n_key"), ({"n_key": [10, 0, 10]}, "n_key"),
        ({"n_key": [10.5, 1, 1]}, "n_key"), ({"n_key": [math.nan, 1, 1]}, "n_key"),
        ({"n_key": [math.inf, 1, 1]}, "n_key"), ({"n_key": [True, 1, 1]}, "n_key"),
        ({"n_key": [2**60, 1, 1]}, "n_key"), ({"n_test": [0, 100, 9]}, "n_test"),
        ({"n_test": [100, 100, 0]}, "m_test"), ({"n_key": [0, 0, 10]}, "n_key"),
        ({"n_test": ["7", 9, 9]}, "n_test"), ({"m_test": [1838, 137, 31]}, "m_test"),
        ({"m_test": None}, "m_test"), ({"leak_ec": -1}, "leak_ec"),
        ({"leak_ec": math.nan}, "leak_ec"), ({"eps_sec": 0}, "eps_sec"),
        ({"eps_sec": 1.0}, "eps_sec"), ({"eps_sec": math.nan}, "eps_sec"),
        ({"eps_cor": 2}, "eps_cor"), ({"eps_cor": None}, "eps_cor"),
        ({"thresholds": None}, "thresholds"), ({"thresholds": 0.1}, "thresholds"),
        ({"bound": "azuma"}, "bound"), ({"guard": "none"}, "guard"),
    ],
)  # fmt: skip
def test_impossible_inputs_are_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(fk.ParameterError) as caught:
        fk.lim2014(**(LIM | change))
    assert caught.value.parameter == named


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mus": [0.5, 0.0]}, "mus"), ({"m_key": [1, 4_000_000]}, "m_key"),
        ({"m_key": [1, -4]}, "m_key"), ({"vacuum": 2}, "vacuum"), ({"gconst": 0.0}, "gconst"),
        ({"gconst": math.nan}, "gconst"), ({"thresholds": None}, "thresholds"),
        ({"n_test": [0, 15], "m_test": [0, 0]}, "n_test"),
    ],
)  # fmt: skip
def test_impossible_inputs_with_one_decoy_are_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(fk.ParameterError) as caught:
        fk.rusca2018(**(RUSCA | change))
    assert caught.value.parameter == named


def test_thresholds_that_cannot_be_agreed_are_named() -> None:
    for bad, named in (
        ({"s_key_1": -1, "phi": 0.1}, "thresholds.s_key_1"),
        ({"s_key_1": 1, "phi": 0.6}, "thresholds.phi"),
        ({"s_key_1": 1, "phi": math.nan}, "thresholds.phi"),
        ({"s_key_1": 1, "phi": 0.1, "n_key": (1.5, 2, 3)}, "thresholds.n_key"),
    ):
        with pytest.raises(fk.ParameterError) as caught:
            fk.DecoyThresholds(**bad)  # type: ignore[arg-type]
        assert caught.value.parameter == named
    short = fk.DecoyThresholds(1e6, 0.1, n_key=(1, 2))
    with pytest.raises(fk.ParameterError, match=r"thresholds\.n_key"):
        fk.lim2014(**(LIM | {"thresholds": short}))
    with pytest.raises(fk.ParameterError, match="thresholds"):
        fk.pair_key_length(10, 10, 1, 0, 1e-9, 1e-9, thresholds=None)


@pytest.mark.parametrize("case", [(fk.lim2014, LIM), (fk.rusca2018, RUSCA)])
def test_a_block_is_charged_what_was_agreed_or_refused_by_name(case: tuple[Any, Any]) -> None:
    function, block = case
    seen = function(**block)
    assert seen.reason is None
    agreed = {"s_key_1": 0.9 * seen.s_key_1, "phi": 1.1 * seen.phase.phi}
    got = function(**(block | {"thresholds": fk.DecoyThresholds(**agreed)}))
    assert 0 < got.length < seen.length
    # a better block gets the same: the length is fixed by the thresholds
    better = block | {"m_test": [m // 2 for m in block["m_test"]]}
    assert function(**(better | {"thresholds": got.charged})).length == got.length
    for change, reason in (
        ({"s_key_1": 1.01 * seen.s_key_1}, "single_photons_below_threshold"),
        ({"s_key_0": seen.s_key_0 + 1}, "vacuum_below_threshold"),
        ({"phi": 0.9 * seen.phase.phi}, "phase_error_above_threshold"),
        ({"n_key": tuple(n + 1 for n in block["n_key"])}, "n_key_below_threshold"),
        ({"n_test": tuple(n + 1 for n in block["n_test"])}, "n_test_below_threshold"),
    ):
        refused = function(**(block | {"thresholds": fk.DecoyThresholds(**(agreed | change))}))
        assert (refused.length, refused.reason) == (0, reason)
        assert refused.s_key_1 == seen.s_key_1
        assert reason in str(refused)


def test_a_pair_block_is_charged_its_threshold_or_refused_by_name() -> None:
    agreed = fk.PairThresholds(q_tol=0.03, n=90_000, k=19_000)
    common: dict[str, Any] = {"leak_ec": 15_000, "eps_sec": 1e-10, "eps_cor": 1e-15}
    for bound in ("exact", "tlgr2012", "lim2021"):
        lengths = {
            fk.pair_key_length(100_000, 20_000, m, thresholds=agreed, bound=bound, **common).length  # type: ignore[arg-type]
            for m in (0, 300, 600)
        }
        assert len(lengths) == 1
        assert lengths.pop() > 0
    for n, k, m, reason in (
        (89_999, 20_000, 0, "key_bits_below_threshold"),
        (100_000, 18_999, 0, "test_bits_below_threshold"),
        (100_000, 20_000, 601, "error_rate_above_threshold"),
    ):
        refused = fk.pair_key_length(n, k, m, thresholds=agreed, **common)
        assert (refused.length, refused.reason) == (0, reason)


def test_gamma_alone_would_be_unsound_at_few_errors() -> None:
    """k = 10,000, n = 100,000, no errors: the bound is 0 by gamma, 0.27 % by the exact tail."""
    common: tuple[float, float, float] = (1e4, 1e5, 21e-12)
    printed = fk.phase_error(0, *common, const=21, guard="printed")
    assert printed.phi == 0.0
    guarded = fk.phase_error(0, *common, const=21, guard="exact")
    assert guarded.phi == pytest.approx(0.0027, abs=2e-4)
    strict = fk.phase_error(0, *common, const=21, guard="strict")
    assert strict.phi > guarded.phi
    five = fk.phase_error(5, *common, const=21, guard="printed").phi
    assert five < fk.phase_error(5, *common, const=21, guard="exact").phi


def test_many_errors_leave_the_papers_bound_in_charge() -> None:
    """Same sizes, 300 errors: gamma 4.76 %, exact 4.38 %, squared probability 5.11 %."""
    common: tuple[float, float, float] = (1e4, 1e5, 21e-12)
    printed = fk.phase_error(300, *common, const=21, guard="printed").phi
    assert fk.phase_error(300, *common, const=21, guard="exact").phi == printed
    assert fk.phase_error(300, *common, const=21, guard="strict").phi > printed


@pytest.mark.parametrize("case", [(fk.lim2014, LIM), (fk.rusca2018, RUSCA)])
def test_an_account_says_where_the_bits_went(case: tuple[Any, Any]) -> None:
    function, block = case
    account = function(**block)
    text = str(account)
    for figure in (account.length, account.n_key):
        assert f"{figure:,}" in text
    column = [line for line in text.splitlines() if line.startswith("  ") and ":" not in line]
    spent = [float(line.split()[-1].replace(",", "")) for line in column]
    assert sum(spent[:-1]) == pytest.approx(account.length_real, abs=0.5)


def test_epsilons_add_up_and_pads_are_subtracted() -> None:
    budget = fk.EpsilonBudget(1e-10, 1e-15, 1e-12)
    assert budget.block == pytest.approx(1e-10 + 1e-15 + 1e-12)
    assert budget.after(1_000_000) == pytest.approx(1.01001e-4)
    assert budget.after(10**15) == 1.0
    assert fk.net_key(372, [1000, 1000, 1000], 128).bits == 372 - 384
    with pytest.raises(fk.ParameterError, match="eps_auth"):
        fk.EpsilonBudget(eps_auth=0.0)
