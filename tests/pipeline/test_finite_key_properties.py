"""Properties that hold for every key length; hypothesis searches for counts that violate one.

The exact hypergeometric bound counts whole errors: where it determines the length, the length may
step by the cost of one error (``_grain``) when the number of kept bits changes. No other deviation
is allowed.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from photonlink.pipeline.planning.model import load_link
from photonlink.pipeline.planning.rates import Planned, key_rate
from photonlink.pipeline.stages import finite_key as fk

EPS = st.floats(-300, -0.01).map(lambda x: 10.0**x)
GUARDS = st.sampled_from(["exact", "strict", "printed"])
FORMULAS = pytest.mark.parametrize("formula", ["lim2014", "rusca2018"])
Block = dict[str, Any]


@st.composite
def blocks(draw: st.DrawFn, formula: str, *, plausible: bool = False) -> Block:
    """Any legal block; ``plausible``: counts and errors follow the intensities, as on a link."""
    three = formula == "lim2014"
    weak = draw(st.floats(0, 0.05)) if three else 0.0
    decoy = weak + draw(st.floats(0.02, 0.3))
    mus = [weak + decoy + draw(st.floats(0.05, 0.6)), decoy] + ([weak] if three else [])
    parts = [draw(st.floats(0.05, 1)) for _ in mus]
    ps = [p / sum(parts) for p in parts]
    keys = ("n_key", "n_test") if three else ("n_key", "m_key", "n_test")
    block: Block = {"mus": mus, "ps": ps}
    if plausible:
        eta, noise = 10 ** draw(st.floats(-3, -0.5)), 10 ** draw(st.floats(-7, -4))
        pulses, error = 10 ** draw(st.floats(7, 10)), draw(st.floats(0.002, 0.06))
        for name, share in (("key", 0.6), ("test", 0.1)):
            light = [1 - math.exp(-eta * m) for m in mus]
            rows = [(pulses * share * p * (noise + x), error * x + noise / 2, noise + x)
                    for p, x in zip(ps, light, strict=True)]  # fmt: skip
            block[f"n_{name}"] = [1 + round(n) for n, _, _ in rows]
            block[f"m_{name}"] = [round(n * wrong / all_) for n, wrong, all_ in rows]
    else:
        for name in keys:
            if name.startswith("n"):
                block[name] = [draw(st.integers(1, 10**12)) for _ in mus]
        for name in ("key", "test"):
            block[f"m_{name}"] = [draw(st.integers(0, n)) for n in block[f"n_{name}"]]
    if three:
        del block["m_key"]
    small = {"eps_sec": 1e-10, "eps_cor": 1e-15}
    block |= small if plausible else {"eps_sec": draw(EPS), "eps_cor": draw(EPS)}
    block["leak_ec"] = draw(st.floats(0, 0.3)) * sum(block["n_key"])
    return block | {"thresholds": fk.OBSERVED}


def _length(formula: str, block: Block, **change: Any) -> fk.DecoyKeyLength:
    result = getattr(fk, formula)(**(block | change))
    assert isinstance(result, fk.DecoyKeyLength)
    return result


def _grain(r: fk.DecoyKeyLength | fk.KeyLength) -> float:
    kept = r.s_key_1 if isinstance(r, fk.DecoyKeyLength) else r.n
    return 2 + math.log2(kept + 2)


@FORMULAS
@settings(max_examples=150)
@given(data=st.data())
def test_every_result_is_finite_and_within_the_sifted_bits(
    formula: str, data: st.DataObject
) -> None:
    block = data.draw(blocks(formula))
    more: Block = {"guard": data.draw(GUARDS)}
    if formula == "lim2014":
        more["bound"] = data.draw(st.sampled_from(["hoeffding", "chernoff"]))
    r = _length(formula, block, **more)
    figures = [r.length_real, r.s_key_0, r.s_key_1, r.s_test_1, r.v_test_1, r.v_test_1_raw]
    figures += [r.phase.rate, r.phase.phi, r.overhead_bits, r.tau_0, r.tau_1, *r.details.values()]
    assert all(math.isfinite(x) and x == x for x in figures)
    assert 0 <= r.length <= sum(block["n_key"])
    assert (r.length == 0) == (r.reason is not None)
    assert 0 <= r.phase.phi <= 0.5
    assert "nan" not in str(r)


@FORMULAS
@settings(max_examples=60)
@given(data=st.data())
def test_more_leak_or_smaller_epsilon_never_gives_more(formula: str, data: st.DataObject) -> None:
    block = data.draw(blocks(formula, plausible=data.draw(st.booleans())))
    guard = data.draw(GUARDS)
    r = _length(formula, block, guard=guard)
    more_leak = block["leak_ec"] + data.draw(st.floats(0, 1e9))
    assert _length(formula, block, guard=guard, leak_ec=more_leak).length <= r.length
    for name in ("eps_sec", "eps_cor"):
        smaller = block[name] * data.draw(st.floats(1e-3, 1))
        assume(smaller > 0)
        got = _length(formula, block, guard=guard, **{name: smaller}).length
        assert got <= r.length + (0 if guard == "printed" else _grain(r))


@FORMULAS
@settings(max_examples=60)
@given(data=st.data())
def test_more_errors_never_give_more(formula: str, data: st.DataObject) -> None:
    """Except errors of the weakest intensity, which the formulas count as background."""
    block = data.draw(blocks(formula, plausible=True))
    r = _length(formula, block)
    rows = {"m_test": [0, 1]} if formula == "lim2014" else {"m_test": [0], "m_key": [0, 1]}
    for name, which in rows.items():
        detections = block["n" + name[1:]]
        for i in which:
            worse = list(block[name])
            worse[i] = data.draw(st.integers(worse[i], detections[i]))
            assert _length(formula, block, **{name: worse}).length <= r.length + _grain(r)


@FORMULAS
@settings(max_examples=60)
@given(data=st.data())
def test_more_of_the_same_raises_the_rate_towards_a_limit(
    formula: str, data: st.DataObject
) -> None:
    block = data.draw(blocks(formula, plausible=True))
    rates = []
    for factor in (1, 4, 16, 256, 4096):
        names = [n for n in ("n_key", "n_test", "m_key", "m_test") if n in block]
        bigger: Block = {n: [factor * c for c in block[n]] for n in names}
        bigger["leak_ec"] = factor * block["leak_ec"]
        r = _length(formula, block | bigger)
        rates.append((r.length / factor, _grain(r)))
        assert r.length / factor <= sum(block["n_key"]) - block["leak_ec"] + 1
    for (fewer, grain), (more, _) in itertools.pairwise(rates):
        assert fewer <= more + grain


@FORMULAS
@settings(max_examples=40)
@given(data=st.data())
def test_looser_thresholds_never_give_more(formula: str, data: st.DataObject) -> None:
    """Of two sets of thresholds a block meets, the looser pays less."""
    block = data.draw(blocks(formula, plausible=True))
    seen = _length(formula, block)
    slack = data.draw(st.floats(0, 1))
    looser = slack * data.draw(st.floats(0, 1))
    lengths = []
    for share in (slack, looser):
        phi = seen.phase.phi + (1 - share) * (0.5 - seen.phase.phi)
        agreed = fk.DecoyThresholds(share * seen.s_key_1, phi, share * seen.s_key_0)
        r = _length(formula, block, thresholds=agreed)
        assert r.reason is None or "threshold" not in r.reason
        lengths.append(r.length)
    assert lengths[1] <= lengths[0] <= seen.length


BOUNDS = pytest.mark.parametrize("bound", ["exact", "tlgr2012", "lim2021"])


@BOUNDS
@settings(max_examples=60)
@given(
    n=st.integers(0, 10**7), k=st.integers(0, 10**7), q=st.floats(0, 0.5),
    leak=st.floats(0, 1e6), eps_sec=EPS, eps_cor=EPS, seen=st.floats(0, 1),
)  # fmt: skip
def test_pairs(
    bound: Any, n: int, k: int, q: float, leak: float, eps_sec: float, eps_cor: float, seen: float
) -> None:
    def length(n: int = n, k: int = k, q: float = q, **change: float) -> fk.KeyLength:
        given = {"leak_ec": leak, "eps_sec": eps_sec, "eps_cor": eps_cor} | change
        agreed = fk.PairThresholds(q, n=0, k=0)
        errors = math.floor(seen * q * k)
        return fk.pair_key_length(n, k, errors, thresholds=agreed, bound=bound, **given)

    r = length()
    assert 0 <= r.length <= n
    assert math.isfinite(r.length_real)
    assert math.isfinite(r.phi)
    assert (r.length == 0) == (r.reason is not None)
    for worse in (
        length(leak_ec=leak + 100), length(q=min(0.5, q + 0.01)),
        length(eps_sec=eps_sec / 10), length(eps_cor=eps_cor / 10),
    ):  # fmt: skip
        assert worse.length <= r.length
    fewer = length(n=n - n // 3, k=k - k // 3, leak_ec=leak)
    # with a third fewer test bits, rounding may lower the tolerated errors by one of k
    rounding = (n / max(k - k // 3, 1)) * (math.log2(n + 2) + 2) if bound == "exact" else 0
    assert fewer.length <= r.length + _grain(r) + rounding


@settings(max_examples=80)
@given(
    n=st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)),
    q=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)), leak=st.floats(0, 1e6), eps=EPS,
    ratio=st.sampled_from([None, 1.0, 1.05]),
)  # fmt: skip
def test_both_bases(
    n: tuple[int, int], q: tuple[float, float], leak: float, eps: float, ratio: float | None
) -> None:
    assume(eps > 1e-290)
    test_z = test_x = None
    if ratio is not None:
        test_z, test_x = fk.agreed_tests(*n, *q, eps, ratio)

    def length(q_x: float = q[1], leak_z: float = leak, eps_sec: float = eps) -> Any:
        z, x = fk.BasisString(n[0], 0, leak_z), fk.BasisString(n[1], 0, leak)
        agreed = fk.TwoBasisThresholds(q[0], q_x, test_z=test_z, test_x=test_x)
        return fk.two_basis_key_length(z, x, agreed, eps_sec, 1e-15)

    r = length()
    assert 0 <= r.z.length <= n[0]
    assert 0 <= r.x.length <= n[1]
    assert math.isfinite(r.z.length_real)
    assert (r.length == 0) == (r.reason is not None)
    assert length(leak_z=leak + 100).z.length <= r.z.length
    assert length(leak_z=leak + 100).x.length == r.x.length
    assert length(q_x=min(0.5, q[1] + 0.01)).z.length <= r.z.length
    assert length(eps_sec=eps / 10).length <= r.length


@settings(max_examples=20)
@given(order=st.permutations(range(4)))
def test_permuting_detectors_changes_nothing(order: list[int]) -> None:
    link = load_link("lucamarini2013")
    kind = link.receiver.detectors[0]
    detectors = [
        kind.model_copy(update={"count": 1, "efficiency": e, "dark_per_gate": d})
        for e, d in ((0.20, 1e-5), (0.21, 2e-5), (0.19, 3e-5), (0.22, 1.7e-5))
    ]

    def rate(which: list[int]) -> float:
        receiver = link.receiver.model_copy(
            update={"detectors": tuple(detectors[i] for i in which)}
        )
        return key_rate(Planned.of(link.model_copy(update={"receiver": receiver}))).bits_per_s

    assert rate(order) == rate([0, 1, 2, 3]) > 0


@given(blocks=st.integers(0, 10**6), more=st.integers(0, 10**6), eps=EPS)
def test_epsilons_of_blocks_add_up_to_one_at_most(blocks: int, more: int, eps: float) -> None:
    budget = fk.EpsilonBudget(eps_sec=eps)
    assert budget.after(blocks) <= budget.after(blocks + more) <= 1.0


@given(n=st.integers(0, 10**12), e=st.floats(0, 0.5), eps=EPS)
def test_costs_are_finite(n: int, e: float, eps: float) -> None:
    leak = fk.second_order_leak(n, e, eps)
    assert math.isfinite(leak.bits)
    assert fk.planned_leak(n, e, 1.0) == pytest.approx(leak.shannon)
    tags = fk.verification_tag_bits(n, eps)
    assert 2.0**-tags.toeplitz <= eps
    assert tags.poly >= 1
    t = fk.shortest_tag_bits([n], eps)
    assert fk.authentication_cost([n], t).eps_auth <= eps
    assert t == 1 or fk.authentication_cost([n], t - 1).eps_auth > eps


@pytest.mark.parametrize("name", ["lucamarini2013", "boaron2018", "nice2022"])
def test_longer_blocks_come_as_near_to_the_asymptotic_rate_as_one_likes(name: str) -> None:
    link = Planned.of(load_link(name))
    results = [key_rate(link.with_block_s(10.0**p)) for p in (3, 5, 7, 9)]
    rates = [r.bits_per_s for r in results]
    assert rates == sorted(rates)
    assert rates[-1] <= results[-1].asymptotic_bits_per_s
    assert rates[-1] == pytest.approx(results[-1].asymptotic_bits_per_s, rel=0.02)


def test_counts_may_be_numpy_integers() -> None:
    counts = np.array([[3_000_000, 200_000, 900], [50_000, 3000, 20], [400, 40, 9]])
    mixed = fk.lim2014(
        np.array([0.5, 0.1, 0.0]), np.array([0.7, 0.2, 0.1]), *counts, np.float64(1e5), 1e-10,
        1e-15, thresholds=fk.OBSERVED,
    )  # fmt: skip
    plain = fk.lim2014(
        [0.5, 0.1, 0.0], [0.7, 0.2, 0.1], *counts.tolist(), 1e5, 1e-10, 1e-15,
        thresholds=fk.OBSERVED,
    )  # fmt: skip
    assert mixed.length == plain.length
