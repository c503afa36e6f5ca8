"""Common behaviour of emulated lasers: off, warm-up, mode hops, interlock.

After emission has come on, power and wavelength approach their set points within ``warm_up_s``; a
mode hop moves the wavelength until it is cleared; an open interlock or a locked key ends emission,
which then stays off until it is requested again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.settings import DeviceSettings

LIGHT_M_S = 299_792_458.0  # exact (SI)


@dataclass
class LaserSettings(DeviceSettings):
    """warm_up_s: time constant after emission came on.  warm_up_nm, warm_up_share: initial
    deviation of wavelength and power.
    """

    warm_up_s: float = 5.0
    warm_up_nm: float = 0.02
    warm_up_share: float = 0.05


class LaserDevice(EmulatedDevice):
    """Mix in before a dialect: ``class Acme(LaserDevice, ScpiDevice)``. Override :meth:`asked`
    and :meth:`extinguish`; call :meth:`shine` from ``applied`` and ``booted``."""

    Settings: ClassVar[type[Any]] = LaserSettings
    WORLD: ClassVar[tuple[tuple[str, type], ...]] = (
        ("interlock_open", bool),
        ("key_locked", bool),
    )
    TICK_S = 0.05
    interlock_open = False
    key_locked = False
    power_mw = 0.0
    """Light that leaves it now."""
    wavelength_nm = 0.0
    _hop_nm = 0.0
    _since_s = 0.0

    def asked(self) -> tuple[float, float]:
        """Power in mW (0: no emission) and vacuum wavelength in nm by the settings."""
        raise NotImplementedError

    def extinguish(self) -> None:
        """The instrument itself switches emission off."""
        raise NotImplementedError

    @property
    def blocked(self) -> bool:
        return self.interlock_open or self.key_locked

    @property
    def emitting(self) -> bool:
        return self.power_mw > 0.0

    def shine(self) -> None:
        """Write the present light to the optical table."""
        if self.blocked:
            self.extinguish()
        power_mw, wavelength_nm = self.asked()
        if power_mw > 0.0 and not self.emitting:
            self._since_s = self.clock.now_s()
        cold = math.exp(-(self.clock.now_s() - self._since_s) / max(self.config.warm_up_s, 1e-3))
        self.power_mw = max(power_mw, 0.0) * (1.0 - self.config.warm_up_share * cold)
        self.wavelength_nm = wavelength_nm + self.config.warm_up_nm * cold + self._hop_nm
        self.place.set_optical_power_mw(self.power_mw)
        self.place.set_wavelength_nm(self.wavelength_nm)

    def tick(self) -> None:
        self.shine()

    def applied(self, name: str) -> None:
        self.shine()

    def safe_off(self) -> None:
        self.extinguish()
        self.shine()

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "emission": self.emitting,
            "power_mw": self.power_mw,
            "wavelength_nm": self.wavelength_nm,
        }

    @fault("mode-hop", "the wavelength jumps by nm", "nm")
    def _mode_hop(self, order: Mapping[str, Any]) -> Callable[[], object]:
        self._hop_nm = float(order.get("nm", 0.3))
        self.shine()
        return lambda: setattr(self, "_hop_nm", 0.0)


def dbm_of(power_mw: float, floor_dbm: float = -60.0) -> float:
    """mW as dBm, not below the meter's lowest reading."""
    return 10.0 * math.log10(power_mw) if power_mw > 10.0 ** (floor_dbm / 10.0) else floor_dbm


def mw_of(power_dbm: float) -> float:
    return float(10.0 ** (power_dbm / 10.0))


def thz_of(wavelength_nm: float) -> float:
    """Vacuum wavelength and frequency, either way: nm ↔ THz."""
    return LIGHT_M_S / wavelength_nm / 1000.0
