"""Thresholds that follow the link: error rates agreed from earlier blocks, never from the block.

Both ends hold the same public list of earlier blocks (accepted or not; the errors of a discarded
block may be sent openly) and compute the same threshold. Security does not depend on how it was
chosen: any threshold fixed before the block is sound. The choice decides how often an honest block
is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from photonlink.pipeline.stages.finite_key import inputs

# step of a threshold: rounding differences between two machines have no effect
GRID = 2.0**-16
# number of earlier blocks that count, so that an old state of the link loses its influence
MEMORY = 32
_ONE_IN_TWENTY = 1.645  # standard deviations that a normal variable exceeds once in twenty times


@dataclass(frozen=True, slots=True)
class EarlierBlock:
    """Errors among the bits of one basis of an earlier block."""

    errors: int
    bits: int

    def __post_init__(self) -> None:
        bits = inputs.count("earlier.bits", self.bits)
        object.__setattr__(self, "bits", bits)
        errors = inputs.count("earlier.errors", self.errors, at_most=bits)
        object.__setattr__(self, "errors", errors)


def threshold_from(
    earlier: Sequence[EarlierBlock], bits: int, abort_probability: float, *, first: float
) -> float:
    """Error rate that a block of ``bits`` exceeds with ``abort_probability`` if the link goes on
    as in ``earlier`` (oldest first; the last ``MEMORY`` count).

    Mean and slope: where the line through the blocks' rates stands one block on (the mean alone
    with fewer than four blocks, or no clear rise). Spread: binomial of the block, that of the
    estimate, and what the blocks scatter beyond the binomial. first: with no earlier block. In
    [GRID, 1/2], a multiple of GRID, rounded up.
    """
    first = inputs.rate("first", first, at_most=0.5)
    bits = inputs.count("bits", bits)
    refused = inputs.epsilon("abort_probability", abort_probability)
    if isinstance(earlier, str | bytes) or not isinstance(earlier, Sequence):
        raise inputs.ParameterError("earlier", "must be a list of EarlierBlock", earlier)
    if not all(isinstance(b, EarlierBlock) for b in earlier):
        raise inputs.ParameterError("earlier", "must be a list of EarlierBlock", type(earlier))
    known = [b for b in earlier if b.bits > 0][-MEMORY:]
    if not known or bits == 0:
        return _on_grid(first)
    total = sum(b.bits for b in known)
    mean = sum(b.errors for b in known) / total
    # one error more: a link without errors so far may still have some
    variance = max(mean, 1 / (total + 1)) * (1 - mean)
    scatter = _scatter(known, mean, variance)
    ahead, doubt = _trend(known, mean, variance, scatter)
    spread = math.sqrt(variance / bits + scatter + doubt)
    # a spread that is itself estimated from few blocks has Student's tail
    z = student_quantile(len(known) - 1, refused) if scatter > 0 else _normal_quantile(refused)
    # Cornish-Fisher: few errors have a longer upper tail
    skew = (z * z - 1) / (6 * bits) if z > 1 else 0.0
    return _on_grid(ahead + max(0.0, z) * spread + skew)


def _normal_quantile(beyond: float) -> float:
    """z with P[Z > z] = beyond."""
    return -NormalDist().inv_cdf(beyond)


def student_quantile(degrees: int, beyond: float) -> float:
    """t >= 0 with P[T > t] = beyond (at least 1e-12, at most 1/2), whole degrees of freedom.

    Bisection on the finite series of the distribution (Abramowitz and Stegun, 26.7.3, 26.7.4).
    """
    tail = min(0.5, max(1e-12, beyond))
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_tail(degrees, middle) > tail else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _student_tail(degrees: int, angle: float) -> float:
    """P[T > sqrt(degrees) tan(angle)]."""
    square = math.cos(angle) ** 2
    odd = degrees % 2 == 1
    # powers of the cosine: odd degrees 1, 3, ..., degrees - 2; even ones 0, 2, ..., degrees - 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for j in range(1 if odd else 0, degrees - 1, 2):
        total += term
        term *= square * (j + 1) / (j + 2)
    inside = math.sin(angle) * total
    if odd:
        inside = 2 / math.pi * (angle + inside)
    return (1 - inside) / 2


def _scatter(known: Sequence[EarlierBlock], mean: float, variance: float) -> float:
    """Variance of the rate between blocks beyond the binomial one; 0 with one block, and where
    binomial blocks would scatter as much once in twenty times."""
    degrees = len(known) - 1
    if degrees < 1:
        return 0.0
    seen = math.fsum((b.errors / b.bits - mean) ** 2 for b in known) / degrees
    expected = math.fsum(variance / b.bits for b in known) / len(known)
    # Wilson and Hilferty's quantile of chi square
    likely = (1 - 2 / (9 * degrees) + _ONE_IN_TWENTY * math.sqrt(2 / (9 * degrees))) ** 3
    return seen - expected if seen > likely * expected else 0.0


def _trend(
    known: Sequence[EarlierBlock], mean: float, variance: float, scatter: float
) -> tuple[float, float]:
    """Rate expected of the next block, and the variance of that expectation."""
    m = len(known)
    doubt = (scatter + math.fsum(variance / b.bits for b in known) / m) / m
    if m < 4:
        return mean, doubt
    centre = (m - 1) / 2
    inertia = math.fsum((i - centre) ** 2 for i in range(m))
    rates = [b.errors / b.bits for b in known]
    slope = math.fsum((i - centre) * r for i, r in enumerate(rates)) / inertia
    noise = math.sqrt(m * doubt / inertia)
    if slope <= 2 * noise:  # a significant rise
        return mean, doubt
    return mean + slope * (m - centre), doubt * (1 + m * (m - centre) ** 2 / inertia)


def _on_grid(rate: float) -> float:
    return min(0.5, max(GRID, math.ceil(rate / GRID - 1e-9) * GRID))
