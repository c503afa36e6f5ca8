"""The pump of the pair source: a laser device writes its power and wavelength."""

from __future__ import annotations

from typing import Any

from photonlink.firmware_sim.places import PlaceKind


class Pump:
    """``places.PumpPlace``."""

    def __init__(self, table: Any, place: str) -> None:
        self._table = table
        table.set({"source.pump_power_mw": 0.0})

    def set_optical_power_mw(self, power_mw: float) -> None:
        self._table.put(self._table.config.source, "pump_power_mw", power_mw)

    def set_wavelength_nm(self, wavelength_nm: float) -> None:
        self._table.put(self._table.config.source, "pump_wavelength_nm", wavelength_nm)


KIND = PlaceKind("pump", "pump", Pump)
