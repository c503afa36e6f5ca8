"""Aligns the polarization from any starting point to the bench's least QBER, in a few moves.

The caller moves the controller where :attr:`Alignment.setting_deg` says, counts, and tells
:meth:`Alignment.counted`; until :attr:`Alignment.done`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.facets import Retarder
from photonlink.pipeline.stages.alignment.fit import LinkModel, Measured, fit, measured
from photonlink.pipeline.stages.alignment.model import Controller, Floats, error_rate
from photonlink.pipeline.stages.alignment.search import best_setting, most_different

PROBES = 4
"""Settings that are measured before the first fit of the model, the first included."""
MISFIT = 5.0
"""Misfit per setting, of four correlations, above which the fit is rejected."""
LEAST_PAIRS = 400
MAX_MOVES = 10
TOLERANCE = 0.003


class AlignmentError(PhotonlinkError):
    """The alignment failed: too few pairs, too few axes, or a controller that differs from its
    description.
    """


class Alignment:
    """One search. retarders: of the controller. start_deg: its present setting."""

    def __init__(
        self,
        retarders: Sequence[Retarder],
        start_deg: Sequence[float],
        *,
        tolerance: float = TOLERANCE,
        max_moves: int = MAX_MOVES,
        seed: int = 1,
    ) -> None:
        if len(retarders) < 3:
            raise AlignmentError(
                f"a controller of {len(retarders)} axes cannot turn every state into every other",
                hint="Three axes are needed; name all controllers of the arm",
            )
        self.controller = Controller(retarders)
        self.setting_deg: Floats = np.array(start_deg, np.float64)
        self.moves = 0
        self.done = False
        self.data: list[Measured] = []
        self.model: LinkModel | None = None
        self._tolerance, self._max_moves = tolerance, max_moves
        self._rng = np.random.default_rng(seed)

    @property
    def qber(self) -> float:
        """QBER measured at the last setting, mean of both bases."""
        return float(error_rate(self.data[-1].correlation))

    def counted(self, counts: Floats) -> None:
        """Coincidences (4, 4) at ``setting_deg``: rows H, V, D, A of the far end, columns of the
        controller's. Sets the next setting, or ``done``. AlignmentError: it cannot be found."""
        found = measured(self.setting_deg, np.asarray(counts, np.float64))
        if found.pairs.min() < LEAST_PAIRS:
            raise AlignmentError(
                f"only {found.pairs.min():.0f} pairs in one combination of bases",
                hint=f"{LEAST_PAIRS} are needed: count longer, or look for the light",
            )
        self.data.append(found)
        if len(self.data) < PROBES:
            seen = [m.setting_deg for m in self.data]
            self._move(most_different(self.controller, seen, self._rng))
            return
        self.model = fit(self.controller, self.data, self._rng)[0]
        wanted, predicted = best_setting(self.controller, self.model, self.setting_deg, self._rng)
        here = float(error_rate(self.model.predict(self.setting_deg)))
        expected = predicted + 2.0 * self._counting_error() + 0.5 * self._tolerance
        nothing_better = here <= predicted + 0.2 * self._tolerance
        believed = self.model.misfit <= MISFIT * len(self.data)
        if nothing_better and self.qber <= expected and believed:
            self.done = True
        elif self.moves >= self._max_moves:
            raise AlignmentError(
                f"after {self.moves} moves the QBER is {self.qber:.2%}, the model expects "
                f"{predicted:.2%}",
                hint="Does the controller follow? Do its retarders stand in the right arm?",
            )
        elif nothing_better:  # the model is wrong: measure where it has no data yet
            seen = [m.setting_deg for m in self.data]
            self._move(most_different(self.controller, seen, self._rng))
        else:
            self._move(wanted)

    def _counting_error(self) -> float:
        """Standard deviation of ``qber`` from counting statistics."""
        last = self.data[-1]
        variance = (1.0 - np.diag(last.correlation) ** 2) / np.diag(last.pairs)
        return float(np.sqrt(variance.sum()) / 4.0)

    def _move(self, setting_deg: Floats) -> None:
        self.setting_deg = setting_deg
        self.moves += 1
