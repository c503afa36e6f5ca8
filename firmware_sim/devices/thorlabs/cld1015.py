"""Emulated Thorlabs CLD1015: laser diode and cooler driver, SCPI.

Commands: Thorlabs 4000-series SCPI manual 3.3. Evidence: manual. The instrument has USBTMC only;
here it speaks over a socket. Unverified, chosen here: number formats, limits, error numbers of
refused switches (-221), that a trip stays until emission is asked for again, photodiode 0.1 mA per
mW.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from photonlink.firmware_sim.kit.diode import DiodeDevice
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registers import Refusal, Register, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice


class EmulatedCld1015(DiodeDevice, ScpiDevice):
    """Currents in A; cooler on subsystem 2."""

    IDENTITY = "THORLABS,CLD1015,{serial},1.4.0/1.6.0"
    WIRES = ("tcp",)
    MOST_A: ClassVar[float] = 1.5

    def declare(self) -> tuple[Register, ...]:
        most = self.MOST_A
        return (
            Register("OUTPut1[:STATe]", 0, 0, 1, volatile=True),
            Register("OUTPut2[:STATe]", 0, 0, 1),
            Register("SOURce1:FUNCtion:MODE", "CURR", choices=("CURR", "POW")),
            Register("SOURce2:FUNCtion:MODE", "TEMP", choices=("TEMP", "CURR")),
            Register("SOURce1:CURRent[:LEVel][:IMMediate][:AMPLitude]", 0.0, 0.0, most, ".5E", "A"),
            Register("SOURce1:CURRent:LIMit[:AMPLitude]", most / 2, 0.0, most, ".5E", "A"),
            Register("SOURce1:POWer[:LEVel][:IMMediate][:AMPLitude]", 0.0, 0.0, 1.0, ".5E", "W"),
            Register("SOURce2:TEMPerature[:SPOint]", 25.0, -55.0, 150.0, ".4f", "C"),
        )

    def setup(self) -> None:
        super().setup()
        self.warm()
        self._tripped: set[str] = set()

    # ---- light ---------------------------------------------------------------------------------

    def diode_ma(self) -> float:
        r, c = self.registers, self.config
        if not r["OUTPut1[:STATe]"]:
            return 0.0
        most = r["SOURce1:CURRent:LIMit[:AMPLitude]"]
        if r["SOURce1:FUNCtion:MODE"] == "POW":
            watt = r["SOURce1:POWer[:LEVel][:IMMediate][:AMPLitude]"]
            return float(min(watt * 1e3 / c.slope_mw_per_ma + c.threshold_ma, most * 1e3))
        return float(min(r["SOURce1:CURRent[:LEVel][:IMMediate][:AMPLitude]"], most) * 1e3)

    def set_point_c(self) -> float | None:
        r = self.registers
        return float(r["SOURce2:TEMPerature[:SPOint]"]) if r["OUTPut2[:STATe]"] else None

    def extinguish(self) -> None:
        self.registers.put("OUTPut1[:STATe]", 0)

    def change(self, name: str, value: Any) -> None:
        if name == "OUTPut1[:STATe]" and str(value).strip() in ("1", "ON"):
            self.hot = False
            self._tripped.clear()
            if self.blocked or self.temperature_c > self.config.hot_c:
                raise Refusal("level", "Settings conflict", -221)
        super().change(name, value)

    @fault("trip", "the protection trips: word is one of VOLT, EXT, INT", "word")
    def _trip(self, order: Mapping[str, Any]) -> Callable[[], object]:
        self._tripped.add(str(order.get("word", "VOLT"))[:4].upper())
        self.extinguish()
        self.shine()
        return self._tripped.clear

    # ---- readings ------------------------------------------------------------------------------

    def _trip_of(self, word: str) -> str:
        now = {
            "KEYL": self.key_locked,
            "INTL": self.interlock_open,
            "OTEM": self.hot,
        }
        return str(int(now.get(word, word in self._tripped)))

    @reading("OUTPut1:PROTection:KEYLock:TRIPped")
    def _key(self) -> str:
        return self._trip_of("KEYL")

    @reading("OUTPut1:PROTection:INTLock:TRIPped")
    def _interlock(self) -> str:
        return self._trip_of("INTL")

    @reading("OUTPut1:PROTection:OTEMperature:TRIPped")
    def _hot(self) -> str:
        return self._trip_of("OTEM")

    @reading("OUTPut1:PROTection:VOLTage:TRIPped")
    def _voltage(self) -> str:
        return self._trip_of("VOLT")

    @reading("OUTPut1:PROTection:EXTernal:TRIPped")
    def _external(self) -> str:
        return self._trip_of("EXT")

    @reading("OUTPut1:PROTection:INTernal:TRIPped")
    def _internal(self) -> str:
        return self._trip_of("INT")

    @reading("MEASure[:SCALar]:CURRent1[:DC]", "SENSe3:CURRent[:DC]:DATA")
    def _current_a(self) -> float:
        return self.diode_ma() * 1e-3

    @reading("MEASure[:SCALar]:CURRent2[:DC]")
    def _photodiode_a(self) -> float:
        return self.photodiode_ma * 1e-3

    @reading("MEASure[:SCALar]:VOLTage1[:DC]", "SENSe4:VOLTage[:DC]:DATA")
    def _diode_v(self) -> float:
        return 0.9 + 0.004 * self.diode_ma() if self.diode_ma() else 0.0

    @reading("MEASure[:SCALar]:POWer")
    def _power_w(self) -> float:
        return self.power_mw * 1e-3

    @reading("MEASure[:SCALar]:TEMPerature")
    def _measured_c(self) -> float:
        return self.temperature_c

    @reading("MEASure[:SCALar]:RESistance")
    def _thermistor_ohm(self) -> float:
        return float(10_000.0 * 0.957 ** (self.temperature_c - 25.0))


REGISTRATION = Registration(
    "thorlabs-cld1015", "pump", EmulatedCld1015, "Thorlabs CLD1015, laser diode and cooler driver"
)
