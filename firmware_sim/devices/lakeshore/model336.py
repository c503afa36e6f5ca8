"""Emulated Lake Shore 336 at a cold stage.

Commands: the vendor's ``lakeshore`` 1.10.0 (``model_336.py``, ``temperature_controllers.py``),
which appends ``;*ESR?`` to every command. Evidence: manual. Unverified, chosen here: what sets
bits of ``*ESR?`` (32 for what is not understood, 16 for what is out of range), power-on values,
the sensors (input A on the stage, B on the shield, C open, D in the room), a stage of one time
constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.registers import Refusal, Register
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

INPUTS = "ABCD"
ZERO_C_K, ROOM_K, SHIELD_K = 273.15, 295.0, 40.0
RANGE_W = (0.0, 0.5, 5.0, 50.0)
KELVIN_PER_W = 20.0
COMMAND_ERROR, EXECUTION_ERROR = 32, 16
CONTROL_GAIN = 0.5  # kelvins that the loop adds for each one that is missing
ONE_VALUE = {"INNAME": ("STAGE", "SHIELD", "C", "ROOM")}
FIELDS = {  # command: number of places, values at power-on
    "SETP": (4, ("+2.5000",)), "RANGE": (4, ("0",)), "RAMP": (4, ("0", "+0.1")),
    "PID": (4, ("+50.0", "+20.0", "+0.0")), "MOUT": (4, ("+0.00",)),
    "OUTMODE": (4, ("1", "1", "0")), "HTRSET": (2, ("2", "2", "+1.414", "1")),
    "FILTER": (4, ("0", "8", "10")), "INTYPE": (4, ("3", "1", "0", "1", "1")),
    "INCRV": (4, ("21",)), "TLIMIT": (4, ("+400.0",)), "ALARM": (4, ("0",)),
}  # fmt: skip
LIMITS = {"SETP": (0.0, 400.0), "RANGE": (0.0, 3.0)}


@dataclass
class Model336Settings(DeviceSettings):
    """base_k: of the stage without heat.  settling_s: its time constant."""

    base_k: float = 2.5
    settling_s: float = 2.0


class Model336(LineDevice):
    """Commands with fields, chained with semicolons; a stage that a heater warms."""

    Settings = Model336Settings
    WIRES = ("tcp",)
    TERMINATORS = b"\n\r"
    REPLY_END = "\r\n"
    UNKNOWN = REFUSED = ""
    TICK_S = 0.05

    def setup(self) -> None:
        self._open_sensor = False
        self._stage_k, self._at_s = self.config.base_k, self.clock.now_s()
        self._power_on()

    def declare(self) -> tuple[Register, ...]:
        return tuple(
            Register(f"{command} {place}", ",".join(values))
            for command, (places, values) in FIELDS.items()
            for place in (INPUTS[:places] if command in INPUT_FIELDS else "1234"[:places])
        ) + tuple(
            Register(f"INNAME {letter}", name)
            for letter, name in zip(INPUTS, ONE_VALUE["INNAME"], strict=True)
        )

    def _power_on(self) -> None:
        self._events = 0
        self.safe_off()

    def booted(self) -> None:
        self._power_on()

    # ---- grammar -------------------------------------------------------------------------------

    def answer(self, line: str, session: Session) -> str:
        """One message: units cut at ``;``, replies joined by it."""
        replies = [self._unit(unit.strip()) for unit in line.split(";") if unit.strip()]
        return ";".join(reply for reply in replies if reply is not None)

    def _unit(self, unit: str) -> str | None:
        word, _, argument = unit.partition(" ")
        try:
            return self._obey(word.upper(), argument.strip())
        except Refusal as refusal:
            self._events |= EXECUTION_ERROR if refusal.kind == "range" else COMMAND_ERROR
            return None

    def _obey(self, word: str, argument: str) -> str | None:
        if word == "*IDN?":
            return f"LSCI,MODEL336,LSA{self.serial_number}/1234567,2.9"
        if word == "*ESR?":
            events, self._events = self._events, 0
            return str(events)
        if word in ("*CLS", "*RST", "*OPC"):
            self._events = 0
            return None
        if word in ("*OPC?", "*STB?", "*TST?"):
            return "1" if word == "*OPC?" else "0"
        if word in ("KRDG?", "CRDG?", "SRDG?"):
            return self._sensors(word[0], argument.upper())
        if word == "RDGST?":
            return f"{16 if math.isnan(self._kelvin(self._input(argument))) else 0:03}"
        if word == "HTR?":
            return f"{100.0 * self._share(argument):+06.1f}"
        if word.endswith("?"):
            return str(self.registers[self._place(word[:-1], argument)])
        place, _, values = argument.partition(",")
        self._set(word, place.strip(), values)
        return None

    def _place(self, word: str, place: str) -> str:
        name = f"{word} {place.upper()}"
        if name not in self.registers:
            raise Refusal("unknown", name[:40])
        return name

    def _set(self, word: str, place: str, values: str) -> None:
        name = self._place(word, place)
        if word == "INNAME":
            self.change(name, values.strip(' "')[:15])
            return
        fields = [field.strip() for field in values.split(",")]
        if len(fields) > len(FIELDS[word][1]):
            raise Refusal("unknown", values[:40])
        try:
            numbers = [float(field) for field in fields]
        except ValueError:
            raise Refusal("unknown", values[:40]) from None
        low, high = LIMITS.get(word, (-math.inf, math.inf))
        if not all(math.isfinite(n) and low <= n <= high for n in numbers):
            raise Refusal("range", values[:40])
        if word == "SETP":
            fields = [f"{numbers[0]:+.4f}"]
        held = str(self.registers[name]).split(",")
        self.change(name, ",".join([*fields, *held[len(fields) :]]))

    # ---- sensors and stage ---------------------------------------------------------------------

    def _input(self, argument: str) -> str:
        letter = argument.strip().upper()
        if letter not in tuple(INPUTS):
            raise Refusal("unknown", argument[:40])
        return letter

    def _kelvin(self, letter: str) -> float:
        if letter == "C" or (letter == "A" and self._open_sensor):
            return math.nan
        true_k = {"A": self._stage_k, "B": SHIELD_K, "D": ROOM_K}[letter]
        return float(self.faults.drift(true_k))

    def _sensors(self, kind: str, argument: str) -> str:
        letters = INPUTS if argument == "0" else self._input(argument)
        values = []
        for kelvin in map(self._kelvin, letters):
            if math.isnan(kelvin):
                values.append("+0.00000E+0")
            elif kind == "S":  # a diode's volts fall with its temperature
                values.append(f"{1.7 - kelvin * 0.004:+.5f}")
            else:
                values.append(f"{kelvin - ZERO_C_K * (kind == 'C'):+.4E}".replace("E+0", "E+"))
        return ",".join(values)

    def _share(self, argument: str) -> float:
        """Output of a heater, 0 to 1 of its range: proportional to the difference from the set
        point.
        """
        if argument not in ("1", "2"):
            raise Refusal("unknown", argument[:40])
        if self.registers[f"RANGE {argument}"] == "0" or argument == "2":
            return 0.0
        range_w = RANGE_W[int(float(self.registers[f"RANGE {argument}"]))]
        asked_k, found_k = float(self.registers["SETP 1"]), self._kelvin("A")
        if math.isnan(found_k):
            return 0.0
        needed_k = asked_k - self.config.base_k + CONTROL_GAIN * (asked_k - found_k)
        return float(min(max(needed_k / KELVIN_PER_W / range_w, 0.0), 1.0))

    def tick(self) -> None:
        now_s = self.clock.now_s()
        step_s, self._at_s = now_s - self._at_s, now_s
        heat_w = self._share("1") * RANGE_W[int(float(self.registers["RANGE 1"]))]
        target_k = min(self.config.base_k + KELVIN_PER_W * heat_w, ROOM_K)
        share = -math.expm1(-step_s / self.config.settling_s)
        self._stage_k += (target_k - self._stage_k) * share
        self.place.put("temperature_k", self._stage_k)

    def safe_off(self) -> None:
        for output in (1, 2, 3, 4):
            self.registers.put(f"RANGE {output}", "0")

    def state(self) -> dict[str, Any]:
        return {
            "output": any(self.registers[f"RANGE {n}"] != "0" for n in (1, 2)),
            "stage_k": self._stage_k,
        }

    @fault("sensor-open", "the sensor at input A gives no reading")
    def _sensor(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._open_sensor = True
        return lambda: setattr(self, "_open_sensor", False)


INPUT_FIELDS = ("FILTER", "INTYPE", "INCRV", "TLIMIT", "ALARM")

REGISTRATION = Registration(
    "lakeshore-model336", "cryostat", Model336, "Lake Shore 336, temperature controller"
)
