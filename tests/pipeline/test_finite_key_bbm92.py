"""Key lengths of entangled-pair blocks: tail bound, properties, refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from photonlink.pipeline.stages import finite_key as fk
from photonlink.pipeline.stages.finite_key.tails import log_hypergeometric_cdf


@given(st.integers(0, 400), st.integers(1, 400), st.integers(1, 400), st.data())
def test_tail_agrees_with_scipy(marked: int, drawn: int, rest: int, data: st.DataObject) -> None:
    population = max(marked, drawn) + rest
    observed = data.draw(st.integers(0, drawn))
    ours = log_hypergeometric_cdf(observed, population, marked, drawn)
    theirs = hypergeom.cdf(observed, population, marked, drawn)
    assert math.exp(ours) == pytest.approx(theirs, rel=1e-6, abs=1e-12)


def test_visibility_087_yields_key_and_080_never_does() -> None:
    """The defaults on 200,000 sifted bits: q = (1 - V) / 2, f = 1.15, threshold 8 %."""
    n = k = 100_000
    tag = fk.verification_tag_bits(n, 1e-15).poly
    good = fk.bbm92_key_length(n, k, 0.08, 1.15 * n * fk.binary_entropy(0.065), tag, 1e-10, 1e-15)
    assert good.length > 0
    bad = fk.bbm92_key_length(n, k, 0.10, 1.1 * n * fk.binary_entropy(0.10), tag, 1e-10, 1e-15)
    assert (bad.length, bad.reason) == (0, "error_rate_too_high")


@given(
    st.integers(0, 200_000), st.integers(0, 200_000), st.floats(0, 0.5), st.floats(0, 1e6),
    st.floats(1e-15, 1e-3), st.floats(1e-18, 1e-3),
)  # fmt: skip
def test_never_negative_never_more_than_sifted(
    n: int, k: int, q: float, leak: float, eps_sec: float, eps_cor: float
) -> None:
    length = fk.bbm92_key_length(n, k, q, leak, 64, eps_sec, eps_cor)
    assert 0 <= length.length <= n
    assert math.isfinite(length.length_real)
    assert (length.length == 0) == (length.reason is not None)
    more_leak = fk.bbm92_key_length(n, k, q, leak + 100, 64, eps_sec, eps_cor)
    assert more_leak.length <= length.length
    looser = fk.bbm92_key_length(n, k, min(0.5, q + 0.01), leak, 64, eps_sec, eps_cor)
    assert looser.length <= length.length


def test_a_longer_tag_is_charged() -> None:
    short = fk.bbm92_key_length(50_000, 50_000, 0.03, 10_000, 50, 1e-10, 1e-15)
    long = fk.bbm92_key_length(50_000, 50_000, 0.03, 10_000, 64, 1e-10, 1e-15)
    assert short.length - long.length == 14


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"n": -1}, "n"), ({"k": 1.5}, "k"), ({"q_tol": math.nan}, "q_tol"),
        ({"leak_bits": -1.0}, "leak_ec"), ({"eps_sec": 0.0}, "eps_sec"),
        ({"eps_cor": 1.0}, "eps_cor"),
    ],
)  # fmt: skip
def test_impossible_inputs_are_named(change: dict[str, float], named: str) -> None:
    legal: dict[str, Any] = {
        "n": 1000, "k": 1000, "q_tol": 0.05, "leak_bits": 0.0,
        "verification_bits": 64, "eps_sec": 1e-10, "eps_cor": 1e-15,
    }  # fmt: skip
    with pytest.raises(fk.ParameterError) as caught:
        fk.bbm92_key_length(**(legal | change))
    assert caught.value.parameter == named
