"""Phase errors where detectors differ: the cost of a largest ratio of acceptances.

Model. A pair matched by times is a two-qubit state that Eve chooses, different for every pair and
dependent on all earlier ones. A pair in which both ends chose the key basis is accepted through a
filter F = F_A (x) F_B, diagonal in the key basis; one in the test basis through a filter diagonal
in that. Squared eigenvalues of all filters, both bases, lie within a factor r of each other: the
product of both stations' ratios (``timing.StationMismatch``). P projects on the states that the
ideal test basis calls an error; a phase error of a key pair is P after F.

Assumptions, named: SINGLE_PHOTONS (each pair is one photon at each end, or what a squashing map
makes of it); NO_MEMORY (a filter does not depend on earlier clicks beyond the quiet time);
CALIBRATED (the ratio r holds for all light that reaches a detector: intensity, wavelength, mode).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from photonlink.pipeline.stages.finite_key import inputs

MAX_RATIO = 1e3
_GOLDEN = (math.sqrt(5) - 1) / 2


def _ratio(name: str, value: float) -> float:
    checked = inputs.number(name, value)
    if not 1.0 <= checked <= MAX_RATIO:
        raise inputs.ParameterError(name, f"must lie in [1, {MAX_RATIO:g}]", value)
    return checked


def phase_error_bound(e: float, r: float) -> float:
    """Largest phase error rate of key pairs whose test pairs err at rate ``e``; infinite blocks.

    sin^2(arcsin sqrt(u) + arcsin s), u = r e / (1 + (r - 1) e), s = (sqrt r - 1) / (sqrt r + 1);
    at most 1/2. Proof: the error rate before the test filter is at most u, since the filter weighs
    errors and the rest within r. The key filter turns a vector by at most arcsin s (Wielandt's
    inequality for a positive operator of condition number sqrt r), so its angle to the error-free
    subspace grows by no more; a mixed state is a pure one with a purifying system. Both bounds are
    attained, and the result never exceeds ((sqrt r + 1) / 2)^2 (sqrt(r e) + s)^2.
    """
    e, r = inputs.rate("e", e), _ratio("r", r)
    before = r * e / (1 + (r - 1) * e)
    turned = math.asin(math.sqrt(before)) + math.asin((math.sqrt(r) - 1) / (math.sqrt(r) + 1))
    return min(0.5, math.sin(min(turned, math.pi / 2)) ** 2)


def _centre_and_radius(r: float) -> tuple[float, float]:
    """Centre and radius of the spectrum of the inverse filter, scaled to [1 / sqrt r, 1]."""
    return (1 + 1 / math.sqrt(r)) / 2, (1 - 1 / math.sqrt(r)) / 2


def phase_errors_per_key_bit(y: float, r: float) -> float:
    """Largest share of phase errors among key pairs when there are ``y`` test errors per key pair
    (at equal basis probabilities): ((sqrt y + h) / c)^2, c, h = (1 ± 1/sqrt r) / 2; at most 1/2.

    Proof: let phi be the normalised vector behind the key filter F, G the inverse of F with
    spectrum in [1 / sqrt r, 1]. ||G phi - c phi|| <= h, so ||P G phi|| >= c ||P phi|| - h. Per
    accepted key pair there are at least ||P G phi||^2 test errors, the test filter being no
    smaller than the smallest eigenvalue. Concave in y, which ``PhaseErrorTest`` rests on.
    """
    y, r = inputs.not_negative("y", y), _ratio("r", r)
    c, h = _centre_and_radius(r)
    return min(0.5, ((math.sqrt(y) + h) / c) ** 2)


@dataclass(frozen=True, slots=True)
class PhaseErrorTest:
    """A test of phase errors, agreed before a block: it bounds them for any n and number of errors.

    Statement: except with probability exp(log_failure), at the end of *any* block, whenever Eve
    chose to stop, the n key pairs hold at most (mu n + nu m - log_failure) / lambda phase errors, m
    being the errors of the test pairs.

    Proof. ``phase_errors_per_key_bit`` is concave in y, so it lies below its tangent at
    ``tangent``: for each pair, given everything before it, P(phase error) <= alpha P(key) +
    gamma P(test error), gamma with ``basis_ratio``. Put exp(mu) = 1 + alpha (exp(lambda) - 1) and
    1 - exp(-nu) = gamma exp(-mu) (exp(lambda) - 1). Then exp(lambda phase errors - mu key pairs -
    nu test errors) is a supermartingale that starts at 1: its expected factor for one pair is
    1 + exp(-mu) (exp(lambda) - 1) P(phase error) - (1 - exp(-mu)) P(key) - (1 - exp(-nu)) P(test
    error) <= 1. Ville's inequality does the rest. No sampling without replacement is assumed, and
    basis probabilities may vary by r from pair to pair.

    ratio: r. basis_ratio: nominal probability of a pair in the key basis over that in the test
    basis (both ends' choices). tangent and lam are free, but fixed before the block.
    """

    ratio: float
    basis_ratio: float
    tangent: float
    lam: float

    def __post_init__(self) -> None:
        _ratio("ratio", self.ratio)
        inputs.positive("basis_ratio", self.basis_ratio)
        inputs.positive("tangent", self.tangent)
        inputs.positive("lam", self.lam)
        if not math.isfinite(self._weights()[1]):
            raise inputs.ParameterError("lam", "is too large for this basis_ratio", self.lam)

    def _weights(self) -> tuple[float, float]:
        """mu, nu; nu infinite where lambda is too large."""
        c, h = _centre_and_radius(self.ratio)
        root = math.sqrt(self.tangent)
        alpha, slope = h * (root + h) / c**2, (1 + h / root) / c**2
        grown = math.expm1(min(self.lam, 700.0))
        mu = math.log1p(alpha * grown)
        lost = slope * self.basis_ratio * math.exp(-mu) * grown
        return mu, -math.log1p(-lost) if lost < 1 else math.inf

    def max_phase_errors(self, n: int, errors: int, log_failure: float) -> float:
        """Bound on phase errors of ``n`` key pairs given ``errors`` of the test pairs; at most n/2
        is useful, more is returned as it is."""
        n, errors = inputs.count("n", n), inputs.count("errors", errors)
        if not -1e6 < inputs.number("log_failure", log_failure) < 0:
            raise inputs.ParameterError("log_failure", "must be negative", log_failure)
        mu, nu = self._weights()
        return (mu * n + nu * errors - log_failure) / self.lam

    @classmethod
    def agreed(
        cls, n: int, errors: int, log_failure: float, *, ratio: float, basis_ratio: float = 1.0
    ) -> PhaseErrorTest:
        """The test that is best for ``n`` key pairs and ``errors`` test errors, both as agreed
        before the block. Deterministic; any other test would hold too, with a larger bound."""
        n, errors = max(1, inputs.count("n", n)), inputs.count("errors", errors)
        ratio, rho = _ratio("ratio", ratio), inputs.positive("basis_ratio", basis_ratio)

        def best_lam(log_tangent: float) -> tuple[float, PhaseErrorTest | None]:
            def at(log_lam: float) -> tuple[float, PhaseErrorTest | None]:
                try:
                    test = cls(ratio, rho, math.exp(log_tangent), math.exp(log_lam))
                except inputs.ParameterError:
                    return math.inf, None
                return test.max_phase_errors(n, errors, log_failure), test

            return _least(at, -25.0, 3.0, 45)

        likely = math.log(max(rho * errors, 1.0) / n)
        width = 3.0 if ratio > 1 else 0.0
        _, test = _least(best_lam, likely - width / 3, likely + width, 16 if width else 0)
        if test is None:
            raise inputs.ParameterError("basis_ratio", "leaves no test", basis_ratio)
        return test


def _least(
    f: Callable[[float], tuple[float, PhaseErrorTest | None]], low: float, high: float, steps: int
) -> tuple[float, PhaseErrorTest | None]:
    """Golden-section search for the least first entry of a function with one minimum (infinite
    to its right at most)."""
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    f_a, f_b = f(a), f(b)
    for _ in range(steps):
        if f_a[0] <= f_b[0]:
            high, b, f_b = b, a, f_a
            a = high - _GOLDEN * (high - low)
            f_a = f(a)
        else:
            low, a, f_a = a, b, f_b
            b = low + _GOLDEN * (high - low)
            f_b = f(b)
    return f_a if f_a[0] <= f_b[0] else f_b
