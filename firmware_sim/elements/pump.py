"""Lasers: the pump of the pair source, or one whose light is tapped into an arm."""

from __future__ import annotations

from typing import Any

from photonlink.firmware_sim.elements.meters import LIGHT_M_S, PLANCK_J_S
from photonlink.firmware_sim.places import Element, PlaceKind, Quantity


class Pump:
    """``places.PumpPlace``."""

    def __init__(self, table: Any, place: str) -> None:
        self._table = table
        table.set({"source.pump_power_mw": 0.0})

    def set_optical_power_mw(self, power_mw: float) -> None:
        self._table.put(self._table.config.source, "pump_power_mw", power_mw)

    def set_wavelength_nm(self, wavelength_nm: float) -> None:
        self._table.put(self._table.config.source, "pump_wavelength_nm", wavelength_nm)


class ArmLaser(Element):
    """``places.PumpPlace`` in an arm: an alignment laser behind a tap, which reaches the detectors.

    Its photons are a background of the rate power/(h c/wavelength), less the tap's loss.
    """

    QUANTITIES = (
        Quantity("power_mw", "mW", 0.0, 0.0, 1e4),
        Quantity("wavelength_nm", "nm", 1550.0, 200.0, 2000.0),
        Quantity("tap_db", "dB", 100.0, 0.0, 200.0),
    )

    def set_optical_power_mw(self, power_mw: float) -> None:
        self.put("power_mw", power_mw)

    def set_wavelength_nm(self, wavelength_nm: float) -> None:
        self.put("wavelength_nm", wavelength_nm)

    def background_hz(self, side: str) -> float:
        if side != self.side:
            return 0.0
        photon_j = PLANCK_J_S * LIGHT_M_S / (self.get("wavelength_nm") * 1e-9)
        return float(self.get("power_mw") * 1e-3 / photon_j * 10.0 ** (-self.get("tap_db") / 10.0))


def _laser(table: Any, place: str) -> Any:
    return Pump(table, place) if place == "pump" else ArmLaser(table, place)


KIND = PlaceKind("pump", "(pump|alice.laser|bob.laser)", _laser)
