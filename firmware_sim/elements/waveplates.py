"""A stack of linear retarders in one arm: paddles, squeezers, plates in rotation mounts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.physics import polarization
from photonlink.firmware_sim.places import Element, PlaceKind, Quantity

PLATES = (1, 2, 3, 4)


class Waveplates(Element):
    """Plate n has its fast axis at ``angle<n>_deg`` from H and the retardance
    ``retardance<n>_deg`` (0: it does nothing); light meets plate 1 first.

    On the sphere (DA, RL, HV) a retarder turns by its retardance about (sin 2θ, 0, cos 2θ)
    (Goldstein, Polarized Light, 3rd ed., section 6.3).
    """

    QUANTITIES = tuple(
        quantity
        for n in PLATES
        for quantity in (
            Quantity(f"angle{n}_deg", "deg", 0.0, -3600.0, 3600.0),
            Quantity(f"retardance{n}_deg", "deg", 0.0, -36000.0, 36000.0),
        )
    )

    def rotation(self, side: str) -> npt.NDArray[np.float64] | None:
        if side != self.side:
            return None
        turn = np.eye(3)
        for n in PLATES:
            twice = 2.0 * np.radians(self.get(f"angle{n}_deg"))
            axis = np.array([np.sin(twice), 0.0, np.cos(twice)])
            retardance = np.radians(self.get(f"retardance{n}_deg"))
            turn = polarization.rotation(retardance * axis) @ turn
        return turn


KIND = PlaceKind("waveplates", "(alice|bob).waveplates(|2|3|4|5)", Waveplates)
