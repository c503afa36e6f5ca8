"""Which setting to look at next, and which is the best of a fitted model."""

from __future__ import annotations

import numpy as np
from scipy import optimize

from photonlink.pipeline.stages.alignment.fit import LinkModel
from photonlink.pipeline.stages.alignment.model import Controller, Floats, error_rate

CANDIDATES = 4096
REFINED = 12
AS_GOOD = 2e-4
"""Settings this close to the best (QBER) are as good; the nearest of them is taken."""


def draw(controller: Controller, n: int, rng: np.random.Generator) -> Floats:
    """(n, axes) settings, even over one turn of the travel: further ones repeat what is there."""
    middle = 0.5 * (controller.low + controller.high)
    low, high = np.maximum(controller.low, middle - 180), np.minimum(controller.high, middle + 180)
    return rng.uniform(low, high, (n, controller.axes))


def best_setting(
    controller: Controller, model: LinkModel, now_deg: Floats, rng: np.random.Generator
) -> tuple[Floats, float]:
    """(setting (axes,), predicted QBER): the least QBER; the nearest of equally good ones."""
    drawn = np.concatenate([now_deg[None], draw(controller, CANDIDATES, rng)])
    rates = error_rate(model.predict(drawn))
    first = np.unique(np.concatenate([[0], np.argsort(rates)[:REFINED]]))
    bounds = list(zip(controller.low, controller.high, strict=True))
    found = [
        optimize.minimize(
            lambda s: float(error_rate(model.predict(s))),
            drawn[i],
            bounds=bounds,
            method="L-BFGS-B",
        )
        for i in first
    ]
    lowest = min(each.fun for each in found)
    good = [each for each in found if each.fun <= lowest + AS_GOOD]
    nearest = min(good, key=lambda each: float(np.abs(each.x - now_deg).sum()))
    return np.asarray(nearest.x, np.float64), float(nearest.fun)


def most_different(
    controller: Controller, seen_deg: list[Floats], rng: np.random.Generator
) -> Floats:
    """A setting (axes,) whose rotation differs most from all that were looked at."""
    drawn = draw(controller, 512, rng)
    still = np.zeros(2 * controller.axes)
    known = controller.rotations(np.stack(seen_deg), still)
    apart = np.square(controller.rotations(drawn, still)[:, None] - known).sum(axis=(2, 3))
    at = int(np.argmax(apart.min(axis=1)))
    return drawn[at]
