"""A superconducting nanowire under bias: detection and latching. Shapes, not one device's data.

* Switching current against temperature: ``1 - (T/Tc)²`` of its value at 0 K, the form of the
  thermodynamic critical field (Tinkham, Introduction to Superconductivity, 2nd ed., eq. 1-2).
* Detection begins at half of the switching current and is nominal at 0.9 of it; dark counts grow
  with it as the table's detectors do.
* Above the switching current the wire is normal (latched): no clicks, and its own heat keeps it
  normal until the bias falls below the retrapping current (Kerman et al., Phys. Rev. B 79, 100509).
"""

from __future__ import annotations

from dataclasses import dataclass

NOMINAL_EXCESS_V = 2.0  # nominal bias of a detector on the optical table
BASE_K = 2.5


@dataclass
class Nanowire:
    """One wire. ``update`` with every change of bias or temperature."""

    switching_a: float = 20e-6  # at BASE_K
    critical_k: float = 9.0
    retrapping_share: float = 0.2
    series_ohm: float = 50.0  # leads and amplifier, while superconducting
    normal_ohm: float = 50e3  # of the hot spot
    bias_a: float = 0.0
    temperature_k: float = BASE_K
    latched: bool = False

    @property
    def switching_now_a(self) -> float:
        """Switching current at the present temperature; 0 above the critical one."""
        left = 1.0 - (self.temperature_k / self.critical_k) ** 2
        return self.switching_a * max(left, 0.0) / (1.0 - (BASE_K / self.critical_k) ** 2)

    def update(self, bias_a: float, temperature_k: float | None) -> None:
        """Bias in A (its magnitude counts) and stage temperature in K; None: base temperature."""
        self.bias_a = abs(bias_a)
        self.temperature_k = BASE_K if temperature_k is None else temperature_k
        limit = self.switching_now_a
        if self.bias_a >= limit and self.bias_a > 0.0:
            self.latched = True
        elif self.bias_a <= self.retrapping_share * limit:
            self.latched = False

    @property
    def voltage_v(self) -> float:
        """Across the wire."""
        return self.bias_a * (self.normal_ohm if self.latched else self.series_ohm)

    @property
    def excess_v(self) -> float:
        """The bias in the units of the table's detectors: nominal at 0.9 of the switching
        current.
        """
        limit = self.switching_now_a
        if self.latched or limit <= 0.0:
            return -1.0
        return NOMINAL_EXCESS_V * (self.bias_a / limit - 0.5) / 0.4
