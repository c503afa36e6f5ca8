"""A Mach-Zehnder intensity modulator in the pump or in one arm."""

from __future__ import annotations

import math
from collections.abc import Iterable

from photonlink.firmware_sim.places import Element, PlaceKind, Quantity


class Modulator(Element):
    """Transmission as a function of the drive voltage, or of the pattern being played.

    T(V) = e + (1 - e) cos²(π (V - peak_v) / (2 vpi_v)) with the extinction e. A pattern that is
    fast against the bench's slices acts with its mean; ``insertion_db``: of an attenuator in the
    same housing.
    """

    QUANTITIES = (
        Quantity("drive_v", "V", 0.0, -100.0, 100.0),
        Quantity("bias_v", "V", 0.0, -100.0, 100.0),
        Quantity("peak_v", "V", 0.0, -100.0, 100.0),
        Quantity("vpi_v", "V", 5.0, 0.1, 100.0),
        Quantity("extinction_db", "dB", 30.0, 1.0, 80.0),
        Quantity("insertion_db", "dB", 0.0, 0.0, 150.0),
        Quantity("pattern", "", -1.0, -1.0, 1.0),
    )

    def transmission(self, drive_v: float) -> float:
        """Transmission at one drive voltage, with the present bias."""
        floor = math.pow(10.0, -self.get("extinction_db") / 10.0)
        off_v = drive_v + self.get("bias_v") - self.get("peak_v")
        open_ = math.cos(0.5 * math.pi * off_v / self.get("vpi_v")) ** 2
        return floor + (1.0 - floor) * open_

    def play(self, steps: Iterable[tuple[float, float]]) -> None:
        """A pattern repeats: (duration, drive voltage) of its steps. Empty: the voltage holds."""
        total = passed = 0.0
        for duration, drive_v in steps:
            total += duration
            passed += duration * self.transmission(drive_v)
        self.put("pattern", passed / total if total > 0.0 else -1.0)

    def _own_db(self) -> float:
        mean = self.get("pattern")
        if mean < 0.0:
            mean = self.transmission(self.get("drive_v"))
        return self.get("insertion_db") - 10.0 * math.log10(max(mean, 1e-15))

    def loss_db(self, side: str) -> float:
        return self._own_db() if side == self.side else 0.0

    def pump_loss_db(self) -> float:
        return self._own_db() if self.side == "pump" else 0.0


KIND = PlaceKind("modulator", "(pump|alice|bob).modulator(|2|3)", Modulator)
