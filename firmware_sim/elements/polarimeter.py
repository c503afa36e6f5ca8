"""Polarimeters in an arm: they measure H-polarized alignment light behind the elements that rotate
it.
"""

from __future__ import annotations

import numpy as np

from photonlink.firmware_sim.places import Element, PlaceKind, Quantity


class Polarimeter(Element):
    """``power_w``, ``degree``: of the alignment light before the arm's elements."""

    QUANTITIES = (
        Quantity("power_w", "W", 1e-3, 0.0, 1.0),
        Quantity("degree", "", 1.0, 0.0, 1.0),
    )

    def stokes(self) -> tuple[float, float, float]:
        """Normalised s1 (H−V), s2 (D−A), s3 (R−L) behind every element of this arm."""  # noqa: RUF002
        turn = np.eye(3)
        for element in self.table.elements.values():
            own = element.rotation(self.side)
            turn = turn if own is None else own @ turn
        da, rl, hv = turn @ np.array([0.0, 0.0, 1.0])  # the sphere's axes are (DA, RL, HV)
        return float(hv), float(da), float(rl)

    def power_here_w(self) -> float:
        """Behind every element of this arm."""
        loss_db = sum(e.loss_db(self.side) for e in self.table.elements.values())
        return float(self.get("power_w") * 10.0 ** (-loss_db / 10.0))


KIND = PlaceKind("polarimeter", "(alice|bob).polarimeter", Polarimeter)
