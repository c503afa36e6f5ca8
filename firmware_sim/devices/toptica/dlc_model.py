"""State of an emulated DLC pro with one laser head: parameters, user levels, light.

Names and types are those of :mod:`.dlc_table`. Limits, the level a write needs and the meaning of
status and health numbers are not publicly documented: unverified.
The figures of the diode are those of a typical 775 nm external-cavity diode laser, none measured.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from photonlink.firmware_sim.devices.toptica.decof import (
    E_ACCESS,
    E_NAME,
    E_READ_ONLY,
    E_UNAVAILABLE,
    E_VALUE,
    DecofError,
    Value,
)
from photonlink.firmware_sim.devices.toptica.dlc_table import (
    DEFAULTS,
    commands,
    fitted,
    parameters,
)
from photonlink.firmware_sim.kit.clock import Clock
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.places import PumpPlace

INTERNAL, SERVICE, MAINTENANCE, NORMAL, READ_ONLY = range(5)


@dataclass
class DlcSettings(DeviceSettings):
    """Currents in mA, powers in mW, temperatures in °C.

    command_port, monitoring_port: 0: free ones.  echo: what every connection starts with.
    line_end: of replies (QMI 0.54 can only read a bare LF).  serial_welcome: a banner on a serial
    line.  latency_s: added before every reply.
    """

    command_port: int = 0
    monitoring_port: int = 0
    echo: bool = False
    line_end: str = "\r\n"
    serial_welcome: bool = True
    firmware: str = "2.0.3"
    label: str = "pump"
    maintenance_password: str = "CAUTION"  # noqa: S105 - of an emulator; the real one is unverified
    threshold_ma: float = 60.0
    slope_mw_per_ma: float = 0.8
    clip_ma: float = 180.0
    clip_limit_ma: float = 200.0
    wavelength_nm: float = 775.0
    temperature_c: float = 25.0
    ambient_c: float = 22.0
    settling_s: float = 2.0
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A setting: its power-on value, its range, and the user level a write needs."""

    value: Value
    low: float = -math.inf
    high: float = math.inf
    level: int = NORMAL


def _stored(s: DlcSettings) -> dict[str, Stored]:
    cc, tc, pc = "laser1:dl:cc:", "laser1:dl:tc:", "laser1:dl:pc:"
    return {
        "emission-button-enabled": Stored(True),
        "system-label": Stored(s.label),
        "buzzer:welcome": Stored(""),
        "laser1:label": Stored("pump 775"),
        "laser1:enabled": Stored(True),
        cc + "enabled": Stored(False),
        cc + "current-set": Stored(0.0, 0.0, s.clip_limit_ma),
        cc + "current-offset": Stored(0.0, 0.0, s.clip_limit_ma),
        cc + "current-clip": Stored(s.clip_ma, 0.0, s.clip_limit_ma, MAINTENANCE),
        cc + "voltage-clip": Stored(3.0, 0.0, 5.0, MAINTENANCE),
        cc + "positive-polarity": Stored(False, level=MAINTENANCE),
        cc + "feedforward-enabled": Stored(False),
        cc + "feedforward-factor": Stored(0.0, -100.0, 100.0),
        cc + "forced-off": Stored(False, level=MAINTENANCE),
        tc + "enabled": Stored(True),
        tc + "temp-set": Stored(s.temperature_c, 15.0, 45.0),
        tc + "temp-set-min": Stored(15.0, 0.0, 60.0, MAINTENANCE),
        tc + "temp-set-max": Stored(45.0, 0.0, 60.0, MAINTENANCE),
        tc + "temp-roc-enabled": Stored(False),
        tc + "temp-roc-limit": Stored(0.1, 0.0, 10.0),
        pc + "enabled": Stored(False),
        pc + "voltage-set": Stored(70.0, 0.0, 140.0),
        pc + "voltage-min": Stored(0.0, 0.0, 140.0, MAINTENANCE),
        pc + "voltage-max": Stored(140.0, 0.0, 140.0, MAINTENANCE),
        "laser1:ctl:wavelength-set": Stored(s.wavelength_nm, 765.0, 785.0),
        "laser1:scan:enabled": Stored(False),
        "laser1:scan:hold": Stored(False),
        "laser1:scan:signal-type": Stored(1, 0, 2),
        "laser1:scan:frequency": Stored(10.0, 0.02, 400.0),
        "laser1:scan:phase-shift": Stored(0.0, -360.0, 360.0),
        "laser1:scan:output-channel": Stored(50, 20, 61),
        "laser1:scan:amplitude": Stored(1.0, 0.0, 140.0),
        "laser1:scan:offset": Stored(70.0, 0.0, 140.0),
        "laser1:scan:start": Stored(69.5, 0.0, 140.0),
        "laser1:scan:end": Stored(70.5, 0.0, 140.0),
    }


class DlcModel:
    """All parameters and the light they make. ``identity`` gives the serial number."""

    def __init__(
        self,
        config: DlcSettings,
        place: PumpPlace,
        seed: int,
        clock: Clock,
        identity: Callable[[], str],
    ) -> None:
        self.config, self._place, self._clock = config, place, clock
        self._identity = identity
        self._head_serial = f"{10_000 + seed % 90_000}"
        self._random = random.Random(seed)  # noqa: S311 - reading noise
        self.stored = _stored(config)
        self.interlock_open = self.frontkey_locked = self.tc_fault = False
        self.ambient_c = config.ambient_c
        self.passwords = {MAINTENANCE: config.maintenance_password, SERVICE: "", INTERNAL: ""}
        self.messages: list[str] = []
        self._readings = self._make_readings()
        self.boot()

    def boot(self) -> None:
        """Power-on: every setting at its default, laser current off, uptime zero."""
        self.values: dict[str, Value] = {n: s.value for n, s in self.stored.items()}
        self.values["laser1:dl:cc:current-offset"] = self.values["laser1:dl:cc:current-set"]
        self._booted = self._at = self._clock.now_s()
        self._temperature = self.config.temperature_c
        self._wavelength = self.config.wavelength_nm
        self.refresh()

    # -- physics -------------------------------------------------------------------------------

    def number(self, name: str) -> float:
        value = self.values[name]
        return value if isinstance(value, float) else 0.0

    @property
    def current_ma(self) -> float:
        """Current through the diode without reading noise: the set value, clipped."""
        if not self.emission:
            return 0.0
        wanted = self.number("laser1:dl:cc:current-set")
        return min(max(wanted, 0.0), self.number("laser1:dl:cc:current-clip"))

    @property
    def emission(self) -> bool:
        """The current driver is on: all interlocks closed and everything enabled."""
        return (
            self.values["laser1:dl:cc:enabled"] is True
            and self.values["laser1:enabled"] is True
            and self.values["emission-button-enabled"] is True
            and self.values["laser1:dl:cc:forced-off"] is False
            and not (self.interlock_open or self.frontkey_locked or self.tc_fault)
        )

    @property
    def power_mw(self) -> float:
        """Linear above threshold; the threshold grows exponentially with temperature, with a
        characteristic temperature of 150 K (Agrawal, Fiber-Optic Communication Systems, 3.5)."""
        if not self.emission:
            return 0.0
        warmer = self._temperature - self.config.temperature_c
        threshold = self.config.threshold_ma * math.exp(warmer / 150.0)
        return max(0.0, self.config.slope_mw_per_ma * (self.current_ma - threshold))

    @property
    def wavelength_nm(self) -> float:
        """Grating position plus a thermal pull of 0.005 nm/K (emulator's choice)."""
        return self._wavelength + 0.005 * (self._temperature - self.config.temperature_c)

    @property
    def ready(self) -> bool:
        error = self._temperature - self.number("laser1:dl:tc:temp-set")
        return self.values["laser1:dl:tc:enabled"] is True and abs(error) < 0.02

    def refresh(self) -> None:
        """Let time pass: settle temperature and grating, trip interlocks, set the light."""
        now = self._clock.now_s()
        step, self._at = max(0.0, now - self._at), now
        cooled = self.values["laser1:dl:tc:enabled"] is True and not self.tc_fault
        target = self.number("laser1:dl:tc:temp-set") if cooled else self.ambient_c
        tau = self.config.settling_s * (1.0 if cooled else 10.0)
        self._temperature += (target - self._temperature) * -math.expm1(-step / tau)
        wanted = self.number("laser1:ctl:wavelength-set")
        reach = 2.0 * step  # the motor turns 2 nm/s (unverified)
        self._wavelength += min(max(wanted - self._wavelength, -reach), reach)
        if self.interlock_open or self.frontkey_locked or self.tc_fault:
            if self.values["laser1:dl:cc:enabled"] is True:
                self.messages.append(f"{self.timestamp()} laser1 switched off: {self.status_text}")
                del self.messages[:-100]
            self.values["laser1:dl:cc:enabled"] = False  # latched: light returns only on request
        self._place.set_optical_power_mw(self.power_mw)
        self._place.set_wavelength_nm(self.wavelength_nm)

    # -- parameters ----------------------------------------------------------------------------

    @property
    def status_text(self) -> str:
        if self.interlock_open:
            return "Interlock open"
        if self.frontkey_locked:
            return "Front key locked"
        if self.tc_fault:
            return "TC fault"
        if not self.emission:
            return "Off"
        clip = self.number("laser1:dl:cc:current-clip")
        return "Current clip" if self.current_ma >= clip else "On"

    @property
    def health(self) -> int:
        """0 well; bit 0 interlock, bit 1 key, bit 2 temperature control (numbers unverified)."""
        return self.interlock_open | self.frontkey_locked << 1 | self.tc_fault << 2

    def timestamp(self) -> str:
        return self._clock.utc().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

    def _noisy(self, value: float, rms: float) -> float:
        return round(value + self._random.gauss(0.0, rms), 6)

    def _make_readings(self) -> dict[str, Callable[[], Value]]:
        c = self.config
        current = self._current_readings()
        return current | {
            "serial-number": self._identity,
            "system-type": lambda: "DLCpro",
            "system-model": lambda: "DLC pro",
            "fw-ver": lambda: c.firmware,
            "ssw-ver": lambda: c.firmware,
            "decof-ver": lambda: "DeCoF-emulated",
            "emission": lambda: self.emission,
            "interlock-open": lambda: self.interlock_open,
            "frontkey-locked": lambda: self.frontkey_locked,
            "system-health": lambda: self.health,
            "system-health-txt": lambda: "OK" if not self.health else self.status_text,
            "system-messages:count": lambda: len(self.messages),
            "system-messages:latest-message": lambda: self.messages[-1] if self.messages else "",
            "time": self.timestamp,
            "uptime": lambda: int(self._clock.now_s() - self._booted),
            "uptime-txt": self._uptime_text,
            "laser1:type": lambda: "CTL",
            "laser1:product-name": lambda: "CTL 780",
            "laser1:emission": lambda: self.emission,
            "laser1:health": lambda: self.health,
            "laser1:health-txt": lambda: "OK" if not self.health else self.status_text,
            "laser1:dl:type": lambda: "CTL",
            "laser1:dl:serial-number": lambda: self._head_serial,
            "laser1:dl:ontime": lambda: int(self._clock.now_s() - self._booted),
            "laser1:dl:tc:temp-act": lambda: self._noisy(self._temperature, 0.0005),
            "laser1:dl:tc:ready": lambda: self.ready,
            "laser1:dl:tc:fault": lambda: self.tc_fault,
            "laser1:dl:tc:current-act": lambda: self._noisy(
                0.1 * (self.ambient_c - self._temperature), 0.0005
            ),
            "laser1:dl:pc:voltage-act": self._piezo,
            "laser1:ctl:wavelength-act": lambda: round(self.wavelength_nm, 5),
            "laser1:ctl:wavelength-min": lambda: self.stored["laser1:ctl:wavelength-set"].low,
            "laser1:ctl:wavelength-max": lambda: self.stored["laser1:ctl:wavelength-set"].high,
            "laser1:ctl:state": lambda: int(self._moving()),
            "laser1:ctl:state-txt": lambda: "Moving" if self._moving() else "Idle",
            "laser1:ctl:head-temperature": lambda: self._noisy(self.ambient_c + 3.0, 0.01),
            "laser1:scan:unit": lambda: "V",
            "laser1:amp:type": lambda: "",  # no amplifier is fitted
            "laser1:amp:ontime": lambda: 0,
        }

    def _current_readings(self) -> dict[str, Callable[[], Value]]:
        cc = "laser1:dl:cc:"
        return {
            cc + "emission": lambda: self.emission,
            cc + "current-act": lambda: self._noisy(self.current_ma, 0.003),
            cc + "current-clip-limit": lambda: self.config.clip_limit_ma,
            cc + "voltage-act": lambda: self._noisy(
                1.5 + 0.004 * self.current_ma if self.emission else 0.0, 0.0005
            ),
            cc + "pd": lambda: self._noisy(0.01 * self.power_mw, 0.0002),
            cc + "aux": lambda: self._noisy(0.0, 0.0002),
            cc + "status": lambda: self.health,
            cc + "status-txt": lambda: self.status_text,
            cc + "variant": lambda: "cc-200",
        }

    def _moving(self) -> bool:
        return abs(self._wavelength - self.number("laser1:ctl:wavelength-set")) > 1e-6

    def _piezo(self) -> float:
        on = self.values["laser1:dl:pc:enabled"] is True
        return self._noisy(self.number("laser1:dl:pc:voltage-set") if on else 0.0, 0.002)

    def _uptime_text(self) -> str:
        seconds = int(self._clock.now_s() - self._booted)
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def names(self) -> list[str]:
        """Every name that has a value."""
        plain = (n for n in parameters() if fitted(n))
        return sorted({*self.stored, *self._readings, *plain})

    def get(self, name: str) -> Value:
        """Current value. DecofError for an unknown name, or a part that is not fitted."""
        self.refresh()
        if name in self.values:
            return self.values[name]
        if name in self._readings:
            return self._readings[name]()
        return DEFAULTS[self._plain(name)[0]]

    def _plain(self, name: str) -> tuple[str, bool]:
        """Type and access of a name without an emulated meaning."""
        known = parameters().get(name)
        if known is None:
            raise DecofError(E_NAME, f"unknown parameter '{name}'")
        if not fitted(name):
            raise DecofError(E_UNAVAILABLE, "unavailable on your system")
        return known

    def check_command(self, name: str) -> None:
        """DecofError for a command of the vendor's list that does nothing here."""
        if name in commands():
            raise DecofError(E_UNAVAILABLE, "unavailable on your system")

    def set(self, name: str, value: Value, level: int, *, dry: bool = False) -> int:
        """Write a parameter at user level ``level``; status ≥ 0. DecofError when refused.

        dry: check everything, change nothing (a fault that clients must notice).
        """
        if name in self._readings:
            raise DecofError(E_READ_ONLY, f"'{name}' is read-only")
        limits = self.stored.get(name) or self._plain_setting(name)
        if level > limits.level:
            raise DecofError(E_ACCESS, f"'{name}' needs user level {limits.level}")
        if isinstance(limits.value, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(limits.value):
            raise DecofError(E_VALUE, f"'{name}' needs another type")
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = self._range(name, limits)
            if not low <= value <= high:
                raise DecofError(E_VALUE, f"'{name}' must lie in {low}..{high}")
        if not dry:
            self.refresh()
            self.values[name] = value
            self._follow(name)
            self.refresh()
        return 0

    def _plain_setting(self, name: str) -> Stored:
        letter, writable = self._plain(name)
        if not writable:
            raise DecofError(E_READ_ONLY, f"'{name}' is read-only")
        return Stored(DEFAULTS[letter])

    def _range(self, name: str, limits: Stored) -> tuple[float, float]:
        """Limits, narrowed by the min and max parameters where the device has them."""
        if name in ("laser1:dl:tc:temp-set", "laser1:dl:pc:voltage-set"):
            stem = name if name.endswith("temp-set") else name[: -len("-set")]
            return self.number(stem + "-min"), self.number(stem + "-max")
        return limits.low, limits.high

    def _follow(self, name: str) -> None:
        """Keep the two descriptions of the scan range (ends; middle and width) equal, and the
        current's: ``current-offset`` determines ``current-set``, it is not added to it."""
        cc = "laser1:dl:cc:current-"
        if name in (cc + "set", cc + "offset"):
            self.values[cc + "set"] = self.values[cc + "offset"] = self.values[name]
        scan = "laser1:scan:"
        if name in (scan + "start", scan + "end"):
            first, last = self.number(scan + "start"), self.number(scan + "end")
            self.values[scan + "offset"] = (first + last) / 2
            self.values[scan + "amplitude"] = abs(last - first)
        elif name in (scan + "offset", scan + "amplitude"):
            middle, half = self.number(scan + "offset"), self.number(scan + "amplitude") / 2
            self.values[scan + "start"], self.values[scan + "end"] = middle - half, middle + half
