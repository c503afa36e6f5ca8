"""Small blocks: Lim, Xu, Pan, Ekert, PRL 126, 100501 (2021), arXiv:2009.04882.

The formula is from memory of the paper and was checked by numbers (docs/claim.md): re-read the
paper before quoting a claim made with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.bbm92 import (
    KeyLength,
    checked_block,
    make_account,
    tag_bits,
)

# of eps_sec that the optimiser may give to parameter estimation
_LARGEST_SHARE = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class SmallBlock:
    """key: the account. nu: by how much the phase error may exceed the threshold; xi: the part of
    it from the Serfling step, both 1 without a bound; share: 2 eps_pe / eps_sec.
    """

    key: KeyLength
    nu: float
    xi: float
    eps_pe: float
    share: float


def _nu_of_xi(xi: float, n: int, k: int, q: float, eps_pe: float) -> float:
    """Least nu for this xi: eps_pe^2 = exp(-2 m k xi^2 / (n + 1))
    + exp(-2 G(m (q + xi)) [(n (nu - xi))^2 - 1]), G(x) = 1/(x + 1) + 1/(m - x + 1)."""
    m = n + k
    log_eps = 2 * math.log(eps_pe)
    left = -math.expm1(min(0.0, -2 * m * k * xi * xi / (n + 1) - log_eps))  # share of eps_pe^2
    x = m * (q + xi)
    if left <= 0 or x > m:
        return math.inf
    g = 1 / (x + 1) + 1 / (m - x + 1)
    return xi + math.sqrt(1 - (log_eps + math.log(left)) / (2 * g)) / n


def _best_nu(n: int, k: int, q: float, eps_pe: float) -> tuple[float, float]:
    """(nu, xi) with the smallest nu."""
    from scipy.optimize import minimize_scalar  # used by planners only, and slow to import

    lowest = math.sqrt(-(n + 1) * math.log(eps_pe) / ((n + k) * k))
    found = minimize_scalar(
        lambda ln: _nu_of_xi(lowest * (1 + math.exp(ln)), n, k, q, eps_pe),
        bounds=(-30.0, 3.0),
        method="bounded",
        options={"xatol": 1e-10},
    )
    xi = lowest * (1 + math.exp(float(found.x)))
    return _nu_of_xi(xi, n, k, q, eps_pe), xi


def _length(
    n: int, k: int, q: float, leak_ec: float, eps_sec: float, eps_cor: float, share: float
) -> SmallBlock:
    eps_pe = share * eps_sec / 2
    eps_pa = eps_sec - 2 * eps_pe
    penalty = tag_bits(eps_cor) - 2 * math.log2(2 * eps_pa)
    if n == 0 or k == 0:
        key = make_account("lim2021", n, k, 0.5, leak_ec, penalty)
        return SmallBlock(key, 1.0, 1.0, eps_pe, share)
    nu, xi = (min(1.0, x) for x in _best_nu(n, k, q, eps_pe))
    phi = min(0.5, q + nu)
    return SmallBlock(make_account("lim2021", n, k, phi, leak_ec, penalty), nu, xi, eps_pe, share)


def lim2021(
    n: int,
    k: int,
    q_tol: float,
    leak_ec: float,
    eps_sec: float,
    eps_cor: float,
    *,
    optimise: bool = False,
) -> SmallBlock:
    """l = floor(n [1 - h(q_tol + nu)] - leak - t + 2 log2(2 eps_pa)), eps_sec = 2 eps_pe + eps_pa.

    eps_pe = eps_pa = eps_sec / 3, or with ``optimise`` the split that gives most key.
    """
    n, k, leak_ec, eps_sec, eps_cor = checked_block(n, k, leak_ec, eps_sec, eps_cor)
    inputs.epsilon("eps_sec", eps_sec, parts=2 / (1 - _LARGEST_SHARE))
    q_tol = inputs.rate("q_tol", q_tol, at_most=0.5)
    if not inputs.flag("optimise", optimise):
        return _length(n, k, q_tol, leak_ec, eps_sec, eps_cor, 2 / 3)
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda s: -_length(n, k, q_tol, leak_ec, eps_sec, eps_cor, s).key.length_real,
        bounds=(0.01, _LARGEST_SHARE),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return _length(n, k, q_tol, leak_ec, eps_sec, eps_cor, float(found.x))
