"""Holds polarization while key is made, from the error rates of finished blocks.

Both error rates of a block are public once it is distilled: error correction has counted them, or
the bits of a test basis were disclosed. At the best setting they do not change to first order with
a small rotation of the fibre. So the controller is set a little beside it, each block in another
direction; an extended Kalman filter (drift of the fibre, contrast of both bases) estimates the
rotation from the differences of the rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.stages.alignment.fit import LinkModel
from photonlink.pipeline.stages.alignment.model import Controller, Floats, turned
from photonlink.pipeline.stages.alignment.search import best_setting, lowest_near

DRIFT_RAD_PER_H = 1.5
"""How fast the filter takes the fibre to turn."""
ASIDE_RAD = 0.1
"""How far the controller stands beside the best setting: costs ASIDE² / 8 of mean error rate."""
TOO_FAR = 0.01
"""When the best setting nearby is this much above the floor, one is searched everywhere."""
JUMP_RAD = 0.15
"""How wrong the model may be after such a jump."""
_CONTRAST_PER_BLOCK = 3e-4
_STEP_RAD = 1e-5
_DIRECTIONS = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], np.float64
)


@dataclass(frozen=True, slots=True)
class BlockRates:
    """Error rates of one block and the bits behind them. at: (setting, share of its time)."""

    qber_hv: float
    n_hv: int
    qber_da: float
    n_da: int
    seconds: float
    at: Sequence[tuple[Floats, float]]


class Hold:
    """Follows one link from the model of its alignment. ``setting_deg``: the next setting."""

    def __init__(self, controller: Controller, model: LinkModel, setting_deg: Floats) -> None:
        self._controller, self._model = controller, model
        self._rng = np.random.default_rng(1)
        self._contrasts = np.full(2, model.contrast)
        self._covariance = np.diag([0.05**2] * 3 + [0.01**2] * 2)
        self._turn = 0
        self.best_deg = np.array(setting_deg, np.float64)
        self.setting_deg = self._beside()

    def block(self, rates: BlockRates) -> None:
        """A block was distilled: update the filter, and choose the next setting."""
        hours = rates.seconds / 3600.0
        grown = [(DRIFT_RAD_PER_H * hours) ** 2] * 3 + [_CONTRAST_PER_BLOCK**2] * 2
        self._covariance += np.diag(grown)
        self._learn(rates)
        self._turn += 1
        self.best_deg = self._nearest_best()
        self.setting_deg = self._beside()

    def expected(self, setting_deg: Floats) -> tuple[float, float]:
        """Error rates (HV, DA) at a setting."""
        found = self._rates(np.zeros(5), [(setting_deg, 1.0)])
        return float(found[0]), float(found[1])

    def _rates(self, x: Floats, at: Sequence[tuple[Floats, float]]) -> Floats:
        """Error rates (2,) of a block for a state: three numbers of turn, two of contrast."""
        a = self._model.a @ turned(x[:3])
        seen = np.zeros(2)
        for setting, share in at:
            c = self._model.predict(setting, a=a) / self._model.contrast
            seen += share * np.diag(c)
        rates: Floats = 0.5 * (1.0 - (self._contrasts + x[3:]) * seen)
        return rates

    def _learn(self, rates: BlockRates) -> None:
        zero = np.zeros(5)
        expected = self._rates(zero, rates.at)
        h = np.empty((2, 5))
        for k in range(5):
            near = zero.copy()
            near[k] = _STEP_RAD
            h[:, k] = (self._rates(near, rates.at) - expected) / _STEP_RAD
        seen = np.array([rates.qber_hv, rates.qber_da])
        n = np.array([rates.n_hv, rates.n_da], np.float64)
        noise = np.diag(np.clip(seen, 1e-3, 0.5) / np.maximum(n, 1.0) + 1e-8)
        p = self._covariance
        gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + noise)
        x = gain @ (seen - expected)
        x[:3] *= min(1.0, 0.2 / max(float(np.linalg.norm(x[:3])), 1e-12))
        self._covariance = (np.eye(5) - gain @ h) @ p
        self._model = self._model.with_a(self._model.a @ turned(x[:3]))
        self._contrasts = np.clip(self._contrasts + x[3:], 0.0, 1.0)

    def _nearest_best(self) -> Floats:
        found, rate = lowest_near(self._controller, self._model, self.best_deg)
        if rate <= self._model.floor + TOO_FAR:
            return found
        # far from the alignment the model of the device is less certain
        self._covariance[:3, :3] += JUMP_RAD**2 * np.eye(3)
        return best_setting(self._controller, self._model, self.best_deg, self._rng)[0]

    def _beside(self) -> Floats:
        """The best setting, turned by ASIDE_RAD in this block's direction."""
        wanted = ASIDE_RAD * _DIRECTIONS[self._turn % len(_DIRECTIONS)]
        n = self._controller.axes
        w = self._model.rotation(self.best_deg)
        per_deg = np.empty((3, n))
        for k in range(n):
            near = self.best_deg.copy()
            near[k] += 1e-3
            turn = self._model.rotation(near) @ w.T
            per_deg[:, k] = np.array([turn[2, 1], turn[0, 2], turn[1, 0]]) / 1e-3
        ridge = 1e-3 * float(np.trace(per_deg @ per_deg.T)) / 3.0
        step = per_deg.T @ np.linalg.solve(per_deg @ per_deg.T + ridge * np.eye(3), wanted)
        return self._no_further(step)

    def _no_further(self, step: Floats) -> Floats:
        """Limit the distance from the best setting to the intended one: an axis at the end of its
        travel, or one with little effect here, would lead farther away.
        """
        most = max(self.expected(self.best_deg)) + ASIDE_RAD**2 / 2.0
        for share in (1.0, 0.5, 0.25, 0.125):
            found: Floats = np.clip(
                self.best_deg + share * step, self._controller.low, self._controller.high
            )
            if max(self.expected(found)) <= most:
                return found
        return self.best_deg
