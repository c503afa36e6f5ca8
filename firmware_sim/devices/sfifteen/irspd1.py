"""Emulated S-Fifteen IRSPD1: an InGaAs single-photon detector on a serial line.

Commands are those that ``s15lib`` 0.3.0 sends (``single_photon_detector.py``). Evidence: manual.
Unverified, chosen here: the whole ``*idn?`` line, number formats, limits, power-on values, the
answer to an unknown command, the unit of ``delay`` (taken as hold-off in ns) and of ``pvolt``
(Peltier voltage), that other commands wait while counts are integrated. Diode figures are typical.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.registers import Register, command, effect, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

COOLING_K_PER_V, PELTIER_MAX_V = 20.0, 4.0
HELP = """\
*IDN? HELP SAVE
HVOLT v THRESHVOLT v CONSTP x CONSTI x LOOP 0|1 PVOLT v
TIME ms DELAY ns SETTEMP c; each with ? reads back
TEMP? COUNTS?"""


@dataclass
class Irspd1Settings(DeviceSettings):
    """breakdown_v: at reference_c.  temperature_c: of the diode when the program starts."""

    breakdown_v: float = 60.0
    breakdown_v_per_k: float = 0.1
    reference_c: float = -30.0
    temperature_c: float = -30.0
    ambient_c: float = 22.0
    settling_s: float = 3.0
    threshold_v: float = 0.05


class Irspd1(LineDevice):
    """Settings, a diode that takes time to cool, one command at a time."""

    Settings = Irspd1Settings
    TERMINATORS = b";\r\n"
    WORLD = (("ambient_c", float),)
    TICK_S = 0.05
    COMMAND_LIMIT = 1024

    def declare(self) -> tuple[Register, ...]:
        return (
            Register("hvolt", 0.0, 0.0, 90.0, ".3f", "V", volatile=True),
            Register("threshvolt", self.config.threshold_v, -2.0, 2.0, ".4f", "V"),
            Register("constp", 0.1, 0.0, 100.0, ".4f"),
            Register("consti", 0.01, 0.0, 100.0, ".4f"),
            Register("loop", 1, 0, 1),
            Register("pvolt", 0.0, 0.0, PELTIER_MAX_V, ".3f", "V"),
            Register("time", 1000, 1, 65535, unit="ms"),
            Register("settemp", self.config.temperature_c, -60.0, 40.0, ".3f", "°C"),
            Register("delay", 5000, 0, 1_000_000, unit="ns"),
        )

    def setup(self) -> None:
        self.ambient_c = self.config.ambient_c
        self._temperature_c = self.config.temperature_c
        self._stuck = False
        self._at_s = self.clock.now_s()
        self.applied("")

    # ---- diode ---------------------------------------------------------------------------------

    @property
    def excess_v(self) -> float:
        """Bias above breakdown, which rises about 0.1 V per kelvin in InGaAs/InP diodes."""
        c = self.config
        breakdown_v = c.breakdown_v + c.breakdown_v_per_k * (self._temperature_c - c.reference_c)
        return float(self.registers["hvolt"] - breakdown_v)

    def tick(self) -> None:
        """First-order approach to the set point (loop) or to what the Peltier voltage gives."""
        now_s, r = self.clock.now_s(), self.registers
        step_s, self._at_s = now_s - self._at_s, now_s
        coldest = self.ambient_c - COOLING_K_PER_V * PELTIER_MAX_V
        target = self.ambient_c - COOLING_K_PER_V * r["pvolt"]
        if self._stuck:
            target = self.ambient_c
        elif r["loop"] and (r["constp"] or r["consti"]):
            target = min(max(r["settemp"], coldest), self.ambient_c)
        share = -math.expm1(-step_s / self.config.settling_s)
        self._temperature_c += (target - self._temperature_c) * share
        self.place.set_temperature_c(self._temperature_c)
        self.place.set_excess_bias_v(self.excess_v)
        self.place.set_threshold_mv(abs(r["threshvolt"]) * 1000.0)

    def applied(self, name: str) -> None:
        self.tick()

    def safe_off(self) -> None:
        self.registers.put("hvolt", 0.0)
        self.tick()

    def state(self) -> dict[str, Any]:
        return {
            "bias": self.registers["hvolt"] > 0.0,
            "bias_v": self.registers["hvolt"],
            "excess_v": self.excess_v,
            "temperature_c": self._temperature_c,
            "clicks_total": self.place.clicks_total(),
        }

    @fault("tec-stuck", "cooling fails")
    def _tec_stuck(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._stuck = True
        return lambda: setattr(self, "_stuck", False)

    # ---- commands ------------------------------------------------------------------------------

    @reading("*idn")
    def _idn(self) -> str:
        return f"S-Fifteen Instruments SPD IRSPD1 {self.serial_number}"

    @reading("temp")
    def _temp(self) -> str:
        self.tick()
        return f"{self.faults.drift(self._temperature_c) + self.random.gauss(0.0, 0.005):.3f}"

    @reading("pvolt")
    def _pvolt(self) -> float:
        if not self.registers["loop"]:
            return float(self.registers["pvolt"])
        drive_v = (self.ambient_c - self._temperature_c) / COOLING_K_PER_V
        return float(min(max(drive_v, 0.0), PELTIER_MAX_V))

    @effect("delay")
    def _hold_off(self) -> None:
        self.place.set_dead_time_s(self.registers["delay"] * 1e-9)

    @command("help")
    def _help(self, _: str, __: Session) -> str:
        return HELP.replace("\n", "\r\n")

    @command("save")
    def _save(self, _: str, __: Session) -> None:
        self.registers.save()

    @command("counts?")
    async def _counts(self, _: str, __: Session) -> str:
        """Clicks during ``time`` ms; the place's totals move in slices, so both ends lag alike."""
        before = self.place.clicks_total()
        await self.clock.sleep(self.registers["time"] / 1000.0)
        return str(self.place.clicks_total() - before)


REGISTRATION = Registration(
    "sfifteen-irspd1", "detector", Irspd1, "S-Fifteen IRSPD1, InGaAs single-photon detector"
)
