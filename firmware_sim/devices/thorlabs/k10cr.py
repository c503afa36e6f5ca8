"""Emulated Thorlabs K10CR1 and K10CR2 rotation mounts: the dialect beside ``apt.py``.

Units (``pnpq``, QMI, ``pylablib``): 409600/3 counts per degree, 7 329 109 per deg/s. Speeds are
lost at power-off, and the home parameters of power-on are uselessly slow (PnPQ issue 142, pylablib
issue 74). The counter does not wrap at 360°. The K10CR2 reports a second channel in STATUSUPDATE
and sends GET_JOGPARAMS with destination 0. Unverified: power-on velocity 1 deg/s and home 0.1
deg/s, power, limit-switch and button parameters, that acceleration costs no time.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from photonlink.firmware_sim.devices.thorlabs.apt import AptMotors
from photonlink.firmware_sim.kit.frame import Apt
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

VELOCITY, ACCELERATION = 7_329_109, 1502
STORED = {  # message of SET → (layout of its data, power-on values); REQ is +1, GET is +2
    0x0413: ("<HIII", (1, 0, 15_020, VELOCITY)),
    0x0416: ("<HHIIIIH", (1, 2, 682_667, 0, 22_530, VELOCITY, 2)),
    0x0423: ("<HHHIIH", (1, 4, 1, 0, 0, 1)),
    0x0426: ("<HHH", (1, 15, 15)),
    0x0440: ("<HHHiI", (1, 2, 1, VELOCITY // 10, 546_133)),
    0x04B6: ("<HHIIHH", (1, 1, 682_667, 682_667, 500, 0)),
}


@dataclass
class K10crSettings(DeviceSettings):
    """retardance_deg: of the plate in the mount.  stands_deg: where it stands at power-on; the
    counter says 0 there."""

    retardance_deg: float = 180.0
    stands_deg: float = 0.0


class K10cr(AptMotors):
    Settings = K10crSettings
    COUNTS_PER_DEG = 409_600 / 3
    TOP_DEG_S: ClassVar[float] = 10.0
    CHANNELS: ClassVar[int] = 1

    def booted(self) -> None:
        self.stored = {message: values for message, (_, values) in STORED.items()}
        self.place.put("retardance1_deg", self.config.retardance_deg)
        super().booted()
        self.axes[1].origin = self.config.stands_deg * self.COUNTS_PER_DEG
        self.show_light()

    def speed(self, bit: int, homing: bool) -> float:
        raw = self.stored[0x0440][3] if homing else self.stored[0x0413][3]
        return min(max(raw / VELOCITY, 1e-3), self.TOP_DEG_S) * self.COUNTS_PER_DEG

    def block(self, bit: int = 1) -> bytes:
        position = round(self.faults.drift(self.now(self.axes[1])))
        return struct.pack("<HiiI", bit, position, position, self.bits(1))

    def completed(self, bit: int, message: int) -> bytes:
        if message == 0x0444:
            return Apt.short(message, bit)
        return Apt.long(message, self.block())

    def pushed(self) -> bytes:
        more = self.block(2) if self.CHANNELS > 1 else b""
        return Apt.long(0x0481, self.block() + more)

    @command("0480")
    def _status_update(self, _: bytes, __: Session) -> bytes:
        return self.pushed()

    @command("0210")
    def _set_enabled(self, frame: bytes, _: Session) -> None:
        self.axes[frame[2]].enabled = frame[3] == 1

    @command("0448")
    def _relative(self, frame: bytes, session: Session) -> None:
        bit, way = struct.unpack_from("<Hi", frame, 6)
        self.move(bit, self.now(self.axes[bit]) + way, session)

    @command("046a")
    def _jog(self, frame: bytes, session: Session) -> None:
        way = self.stored[0x0416][2] * (1 if frame[3] == 1 else -1)
        self.move(frame[2], self.now(self.axes[frame[2]]) + way, session)

    @command("0410")
    def _set_counter(self, frame: bytes, _: Session) -> None:
        bit, counts = struct.unpack_from("<Hi", frame, 6)
        axis = self.axes[bit]
        if not axis.busy:
            axis.origin += axis.position - counts
            axis.position = counts

    @command(*(f"{message:04x}" for message in STORED))
    def _store(self, frame: bytes, _: Session) -> None:
        message = int.from_bytes(frame[:2], "little")
        values = struct.unpack_from(STORED[message][0], frame, 6)
        if not self.faults.use("ignore-sets"):
            self.stored[message] = values

    @command(*(f"{message + 1:04x}" for message in STORED))
    def _stored(self, frame: bytes, _: Session) -> bytes:
        message = int.from_bytes(frame[:2], "little") - 1
        reply = Apt.long(message + 2, struct.pack(STORED[message][0], *self.stored[message]))
        if message == 0x0416 and self.CHANNELS > 1:
            return reply[:4] + b"\0" + reply[5:]  # as the K10CR2 does it
        return reply
