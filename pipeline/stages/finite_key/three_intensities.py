"""Decoy-state BB84 with three intensities: Lim, Curty, Walenta, Xu, Zbinden, PRA 89, 022307 (2014),
arXiv:1311.7129. Equation numbers are the paper's."""

from __future__ import annotations

from collections.abc import Sequence

from photonlink.pipeline.stages.finite_key import counts, inputs
from photonlink.pipeline.stages.finite_key.counts import Bound, Guard, Source
from photonlink.pipeline.stages.finite_key.decoy import (
    Bounds,
    Charges,
    DecoyKeyLength,
    clamp,
    conclude,
)
from photonlink.pipeline.stages.finite_key.thresholds import DecoyThresholds, Observed, agreed

TERMS = 21  # Eq. B4 with all terms equal


def lim2014(
    mus: Sequence[float],
    ps: Sequence[float],
    n_key: Sequence[int],
    n_test: Sequence[int],
    m_test: Sequence[int],
    leak_ec: float,
    eps_sec: float,
    eps_cor: float,
    *,
    thresholds: DecoyThresholds | Observed | None = None,
    bound: Bound = "hoeffding",
    clip_v: bool = True,
    guard: Guard = "exact",
) -> DecoyKeyLength:
    """Secret key length of a block: Eqs. 1 to 5. Counts in events, leak in bits.

    mus: mu_1 > mu_2 + mu_3, mu_2 > mu_3 >= 0, mean photons per pulse at Alice's output; ps: their
    probabilities, the same in both bases. n_key, n_test: detections; m_test: errors.
    thresholds: agreed before the block, or "observed". bound: "hoeffding" as printed, or
    "chernoff" per intensity. guard: see ``phase_error``. ParameterError names what is impossible.
    """
    source = counts.checked_source(mus, ps, 3)
    if mus[0] - (mus[1] + mus[2]) < counts.MIN_STEP:
        raise inputs.ParameterError("mus", "needs mu_1 > mu_2 + mu_3", tuple(mus))
    n_key, n_test = inputs.counts("n_key", n_key, 3), inputs.counts("n_test", n_test, 3)
    m_test = inputs.counts("m_test", m_test, 3)
    counts.check_silence("n_key", source, n_key)
    counts.check_silence("n_test", source, n_test)
    counts.check_errors("m_test", m_test, "n_test", n_test)
    charges = Charges.checked(
        leak_ec, eps_sec, eps_cor, terms=TERMS, gconst=TERMS, clip_v=clip_v, guard=guard
    )
    wanted = agreed(thresholds)
    bounds = lim2014_bounds(source, n_key, n_test, m_test, charges.eps, bound)
    name = f"lim2014 ({bound})"
    return conclude(name, source, bounds, charges, n_key, n_test, m_test, wanted)


def lim2014_bounds(
    source: Source,
    n_key: Sequence[float],
    n_test: Sequence[float],
    m_test: Sequence[float],
    eps: float,
    bound: Bound,
) -> Bounds:
    """Eqs. 2 to 4 on counts that need not be whole (a planner's expectations)."""
    s_key_0, s_key_1 = _photons(source, n_key, eps, bound)
    s_test_0, s_test_1 = _photons(source, n_test, eps, bound)
    v_raw = 0.0
    if sum(n_test):
        _, m2, m3 = source.expectations(m_test, eps, bound)
        v_raw = max(0.0, source.tau_1 * (m2.upper - m3.lower) / (source.mus[1] - source.mus[2]))
    return Bounds(s_key_0, s_key_1, s_test_1, v_raw, {"s_test_0": s_test_0})  # Eq. 4


def _photons(
    source: Source, detections: Sequence[float], eps: float, bound: Bound
) -> tuple[float, float]:
    """Lower bounds on detections from vacuum (Eq. 2) and from single photons (Eq. 3)."""
    mu1, mu2, mu3 = source.mus
    total = float(sum(detections))
    n1, n2, n3 = source.expectations(detections, eps, bound)
    s0 = clamp(source.tau_0 * (mu2 * n3.lower - mu3 * n2.upper) / (mu2 - mu3), total)
    vacuum = (mu2**2 - mu3**2) / mu1**2 * (n1.upper - s0 / source.tau_0)
    factor = source.tau_1 * mu1 / ((mu2 - mu3) * (mu1 - (mu2 + mu3)))
    return s0, clamp(factor * (n2.lower - n3.upper - vacuum), total)
