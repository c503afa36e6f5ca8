"""Key from both bases: vectors of a slow reference, thresholds, soundness, yield."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photonlink.pipeline.claim import both_bases, closing
from photonlink.pipeline.stages import finite_key as fk

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "two_bases.json"
CASES = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]


def _string(given: dict[str, Any]) -> fk.BasisString:
    leak, other = float(given["leak"]), float(given["other"])
    return fk.BasisString(given["bits"], given["errors"], leak, given["tag"], other)


def _length(given: dict[str, Any]) -> fk.TwoBasisLength:
    tests: dict[str, fk.PhaseErrorTest] = {}
    if "ratio" in given:
        for name in ("test_z", "test_x"):
            rho, tangent, lam = map(float, given[name])
            tests[name] = fk.PhaseErrorTest(float(given["ratio"]), rho, tangent, lam)
    agreed = fk.TwoBasisThresholds(
        float(given["q_z"]), float(given["q_x"]), share=float(given["share"]), **tests
    )
    z, x = _string(given["z"]), _string(given["x"])
    return fk.two_basis_key_length(z, x, agreed, float(given["eps_sec"]), float(given["eps_cor"]))


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c["id"]))
def test_vectors_of_a_separate_reference(case: dict[str, Any]) -> None:
    found, wanted = _length(case["inputs"]), case["expected"]
    assert (found.z.length, found.x.length) == (wanted["length_z"], wanted["length_x"])
    assert found.z.phi == pytest.approx(wanted["phi_z"], rel=1e-9)
    assert found.x.phi == pytest.approx(wanted["phi_x"], rel=1e-9)
    assert (found.length == 0) == (found.reason is not None)


STRING = fk.BasisString(100_000, 2500, 18_000.0, 64)
AGREED = fk.TwoBasisThresholds(0.027, 0.027)


def _both(z: fk.BasisString, x: fk.BasisString, agreed: fk.TwoBasisThresholds = AGREED) -> Any:
    return fk.two_basis_key_length(z, x, agreed, 1e-10, 1e-15)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bits": 0, "errors": 0}, "no_bits_in_one_basis"),
        ({"errors": 2701}, "error_rate_above_threshold"),
        ({"bits": 99_999}, "bits_below_threshold"),
    ],
)
def test_one_basis_that_misses_its_threshold_fails_both(
    change: dict[str, int], reason: str
) -> None:
    agreed = dataclasses.replace(AGREED, n_z=100_000, n_x=100_000)
    bad = dataclasses.replace(STRING, **change)
    for z, x, name in ((bad, STRING, "z"), (STRING, bad, "x")):
        r = _both(z, x, agreed)
        assert (r.length, r.z.length, r.x.length) == (0, 0, 0)
        assert r.reason in (reason, f"{reason}_{name}")
    assert _both(STRING, STRING, agreed).length > 0  # the next block can succeed


def test_each_leak_is_charged_to_its_own_key() -> None:
    base = _both(STRING, STRING)
    more = dataclasses.replace(STRING, leak_bits=19_000.0, verification_bits=80, other_bits=100.0)
    r = _both(more, STRING)
    assert base.z.length - r.z.length == 1000 + 16 + 100
    assert r.x.length == base.x.length


def test_length_depends_on_thresholds_and_not_on_errors_seen() -> None:
    lucky = dataclasses.replace(STRING, errors=0)
    assert _both(lucky, lucky).length == _both(STRING, STRING).length
    tighter = dataclasses.replace(AGREED, q_x=0.026)
    assert _both(STRING, STRING, tighter).z.length > _both(STRING, STRING).z.length
    assert _both(STRING, STRING, tighter).x.length == _both(STRING, STRING).x.length


def test_errors_counted_wrongly_are_in_epsilon() -> None:
    assert _both(STRING, STRING).eps_sec == pytest.approx(1e-10 + 2e-15)


def test_unequal_detectors_cost_key() -> None:
    lengths = []
    for ratio in (1.0, 1.005, 1.02, 1.1):
        z, x = fk.agreed_tests(100_000, 100_000, 0.027, 0.027, 1e-10, ratio)
        lengths.append(
            _both(STRING, STRING, dataclasses.replace(AGREED, test_z=z, test_x=x)).length
        )
    assert lengths == sorted(lengths, reverse=True)
    plain = _both(STRING, STRING).length
    assert 0.98 * plain < lengths[0] <= plain


@pytest.mark.parametrize(("coincidences", "goal"), [(2.8e5, 0.85), (3e6, 0.92), (3e7, 0.95)])
def test_share_of_the_asymptotic_key(coincidences: float, goal: float) -> None:
    """Visibility 0.95, eps 1e-10, f = 1.04: the formulas give at least this share."""
    n, e = round(coincidences / 2), 0.025
    earlier = [fk.EarlierBlock(round(e * n), n)] * 8
    q = fk.threshold_from(earlier, n, 0.005, first=0.08)
    leak = fk.planned_leak(n, e, 1.04)
    string = fk.BasisString(n, round(e * n), leak, 64)
    agreed = fk.TwoBasisThresholds(q, q, share=fk.agreed_share(n, n, q, 5e-11))
    secret = fk.two_basis_key_length(string, string, agreed, 1e-10, 1e-15).length
    assert secret / (2 * n * (1 - 2 * fk.binary_entropy(e))) >= goal


def test_no_key_at_visibility_080() -> None:
    n = 10**7
    leak = 1.15 * n * fk.binary_entropy(0.1)
    string = fk.BasisString(n, n // 10, leak)
    r = _both(string, string, fk.TwoBasisThresholds(0.1, 0.1))
    assert (r.length, r.reason) == (0, "error_rate_too_high")


@pytest.mark.parametrize("eps", [1e-2, 1e-3])
def test_an_eve_who_attacks_one_basis_only_gains_nothing(eps: float) -> None:
    rng = np.random.default_rng(6)
    for attack in both_bases.ATTACKS:
        verdict = both_bases.check_attack(attack, eps, 40_000, rng)
        assert verdict.sound, verdict
        assert verdict.violations <= 0.6 * verdict.allowed * verdict.runs
        # the simulation detects a bound that uses a larger epsilon than allowed
        if attack.name.endswith("alone is spied on"):
            loose = both_bases.check_attack(attack, 0.1, 40_000, rng)
            assert not dataclasses.replace(loose, allowed=2 * eps).sound


@pytest.mark.parametrize("eps", [1e-2, 1e-3])
def test_m1_closing_on_times_holds_and_slot_by_slot_does_not(eps: float) -> None:
    """Row M1; ``photonlink claim`` makes 1e5 runs of each."""
    rng = np.random.default_rng(12)
    runs = 30_000
    new = closing.check_closing("times", "sampling", eps, runs, rng)
    assert new.sound, new
    old = closing.check_closing("slot by slot", "sampling", eps, runs, rng)
    assert not old.sound, old
    assert old.violations > 2 * eps * runs
    whenever = closing.check_closing("slot by slot", "any time", eps, runs, rng)
    assert whenever.sound, whenever


def test_the_split_of_epsilon_is_agreed_from_sizes() -> None:
    for n in (2000, 140_000):
        share = fk.agreed_share(n, n, 0.027, 5e-11)
        string = fk.BasisString(n, 0, 0.0)

        def length(share: float, string: fk.BasisString = string) -> int:
            agreed = fk.TwoBasisThresholds(0.027, 0.027, share=share)
            return int(_both(string, string, agreed).length)

        assert length(share) >= max(length(0.1), length(2 / 3), length(0.99))
    assert 0 < fk.agreed_share(0, 5, 0.1, 1e-10) < 1


def test_impossible_inputs_are_named() -> None:
    for change, named in (
        ({"errors": 100_001}, "errors"), ({"bits": -1}, "bits"),
        ({"leak_bits": math.nan}, "leak_bits"),
        ({"other_bits": -1.0}, "other_bits"), ({"verification_bits": 0.5}, "verification_bits"),
    ):  # fmt: skip
        with pytest.raises(fk.ParameterError) as caught:
            dataclasses.replace(STRING, **change)  # type: ignore[arg-type]
        assert caught.value.parameter == named
    for change, named in (
        ({"q_z": 0.6}, "thresholds.q_z"), ({"n_x": -1}, "thresholds.n_x"),
        ({"share": 1.0}, "thresholds.share"), ({"test_z": 3}, "thresholds.test_z"),
        ({"test_z": fk.PhaseErrorTest(1.1, 1.0, 0.03, 0.1)}, "thresholds.test_x"),
    ):  # fmt: skip
        with pytest.raises(fk.ParameterError) as caught:
            dataclasses.replace(AGREED, **change)  # type: ignore[arg-type]
        assert caught.value.parameter == named
    with pytest.raises(fk.ParameterError, match="thresholds"):
        _both(STRING, STRING, None)  # type: ignore[arg-type]
