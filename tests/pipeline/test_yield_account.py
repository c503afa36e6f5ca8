"""The account of the asymptotic key adds up, and each cause has its own row."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photonlink.pipeline.stages import finite_key as fk


def _block(n: int, errors: int, q: float, leak: float, *, ratio: float = 1.0,
           other: float = 0.0) -> fk.YieldBlock:  # fmt: skip
    string = fk.BasisString(n, errors, leak, 64, other)
    agreed = fk.TwoBasisThresholds(q, q)
    if ratio > 1:
        z, x = fk.agreed_tests(n, n, q, q, 1e-10, ratio)
        agreed = dataclasses.replace(agreed, test_z=z, test_x=x)
    length = fk.two_basis_key_length(string, string, agreed, 1e-10, 1e-15)
    rate = min(0.5, errors / n + 0.001)
    lost = (("window", n // 50), ("dead time", n // 100))
    return fk.YieldBlock(string, string, agreed, length, 2 * n + n // 20, rate, rate, lost, 256)


def _rows(block: fk.YieldBlock) -> dict[str, float]:
    return {row.name: row.bits for row in fk.yield_account(block).rows}


@given(
    n=st.integers(1, 10**6), share=st.floats(0, 0.3), q=st.floats(0, 0.5), leak=st.floats(0, 1e6),
    ratio=st.sampled_from([1.0, 1.05]), other=st.floats(0, 1e4),
)  # fmt: skip
def test_rows_add_up_to_the_net_key(
    n: int, share: float, q: float, leak: float, ratio: float, other: float
) -> None:
    account = fk.yield_account(
        _block(n, math.floor(share * n), q, leak, ratio=ratio, other=other)
    )  # fmt: skip
    total = account.asymptotic_bits + math.fsum(row.bits for row in account.rows)
    assert total == pytest.approx(account.net_bits, abs=1e-6 * n + 1e-3)
    assert math.isfinite(account.share)
    assert len({row.name for row in account.rows}) == len(account.rows)


def test_each_cause_has_its_row() -> None:
    base = _block(140_000, 3500, 0.0262, 24_500)
    rows = _rows(base)
    losses = [bits for name, bits in rows.items() if name.startswith(("window", "dead", "thresh"))]
    assert all(bits < 0 for bits in losses)
    for changed, name in (
        (_block(140_000, 3500, 0.03, 24_500), "threshold above the error rate"),
        (_block(140_000, 3500, 0.0262, 24_500, ratio=1.02), "mismatch of detectors"),
        (_block(140_000, 3500, 0.0262, 26_000), "correction above Shannon's limit"),
        (_block(140_000, 3500, 0.0262, 24_500, other=900), "multi-clicks and others charged"),
        (dataclasses.replace(base, authentication_bits=900), "authentication"),
        (dataclasses.replace(base, lost=(("window", 9000),)), "window"),
    ):
        other = _rows(changed)
        assert other[name] < rows[name] - 100, name
        moved = {k for k in rows if abs(other.get(k, 0) - rows[k]) > 60}
        # a higher threshold also changes the finite-size row, a loss also the other losses
        assert moved - {name, "finite size", "other coincidences not used", "dead time"} == set()
    text = str(fk.yield_account(base))
    assert f"{base.length.length - 256:,}" in text
    assert "finite size" in text
