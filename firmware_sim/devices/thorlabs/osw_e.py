"""Emulated Thorlabs OSW-E: a 1x2 or 2x2 fibre switch on a USB serial line (115200 8N1).

Commands: ``pnpq`` 0.2.1 (tried by its authors on an OSW22-1310E). Evidence: manual. Unverified,
chosen here: the texts of ``T?`` and ``I?``, no reply to unknown commands. In position
``lit_position`` light passes the switch, in the other one it is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.registers import Register, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings


@dataclass
class OswESettings(DeviceSettings):
    """lit_position: 1 (bar) or 2 (cross).  switching_s: of the mirror."""

    lit_position: int = 1
    switching_s: float = 0.05


class OswE(LineDevice):
    Settings = OswESettings
    WIRES = ("serial", "tcp")
    TERMINATORS = b"\n\r"
    UNKNOWN = ""
    REGISTERS = (Register("s", 1, 1, 2),)

    def setup(self) -> None:
        self._stuck = False
        self.position = 1
        self._show()

    def _show(self) -> None:
        self.place.put("blocked", float(self.position != self.config.lit_position))

    def applied(self, name: str) -> None:
        """The mirror takes its time; the position is that of the mirror."""
        self.clock.call_later(self.config.switching_s, self._arrive)

    def _arrive(self) -> None:
        if not self._stuck:
            self.position = self.registers["s"]
            self._show()

    def state(self) -> dict[str, Any]:
        return {"position": self.position}

    @reading("s")
    def _position(self) -> str:
        return str(self.position)

    @reading("t")
    def _type(self) -> str:
        return "22"

    @reading("i")
    def _board(self) -> str:
        return f"OSW22-1310E {self.serial_number} V1.0"

    @fault("stuck", "the mirror does not move")
    def _hold(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._stuck = True
        return lambda: setattr(self, "_stuck", False)


REGISTRATION = Registration("thorlabs-osw-e", "attenuator", OswE, "Thorlabs OSW-E, fibre switch")
