"""Emulated Aurea SPD_OEM_NIR, InGaAs single-photon detector, behind its library ``OEM.so``.

Calls as in Veriqloud kiwi_hw_control 23f2c1b, ``remote/lib/aurea/SPD_OEM.py``; the list entry
``PART - SERIAL`` as a public program splits it. Evidence: manual. Unverified, chosen here: the text
of the version, the efficiencies and dead times that there are, which error a refusal gives (-1),
that a program is refused for ``rest_s`` after the last one, that nothing clicks with the output
off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.library import CallError, LibraryDevice
from photonlink.firmware_sim.kit.registers import Refusal, Register, command
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings

ON, OFF = 0, 1
REFUSED = -1
EFFICIENCIES = (10, 15, 20, 25, 30)
NOMINAL_PERCENT, NOMINAL_EXCESS_V = 20, 2.0


@dataclass
class SpdOemNirSettings(DeviceSettings):
    """rest_s: between closing and opening. clock_hz: of the gate's clock input."""

    rest_s: float = 0.5
    clock_hz: int = 0


class SpdOemNir(LibraryDevice):
    """One device, number 0. It comes up as factory settings leave it, its output off."""

    TABLE = "oem"
    Settings = SpdOemNirSettings
    UNBUILT = REFUSED
    TICK_S = 0.05
    REGISTERS = (
        Register("efficiency", 10, choices=EFFICIENCIES, unit="%"),
        Register("dead_time", 20.0, 1.0, 100.0, unit="us"),
        Register("mode", 0, 0, 1),
        Register("format", 0, 0, 2),
        Register("state", OFF, 0, 1),
    )

    def setup(self) -> None:
        super().setup()
        self._free_at_s, self._body_c = 0.0, 35.0
        self._history = [(0.0, 0)]
        self.applied("")

    def applied(self, name: str) -> None:
        """The efficiency sets the excess bias; without output nothing clicks."""
        share = self.registers["efficiency"] / NOMINAL_PERCENT
        lit = self.registers["state"] == ON
        self.place.set_excess_bias_v(NOMINAL_EXCESS_V * share if lit else 0.0)
        self.place.set_dead_time_s(self.registers["dead_time"] * 1e-6)

    def tick(self) -> None:
        """Keep the totals of the last second."""
        now = self.clock.now_s()
        self._history.append((now, self.place.clicks_total()))
        while len(self._history) > 2 and self._history[1][0] <= now - 1.0:
            self._history.pop(0)

    def state(self) -> dict[str, Any]:
        return {"output": self.registers["state"] == ON, "clicks_total": self.place.clicks_total()}

    def safe_off(self) -> None:
        self.registers.put("state", OFF)
        self.applied("state")

    def booted(self) -> None:
        self.unplug()
        self.clock.call_later(0.1, self.replug)

    def closed(self) -> None:
        self._free_at_s = self.clock.now_s() + self.config.rest_s

    def _set(self, name: str, value: float) -> None:
        try:
            self.change(name, value)
        except Refusal:
            raise CallError(REFUSED) from None

    # ---- about the device ----------------------------------------------------------------------

    @command("CPC_listDevices")
    def _list(self) -> tuple[str, int]:
        return f"SPD_OEM_NIR - {self.serial_number}", 1

    @command("CPC_openDevice")
    def _open(self, _: int) -> None:
        if self.clock.now_s() < self._free_at_s:
            raise CallError(REFUSED)

    @command("CPC_closeDevice")
    def _close(self, _: int) -> None:
        """The cable does it."""

    @command("CPC_getSystemVersion")
    def _version(self, _: int) -> str:
        return f"SPD_OEM_NIR {self.serial_number} 1.04"

    @command("CPC_saveAllSettings")
    def _save(self, _: int) -> None:
        self.registers.save()

    @command("CPC_factorySettings")
    def _factory(self, _: int) -> None:
        for register in self.REGISTERS:
            self.registers.put(register.name, register.value)
        self.applied("")

    @command("CPC_resetSystem")
    def _reset(self, _: int) -> None:
        self.reboot()

    # ---- settings and readings -----------------------------------------------------------------

    @command("CPC_getEfficiencyRange")
    def _efficiencies(self, _: int) -> str:
        return ",".join(map(str, EFFICIENCIES))

    @command("CPC_getEfficiency")
    def _efficiency(self, _: int) -> int:
        return int(self.registers["efficiency"])

    @command("CPC_setEfficiency")
    def _set_efficiency(self, _: int, percent: int) -> None:
        self._set("efficiency", percent)

    @command("CPC_getDeadTimeRange")
    def _dead_times(self, _: int) -> tuple[float, float]:
        declared = self.registers.declared["dead_time"]
        return declared.low, declared.high

    @command("CPC_getDeadTime")
    def _dead_time(self, _: int) -> float:
        return float(self.registers["dead_time"])

    @command("CPC_setDeadTime")
    def _set_dead_time(self, _: int, us: float) -> None:
        self._set("dead_time", us)

    @command("CPC_getDetectionMode")
    def _mode(self, _: int) -> int:
        return int(self.registers["mode"])

    @command("CPC_setDetectionMode")
    def _set_mode(self, _: int, mode: int) -> None:
        self._set("mode", mode)

    @command("CPC_getOutputFormat")
    def _format(self, _: int) -> int:
        return int(self.registers["format"])

    @command("CPC_setOutputFormat")
    def _set_format(self, _: int, form: int) -> None:
        self._set("format", form)

    @command("CPC_getOutputState")
    def _state(self, _: int) -> int:
        return int(self.registers["state"])

    @command("CPC_setOutputState")
    def _set_state(self, _: int, state: int) -> None:
        self._set("state", state)

    @command("CPC_getCLKCountData")
    def _counts(self, _: int) -> tuple[int, int]:
        """Clock in Hz, and detections of the last second."""
        self.tick()
        (begin, before), (now, total) = self._history[0], self._history[-1]
        rate = (total - before) / (now - begin) if now > begin else 0.0
        return int(self.config.clock_hz), round(rate)

    @command("CPC_getBodySocketTemp")
    def _temperature(self, _: int) -> float:
        return self.faults.drift(self._body_c) + self.random.gauss(0.0, 0.05)


REGISTRATION = Registration(
    "aurea-spd-oem-nir", "detector", SpdOemNir, "Aurea SPD_OEM_NIR, InGaAs single-photon detector"
)
