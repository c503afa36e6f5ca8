"""Decoy-state BB84 with one decoy: Rusca, Boaron, Grünenfelder, Martin, Zbinden, APL 112, 171104
(2018), arXiv:1801.03443. Its appendix was read in a transcription only (docs/claim.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from photonlink.pipeline.stages.finite_key import counts, inputs
from photonlink.pipeline.stages.finite_key.counts import Guard, Source, delta_hoeffding
from photonlink.pipeline.stages.finite_key.decoy import (
    Bounds,
    Charges,
    DecoyKeyLength,
    clamp,
    conclude,
)
from photonlink.pipeline.stages.finite_key.thresholds import DecoyThresholds, Observed, agreed

TERMS = 19  # Eq. A24 with all terms equal
Vacuum = Literal["min", 0, 1]


def rusca2018(
    mus: Sequence[float],
    ps: Sequence[float],
    n_key: Sequence[int],
    m_key: Sequence[int],
    n_test: Sequence[int],
    m_test: Sequence[int],
    leak_ec: float,
    eps_sec: float,
    eps_cor: float,
    *,
    thresholds: DecoyThresholds | Observed | None = None,
    vacuum: Vacuum = "min",
    gconst: float = TERMS,
    clip_v: bool = True,
    guard: Guard = "exact",
) -> DecoyKeyLength:
    """Secret key length of a block: Eqs. A16 to A25. Counts in events, leak in bits.

    mus: mu_1 > mu_2 > 0. m_key: errors of the key basis per intensity, known after error
    correction. gconst: 19 is consistent with the budget, 21 as printed. vacuum: the intensity
    whose errors bound the vacuum, or "min", the better of both. thresholds: agreed before the
    block, or "observed". ParameterError names what is impossible.
    """
    source = counts.checked_source(mus, ps, 2)
    if mus[1] < counts.MIN_STEP:
        raise inputs.ParameterError("mus", "needs mu_2 > 0", tuple(mus))
    inputs.choice("vacuum", vacuum, ("min", 0, 1))
    n_key, m_key = inputs.counts("n_key", n_key, 2), inputs.counts("m_key", m_key, 2)
    n_test, m_test = inputs.counts("n_test", n_test, 2), inputs.counts("m_test", m_test, 2)
    counts.check_silence("n_key", source, n_key)
    counts.check_silence("n_test", source, n_test)
    counts.check_errors("m_key", m_key, "n_key", n_key)
    counts.check_errors("m_test", m_test, "n_test", n_test)
    charges = Charges.checked(
        leak_ec, eps_sec, eps_cor, terms=TERMS, gconst=gconst, clip_v=clip_v, guard=guard
    )
    wanted = agreed(thresholds)
    bounds = rusca2018_bounds(source, n_key, m_key, n_test, m_test, charges.eps, vacuum)
    return conclude("rusca2018", source, bounds, charges, n_key, n_test, m_test, wanted)


def rusca2018_bounds(
    source: Source,
    n_key: Sequence[float],
    m_key: Sequence[float],
    n_test: Sequence[float],
    m_test: Sequence[float],
    eps: float,
    vacuum: Vacuum = "min",
) -> Bounds:
    """Eqs. A16 to A22 on counts that need not be whole (a planner's expectations)."""
    key_vacuum = _vacuum_at_most(source, n_key, m_key, eps, vacuum)
    test_vacuum = _vacuum_at_most(source, n_test, m_test, eps, vacuum)
    s_key_0, s_key_1 = _photons(source, n_key, key_vacuum, eps)
    _, s_test_1 = _photons(source, n_test, test_vacuum, eps)
    v_raw = 0.0
    if sum(n_test):
        m1, m2 = source.expectations(m_test, eps, "hoeffding")
        v_raw = max(0.0, source.tau_1 / (source.mus[0] - source.mus[1]) * (m1.upper - m2.lower))
    details = {"s_key_0_upper": key_vacuum, "s_test_0_upper": test_vacuum}
    return Bounds(s_key_0, s_key_1, s_test_1, v_raw, details)  # Eq. A22


def _vacuum_at_most(
    source: Source, n: Sequence[float], m: Sequence[float], eps: float, vacuum: Vacuum
) -> float:
    """Eq. A16: half the vacuum detections are errors."""
    d_errors, d_all = delta_hoeffding(sum(m), eps), delta_hoeffding(sum(n), eps)
    bounds = [
        2 * (source.tau_0 * scale * (errors + d_errors) + d_all)
        for scale, errors in zip(source.scales, m, strict=True)
    ]
    return clamp(min(bounds) if vacuum == "min" else bounds[vacuum], float(sum(n)))


def _photons(
    source: Source, n: Sequence[float], vacuum_at_most: float, eps: float
) -> tuple[float, float]:
    """Lower bounds on detections from vacuum (Eq. A19) and from single photons (Eq. A17)."""
    mu1, mu2 = source.mus
    total = float(sum(n))
    n1, n2 = source.expectations(n, eps, "hoeffding")
    s0 = clamp(source.tau_0 / (mu1 - mu2) * (mu1 * n2.lower - mu2 * n1.upper), total)
    factor = source.tau_1 * mu1 / (mu2 * (mu1 - mu2))
    rest = (mu1**2 - mu2**2) / mu1**2 * vacuum_at_most / source.tau_0
    return s0, clamp(factor * (n2.lower - mu2**2 / mu1**2 * n1.upper - rest), total)
