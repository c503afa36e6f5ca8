"""The cold stage of one side's nanowire detectors."""

from __future__ import annotations

from photonlink.firmware_sim.physics.nanowire import BASE_K
from photonlink.firmware_sim.places import Element, PlaceKind, Quantity


class Cryostat(Element):
    """A temperature controller writes ``temperature_k``; detectors at it read it."""

    QUANTITIES = (Quantity("temperature_k", "K", BASE_K, 0.0, 400.0),)


KIND = PlaceKind("cryostat", "(alice|bob).cryostat", Cryostat)
