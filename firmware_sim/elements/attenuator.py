"""Variable attenuators and shutters, in either arm or before the crystal."""

from __future__ import annotations

from photonlink.firmware_sim.places import Element, PlaceKind, Quantity

BLOCKED_DB = 150.0


class Attenuator(Element):
    """``attenuation_db``; ``blocked`` (0 or 1): a shutter in the same housing."""

    QUANTITIES = (
        Quantity("attenuation_db", "dB", 0.0, 0.0, 150.0),
        Quantity("blocked", "", 0.0, 0.0, 1.0),
    )

    def _own_db(self) -> float:
        return self.get("attenuation_db") + BLOCKED_DB * (self.get("blocked") > 0.5)

    def loss_db(self, side: str) -> float:
        return self._own_db() if side == self.side else 0.0

    def pump_loss_db(self) -> float:
        return self._own_db() if self.side == "pump" else 0.0


KIND = PlaceKind("attenuator", "(pump|alice|bob).(attenuator|shutter)", Attenuator)
