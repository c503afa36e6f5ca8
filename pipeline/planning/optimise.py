"""Finds the best settings of a link: intensities, their probabilities, the bias of the bases.

scipy's Nelder-Mead on unbounded variables that map onto legal settings. The weakest of three
intensities stays as the link has it: it is the leakage of the modulator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from photonlink.pipeline.planning.expected import Settings
from photonlink.pipeline.planning.rates import Planned, asymptotic_rate, key_rate

_LARGEST_MU = 1.2


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def _share(x: float) -> float:
    return 1 / (1 + math.exp(-min(max(x, -14.0), 14.0)))


def _variables(s: Settings) -> list[float]:
    if not s.mus:
        return [_logit(s.key_basis)]
    rest = s.mus[2] if len(s.mus) == 3 else 0.0
    first = [
        _logit(s.key_basis),
        _logit(min(0.999, s.mus[0] / _LARGEST_MU)),
        _logit((s.mus[1] - rest) / (s.mus[0] - 2 * rest)),
        _logit(s.ps[0]),
    ]
    return first if len(s.mus) == 2 else [*first, _logit(s.ps[1] / (s.ps[1] + s.ps[2]))]


def _settings(x: Sequence[float], like: Settings) -> Settings:
    basis = _share(x[0])
    if not like.mus:
        return Settings((), (), basis)
    rest = like.mus[2] if len(like.mus) == 3 else 0.0
    mu1 = max(_LARGEST_MU * _share(x[1]), 3 * rest + 1e-6)
    mu2 = rest + (mu1 - 2 * rest) * (1e-4 + 0.9998 * _share(x[2]))
    p1 = _share(x[3])
    if len(like.mus) == 2:
        return Settings((mu1, mu2), (p1, 1 - p1), basis)
    p2 = (1 - p1) * _share(x[4])
    return Settings((mu1, mu2, rest), (p1, p2, 1 - p1 - p2), basis)


def optimised(
    link: Planned, *, forever: bool = False, start: Settings | None = None, tries: int = 1
) -> Planned:
    """The link with the settings that give it most key in blocks as its security section says
    (``forever``: in infinitely long ones). start: settings of a similar link, a warm start."""

    def cost(x: np.ndarray) -> float:
        trial = replace(link, settings=_settings([float(v) for v in x], link.settings))
        if forever:
            rate = asymptotic_rate(trial)
            return -math.log(rate) if rate > 0 else 1e3
        result = key_rate(trial, quick=True)
        if result.length_real > 1:
            return -math.log(result.length_real / result.block_s)
        # no key yet: the missing amount, as a slope for the search
        return 1e3 - result.length_real / max(result.sifted_bits_per_s * result.block_s, 1.0)

    best = _variables(start or link.settings)
    for attempt in range(tries):
        found = minimize(
            cost, best, method="Nelder-Mead",
            options={
                "xatol": 2e-3, "fatol": 1e-5, "maxfev": 400,
                "initial_simplex": _simplex(best, 0.7 if start is None and attempt == 0 else 0.2),
            },
        )  # fmt: skip
        best = [float(v) for v in found.x]
    return replace(link, settings=_settings(best, link.settings))


def _simplex(x: Sequence[float], step: float) -> list[list[float]]:
    return [list(x)] + [[v + step * (i == j) for j, v in enumerate(x)] for i in range(len(x))]
