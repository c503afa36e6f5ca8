"""Emulated Keithley 2400 with a nanowire detector or a diode at its terminals.

Commands: ``pymeasure`` 0.16 ``keithley/keithley2400.py``. Evidence: manual. Unverified, chosen
here: that ``:READ?`` with the output off is refused (-221), status word, order of ``:FORM:ELEM``'s
fields (that of the list), ranges, time of a reading (20 ms per power-line cycle).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.registers import Refusal, Register, command, effect
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.physics.nanowire import Nanowire
from photonlink.firmware_sim.wires.session import Session

FUNCTION, OUTPUT = "SOURce:FUNCtion[:MODE]", "OUTPut[:STATe]"
AMPS, VOLTS = "SOURce:CURRent[:LEVel]", "SOURce:VOLTage[:LEVel]"
LIMIT_V, LIMIT_A = "SENSe:VOLTage:PROTection[:LEVel]", "SENSe:CURRent:PROTection[:LEVel]"
ELEMENTS = ("VOLT", "CURR", "RES", "TIME", "STAT")
LINE_CYCLE_S = 0.02
NOT_A_NUMBER = "+9.910000E+37"


@dataclass
class Model2400Settings(DeviceSettings):
    """load: ``nanowire`` or ``diode``.  breakdown_v: of the diode."""

    load: str = "nanowire"
    breakdown_v: float = 60.0
    diode_ohm: float = 1e5


class Model2400(ScpiDevice):
    """Source, compliance, output; the load determines the readings and the clicks."""

    Settings = Model2400Settings
    WIRES = ("tcp", "serial")
    IDENTITY = "KEITHLEY INSTRUMENTS INC.,MODEL 2400,{serial},C34 Sep 21 2016 15:30:00/A02  /K/H"
    TICK_S = 0.05
    REGISTERS = (
        Register(OUTPUT, 0, 0, 1, volatile=True),
        Register(FUNCTION, "VOLT", choices=("VOLT", "CURR")),
        Register(AMPS, 0.0, -1.05, 1.05, ".6E", "A", volatile=True),
        Register(VOLTS, 0.0, -210.0, 210.0, ".6E", "V", volatile=True),
        Register(LIMIT_V, 21.0, 2e-4, 210.0, ".6E", "V"),
        Register(LIMIT_A, 1.05e-4, 1e-9, 1.05, ".6E", "A"),
        Register("SOURce:CURRent:RANGe", 1.05e-4, -1.05, 1.05, ".6E", "A"),
        Register("SOURce:CURRent:RANGe:AUTO", 1, 0, 1),
        Register("SOURce:VOLTage:RANGe", 21.0, -210.0, 210.0, ".6E", "V"),
        Register("SOURce:VOLTage:RANGe:AUTO", 1, 0, 1),
        Register("SENSe:CURRent:RANGe", 1.05e-4, -1.05, 1.05, ".6E", "A"),
        Register("SENSe:CURRent:RANGe:AUTO", 1, 0, 1),
        Register("SENSe:VOLTage:RANGe", 21.0, -210.0, 210.0, ".6E", "V"),
        Register("SENSe:VOLTage:RANGe:AUTO", 1, 0, 1),
        Register("SENSe:CURRent:NPLCycles", 1.0, 0.01, 10.0, ".2f"),
        Register("SENSe:VOLTage:NPLCycles", 1.0, 0.01, 10.0, ".2f"),
        Register("SENSe:RESistance:NPLCycles", 1.0, 0.01, 10.0, ".2f"),
        Register("SOURce:DELay", 0.0, 0.0, 999.0, ".6E", "s"),
        Register("SOURce:DELay:AUTO", 1, 0, 1),
        Register("SYSTem:RSENse", 0, 0, 1),
        Register("ROUTe:TERMinals", "FRON", choices=("FRON", "REAR")),
        Register("OUTPut:SMODe", "NORM", choices=("NORM", "HIMP", "ZERO", "GUAR")),
    )

    def setup(self) -> None:
        super().setup()
        if self.config.load not in ("nanowire", "diode"):
            raise ValueError(f"{self.name}: load must be nanowire or diode")
        self.wire = Nanowire()
        self._elements: tuple[str, ...] = ELEMENTS
        self._tripped = False
        self._act()

    def booted(self) -> None:
        self._elements = ELEMENTS
        self._act()

    # ---- load ----------------------------------------------------------------------------------

    def _act(self) -> None:
        """Bring the operating point to the detector on the optical table."""
        r = self.registers
        on, sources_current = bool(r[OUTPUT]), r[FUNCTION] == "CURR"
        self._volts = self._amps = 0.0
        self._tripped = False
        if self.config.load == "nanowire":
            asked = r[AMPS] if sources_current else r[VOLTS] / self.wire.series_ohm
            limit = r[LIMIT_V] / self.wire.series_ohm if sources_current else r[LIMIT_A]
            bias_a = math.copysign(min(abs(asked), limit), asked) if on else 0.0
            self.wire.update(bias_a, self.place.stage_k())
            self._amps, self._volts = bias_a, math.copysign(self.wire.voltage_v, bias_a)
            if sources_current and abs(self._volts) > r[LIMIT_V]:
                self._tripped = True
                self._volts = math.copysign(r[LIMIT_V], bias_a)
                self._amps = self._volts / self.wire.normal_ohm
            self.place.set_excess_bias_v(self.wire.excess_v)
            return
        self._volts = abs(r[VOLTS]) if on and not sources_current else 0.0
        over_v = self._volts - self.config.breakdown_v
        self._amps = max(over_v, 0.0) / self.config.diode_ohm
        if self._amps > r[LIMIT_A]:
            self._tripped, self._amps = True, r[LIMIT_A]
            over_v = self._amps * self.config.diode_ohm
        self.place.set_excess_bias_v(over_v)

    def tick(self) -> None:
        self._act()

    def applied(self, name: str) -> None:
        self._act()

    def safe_off(self) -> None:
        self.registers.put(OUTPUT, 0)
        self._act()

    def state(self) -> dict[str, Any]:
        return {
            "output": bool(self.registers[OUTPUT]),
            "volts": self._volts,
            "amps": self._amps,
            "compliance": self._tripped,
            "latched": self.wire.latched,
        }

    # ---- commands ------------------------------------------------------------------------------

    @command(FUNCTION)
    def _function(self, argument: str, _: Session) -> None:
        word = argument.upper().strip("'\"")
        self.change(FUNCTION, {"CURRENT": "CURR", "VOLTAGE": "VOLT"}.get(word, word))

    @effect(FUNCTION)
    def _changed(self) -> None:
        """Another source: the output goes off."""
        self.registers.put(OUTPUT, 0)

    @command("FORMat:ELEMents")
    def _format(self, argument: str, _: Session) -> None:
        words = [word.strip().upper()[:4].rstrip("I") for word in argument.split(",")]
        known = {element[: len(word)]: element for word in words for element in ELEMENTS}
        if not words or any(word not in known for word in words):
            raise Refusal("type", argument[:40])
        self._elements = tuple(known[word] for word in words)

    @command("SENSe:FUNCtion", "SENSe:FUNCtion:ALL", "SENSe:FUNCtion:CONCurrent", "FORMat:DATA",
             "TRIGger:COUNt", "ARM:COUNt", "SYSTem:BEEPer", "SYSTem:BEEPer:STATe",
             "DISPlay:ENABle", "SENSe:RESistance:MODE", "STATus:QUEue:CLEar", "ABORt",
             "TRIGger:CLEar", "INITiate")  # fmt: skip
    def _accepted(self, _: str, __: Session) -> None:
        """Accepted commands without an emulated effect."""

    @command("READ?", "MEASure:VOLTage?", "MEASure:CURRent?", "MEASure:RESistance?", "FETCh?")
    async def _read(self, _: str, __: Session) -> str:
        if not self.registers[OUTPUT]:
            raise Refusal("level", "output is off", -221)
        await self.clock.sleep(LINE_CYCLE_S * self.registers["SENSe:CURRent:NPLCycles"])
        self._act()
        noise = 1.0 + self.random.gauss(0.0, 1e-5)
        volts, amps = self.faults.drift(self._volts) * noise, self.faults.drift(self._amps) * noise
        values = {
            "VOLT": f"{volts:+.6E}", "CURR": f"{amps:+.6E}",
            "RES": f"{volts / amps:+.6E}" if amps else NOT_A_NUMBER,
            "TIME": f"{self.clock.now_s() % 1e6:+.6E}", "STAT": f"{8 * self._tripped:+.6E}",
        }  # fmt: skip
        return ",".join(values[element] for element in self._elements)


REGISTRATION = Registration(
    "keithley-model2400", "detector", Model2400, "Keithley 2400, source-measure unit"
)
