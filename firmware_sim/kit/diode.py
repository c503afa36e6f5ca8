"""A laser diode on a thermoelectric cooler: threshold, slope, tuning by current and temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from photonlink.firmware_sim.kit.laser import LaserDevice, LaserSettings


@dataclass
class DiodeSettings(LaserSettings):
    """threshold_ma, slope_mw_per_ma: of the diode.  nm, nm_per_k, nm_per_ma: wavelength at 25 °C
    and zero current, and its tuning.  ambient_c, thermal_s: the temperature that the diode drifts
    to without its cooler, and the time constant.  hot_c: above this temperature the driver switches
    off."""

    threshold_ma: float = 10.0
    slope_mw_per_ma: float = 0.25
    nm: float = 1549.7
    nm_per_k: float = 0.1
    nm_per_ma: float = 0.005
    ambient_c: float = 22.0
    thermal_s: float = 1.0
    hot_c: float = 60.0


class DiodeDevice(LaserDevice):
    """Override :meth:`diode_ma`, :meth:`set_point_c`, :meth:`extinguish`."""

    Settings: ClassVar[type[Any]] = DiodeSettings
    WORLD = (*LaserDevice.WORLD, ("ambient_c", float))
    ambient_c = 22.0
    temperature_c = 22.0
    hot = False
    """It was too hot and has switched itself off; cleared when emission is asked for again."""
    _at_s = 0.0

    def diode_ma(self) -> float:
        """Current through the diode now; 0: off."""
        raise NotImplementedError

    def set_point_c(self) -> float | None:
        """Set point of the cooler; None: it is off."""
        raise NotImplementedError

    def warm(self) -> None:
        """To be called once from ``setup``: the diode has the temperature of the room."""
        self.ambient_c = self.temperature_c = self.config.ambient_c
        self._at_s = self.clock.now_s()

    def asked(self) -> tuple[float, float]:
        c, ma = self.config, self.diode_ma()
        nm = c.nm + c.nm_per_k * (self.temperature_c - 25.0) + c.nm_per_ma * ma
        return max(ma - c.threshold_ma, 0.0) * c.slope_mw_per_ma, nm

    def tick(self) -> None:
        """First-order approach to the set point, or to the room and the diode's own heat."""
        now_s = self.clock.now_s()
        step_s, self._at_s = now_s - self._at_s, now_s
        held_c = self.set_point_c()
        target_c = self.ambient_c + 0.2 * self.diode_ma() if held_c is None else held_c
        share = -math.expm1(-step_s / max(self.config.thermal_s, 1e-3))
        self.temperature_c += (target_c - self.temperature_c) * share
        if self.temperature_c > self.config.hot_c:
            self.hot = self.hot or self.diode_ma() > 0
            self.extinguish()
        self.shine()

    @property
    def photodiode_ma(self) -> float:
        return 0.1 * self.power_mw

    def state(self) -> dict[str, Any]:
        return {**super().state(), "temperature_c": self.temperature_c}
