"""Emulated Thorlabs PAX1000: a rotating-waveplate polarimeter, on SCPI (USBTMC; here a socket).

Commands and the thirteen fields of ``SENS:DATA:LAT?``: Thorlabs' example script (Light_Analysis_
Examples, 2024). Evidence: manual. Unverified: the ends of ``*IDN?``, the error queue, limits,
numbers of the fields beside azimuth, ellipticity, DOP, power, timestamp and flags; the FIFO
(``OLD:BIN?``) is not built, and the light is alignment light.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registers import Register, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice
from photonlink.firmware_sim.kit.settings import DeviceSettings

TOO_COLD, TOO_HOT = 1 << 4, 1 << 5
TOP_HZ = (0.0, 200.0, 150.0, 75.0, 200.0, 200.0, 150.0, 200.0, 200.0, 200.0)
USB_HZ = 50.0


@dataclass
class Pax1000Settings(DeviceSettings):
    """spin_up_s: of the waveplate.  external_supply: faster than 50 Hz."""

    spin_up_s: float = 0.2
    external_supply: bool = False


class Pax1000(ScpiDevice):
    Settings = Pax1000Settings
    WIRES = ("tcp",)
    IDENTITY = "THORLABS,PAX1000IR2,{serial},1.2.0"
    WORLD = (("temperature_c", float),)
    REGISTERS = (
        Register("SENSe:CORRection:WAVelength", 1.55e-6, 9e-7, 1.7e-6, ".6E", "m"),
        Register("INPut:ROTation:VELocity", 30.0, 10.0, 200.0, ".3f", "Hz"),
        Register("INPut:ROTation:STATe", 0, 0, 1),
        Register("SENSe:CALCulate", 0, 0, 9),
        Register("SENSe:POWer:RANGe:AUTO", 1, 0, 2),
        Register("SENSe:POWer:RANGe:INDex", 6, 0, 9),
    )

    def make_serial(self, seed: int) -> str:
        return f"M{seed % 10**8:08}"

    def setup(self) -> None:
        super().setup()
        self.temperature_c = 23.0
        self.booted()

    def booted(self) -> None:
        self._since_s = -math.inf
        self._revolutions, self._at_s = 0.0, self.clock.now_s()
        self._last = "0,0,0,0,0,0,0,0,0,0,0,0,0"

    def applied(self, name: str) -> None:
        if name == "INPut:ROTation:STATe":
            running = bool(self.registers[name])
            self._since_s = self.clock.now_s() if running else -math.inf

    def _settled(self) -> bool:
        spinning = self.registers["INPut:ROTation:STATe"]
        return bool(spinning and self.clock.now_s() - self._since_s >= self.config.spin_up_s)

    def state(self) -> dict[str, Any]:
        return {"spinning": bool(self.registers["INPut:ROTation:STATe"])}

    @reading("INPut:ROTation:SETTled")
    def _is_settled(self) -> str:
        return str(int(self._settled()))

    @reading("INPut:ROTation:VELocity:LIMits")
    def _limits(self) -> str:
        return f"200.0,{USB_HZ:.1f}"

    @reading("CALibration:STRing")
    def _calibration(self) -> str:
        return '"emulated"'

    @reading("SENSe:DATA:LATest")
    def _latest(self) -> str:
        """Polled faster than it turns, it repeats the last record."""
        mode, now_s = self.registers["SENSe:CALCulate"], self.clock.now_s()
        if not mode or not self._settled():
            return self._last
        speed_hz = self.registers["INPut:ROTation:VELocity"]
        top_hz = TOP_HZ[mode] if self.config.external_supply else USB_HZ
        speed_hz = min(speed_hz, top_hz)
        if now_s - self._at_s >= 1.0 / speed_hz:
            self._revolutions += (now_s - self._at_s) * speed_hz
            self._at_s = now_s
            self._last = self._record(mode, speed_hz)
        return self._last

    def _record(self, mode: int, speed_hz: float) -> str:
        s1, s2, s3 = self.place.stokes()
        azimuth = 0.5 * math.atan2(s2, s1)
        ellipticity = 0.5 * math.asin(min(max(s3, -1.0), 1.0))
        flags = (TOO_COLD if self.temperature_c < 5 else 0) | (
            TOO_HOT if self.temperature_c > 40 else 0
        )
        power_w = self.faults.drift(self.place.power_here_w())
        index = self.registers["SENSe:POWer:RANGe:INDex"]
        head = f"{int(self._revolutions)},{int(self._at_s * 1e3)},{mode},{flags},{index},5856,29712"
        tail = (1.0 / speed_hz, 0.0, azimuth, ellipticity, self.place.get("degree"), power_w)
        return head + "".join(f",{x:.6e}" for x in tail)

    @fault("motor-stuck", "the waveplate does not spin up")
    def _motor_stuck(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._since_s = math.inf
        return lambda: self.applied("INPut:ROTation:STATe")


REGISTRATION = Registration(
    "thorlabs-pax1000", "polarimeter", Pax1000, "Thorlabs PAX1000, polarimeter"
)
