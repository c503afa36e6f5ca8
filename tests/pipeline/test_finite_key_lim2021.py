"""Small blocks (Lim et al. 2021): vectors, and the published gain over the older bound."""

from __future__ import annotations

from typing import Any

import pytest

from photonlink.pipeline.stages import finite_key as fk


def test_vectors(security_vectors: list[dict[str, Any]]) -> None:
    cases = [v for v in security_vectors if v["function"] == "lim2021"]
    assert len(cases) == 6
    for case in cases:
        i, e = case["inputs"], case["expected"]
        r = fk.lim2021(i["n"], i["k"], i["Q_tol"], i["leak_ec"], i["eps_sec"], i["eps_cor"])
        assert r.key.length == e["ell"]
        assert r.key.length_real == pytest.approx(e["ell_real"], rel=1e-6)
        assert r.nu == pytest.approx(e["nu"], rel=1e-6)
        assert r.xi == pytest.approx(e["xi"], rel=1e-6)
        assert r.eps_pe == pytest.approx(e["eps_pe"], rel=1e-6)


def test_optimised_vectors(security_vectors: list[dict[str, Any]]) -> None:
    cases = [v for v in security_vectors if v["function"] == "lim2021_optimised"]
    assert len(cases) == 6
    for case in cases:
        i, e = case["inputs"], case["expected"]
        common = (i["n"], i["k"], i["Q_tol"], i["leak_ec"], i["eps_sec"], i["eps_cor"])
        r = fk.lim2021(*common, optimise=True)
        assert abs(r.key.length - e["ell"]) <= 1
        assert r.key.length_real == pytest.approx(e["ell_real"], rel=1e-6)
        assert r.key.length >= fk.lim2021(*common).key.length


def test_smallest_block_with_key_is_as_small_as_published() -> None:
    """Security facts, 1.3: Q = 1 %, f = 1.19, 1e-10 and 1e-15: 1603 bits, 1872 with TLGR 2012."""

    def smallest(length: Any) -> int:
        def best(m: int) -> int:
            shares = [m * s // 40 for s in range(8, 33)]
            return max(length(m - k, k, 1.19 * (m - k) * fk.binary_entropy(0.01)) for k in shares)

        return next(m for m in range(1400, 2200, 10) if best(m) > 0)

    new = smallest(lambda n, k, leak: fk.lim2021(n, k, 0.01, leak, 1e-10, 1e-15).key.length)
    old = smallest(lambda n, k, leak: fk.tlgr2012(n, k, 0.01, leak, 1e-10, 1e-15).length)
    assert new == pytest.approx(1603, rel=0.01)
    assert old == pytest.approx(1872, rel=0.01)
