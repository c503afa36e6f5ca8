"""Small blocks (Lim et al. 2021): the published gain over the older bound."""

from __future__ import annotations

from typing import Any

import pytest

from photonlink.pipeline.stages import finite_key as fk


def test_the_best_split_of_epsilon_is_never_worse() -> None:
    for n, k, q in ((100_000, 20_000, 0.02), (10_000, 3000, 0.025), (1500, 1500, 0.045)):
        common = (n, k, q, 0.1 * n, 1e-9, 1e-12)
        assert fk.lim2021(*common, optimise=True).key.length >= fk.lim2021(*common).key.length


def test_smallest_block_with_key_is_as_small_as_published() -> None:
    """Q = 1 %, f = 1.19, epsilons 1e-10 and 1e-15: 1603 bits, 1872 with TLGR 2012."""

    def smallest(length: Any) -> int:
        def best(m: int) -> int:
            shares = [m * s // 40 for s in range(8, 33)]
            return max(length(m - k, k, 1.19 * (m - k) * fk.binary_entropy(0.01)) for k in shares)

        return next(m for m in range(1400, 2200, 10) if best(m) > 0)

    new = smallest(lambda n, k, leak: fk.lim2021(n, k, 0.01, leak, 1e-10, 1e-15).key.length)
    old = smallest(lambda n, k, leak: fk.tlgr2012(n, k, 0.01, leak, 1e-10, 1e-15).length)
    assert new == pytest.approx(1603, rel=0.01)
    assert old == pytest.approx(1872, rel=0.01)
