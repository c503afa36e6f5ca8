"""Emulated Thorlabs PM100D with an InGaAs photodiode head.

Commands: ``pymeasure`` 0.16 ``thorlabspm100usb.py``, QMI ``thorlabs/pm100d.py``,
``plesty_thorlabs_powermeter`` (PyPI). Evidence: manual. Unverified, chosen here: figures of the
head, ranges in decades, time of a sample (0.3 ms) and of a dark adjustment, number formats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registers import Refusal, Register, command, effect, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

OVER_RANGE = "9.900000E+37"
SAMPLE_S = 3e-4
RANGES_W = tuple(20.0 * 10.0**n for n in range(-9, -2))  # 20 nW to 20 mW
AUTO, RANGE = "SENSe:POWer[:DC]:RANGe:AUTO", "SENSe:POWer[:DC]:RANGe[:UPPer]"
WAVELENGTH, AVERAGE = "SENSe:CORRection:WAVelength", "SENSe:AVERage[:COUNt]"
UNIT = "SENSe:POWer[:DC]:UNIT"
ZERO = "SENSe:CORRection:COLLect:ZERO"


@dataclass
class Pm100dSettings(DeviceSettings):
    """noise_w: rms of one sample.  offset_w: shown in the dark before the first adjustment.
    quoted: texts of the head's identity stand in quotes, as the PM101 does.  energy: the head
    measures energy."""

    noise_w: float = 2e-11
    offset_w: float = 5e-11
    zero_s: float = 0.5
    quoted: bool = False
    energy: bool = False


class Pm100d(ScpiDevice):
    """Meter and head; the reading depends on the set wavelength."""

    Settings = Pm100dSettings
    WIRES = ("tcp", "serial")
    IDENTITY = "THORLABS,PM100D,P{serial},2.8.0"
    REGISTERS = (
        Register(WAVELENGTH, 1550.0, 400.0, 1700.0, ".3f", "nm"),
        Register(AVERAGE, 10, 1, 3000),
        Register(UNIT, "W", choices=("W", "DBM")),
        Register(AUTO, 1, 0, 1),
        Register(RANGE, RANGES_W[-1], 0.0, RANGES_W[-1], ".6E", "W"),
    )

    def setup(self) -> None:
        super().setup()
        self._zero_w, self._zeroing, self._blind = 0.0, False, False

    def booted(self) -> None:
        self._zeroing = False

    @effect(RANGE)
    def _ranged(self) -> None:
        """The next range that is wide enough; the meter no longer chooses."""
        asked = self.registers[RANGE]
        self.registers.put(RANGE, next(r for r in RANGES_W if r >= asked * (1 - 1e-9)))
        self.registers.put(AUTO, 0)

    def _raw_w(self, samples: int) -> float:
        """Power from the diode's current at the set wavelength; the sensitivity grows with the
        wavelength.
        """
        light = 0.0 if self._blind else self.place.power_w
        seen = light * self.place.wavelength_nm / self.registers[WAVELENGTH]
        noise = self.random.gauss(0.0, self.config.noise_w / math.sqrt(samples))
        return float(seen + self.config.offset_w + noise)

    def _range_w(self, power_w: float) -> float:
        if self.registers[AUTO]:
            wide = (r for r in RANGES_W if r >= power_w)
            self.registers.put(RANGE, next(wide, RANGES_W[-1]))
        return float(self.registers[RANGE])

    @command("MEASure[:SCALar][:POWer]?", "READ?")
    async def _measure(self, _: str, __: Session) -> str:
        samples = self.registers[AVERAGE]
        await self.clock.sleep(samples * SAMPLE_S)
        power_w = self.faults.drift(self._raw_w(samples) - self._zero_w)
        if power_w > self._range_w(power_w) * 1.1:
            return OVER_RANGE
        if self.registers[UNIT] == "DBM":
            return f"{10.0 * math.log10(max(power_w, 1e-15) / 1e-3):.6E}"
        return f"{power_w:.6E}"

    @command("MEASure[:SCALar]:ENERgy?")
    def _energy(self, _: str, __: Session) -> str:
        raise Refusal("level", "the head measures power")

    @reading("SYSTem:SENSor:IDN")
    def _head(self) -> str:
        flags = 34 if self.config.energy else 33  # 1 power, 2 energy, 32 wavelength can be set
        words = ["S154C", f"{self.seed % 10**6:06}", "12-Jan-2026"]
        if self.config.quoted:
            words = [f'"{word}"' for word in words]
        return ",".join([*words, "1", "18", str(flags)])

    @command(f"{ZERO}[:INITiate]")
    def _zero(self, _: str, __: Session) -> None:
        if not self.faults.use("ignore-sets"):
            self._zeroing = True
            self.clock.call_later(self.config.zero_s, self._zeroed)

    def _zeroed(self) -> None:
        if self._zeroing:
            self._zeroing, self._zero_w = False, self._raw_w(100)

    @command(f"{ZERO}:ABORt")
    def _abort(self, _: str, __: Session) -> None:
        self._zeroing = False

    @reading(f"{ZERO}:STATe")
    def _zero_state(self) -> int:
        return int(self._zeroing)

    @reading(f"{ZERO}:MAGNitude")
    def _zero_magnitude(self) -> float:
        return self._zero_w

    def state(self) -> dict[str, Any]:
        return {"power_w": self.place.power_w, "zero_w": self._zero_w}

    @fault("head-blocked", "no light reaches the head")
    def _block(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._blind = True
        return lambda: setattr(self, "_blind", False)


REGISTRATION = Registration(
    "thorlabs-pm100d", "power-meter", Pm100d, "Thorlabs PM100D, optical power meter"
)
