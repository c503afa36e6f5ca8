"""The coincidence window that leaves most key, from jitter, noise, accidentals and error rate.

Fixed before a link runs and never estimated from its data: both ends compute the same from the
agreed values. A wider window keeps more pairs and more accidentals, half of which are errors.
"""

from __future__ import annotations

import functools
import math

from photonlink.pipeline.stages.finite_key import binary_entropy, inputs

# accidentals per pair and picosecond of window, S_A S_B / R: 160,000 clicks/s at either side and
# 23,500 pairs/s; of most links within a factor of ten, which moves the window by a fifth
NOMINAL_ACCIDENTALS_PER_PS = 1e-6
NOMINAL_ERROR_RATE = 0.025
_STEPS = 24


@functools.lru_cache(maxsize=64)
def best_window_ps(
    sigma_ps: float,
    noise_ps: float = 0.0,
    *,
    accidentals_per_ps: float = NOMINAL_ACCIDENTALS_PER_PS,
    error_rate: float = NOMINAL_ERROR_RATE,
) -> int:
    """Half of the window, ps, with the largest n (1 - 2 h(e)).

    sigma_ps: of the residuals without noise. noise_ps: scale of the Laplace noise that each of both
    stations adds. accidentals_per_ps: per true pair and picosecond of full window. error_rate: of
    true pairs.
    """
    sigma = inputs.positive("sigma_ps", sigma_ps)
    noise = inputs.not_negative("noise_ps", noise_ps)
    density = inputs.not_negative("accidentals_per_ps", accidentals_per_ps)
    rate = inputs.rate("error_rate", error_rate, at_most=0.5)
    reach = 6 * sigma + 14 * noise

    def gain(half_ps: float) -> float:
        true, chance = _inside(half_ps, sigma, noise), 2 * half_ps * density
        n = true + chance
        e = (true * rate + chance / 2) / n
        return n * (1 - 2 * binary_entropy(min(e, 0.5)))

    low, high = reach / 100, reach  # one maximum between: the interval shrinks by a third
    for _ in range(_STEPS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if gain(left) < gain(right):
            low = left
        else:
            high = right
    return max(1, round((low + high) / 2))


def _inside(half_ps: float, sigma: float, noise: float) -> float:
    """P[|g + l1 - l2| <= half], g normal, l1 and l2 Laplace of one scale: by the density of the sum
    of two Laplace variables, (1 + |x| / b) exp(-|x| / b) / (4 b)."""
    if noise == 0:
        return math.erf(half_ps / sigma / math.sqrt(2))
    total, steps = 0.0, 200
    step = 16 * noise / steps
    for i in range(steps):
        x = (i + 0.5) * step  # the density is even: both signs by the two normal tails
        weight = (1 + x / noise) * math.exp(-x / noise) / (4 * noise) * step
        high, low = (half_ps - x) / sigma, (half_ps + x) / sigma
        total += weight * (math.erf(high / math.sqrt(2)) + math.erf(low / math.sqrt(2)))
    return min(1.0, total)
