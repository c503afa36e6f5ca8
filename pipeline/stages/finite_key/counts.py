"""Common parts of the decoy-state formulas: counts per intensity, fluctuation bounds, gamma."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.tails import max_errors_unseen_log

Bound = Literal["hoeffding", "chernoff"]
# probability bound for an honest channel that leaves a brighter intensity silent where a dimmer one
# clicked
_CONTRADICTION = 1e-3
# beyond the range of any attenuator or modulator; keeps every formula finite
MAX_MU = 100.0
MIN_STEP = 1e-9
MIN_PROBABILITY = 1e-12


def delta_hoeffding(n: float, eps: float) -> float:
    """sqrt(n/2 ln(1/eps)): Lim et al. 2014, Eqs. A1 and A2; n = total of the basis."""
    return math.sqrt(inputs.not_negative("n", n) / 2 * -math.log(inputs.epsilon("eps", eps)))


@dataclass(frozen=True, slots=True)
class CountBounds:
    lower: float
    upper: float


def chernoff_bounds(x: float, eps: float) -> CountBounds:
    """Expectation behind an observed count, multiplicative Chernoff, each side failing with eps.

    b = ln(1/eps): [x - b/2 - sqrt(2 b x + b^2/4), x + b + sqrt(2 b x + b^2)]; Yin et al. 2020,
    Sci. Rep. 10, 14312 (from memory; re-derived from Chernoff's bounds exp(-d^2 m / (2 + d))
    and exp(-d^2 m / 2)).
    """
    x, b = inputs.not_negative("x", x), -math.log(inputs.epsilon("eps", eps))
    return CountBounds(
        x - b / 2 - math.sqrt(2 * b * x + b * b / 4), x + b + math.sqrt(2 * b * x + b * b)
    )


def fluctuated(counts: Sequence[float], eps: float, bound: Bound) -> list[CountBounds]:
    """Each count's expectation: Hoeffding with the basis' total, or Chernoff on its own."""
    inputs.choice("bound", bound, ("hoeffding", "chernoff"))
    if bound == "chernoff":
        return [chernoff_bounds(c, eps) for c in counts]
    d = delta_hoeffding(sum(counts), eps)
    return [CountBounds(c - d, c + d) for c in counts]


def gamma(eps_sec: float, rate: float, c: float, d: float, const: float = 21.0) -> float:
    """Lim et al. 2014, Eq. 5: by how much the phase error may exceed the observed rate.

    Vanishes at rate 0, where it is unsound (docs/claim.md): see ``phase_error``.
    """
    inputs.epsilon("eps_sec", eps_sec)
    b = inputs.rate("rate", rate)
    for name, value in (("c", c), ("d", d), ("const", const)):
        inputs.positive(name, value)
    variance = (1 - b) * b
    if variance == 0.0:
        return 0.0
    spread = 1 / c + 1 / d
    tail = math.log2(spread) - math.log2(variance) + 2 * (math.log2(const) - math.log2(eps_sec))
    return math.sqrt(spread * variance / math.log(2) * max(0.0, tail))


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
    hypergeometric bound at gamma's own failure probability, at every size: gamma is a normal
    approximation and too small where few errors are expected among the bits seen *or* kept.
    strict: the exact bound at the *squared* failure probability.
    """
    inputs.choice("guard", guard, ("exact", "strict", "printed"))
    for name, value in (("v_test", v_test), ("s_test", s_test), ("s_key", s_key)):
        inputs.not_negative(name, value)
    inputs.positive("const", const)
    inputs.epsilon("eps_sec", eps_sec)
    k, n = math.floor(s_test), math.floor(s_key)
    if k == 0 or n == 0:  # the bound proves less than one single photon
        return PhaseError(1.0, None, 0.5)
    rate = min(0.5, v_test / s_test)
    printed = gamma(eps_sec, rate, s_test, s_key, const)
    phi = rate + printed
    if guard != "printed":
        log_failure = math.log(eps_sec) - math.log(const)
        share = 2 * log_failure if guard == "strict" else log_failure
        errors = min(k, math.ceil(v_test))
        phi = max(phi, max_errors_unseen_log(errors, k, n, share) / n)
    return PhaseError(rate, printed, min(0.5, phi))


@dataclass(frozen=True, slots=True)
class Source:
    """Intensities in mean photons per pulse, brightest first, and their probabilities.

    scales: e^mu / p; tau_0, tau_1: probability that a pulse holds no or one photon,
    sum_k p_k e^-mu_k mu_k^n / n! (Lim et al. 2014, below Eq. 2).
    """

    mus: tuple[float, ...]
    ps: tuple[float, ...]
    scales: tuple[float, ...]
    tau_0: float
    tau_1: float

    @classmethod
    def of(cls, mus: Sequence[float], ps: Sequence[float]) -> Source:
        scales = tuple(math.exp(m) / p for m, p in zip(mus, ps, strict=True))
        tau_0 = sum(1 / s for s in scales)
        tau_1 = sum(m / s for m, s in zip(mus, scales, strict=True))
        return cls(tuple(mus), tuple(ps), scales, tau_0, tau_1)

    def expectations(self, counts: Sequence[float], eps: float, bound: Bound) -> list[CountBounds]:
        """n^±_k = e^mu_k / p_k [n_k ± delta]."""
        return [
            CountBounds(scale * i.lower, scale * i.upper)
            for scale, i in zip(self.scales, fluctuated(counts, eps, bound), strict=True)
        ]


def check_errors(name: str, errors: Sequence[int], of: str, detections: Sequence[int]) -> None:
    """Refuse an intensity with more errors than detections."""
    for m, n in zip(errors, detections, strict=True):
        if m > n:
            raise inputs.ParameterError(name, f"exceeds {of}", (m, n))


def check_silence(name: str, source: Source, detections: Sequence[int]) -> None:
    """Refuse a silent intensity where dimmer ones clicked often.

    A silent intensity is legal: vacuum and quiet detectors. But e^mu times the detection
    probability is a power series in mu with positive terms, whatever the channel does to n
    photons; so of the events of two intensities the brighter one has at least the share
    p_b e^-mu_b of p_b e^-mu_b + p_d e^-mu_d. Counts that contradict it with less than 1e-3 are
    refused: two intensities were mixed up, or one was never sent.
    """
    for i, brighter in enumerate(detections):
        if brighter:
            continue
        for j in range(i + 1, len(detections)):
            share = source.scales[j] / (source.scales[i] + source.scales[j])
            if detections[j] * math.log1p(-share) < math.log(_CONTRADICTION):
                raise inputs.ParameterError(
                    name, "is silent in an intensity brighter than one that clicked",
                    tuple(detections),
                )  # fmt: skip


def checked_source(mus: Sequence[float], ps: Sequence[float], wanted: int) -> Source:
    """The source, or ParameterError: intensities fall by steps that a modulator can set,
    probabilities are positive and sum to one.
    """
    mus = inputs.sequence("mus", mus, wanted, "intensity")
    ps = inputs.sequence("ps", ps, wanted, "probability")
    for m in mus:
        if inputs.not_negative("mus", m) > MAX_MU:
            raise inputs.ParameterError("mus", f"must not exceed {MAX_MU} photons", m)
    for p in ps:
        if inputs.rate("ps", p) < MIN_PROBABILITY:
            raise inputs.ParameterError("ps", f"must be at least {MIN_PROBABILITY}", p)
    if abs(sum(ps) - 1) > 1e-9:
        raise inputs.ParameterError("ps", "must sum to one", ps)
    if any(a - b < MIN_STEP for a, b in itertools.pairwise(mus)):
        raise inputs.ParameterError("mus", f"must fall by at least {MIN_STEP} each", mus)
    return Source.of(mus, ps)
