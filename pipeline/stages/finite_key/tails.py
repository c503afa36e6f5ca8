"""Tails of the hypergeometric law: sampling without replacement.

A block of ``n + k`` bits holds ``obs + E`` errors; a uniformly random ``k`` of them are disclosed
and ``obs`` errors are found. The functions bound ``E``, the errors in the ``n`` bits kept.

Every probability here is exact up to rounding, or larger than the true one, never smaller: terms
that are not summed are bounded by a geometric series, and the rounding error is added. So ``E`` is
exact or larger. One call takes about a millisecond at any size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from photonlink.pipeline.stages.finite_key import inputs

# A remainder below this share of the sum is replaced by its bound.
_NEGLIGIBLE = 1e-12
# Terms summed one by one: all that count up to some 5e8 bits.
_TERMS = 32_768
_LOG_2PI = math.log(2 * math.pi)


def log_hypergeometric_cdf(observed: int, population: int, marked: int, drawn: int) -> float:
    """ln P[X <= observed] for X marked items among ``drawn`` of ``population``; never too small.

    The largest term by Loader's saddle-point expansion ("Fast and accurate computation of
    binomial probabilities", 2000), which does not cancel; the others by the exact ratio of
    neighbours. The law is log-concave: from any term on, the ratio only falls away from the
    mode, so ``last r / (1 - r)`` bounds what was not summed.
    """
    lowest = max(0, drawn - (population - marked))
    highest = min(drawn, marked)
    if observed >= highest:
        return 0.0
    if observed < lowest:
        return -math.inf
    mode = (drawn + 1) * (marked + 1) // (population + 2)
    if observed > mode:  # one minus a lower bound on the upper tail
        above = _log_sum(observed + 1, population, marked, drawn, step=+1, rest=False)
        above -= _rounding(above, population)
        return math.log1p(-math.exp(above)) if above < 0 else -math.inf
    below = _log_sum(observed, population, marked, drawn, step=-1, rest=True)
    return min(0.0, below + _rounding(below, population))


def _rounding(log_p: float, population: int) -> float:
    """Bound on the error of ``log_p``: means are rounded by 2^-53, and where the deviance is D
    that moves it by at most 2^-53 sqrt(2 D mean) each; the sum of terms adds its own."""
    size = 1.0 + abs(log_p)
    return 1e-9 + 1e-14 * size + 2.0**-50 * math.sqrt(population * size)


def _log_sum(
    start: int, population: int, marked: int, drawn: int, *, step: int, rest: bool
) -> float:
    """ln of the sum of P[X = i] for i = start, start + step, ...; ``rest``: with a bound on the
    terms beyond the first ``_TERMS``, otherwise without them."""
    log_first = _log_pmf(start, population, marked, drawn)
    total, last, i, chunk = 1.0, 1.0, start, 256
    unmarked = population - marked - drawn
    while True:
        if step < 0:
            k = np.arange(i, max(i - chunk, 0), -1, dtype=np.float64)
            above = k * (unmarked + k)
            below = (marked - k + 1) * (drawn - k + 1)
        else:
            k = np.arange(i, min(i + chunk, marked, drawn), dtype=np.float64)
            above = (marked - k) * (drawn - k)
            below = (k + 1) * (unmarked + k + 1)
        if k.size == 0:
            break
        ratios = above / below
        terms = last * np.cumprod(ratios)
        total += float(terms.sum())
        last, i = float(terms[-1]), i + step * k.size
        ratio = float(ratios[-1])
        beyond = last * ratio / (1 - ratio) if ratio < 1 else math.inf
        if beyond < total * _NEGLIGIBLE or abs(i - start) >= _TERMS:
            total += beyond if rest else 0.0
            break
        chunk = min(2 * chunk, 8192)
    return log_first + math.log(total) if math.isfinite(total) else 0.0


def _log_pmf(i: int, population: int, marked: int, drawn: int) -> float:
    """ln P[X = i]: three binomials with p = drawn / population (Loader 2000, section 4).

    Their deviances are all positive (the last one is 0), so nothing cancels. Quotients of whole
    numbers are rounded once.
    """
    rest = population - drawn
    unmarked = population - marked

    def binomial(x: int, n: int) -> float:
        return _log_binomial_pmf(x, n, n * drawn / population, n * rest / population)

    return binomial(i, marked) + binomial(drawn - i, unmarked) - binomial(drawn, population)


def _log_binomial_pmf(x: int, n: int, mean: float, mean_of_rest: float) -> float:
    """ln P[X = x] of a binomial law of ``n`` trials; mean = n p, mean_of_rest = n (1 - p)."""
    if n == 0:
        return 0.0
    if x in (0, n):  # n ln(1 - p), n ln p
        lost, kept = (mean, mean_of_rest) if x == 0 else (mean_of_rest, mean)
        if lost == 0:
            return 0.0
        if kept == 0:
            return -math.inf
        return n * (math.log1p(-lost / n) if lost < kept else math.log(kept / n))
    spread = math.log(x) + math.log((n - x) / n)
    stirling = _stirling(n) - _stirling(x) - _stirling(n - x)
    return stirling - _deviance(x, mean) - _deviance(n - x, mean_of_rest) - (_LOG_2PI + spread) / 2


def _stirling(n: int) -> float:
    """ln n! less Stirling's ln(sqrt(2 pi n) (n/e)^n)."""
    if n < 16:
        return math.lgamma(n + 1) - (n + 0.5) * math.log(n) + n - _LOG_2PI / 2
    square = float(n) * n
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680) / square) / square) / square) / n


def _deviance(x: int, mean: float) -> float:
    """x ln(x / mean) + mean - x, without cancellation where x is near its mean."""
    away = x - mean
    if mean == 0:
        return math.inf
    if abs(away) >= 0.1 * (x + mean):
        return x * math.log(x / mean) - away
    v = away / (x + mean)
    total, term, j = away * v, 2 * x * v, 1
    while True:
        term *= v * v
        more = total + term / (2 * j + 1)
        if more == total:
            return total
        total, j = more, j + 1


def max_errors_unseen(observed: int, k: int, n: int, failure: float) -> int:
    """Largest number of errors in the ``n`` unseen bits that the sample does not rule out.

    The largest E with P[X <= observed | n + k bits, observed + E errors, k drawn] > failure:
    the true number exceeds it with probability at most ``failure``. Numerical inversion of the
    hypergeometric CDF, as Mannalath, Zapatero and Curty (arXiv:2410.04095) recommend.
    """
    n, k = inputs.count("n", n), inputs.count("k", k)
    observed = inputs.count("observed", observed, at_most=k)
    return max_errors_unseen_log(observed, k, n, math.log(inputs.epsilon("failure", failure)))


def max_errors_unseen_log(observed: int, k: int, n: int, log_failure: float) -> int:
    """``max_errors_unseen`` for ln(failure): a squared epsilon need not fit into a double.
    Counts may be beyond 2^53, as a planner's are."""

    def excess(errors: int) -> float:
        """Positive while that many errors are not ruled out; falls with their number."""
        return log_hypergeometric_cdf(observed, n + k, observed + errors, k) - log_failure

    if excess(n) > 0:
        return n
    low, high = 0, n  # zero unseen errors are never ruled out
    for guess in _bracket(observed, k, n, log_failure):
        if low < guess < high:
            low, high = (guess, high) if excess(guess) > 0 else (low, guess)
    return _last_positive(excess, low, high)


def _last_positive(f: Callable[[int], float], low: int, high: int) -> int:
    """The largest x in [low, high) with f(x) > 0, f falling, f(low) > 0 >= f(high). False
    position with Illinois' halving (Dowell and Jarratt 1971), and a bisection where that is slow.
    """
    f_low, f_high = f(low), f(high)
    side = slow = 0
    while high - low > 1:
        width = high - low
        step = width // 2
        if slow < 4 and math.isfinite(f_low) and math.isfinite(f_high):
            step = round(width * (f_low / (f_low - f_high)))
        else:
            slow = 0
        x = low + min(max(step, 1), width - 1)
        value = f(x)
        if value > 0:
            low, f_low = x, value
            f_high = f_high / 2 if side > 0 else f_high
            side = 1
        else:
            high, f_high = x, value
            f_low = f_low / 2 if side < 0 else f_low
            side = -1
        slow = slow + 1 if 2 * (high - low) > width else 0
    return low


def _bracket(observed: int, k: int, n: int, log_failure: float) -> tuple[int, ...]:
    """Where a normal approximation expects the answer to lie between; the caller checks both."""
    rate = (observed + 1) / (k + 1)
    spread = math.sqrt(-2 * log_failure * rate * (1 / k + 1 / n)) if k and n else 1.0
    low, high = rate + 0.3 * spread, rate + 1.5 * spread - 4 * log_failure / max(k, 1)
    return tuple(int(n * min(x, 1.0)) for x in (low, high))
