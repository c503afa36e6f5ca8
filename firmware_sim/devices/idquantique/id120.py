"""Emulated ID Quantique ID120: a silicon single-photon detector on SCPI.

Nodes: ``Instrumental`` ``drivers/spad/id120.py``. Evidence: manual. Unverified, chosen here: the
whole ``*IDN?`` line, unit of the dead time (ns), power-on values, states of the regulator, what
``INFO:*?`` and ``:CAPABILITY?`` print, that a value between two steps is rounded down and one out
of range ignored. Breakdown 180 V at -40 °C, 0.2 V/K; nominal 20 V above it. The wire is TCP: no
USBTMC.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registers import Register, command, effect, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

STEP = {"THRESHOLD:VOLTAGE": 500, "DEADTIME:TIME": 40, "BIAS:VOLTAGE": 80_000}
TABLE_NOMINAL_V = 2.0  # what the table calls nominal bias of a detector
POLARITIES = ("POSITIVE", "NEGATIVE")


@dataclass
class Id120Settings(DeviceSettings):
    """breakdown_v: at -40 °C.  nominal_v: above it.  settling_s: time constant of the cooler."""

    breakdown_v: float = 180.0
    breakdown_v_per_k: float = 0.2
    nominal_v: float = 20.0
    settling_s: float = 3.0
    ambient_c: float = 22.0
    temperature_c: float = -40.0


class Id120(ScpiDevice):
    """Bias, regulator, discriminator, a counter that integrates without pause."""

    Settings = Id120Settings
    WIRES = ("tcp",)
    IDENTITY = "IDQuantique,ID120,{serial},1.02"
    WORLD = (("ambient_c", float),)
    TICK_S = 0.02
    REGISTERS = (
        Register("THRESHOLD:VOLTAGE", 50_000, 0, 1_047_000, unit="uV"),
        Register("DEADTIME:TIME", 1000, 40, 1_000_000, unit="ns"),
        Register("BIAS:VOLTAGE", 0, 0, 250_000_000, unit="uV", volatile=True),
        Register("COUNTERS:INTEGRATION_TIME", 1000, 200, 100_000, unit="ms"),
        Register("REG:TEMP_SET_POINT", -40_000, -50_000, -10_000),
        Register("REG:RUN", "TRUE", choices=("TRUE", "FALSE")),
        Register("OUTPUT1:POLARITY", "POSITIVE", choices=POLARITIES),
    )

    def setup(self) -> None:
        super().setup()
        self.ambient_c = self.config.ambient_c
        self._temperature_c = self.config.temperature_c
        self._stuck = self._bias_error = False
        self._at_s = self._began_s = self.clock.now_s()
        self._before = self.place.clicks_total()
        self._counted, self._rate_hz = 0, 0.0
        self.applied("")

    def applied(self, name: str) -> None:
        step = STEP.get(name)
        if step:
            self.registers.put(name, self.registers[name] // step * step)
        self.tick()

    @effect("COUNTERS:INTEGRATION_TIME")
    def _restart(self) -> None:
        self._began_s, self._before = self.clock.now_s(), self.place.clicks_total()

    @property
    def excess_v(self) -> float:
        c = self.config
        breakdown_v = c.breakdown_v + c.breakdown_v_per_k * (self._temperature_c + 40.0)
        bias_v = 0.0 if self._bias_error else self.registers["BIAS:VOLTAGE"] * 1e-6
        return float((bias_v - breakdown_v) / c.nominal_v * TABLE_NOMINAL_V)

    def tick(self) -> None:
        now_s, r = self.clock.now_s(), self.registers
        step_s, self._at_s = now_s - self._at_s, now_s
        cold = r["REG:RUN"] == "TRUE" and not self._stuck
        target = r["REG:TEMP_SET_POINT"] / 1000.0 if cold else self.ambient_c
        share = -math.expm1(-step_s / self.config.settling_s)
        self._temperature_c += (target - self._temperature_c) * share
        self.place.set_temperature_c(self._temperature_c)
        self.place.set_excess_bias_v(self.excess_v)
        self.place.set_threshold_mv(r["THRESHOLD:VOLTAGE"] / 1000.0)
        self.place.set_dead_time_s(r["DEADTIME:TIME"] * 1e-9)
        gate_s = r["COUNTERS:INTEGRATION_TIME"] / 1000.0
        if now_s - self._began_s >= gate_s:
            total = self.place.clicks_total()
            self._counted, self._rate_hz = total - self._before, (total - self._before) / gate_s
            self._began_s, self._before = now_s, total

    def safe_off(self) -> None:
        self.registers.put("BIAS:VOLTAGE", 0)
        self.tick()

    def booted(self) -> None:
        self.applied("")

    @command("REG:RUN", "OUTPUT1:POLARITY")
    def _words(self, argument: str, _: Session, *__: int) -> None:
        """TRUE, FALSE, POSITIVE, NEGATIVE, in any case; each belongs to one of the two."""
        name = "OUTPUT1:POLARITY" if argument.upper() in POLARITIES else "REG:RUN"
        self.change(name, argument.upper())

    @reading("BIAS:ERROR_STATUS")
    def _bias_status(self) -> str:
        return "TRUE" if self._bias_error else "FALSE"

    @reading("REG:MEASURED_TEMP")
    def _measured(self) -> int:
        noise = self.random.gauss(0.0, 5.0)
        return round(self.faults.drift(self._temperature_c) * 1000.0 + noise)

    @reading("REG:STATE")
    def _regulator(self) -> str:
        if self.registers["REG:RUN"] == "FALSE":
            return "STOPPED"
        off_c = abs(self._temperature_c - self.registers["REG:TEMP_SET_POINT"] / 1000.0)
        return "LOCKED" if off_c < 0.5 else "SETTLING"

    @reading("COUNTERS:DETECTION_COUNT")
    def _count(self) -> int:
        return self._counted

    @reading("COUNTERS:DETECTION_FREQ")
    def _rate(self) -> float:
        return self._rate_hz

    @reading("INFO:SERIAL_NUMBER")
    def _serial_number(self) -> str:
        return self.serial_number

    def dispatch(self, header: str, argument: str, session: Session) -> Any:
        node, _, last = header.rpartition(":")
        if last == "CAPABILITY?":
            name, _ = self.find(node)
            r = self.registers.declared.get(name)
            return f"{r.low},{r.high},{STEP.get(name, 1)}" if r and not r.choices else "NONE"
        return super().dispatch(header, argument, session)

    def state(self) -> dict[str, Any]:
        return {
            "bias": self.registers["BIAS:VOLTAGE"] > 0,
            "excess_v": self.excess_v,
            "temperature_c": self._temperature_c,
            "clicks_total": self.place.clicks_total(),
        }

    @fault("tec-stuck", "cooling fails")
    def _tec_stuck(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._stuck = True
        return lambda: setattr(self, "_stuck", False)

    @fault("bias-error", "the bias supply fails")
    def _bias_fails(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._bias_error = True
        return lambda: setattr(self, "_bias_error", False)


REGISTRATION = Registration(
    "idquantique-id120", "detector", Id120, "ID Quantique ID120, silicon single-photon detector"
)
