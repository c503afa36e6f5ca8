"""A second implementation of the hypergeometric law, in 60-digit arithmetic, without expansions.

It is slow and shares no code with the product. The first term comes from mpmath's log-gamma, each
further term from the ratio of neighbouring terms.
"""

from __future__ import annotations

import mpmath
from mpmath import mpf

DIGITS = 60


def _log_choose(n: int, k: int) -> mpf:
    return mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)


def pmf(x: int, population: int, marked: int, drawn: int) -> mpf:
    with mpmath.workdps(DIGITS):
        if x < max(0, drawn - population + marked) or x > min(drawn, marked):
            return mpf(0)
        return mpmath.exp(
            _log_choose(marked, x)
            + _log_choose(population - marked, drawn - x)
            - _log_choose(population, drawn)
        )


def cdf(observed: int, population: int, marked: int, drawn: int) -> mpf:
    """P[X <= observed], summed downwards from ``observed`` until a term is below 1e-40 of the
    sum; where the upper tail is shorter, one minus the upper tail."""
    lowest, highest = max(0, drawn - population + marked), min(drawn, marked)
    if observed >= highest:
        return mpf(1)
    if observed < lowest:
        return mpf(0)
    with mpmath.workdps(DIGITS):
        above_mean = observed * population > drawn * marked
        if not above_mean:
            return _sum(observed, population, marked, drawn, down=True)
        return 1 - _sum(observed + 1, population, marked, drawn, down=False)


def _sum(x: int, population: int, marked: int, drawn: int, *, down: bool) -> mpf:
    term = pmf(x, population, marked, drawn)
    total = mpf(0)
    while term > 0:
        total += term
        if term < total * mpf(10) ** -40:
            break
        if down:
            up, low = x * (population - marked - drawn + x), (marked - x + 1) * (drawn - x + 1)
            x -= 1
        else:
            up, low = (marked - x) * (drawn - x), (x + 1) * (population - marked - drawn + x + 1)
            x += 1
        term = term * up / low
    return total
