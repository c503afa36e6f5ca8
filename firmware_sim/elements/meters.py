"""Instruments that only measure: power meters and wavemeters."""

from __future__ import annotations

from photonlink.firmware_sim.places import Element, PlaceKind, Quantity

PLANCK_J_S, LIGHT_M_S = 6.62607015e-34, 299_792_458.0  # exact (SI)


class PowerMeter(Element):
    """At the pump: laser light behind the elements there; in an arm: the photons that arrive."""

    QUANTITIES = (Quantity("background_w", "W", 0.0, 0.0, 1.0),)

    @property
    def wavelength_nm(self) -> float:
        """Wavelength of the light here; signal and idler have twice the pump's."""
        pump_nm: float = self.table.config.source.pump_wavelength_nm
        return pump_nm if self.side == "pump" else 2.0 * pump_nm

    @property
    def power_w(self) -> float:
        """Power of the light here."""
        table = self.table
        if self.side == "pump":
            loss_db = sum(e.pump_loss_db() for e in table.elements.values())
            power_w: float = table.config.source.pump_power_mw * 1e-3 * 10.0 ** (-loss_db / 10.0)
        else:
            photon_j = PLANCK_J_S * LIGHT_M_S / (self.wavelength_nm * 1e-9)
            power_w = photon_j * table.pair_rate_hz() * table.transmission(self.side)
        return power_w + self.get("background_w")


KINDS = (
    PlaceKind("power-meter", "(pump|alice|bob).power_meter", PowerMeter),
    PlaceKind("wavemeter", "(pump|alice|bob).wavemeter", PowerMeter),
)
