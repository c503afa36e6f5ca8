"""Numeric limits (row F5): every call gives finite figures or a named refusal."""

from __future__ import annotations

import dataclasses
import decimal
import fractions
import inspect
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.claim import vectors
from photonlink.pipeline.stages import finite_key as fk

PAIR = {"n": 1000, "k": 1000, "leak_ec": 0.0, "eps_sec": 1e-10, "eps_cor": 1e-15}
DECOY = {
    "mus": (0.5, 0.1), "ps": (0.7, 0.3), "n_key": (9000, 700), "m_key": (90, 7),
    "n_test": (9000, 700), "m_test": (90, 7), "leak_ec": 0.0, "eps_sec": 1e-10,
    "eps_cor": 1e-15, "thresholds": fk.OBSERVED, "vacuum": "min", "gconst": 19.0,
    "clip_v": True, "guard": "exact",
}  # fmt: skip
LIM = {
    "mus": (0.5, 0.1, 0.0), "ps": (0.7, 0.2, 0.1), "n_key": (9000, 700, 9),
    "n_test": (9000, 700, 9), "m_test": (90, 7, 4), "leak_ec": 0.0, "eps_sec": 1e-10,
    "eps_cor": 1e-15, "thresholds": fk.OBSERVED, "bound": "chernoff", "clip_v": True,
    "guard": "exact",
}  # fmt: skip
LEGAL: dict[str, dict[str, Any]] = {
    "authentication_cost": {"message_bits": [1000], "tag_bits": 128},
    "bbm92_exact": PAIR | {"observed": 20},
    "bbm92_key_length": {
        "n": 1000, "k": 1000, "q_tol": 0.03, "leak_bits": 0.0, "verification_bits": 64,
        "eps_sec": 1e-10, "eps_cor": 1e-15, "test": None, "other_bits": 1.0,
    },
    "binary_entropy": {"x": 0.1},
    "chernoff_bounds": {"x": 10, "eps": 1e-10},
    "delta_hoeffding": {"n": 10, "eps": 1e-10},
    "gamma": {"eps_sec": 1e-10, "rate": 0.02, "c": 1e5, "d": 1e5, "const": 21.0},
    "lim2014": LIM,
    "lim2021": PAIR | {"q_tol": 0.02, "optimise": False},
    "max_errors_unseen": {"observed": 3, "k": 1000, "n": 1000, "failure": 1e-10},
    "net_key": {"secret_bits": 1000, "message_bits": [1000], "tag_bits": 128},
    "pair_key_length": PAIR | {
        "errors": 3, "thresholds": fk.PairThresholds(0.03), "bound": "exact",
        "verification_bits": 64,
    },
    "phase_error": {
        "v_test": 3.0, "s_test": 1e4, "s_key": 1e4, "eps_sec": 1e-10, "const": 21.0,
        "guard": "exact",
    },
    "planned_leak": {"n": 1000, "e": 0.02, "f": 1.1},
    "rusca2018": DECOY,
    "second_order_leak": {"n": 1000, "e": 0.02, "eps": 1e-10},
    "shortest_tag_bits": {"message_bits": [1000], "eps_auth": 1e-12},
    "tlgr2012": PAIR | {"q_tol": 0.02},
    "verification_tag_bits": {"n_bits": 1000, "eps_cor": 1e-15},
    "EpsilonBudget": {"eps_sec": 1e-10, "eps_cor": 1e-15, "eps_auth": 1e-12},
    "PairThresholds": {"q_tol": 0.02, "n": 1, "k": 1},
    "DecoyThresholds": {"s_key_1": 1.0, "phi": 0.1, "s_key_0": 0.0, "n_key": (), "n_test": ()},
}  # fmt: skip
RESPONSE = fk.Jitter((-10.0, 0.0, 10.0), (1.0, 3.0, 1.0))
STRING = fk.BasisString(1000, 20, 100.0)
STATION = fk.StationMismatch(5.0, 4.0, 1.0, 300.0, (RESPONSE,) * 2, ((1.0, 1.0),) * 2)
AGREED = fk.TwoBasisThresholds(0.03, 0.03)
BLOCK: dict[str, Any] = {
    "z": STRING, "x": STRING, "thresholds": AGREED,
    "length": fk.two_basis_key_length(STRING, STRING, AGREED, 1e-10, 1e-15),
    "coincidences": 2100, "rate_z": 0.02, "rate_x": 0.02, "lost": (("window", 90),),
    "authentication_bits": 256, "eps_sec": 1e-10,
}  # fmt: skip
LEGAL |= {
    "Attempts": {"announced": 3, "verified": 2, "tagged": 1},
    "multi_click_bits": {"n": 1000, "share": 0.01},
    "told_bits": {"values": 10},
    "leak_bits": {"sent": 10, "cap": 20},
    "EarlierBlock": {"errors": 3, "bits": 100},
    "threshold_from": {
        "earlier": [fk.EarlierBlock(3, 100)], "bits": 100, "abort_probability": 0.01, "first": 0.08,
    },
    "PhaseErrorTest": {"ratio": 1.1, "basis_ratio": 1.0, "tangent": 0.03, "lam": 0.1},
    "phase_error_bound": {"e": 0.02, "r": 1.1},
    "phase_errors_per_key_bit": {"y": 0.02, "r": 1.1},
    "Jitter": {
        "times_ps": (0.0, 1.0), "counts": (1.0, 2.0), "uncertain": 0.01, "reach_ps": 10.0,
    },
    "StationMismatch": {
        "delay_uncertainty_ps": 5.0, "tick_ps": 4.0, "grid_ps": 1.0, "noise_ps": 300.0,
        "jitter": (RESPONSE, RESPONSE), "efficiency": ((1.0, 1.0), (0.9, 1.1)),
        "blur": 2.0,
    },
    "jitter_ratio": {"numerator": RESPONSE, "denominator": RESPONSE, "noise_ps": 300.0},
    "link_ratio": {"stations": [STATION, STATION]},
    "noise_reach_ps": {"noise_ps": 300.0, "grid_ps": 1.0, "failure": 1e-12},
    "quiet_time_ps": {"dead_ps": 5e4, "noise_ps": 300.0, "events": 1000, "failure": 1e-12},
    "uncertain_share": {"clicks": 1000, "failure": 1e-10, "tail": 0.01},
    "BasisString": {
        "bits": 1000, "errors": 20, "leak_bits": 1.0, "verification_bits": 64, "other_bits": 1.0,
    },
    "TwoBasisThresholds": {
        "q_z": 0.03, "q_x": 0.03, "n_z": 1, "n_x": 1, "share": 0.5, "test_z": None, "test_x": None,
    },
    "agreed_share": {"n": 1000, "k": 1000, "q": 0.03, "eps_sec": 1e-10},
    "agreed_tests": {
        "n_z": 1000, "n_x": 1000, "q_z": 0.03, "q_x": 0.03, "eps_sec": 1e-10, "ratio": 1.02,
        "basis_ratio": 1.0, "share": 0.5,
    },
    "two_basis_key_length": {
        "z": STRING, "x": STRING, "thresholds": AGREED, "eps_sec": 1e-10, "eps_cor": 1e-15,
    },
    "yield_account": {"block": fk.YieldBlock(**BLOCK)},
    "YieldBlock": BLOCK,
}  # fmt: skip
ODD: list[Any] = [
    None, True, False, np.True_, "7", b"7", "", [], (), {}, set(), {1, 2, 3}, {0: 1, 1: 2, 2: 3},
    b"abc", bytearray(b"abc"), memoryview(b"abc"), [None], [1, 2], [1, 2, 3], [True, 1, 1],
    [[1], 2, 3], np.ones((3, 1)), np.array(5), np.array([1, 2, 3]), object(), len, 1j,
    math.nan, math.inf, -math.inf, -1, -0.0, 0, 0.5, 1, 1.0, 2, 1.5, 5e-324, 1e-310, 2.3e-308,
    1e-300, 1 - 2**-53, 1 + 2**-52, 2**53 - 1, 2**53, 2**53 + 1, 2**64, 1e17, 1e100, 1e308,
    10**400, -(10**400), 10**5000, fractions.Fraction(1, 3), fractions.Fraction(2**54 + 1, 2),
    decimal.Decimal("0.5"), np.float32(0.25), np.int8(3), np.float64("nan"), [2**53] * 3,
    [2**53] * 2, (0, 0, 0), (0, 0), (5e-324, 0, 0), [1e308, 1, 0],
]  # fmt: skip


def _figures(result: object) -> Iterator[float]:
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        for field in dataclasses.fields(result):
            yield from _figures(getattr(result, field.name))
    elif isinstance(result, dict):
        for value in result.values():
            yield from _figures(value)
    elif isinstance(result, float | int):
        yield result


def test_f5_every_function_is_tried() -> None:
    public = {n for n in fk.__all__ if callable(getattr(fk, n))}
    tried = {n for n in public if n in LEGAL}
    results = {
        n for n in public - tried
        if isinstance(getattr(fk, n), type) and not hasattr(getattr(fk, n), "__post_init__")
    }  # fmt: skip
    assert public - tried - results - {"Bound", "Guard", "block_costs"} == set()
    for name, legal in LEGAL.items():
        parameters = inspect.signature(getattr(fk, name)).parameters
        assert set(legal) == set(parameters), name


@pytest.mark.parametrize("name", LEGAL)
def test_f5_odd_input_gives_finite_figures_or_a_named_refusal(name: str) -> None:
    function: Callable[..., Any] = getattr(fk, name)
    for argument in LEGAL[name]:
        for odd in ODD:
            refused: list[fk.ParameterError] = []
            try:
                result = function(**(LEGAL[name] | {argument: odd}))
            except fk.ParameterError as refusal:
                refused.append(refusal)
            if refused:
                assert isinstance(refused[0], PhotonlinkError)
                assert refused[0].parameter, (argument, odd)
                assert len(str(refused[0])) < 500
                continue
            assert all(math.isfinite(x) for x in _figures(result)), (argument, odd, result)
            if hasattr(result, "phi"):
                assert 0 <= result.phi <= 0.5
                assert "nan" not in str(result)


@pytest.mark.parametrize("odd", [{1, 2, 3}, {0: 1, 1: 2, 2: 3}, b"abc", bytearray(3), "123"])
def test_f5_what_has_no_order_is_no_list_of_counts(odd: Any) -> None:
    with pytest.raises(fk.ParameterError, match="n_key"):
        fk.lim2014(**(LIM | {"n_key": odd}))


def test_f5_true_is_no_intensity_number() -> None:
    with pytest.raises(fk.ParameterError, match="vacuum"):
        fk.rusca2018(**(DECOY | {"vacuum": True}))


def test_f5_a_phase_error_is_at_most_one_half() -> None:
    for bound in ("exact", "tlgr2012", "lim2021"):
        r = fk.pair_key_length(
            10, 10, 0, 0.0, 1e-10, 1e-15, thresholds=fk.PairThresholds(0.5),
            bound=bound,  # type: ignore[arg-type]
        )  # fmt: skip
        assert r.phi == 0.5
        assert "50.0000%" in str(r)


def test_f5_entropy_is_of_probabilities_only() -> None:
    for x in (2.0, -1e-9, 1 + 1e-9, math.nan):
        with pytest.raises(fk.ParameterError, match="x"):
            fk.binary_entropy(x)
    assert fk.binary_entropy(0.0) == fk.binary_entropy(1.0) == 0.0
    assert fk.binary_entropy(0.5) == 1.0
    assert fk.binary_entropy(1e-300) == pytest.approx(1e-300 * (math.log2(1e300) + 1.4427))


@pytest.mark.parametrize("eps", [5e-324, 1e-310])
def test_f5_an_epsilon_without_digits_is_refused(eps: float) -> None:
    for name in ("lim2014", "rusca2018", "lim2021", "tlgr2012", "bbm92_exact"):
        for which in ("eps_sec", "eps_cor"):
            with pytest.raises(fk.ParameterError, match=which):
                getattr(fk, name)(**(LEGAL[name] | {which: eps}))


@pytest.mark.parametrize(
    ("n", "e", "eps"),
    [(1, 1e-9, 0.5), (1, 0.5, 0.5), (10, 0.5, 0.999), (2**53, 0.02, 1e-10), (2**53, 0.5, 1e-300),
     (3, 0.1, 1 - 2**-53), (2**53, 5e-324, 1e-10), (100, 0.02, 1e-300), (10**15, 1e-12, 1e-10)],
)  # fmt: skip
def test_f5_least_leak_is_never_negative_nor_undefined(n: int, e: float, eps: float) -> None:
    leak = fk.second_order_leak(n, e, eps)
    assert leak.bits >= 0
    assert math.isfinite(leak.bits)


@pytest.mark.parametrize("n", [1, 2, 17, 1000, 10**6, 10**9])
@pytest.mark.parametrize("e", [1e-6, 0.01, 0.3, 0.5])
@pytest.mark.parametrize("eps", [1e-12, 1e-3, 0.3])
def test_f5_least_leak_has_scipys_quantile(n: int, e: float, eps: float) -> None:
    q = min(1.0, eps * (1 + 1 / math.sqrt(n)))
    quantile = float(binom.ppf(q, n, 1 - e))
    bits = (
        n * fk.binary_entropy(e)
        + (n * (1 - e) - quantile - 1) * math.log2((1 - e) / e)
        - 0.5 * math.log2(n)
        + math.log2(eps)
    )
    # one error more or less where rounding decides the quantile
    step = 1.01 * math.log2((1 - e) / e) * (n > 10**8)
    assert fk.second_order_leak(n, e, eps).bits == pytest.approx(max(0, bits), abs=1e-6 + step)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"vectors": []}', '{"vectors": {}}',
                                  '{"vectors": [1]}', '{"vectors": [{"id": "a"}]}'])  # fmt: skip
def test_f5_an_empty_file_of_vectors_is_no_proof(text: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(vectors.VectorFileError, match=r"vectors\.json"):
        vectors.run_file(path)


def test_f5_a_vector_that_cannot_run_is_a_difference(tmp_path: Path) -> None:
    path = tmp_path / "vectors.json"
    lacking = {"id": "x", "function": "gamma", "inputs": {"eps_sec": 2}, "expected": {"value": 1}}
    empty = {"id": "y", "function": "gamma", "inputs": {}, "expected": {}}
    path.write_text(json.dumps({"vectors": [lacking, empty]}), encoding="utf-8")
    assert all(case.differs for case in vectors.run_file(path))
