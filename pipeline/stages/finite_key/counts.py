"""What the decoy-state formulas share: counts per intensity, fluctuation bounds, gamma."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.tails import max_errors_unseen

Bound = Literal["hoeffding", "chernoff"]
# below this size the exact tail is cheap; above it single-photon errors are never few
_EXACT_UP_TO = 20_000_000


def delta_hoeffding(n: float, eps: float) -> float:
    """sqrt(n/2 ln(1/eps)): Lim et al. 2014, Eqs. A1 and A2; n = total of the basis."""
    return math.sqrt(inputs.not_negative("n", n) / 2 * math.log(1 / inputs.epsilon("eps", eps)))


@dataclass(frozen=True, slots=True)
class Interval:
    lower: float
    upper: float


def chernoff_bounds(x: float, eps: float) -> Interval:
    """Expectation behind an observed count, multiplicative Chernoff, each side failing with eps.

    b = ln(1/eps): [x - b/2 - sqrt(2 b x + b^2/4), x + b + sqrt(2 b x + b^2)]; Yin et al. 2020,
    Sci. Rep. 10, 14312 (from memory, re-derived in the security facts, 1.1).
    """
    x, b = inputs.not_negative("x", x), math.log(1 / inputs.epsilon("eps", eps))
    return Interval(
        x - b / 2 - math.sqrt(2 * b * x + b * b / 4), x + b + math.sqrt(2 * b * x + b * b)
    )


def fluctuated(counts: Sequence[int], eps: float, bound: Bound) -> list[Interval]:
    """Each count's expectation: Hoeffding with the basis' total, or Chernoff on its own."""
    if bound == "chernoff":
        return [chernoff_bounds(c, eps) for c in counts]
    if bound != "hoeffding":
        raise inputs.ParameterError("bound", "must be 'hoeffding' or 'chernoff'", bound)
    d = delta_hoeffding(sum(counts), eps)
    return [Interval(c - d, c + d) for c in counts]


def gamma(eps_sec: float, rate: float, c: float, d: float, const: float = 21.0) -> float:
    """Lim et al. 2014, Eq. 5: what the phase error may exceed the observed rate by.

    Vanishes at rate 0, where it is unsound (security facts, 1.7): see ``phase_error``.
    """
    inputs.epsilon("eps_sec", eps_sec)
    b = inputs.rate("rate", rate)
    if c <= 0 or d <= 0:
        raise inputs.ParameterError("c, d", "must be positive", (c, d))
    if b in (0.0, 1.0):
        return 0.0
    spread = (c + d) * (1 - b) * b / (c * d * math.log(2))
    tail = (c + d) / (c * d * (1 - b) * b) * const**2 / eps_sec**2
    return math.sqrt(spread * max(0.0, math.log2(tail)))


@dataclass(frozen=True, slots=True)
class PhaseError:
    """rate: v / s; gamma: its correction as printed; phi: the bound charged."""

    rate: float
    gamma: float | None
    phi: float


Guard = Literal["exact", "strict", "printed"]


def phase_error(
    v_test: float, s_test: float, s_key: float, eps_sec: float, const: float, guard: Guard
) -> PhaseError:
    """Bound on the phase error of the single photons of the key basis.

    printed: rate + gamma, as in the papers. exact (default): the larger of that and the exact
    hypergeometric bound at gamma's own failure probability, since gamma is too small below some
    30 errors. strict: the exact bound at the *squared* failure probability.
    """
    if guard not in ("exact", "strict", "printed"):
        raise inputs.ParameterError("guard", "must be 'exact', 'strict' or 'printed'", guard)
    if s_test <= 0 or s_key <= 0:
        return PhaseError(1.0, None, 0.5)
    rate = min(0.5, v_test / s_test)
    printed = gamma(eps_sec, rate, s_test, s_key, const)
    phi = rate + printed
    k, n = math.floor(s_test), math.floor(s_key)
    small = n + k <= _EXACT_UP_TO or v_test < 100
    if guard != "printed" and k > 0 and n > 0 and (small or guard == "strict"):
        failure = eps_sec / const
        failure = failure**2 if guard == "strict" else failure
        errors = min(k, math.ceil(v_test))
        phi = max(phi, max_errors_unseen(errors, k, n, failure) / n)
    return PhaseError(rate, printed, min(0.5, phi))


def tau(n: int, mus: Sequence[float], ps: Sequence[float]) -> float:
    """Probability that a pulse holds n photons: sum_k p_k e^-k k^n / n! (Lim 2014, below Eq. 2)."""
    return sum(p * math.exp(-m) * m**n for m, p in zip(mus, ps, strict=True)) / math.factorial(n)


def checked_counts(name: str, values: Sequence[int], wanted: int) -> tuple[int, ...]:
    """One whole number >= 0 per intensity."""
    if len(values) != wanted:
        raise inputs.ParameterError(name, f"needs one count per intensity ({wanted})", values)
    return tuple(inputs.count(name, v) for v in values)


def check_errors(name: str, errors: Sequence[int], of: str, detections: Sequence[int]) -> None:
    """No intensity has more errors than detections."""
    for m, n in zip(errors, detections, strict=True):
        if m > n:
            raise inputs.ParameterError(name, f"exceeds {of}", (m, n))


def check_source(mus: Sequence[float], ps: Sequence[float], wanted: int) -> None:
    """Intensities falling, probabilities positive and summing to one."""
    if len(mus) != wanted:
        raise inputs.ParameterError("mus", f"needs {wanted} intensities", mus)
    if len(ps) != wanted:
        raise inputs.ParameterError("ps", f"needs {wanted} probabilities", ps)
    for m in mus:
        inputs.not_negative("mus", m)
    for p in ps:
        if not 0 < inputs.rate("ps", p) <= 1:
            raise inputs.ParameterError("ps", "must be positive", p)
    if abs(sum(ps) - 1) > 1e-9:
        raise inputs.ParameterError("ps", "must sum to one", tuple(ps))
    if any(a <= b for a, b in zip(mus, mus[1:], strict=False)):
        raise inputs.ParameterError("mus", "must fall strictly", tuple(mus))
