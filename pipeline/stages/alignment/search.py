"""Chooses the next setting to measure, and the best setting of a fitted model."""

from __future__ import annotations

import numpy as np
from scipy import optimize

from photonlink.pipeline.stages.alignment.fit import LinkModel
from photonlink.pipeline.stages.alignment.model import Controller, Floats, error_rate

CANDIDATES = 4096
REFINED = 12
AS_GOOD = 2e-4
"""Settings this close to the best (QBER) are as good: taken is one with room to follow a drift, and
the nearest of those."""
ROOM = 0.12
"""Share of an axis's travel that should be left on both sides."""


def draw(controller: Controller, n: int, rng: np.random.Generator) -> Floats:
    """(n, axes) settings, uniform over one turn of the travel; further turns repeat the same
    rotations.
    """
    middle = 0.5 * (controller.low + controller.high)
    low, high = np.maximum(controller.low, middle - 180), np.minimum(controller.high, middle + 180)
    return rng.uniform(low, high, (n, controller.axes))


def best_setting(
    controller: Controller, model: LinkModel, now_deg: Floats, rng: np.random.Generator
) -> tuple[Floats, float]:
    """(setting (axes,), predicted QBER): the least QBER."""
    drawn = np.concatenate([now_deg[None], draw(controller, CANDIDATES, rng)])
    rates = error_rate(model.predict(drawn))
    first = np.unique(np.concatenate([[0], np.argsort(rates)[:REFINED]]))
    found = [lowest_near(controller, model, drawn[i]) for i in first]
    lowest = min(rate for _, rate in found)
    good = [each for each in found if each[1] <= lowest + AS_GOOD]

    def cost(each: tuple[Floats, float]) -> tuple[float, float]:
        travel = controller.high - controller.low
        left = np.minimum(each[0] - controller.low, controller.high - each[0]) / travel
        return -min(float(left.min()), ROOM), float(np.abs(each[0] - now_deg).sum())

    return min(good, key=cost)


def lowest_near(
    controller: Controller, model: LinkModel, start_deg: Floats
) -> tuple[Floats, float]:
    """(setting (axes,), predicted QBER): downhill from ``start_deg``, within the travel."""

    def rate(setting: Floats) -> float:
        return float(error_rate(model.predict(setting)))

    bounds = optimize.Bounds(controller.low, controller.high)
    found = optimize.minimize(rate, start_deg.tolist(), bounds=bounds, method="L-BFGS-B")
    return np.asarray(found.x, np.float64), float(found.fun)


def most_different(
    controller: Controller, seen_deg: list[Floats], rng: np.random.Generator
) -> Floats:
    """A setting (axes,) whose rotation differs most from all measured ones."""
    drawn = draw(controller, 512, rng)
    still = np.zeros(2 * controller.axes)
    known = controller.rotations(np.stack(seen_deg), still)
    apart = np.square(controller.rotations(drawn, still)[:, None] - known).sum(axis=(2, 3))
    at = int(np.argmax(apart.min(axis=1)))
    found: Floats = drawn[at]
    return found
