"""Tails of the hypergeometric law: sampling without replacement, exactly.

A block of ``n + k`` bits holds ``obs + E`` errors; a uniformly random ``k`` of them are looked
at and ``obs`` errors seen. What ``E`` (errors in the ``n`` bits kept) is still credible?
"""

from __future__ import annotations

import math

import numpy as np

from photonlink.pipeline.stages.finite_key import inputs

# Terms below this share of the largest one cannot move a double any more.
_NEGLIGIBLE = 1e-18


def log_hypergeometric_cdf(observed: int, population: int, marked: int, drawn: int) -> float:
    """ln P[X <= observed] for X marked items among ``drawn`` of ``population``.

    The largest term comes from log-gamma; the others follow by the exact ratio of neighbouring
    terms, so the sum loses nothing to cancellation. Relative error of the probability stays
    below 1e-6 up to a population of 1e8 (log-gamma's rounding).
    """
    lowest = max(0, drawn - (population - marked))
    highest = min(drawn, marked)
    if observed >= highest:
        return 0.0
    if observed < lowest:
        return -math.inf
    mode = (drawn + 1) * (marked + 1) // (population + 2)
    if observed > mode:  # sum the smaller tail above instead
        upper = _sum_terms(observed + 1, population, marked, drawn, step=+1)
        return math.log1p(-math.exp(min(upper, 0.0))) if upper < 0 else -math.inf
    return _sum_terms(observed, population, marked, drawn, step=-1)


def _sum_terms(start: int, population: int, marked: int, drawn: int, *, step: int) -> float:
    """ln of the sum of P[X = i] for i = start, start + step, ... while it matters."""
    log_first = _log_pmf(start, population, marked, drawn)
    total, last, i, chunk = 1.0, 1.0, start, 256
    while True:
        if step < 0:
            k = np.arange(i, max(i - chunk, 0), -1, dtype=np.float64)
            above = k * (population - marked - drawn + k)
            below = (marked - k + 1) * (drawn - k + 1)
        else:
            k = np.arange(i, min(i + chunk, min(drawn, marked)), dtype=np.float64)
            above = (marked - k) * (drawn - k)
            below = (k + 1) * (population - marked - drawn + k + 1)
        if k.size == 0:
            break
        terms = last * np.cumprod(above / below)
        total += float(terms.sum())
        last, i = float(terms[-1]), i + step * k.size
        if last < total * _NEGLIGIBLE:
            break
        chunk = min(2 * chunk, 65536)
    return log_first + math.log(total)


def _log_pmf(i: int, population: int, marked: int, drawn: int) -> float:
    return (
        _log_binomial(marked, i)
        + _log_binomial(population - marked, drawn - i)
        - _log_binomial(population, drawn)
    )


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


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
    """``max_errors_unseen`` for ln(failure): a squared epsilon need not fit into a double."""

    def credible(errors: int) -> bool:
        return log_hypergeometric_cdf(observed, n + k, observed + errors, k) > log_failure

    if credible(n):
        return n
    low, high = _bracket(observed, k, n, log_failure)
    if not credible(low):
        low, high = 0, low
    elif credible(high):
        low, high = high, n
    while high - low > 1:
        middle = (low + high) // 2
        if credible(middle):
            low = middle
        else:
            high = middle
    return low


def _bracket(observed: int, k: int, n: int, log_failure: float) -> tuple[int, int]:
    """Where a normal approximation expects the answer, generously; the caller checks both ends."""
    rate = (observed + 1) / (k + 1)
    spread = math.sqrt(-2 * log_failure * rate * (1 / k + 1 / n))
    high = rate + 1.5 * spread - 4 * log_failure / k
    return max(0, int(n * (rate + 0.3 * spread))) if rate < 1 else 0, min(n, int(n * high) + 1)
