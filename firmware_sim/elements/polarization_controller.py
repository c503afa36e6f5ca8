"""Polarization controllers: three angles about the axes of the Poincaré sphere, in one arm."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.physics import polarization
from photonlink.firmware_sim.places import Element, PlaceKind, Quantity

AXES = ("da", "rl", "hv")


class PolarizationController(Element):
    """Angles in degrees on the sphere, applied in the order DA, RL, HV."""

    QUANTITIES = tuple(Quantity(f"{axis}_deg", "deg", 0.0, -3600.0, 3600.0) for axis in AXES)

    def rotation(self, side: str) -> npt.NDArray[np.float64] | None:
        if side != self.side:
            return None
        turn = np.eye(3)
        for i, axis in enumerate(AXES):
            vector = np.zeros(3)
            vector[i] = np.radians(self.get(f"{axis}_deg"))
            turn = polarization.rotation(vector) @ turn
        return turn


KIND = PlaceKind("polarization-controller", "(alice|bob).polarization", PolarizationController)
