"""Emulated Agiltron FF fibre switch, 1x4 or 1x8, on a serial line (9600 8N1), frames of four bytes.

Frames: QMI 0.54.2 (``agiltron/_ff_optical_switch.py``). Evidence: manual. Unverified, chosen here:
a frame that is refused is answered with ``FF``, position 1 at power-on, the switching time. In
position ``lit_position`` light passes the switch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.frame import MORE, WRONG, FrameDevice
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

HEAD, ASK, SET, SIZE = 0x01, 0x11, 0x12, 4


@dataclass
class FfSwitchSettings(DeviceSettings):
    """outputs: 4 or 8.  lit_position: the output that leads on."""

    outputs: int = 8
    lit_position: int = 1


class _Frames:
    def length(self, data: bytes) -> int:
        if data[0] != HEAD:
            return WRONG
        return SIZE if len(data) >= SIZE else MORE


class FfSwitch(FrameDevice):
    Settings = FfSwitchSettings
    WIRES = ("serial", "tcp")
    FRAMING = _Frames()

    def setup(self) -> None:
        self._stuck = False
        self.booted()

    def booted(self) -> None:
        self.position = 1
        self._show()

    def _show(self) -> None:
        self.place.put("blocked", float(self.position != self.config.lit_position))

    def state(self) -> dict[str, Any]:
        return {**super().state(), "position": self.position}

    def handle(self, frame: bytes, session: Session) -> bytes:
        _, word, high, wanted = frame
        if word == ASK:
            return bytes([HEAD, ASK, 0, self.position])
        if word == SET and high == 0 and 1 <= wanted <= self.config.outputs:
            if not self._stuck and not self.faults.use("ignore-sets"):
                self.position = wanted
                self._show()
            return frame
        return bytes([HEAD, word, 0xFF, 0xFF])

    @fault("stuck", "the switch answers and does not move")
    def _hold(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._stuck = True
        return lambda: setattr(self, "_stuck", False)


REGISTRATION = Registration(
    "agiltron-ff-switch", "attenuator", FfSwitch, "Agiltron FF, 1x4 or 1x8 fibre switch"
)
