"""The model of a controller and its link, fitted to counts by least squares from many starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from photonlink.pipeline.stages.alignment.model import Controller, Floats, correlations, turned

STARTS = 160
KEPT = 24
_STEP = 1e-6
MODEL_SIGMA = 0.01
"""What a correlation may deviate from the model beyond its counting error: a state that is not
quite isotropic, settings that are not quite reached."""
NOMINAL_SIGMA = 0.1
"""As MODEL_SIGMA, while the device is still taken to be what its data sheet says."""
CONTRAST, CONTRAST_SIGMA = 0.93, 0.1
"""What is expected of a bench of entangled pairs before anything was measured."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One setting (axes,) in degrees, its correlations (2, 2), pairs behind each (2, 2)."""

    setting_deg: Floats
    correlation: Floats
    pairs: Floats


def measured(setting_deg: Floats, counts: Floats) -> Measured:
    """From coincidences (4, 4): rows H, V, D, A of the far end, columns of the controller's end."""
    cells = counts.reshape(2, 2, 2, 2)  # basis, outcome, basis, outcome
    same = cells[:, 0, :, 0] + cells[:, 1, :, 1]
    pairs = cells.sum(axis=(1, 3))
    return Measured(setting_deg, 2.0 * same / np.maximum(pairs, 1.0) - 1.0, pairs)


class LinkModel:
    """The fitted model of a link: rotations before and behind the controller, errors of the
    controller.
    """

    def __init__(
        self, controller: Controller, x: Floats, a: Floats, b: Floats, cost: float = 0.0
    ) -> None:
        self._controller, self._x, self.a, self.b = controller, x, a, b
        self._cost = cost

    def as_dict(self) -> dict[str, list[Any]]:
        """Plain numbers, for a file."""
        return {"x": self._x.tolist(), "a": self.a.tolist(), "b": self.b.tolist()}

    @classmethod
    def from_dict(cls, controller: Controller, found: Mapping[str, Any]) -> LinkModel:
        """ValueError when the numbers are not those of this controller."""
        x, a, b = (np.asarray(found[key], np.float64) for key in ("x", "a", "b"))
        if x.shape != (7 + 2 * controller.axes,) or a.shape != (3, 3) or b.shape != (3, 3):
            raise ValueError("the model is of another controller")
        if not all(np.isfinite(each).all() for each in (x, a, b)):
            raise ValueError("the model is not of finite numbers")
        return cls(controller, x, a, b)

    @property
    def misfit(self) -> float:
        """Sum of squared deviations in sigmas, including the deviations of the device from its data
        sheet.
        """
        return self._cost

    @property
    def contrast(self) -> float:
        return float(self._x[6])

    @property
    def floor(self) -> float:
        """The least QBER of any setting."""
        return 0.5 * (1.0 - self.contrast)

    def rotation(self, settings_deg: Floats) -> Floats:
        """W (..., 3, 3) at settings (..., axes)."""
        return self._controller.rotations(settings_deg, self._x[7:])

    def predict(self, settings_deg: Floats, *, a: Floats | None = None) -> Floats:
        """C (..., 2, 2) at settings (..., axes). a: in place of the model's own."""
        rotation = self.rotation(settings_deg)
        return correlations(self.a if a is None else a, rotation, self.b, self._x[6])

    def with_a(self, a: Floats) -> LinkModel:
        """The same link after its fibre has turned."""
        return LinkModel(self._controller, self._x, a, self.b)


def fit(controller: Controller, data: list[Measured], rng: np.random.Generator) -> list[LinkModel]:
    """The models that fit the data, best first, with misfits up to a few sigma of the best.

    Free are three numbers each before and behind the controller, the contrast, and two errors of
    each axis with their priors. Starts are drawn evenly over all rotations.
    """
    a, b = _random_rotations(STARTS, rng), _random_rotations(STARTS, rng)
    x = np.zeros((STARTS, 7 + 2 * controller.axes))
    x[:, 6] = CONTRAST
    a, b, x, cost = _descend(controller, data, a, b, x, free=7, steps=25, slack=NOMINAL_SIGMA)
    best = np.argsort(cost)[:KEPT]
    a, b, x, cost = _descend(controller, data, a[best], b[best], x[best], free=x.shape[1], steps=30)
    order = [i for i in np.argsort(cost) if cost[i] <= cost.min() + 9.0]
    return [LinkModel(controller, x[i], a[i], b[i], float(cost[i])) for i in order]


def _random_rotations(n: int, rng: np.random.Generator) -> Floats:
    """(n, 3, 3), even over SO(3): unit quaternions (Shoemake 1992)."""
    q = rng.normal(size=(n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, -1).reshape(n, 3, 3)


def _residuals(
    controller: Controller, data: list[Measured], a: Floats, b: Floats, x: Floats, slack: float
) -> Floats:
    """(starts, 4 settings + priors), in sigmas. x[:, :6]: small rotations on top of a and b."""
    settings = np.stack([m.setting_deg for m in data])
    seen = np.stack([m.correlation for m in data])
    pairs = np.stack([m.pairs for m in data])
    sigma = np.sqrt(np.maximum(1 - seen**2, 0.02) / np.maximum(pairs, 1.0) + slack**2)
    a, b = turned(x[:, :3]) @ a, turned(x[:, 3:6]) @ b
    # all start with a nominal device
    errors = x[:, None, 7:] if x[:, 7:].any() else x[:1, None, 7:]
    w = controller.rotations(settings, errors)
    found = correlations(a[:, None], w, b[:, None], x[:, None, 6])
    off = ((found - seen) / sigma).reshape(len(x), -1)
    contrast = (x[:, 6:7] - CONTRAST) / CONTRAST_SIGMA
    return np.concatenate([off, contrast, x[:, 7:] / controller.spread], axis=1)


def _descend(
    controller: Controller, data: list[Measured], a: Floats, b: Floats, x: Floats,
    *, free: int, steps: int, slack: float = MODEL_SIGMA,
) -> tuple[Floats, Floats, Floats, Floats]:  # fmt: skip
    """Levenberg-Marquardt of all starts at once, each with a damping of its own."""
    x, damping = x.copy(), np.full(len(x), 1e-2)
    r = _residuals(controller, data, a, b, x, slack)
    cost = (r**2).sum(axis=1)
    for _ in range(steps):
        jacobian = np.empty((*r.shape, free))
        for k in range(free):
            near = x.copy()
            near[:, k] += _STEP
            jacobian[..., k] = (_residuals(controller, data, a, b, near, slack) - r) / _STEP
        transposed = np.swapaxes(jacobian, 1, 2)
        normal = transposed @ jacobian
        scale = 1.0 + 1e-3 * normal.max(axis=(1, 2))
        normal += (damping * scale)[:, None, None] * np.eye(free)
        step = np.linalg.solve(normal, -(transposed @ r[..., None]))[..., 0]
        trial = x.copy()
        trial[:, :free] += step
        trial[:, 6] = np.clip(trial[:, 6], 0.0, 1.0)
        r_trial = _residuals(controller, data, a, b, trial, slack)
        cost_trial = (r_trial**2).sum(axis=1)
        better = cost_trial < cost
        x[better], r[better], cost[better] = trial[better], r_trial[better], cost_trial[better]
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-7, 1e7)
    return turned(x[:, :3]) @ a, turned(x[:, 3:6]) @ b, _without_rotations(x), cost


def _without_rotations(x: Floats) -> Floats:
    x = x.copy()
    x[:, :6] = 0.0
    return x
