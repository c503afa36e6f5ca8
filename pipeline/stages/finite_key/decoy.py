"""Decoy-state BB84: three intensities (Lim et al. 2014) and two (Rusca et al. 2018).

K is the key basis, T the test basis, all of it disclosed. Detections and errors are lists with
one entry per intensity, the brightest first. Double clicks were given a random bit and kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.costs import entropy_of_bound
from photonlink.pipeline.stages.finite_key.counts import (
    Bound,
    Guard,
    Interval,
    PhaseError,
    check_errors,
    check_source,
    checked_counts,
    delta_hoeffding,
    fluctuated,
    phase_error,
    tau,
)


@dataclass(frozen=True, slots=True)
class DecoyKeyLength:
    """Where the bits of a decoy-state block went; prints as an account.

    s_key_0, s_key_1: vacuum and single-photon detections of the key basis (lower bounds);
    s_test_1: single photons of the test basis; v_test_1: their errors (upper bound), raw before
    it is clipped at all errors of the basis.
    """

    bound: str
    length: int
    length_real: float
    s_key_0: float
    s_key_1: float
    s_test_1: float
    v_test_1: float
    v_test_1_raw: float
    phase: PhaseError
    leak_bits: float
    overhead_bits: float
    tau_0: float
    tau_1: float
    reason: str | None
    details: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{self.bound}:",
            f"  vacuum detections at least {self.s_key_0:.1f}",
            f"  single-photon detections at least {self.s_key_1:.1f}",
            f"  phase error at most {self.phase.phi:.4%}"
            f" costs {self.s_key_1 * entropy_of_bound(self.phase.phi):.1f}",
            f"  error correction leaked {self.leak_bits:.1f}",
            f"  epsilon and verification terms {self.overhead_bits:.1f}",
            f"  secret {self.length}" + (f" ({self.reason})" if self.reason else ""),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What either protocol bounds before the last formula."""

    s_key_0: float
    s_key_1: float
    s_test_1: float
    v_raw: float
    all_test_errors: int
    all_key: int
    details: dict[str, float]


def _conclude(
    bound: str,
    b: _Bounds,
    taus: tuple[float, float],
    leak_ec: float,
    eps: tuple[float, float],
    gconst: float,
    secrecy: int,
    clip_v: bool,
    guard: Guard,
) -> DecoyKeyLength:
    """l = floor(s_0 + s_1 [1 - h(phi)] - leak - 6 log2(terms/eps_sec) - log2(2/eps_cor))."""
    eps_sec, eps_cor = eps
    v = min(b.v_raw, float(b.all_test_errors)) if clip_v else b.v_raw
    v = max(0.0, v)
    phase = phase_error(v, b.s_test_1, b.s_key_1, eps_sec, gconst, guard)
    overhead = 6 * math.log2(secrecy / eps_sec) + math.log2(2 / eps_cor)
    real = b.s_key_0 + b.s_key_1 * (1 - entropy_of_bound(phase.phi)) - leak_ec - overhead
    length = max(0, min(math.floor(real), b.all_key))
    reason = None
    if length == 0:
        reason = "phase_error_too_high" if b.s_key_1 and b.s_test_1 else "no_single_photons_proved"
        if b.all_key == 0:
            reason = "no_detections"
        elif phase.phi < 0.5:
            reason = "leak_and_penalties_exceed_secrecy"
    return DecoyKeyLength(
        bound, length, real, b.s_key_0, b.s_key_1, b.s_test_1, v, b.v_raw, phase, leak_ec,
        overhead, *taus, reason, b.details,
    )  # fmt: skip


def _scaled(
    counts: Sequence[int], mus: Sequence[float], ps: Sequence[float], eps: float, bound: Bound
) -> list[Interval]:
    """n^±_k = e^k / p_k [n_k ± delta]."""
    return [
        Interval(math.exp(m) / p * i.lower, math.exp(m) / p * i.upper)
        for i, m, p in zip(fluctuated(counts, eps, bound), mus, ps, strict=True)
    ]


def _clamp(x: float, highest: float) -> float:
    return min(max(0.0, x), highest)


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
    bound: Bound = "hoeffding",
    clip_v: bool = True,
    guard: Guard = "exact",
) -> DecoyKeyLength:
    """Lim, Curty, Walenta, Xu, Zbinden, PRA 89, 022307 (2014): Eqs. 1 to 5.

    mus: mu_1 > mu_2 + mu_3, mu_2 > mu_3 >= 0. eps_sec = 21 eps, all terms equal (Eq. B4).
    """
    check_source(mus, ps, 3)
    if mus[0] <= mus[1] + mus[2]:
        raise inputs.ParameterError("mus", "needs mu_1 > mu_2 + mu_3", tuple(mus))
    n_key, n_test = checked_counts("n_key", n_key, 3), checked_counts("n_test", n_test, 3)
    m_test = checked_counts("m_test", m_test, 3)
    check_errors("m_test", m_test, "n_test", n_test)
    inputs.not_negative("leak_ec", leak_ec)
    eps = inputs.epsilon("eps_sec", eps_sec) / 21
    inputs.epsilon("eps_cor", eps_cor)
    taus = tau(0, mus, ps), tau(1, mus, ps)

    def singles(counts: Sequence[int]) -> tuple[float, float]:
        mu1, mu2, mu3 = mus
        n1, n2, n3 = _scaled(counts, mus, ps, eps, bound)
        total = sum(counts)
        s0 = taus[0] * (mu2 * n3.lower - mu3 * n2.upper) / (mu2 - mu3)  # Eq. 2
        s0 = _clamp(s0, total)
        factor = taus[1] * mu1 / (mu1 * (mu2 - mu3) - mu2**2 + mu3**2)
        vacuum = (mu2**2 - mu3**2) / mu1**2 * (n1.upper - s0 / taus[0])
        return s0, _clamp(factor * (n2.lower - n3.upper - vacuum), total)  # Eq. 3

    s_key_0, s_key_1 = singles(n_key)
    s_test_0, s_test_1 = singles(n_test)
    _, m2, m3 = _scaled(m_test, mus, ps, eps, bound)
    v_raw = max(0.0, taus[1] * (m2.upper - m3.lower) / (mus[1] - mus[2]))  # Eq. 4
    bounds = _Bounds(
        s_key_0, s_key_1, s_test_1, v_raw if sum(n_test) else 0.0, sum(m_test), sum(n_key),
        {"s_test_0": s_test_0},
    )  # fmt: skip
    name = f"lim2014 ({bound})"
    return _conclude(name, bounds, taus, leak_ec, (eps_sec, eps_cor), 21, 21, clip_v, guard)


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
    vacuum: Literal["min"] | int = "min",
    gconst: float = 19.0,
    clip_v: bool = True,
    guard: Guard = "exact",
) -> DecoyKeyLength:
    """Rusca, Boaron, Grünenfelder, Martin, Zbinden, APL 112, 171104 (2018): Eqs. A16 to A25.

    One decoy: mu_1 > mu_2. m_key: errors of the key basis per intensity, known after error
    correction. eps_sec = 19 eps. gconst: 19 is consistent with the budget, 21 as printed.
    vacuum: intensity whose errors bound the vacuum, or the smallest of both bounds.
    Read in a transcription only (security facts, 1.2).
    """
    check_source(mus, ps, 2)
    if mus[1] <= 0:
        raise inputs.ParameterError("mus", "needs mu_2 > 0", tuple(mus))
    n_key, m_key = checked_counts("n_key", n_key, 2), checked_counts("m_key", m_key, 2)
    n_test, m_test = checked_counts("n_test", n_test, 2), checked_counts("m_test", m_test, 2)
    check_errors("m_key", m_key, "n_key", n_key)
    check_errors("m_test", m_test, "n_test", n_test)
    inputs.not_negative("leak_ec", leak_ec)
    eps = inputs.epsilon("eps_sec", eps_sec) / 19
    inputs.epsilon("eps_cor", eps_cor)
    taus = tau(0, mus, ps), tau(1, mus, ps)
    mu1, mu2 = mus

    def singles(n: Sequence[int], m: Sequence[int]) -> tuple[float, float, float]:
        total = sum(n)
        dm, dn = delta_hoeffding(sum(m), eps), delta_hoeffding(total, eps)
        upper = [
            2 * (taus[0] * math.exp(mu) / p * (errors + dm) + dn)
            for mu, p, errors in zip(mus, ps, m, strict=True)
        ]
        s0_upper = min(upper) if vacuum == "min" else upper[vacuum]  # A16
        s0_upper = _clamp(s0_upper, total)
        n1, n2 = _scaled(n, mus, ps, eps, "hoeffding")
        s0 = _clamp(taus[0] / (mu1 - mu2) * (mu1 * n2.lower - mu2 * n1.upper), total)  # A19
        factor = taus[1] * mu1 / (mu2 * (mu1 - mu2))
        rest = (mu1**2 - mu2**2) / mu1**2 * s0_upper / taus[0]
        s1 = factor * (n2.lower - mu2**2 / mu1**2 * n1.upper - rest)  # A17
        return s0, s0_upper, _clamp(s1, total)

    s_key_0, s_key_0_upper, s_key_1 = singles(n_key, m_key)
    _, s_test_0_upper, s_test_1 = singles(n_test, m_test)
    m1, m2 = _scaled(m_test, mus, ps, eps, "hoeffding")
    v_raw = max(0.0, taus[1] / (mu1 - mu2) * (m1.upper - m2.lower))  # A22
    bounds = _Bounds(
        s_key_0, s_key_1, s_test_1, v_raw if sum(n_test) else 0.0, sum(m_test), sum(n_key),
        {"s_key_0_upper": s_key_0_upper, "s_test_0_upper": s_test_0_upper},
    )  # fmt: skip
    return _conclude(
        "rusca2018", bounds, taus, leak_ec, (eps_sec, eps_cor), gconst, 19, clip_v, guard
    )
