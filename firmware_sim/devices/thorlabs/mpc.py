"""Emulated Thorlabs MPC paddles (MPC320, MPC220): the dialect beside ``apt.py``.

0x0490/0x0491 status, 0x0530…0x0532 polarization parameters, short completion frames, channels to
be enabled before they move, relative moves ignored (``pnpq`` 0.2.1, ``pylablib`` 1.4.5, QMI
0.54.2, issues of PnPQ and pylablib). A paddle's fibre loops are a waveplate: λ/4, λ/2, λ/4.
Unverified: the home position 0 after power-on, the velocity that GET_USTATUSUPDATE shows (counts
per second), jog steps of 10°.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from photonlink.firmware_sim.devices.thorlabs.apt import AptMotors
from photonlink.firmware_sim.kit.frame import Apt
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

TRAVEL = 1370
FULL_SPEED_DEG_S = 400.0


@dataclass
class MpcSettings(DeviceSettings):
    """retardances_deg: of the paddles' loops."""

    retardances_deg: list[float] = field(default_factory=lambda: [90.0, 180.0, 90.0])


class Mpc(AptMotors):
    """Two or three paddles, 0 to 170°, one range of counts."""

    Settings = MpcSettings
    COUNTS_PER_DEG = TRAVEL / 170.0
    ENABLED_AT_START = False
    SERIAL_PREFIX = "38"
    TYPE = 16

    def booted(self) -> None:
        self.velocity, self.home_position, self.jog = 50, 0, [81, 81, 81]
        for n, (_, retardance) in enumerate(
            zip(self.AXES, self.config.retardances_deg, strict=False), 1
        ):
            self.place.put(f"retardance{n}_deg", retardance)
        super().booted()

    def speed(self, bit: int, homing: bool) -> float:
        return self.velocity / 100.0 * FULL_SPEED_DEG_S * self.COUNTS_PER_DEG

    def home_of(self, bit: int) -> float:
        return self.home_position

    def home_reads(self, bit: int) -> float:
        self.axes[bit].origin = 0.0  # the encoder is absolute
        return self.home_position

    def status_of(self, bit: int) -> bytes:
        axis = self.axes[bit]
        velocity = min(round(axis.speed), 0xFFFF) if axis.busy else 0
        position = round(self.faults.drift(self.now(axis)))
        current_ma = 60 if axis.busy else 0
        word = self.bits(bit)
        return Apt.long(0x0491, struct.pack("<HiHhI", bit, position, velocity, current_ma, word))

    def pushed(self) -> bytes:
        return b"".join(self.status_of(bit) for bit in self.AXES)

    @command("0490")
    def _ustatus(self, frame: bytes, _: Session) -> bytes:
        return self.status_of(frame[2])

    @command("0210")
    def _set_enabled(self, frame: bytes, _: Session) -> None:
        mask, on = frame[2], frame[3] == 1
        for bit, axis in self.axes.items():
            if on:
                axis.enabled = bool(mask & bit)
            elif mask & bit or not mask:
                axis.enabled = False

    @command("0453")
    def _absolute(self, frame: bytes, session: Session) -> None:
        bit, target = struct.unpack_from("<Hi", frame, 6)
        if 0 <= target <= TRAVEL:
            self.move(bit, target, session)

    @command("046a")
    def _jog(self, frame: bytes, session: Session) -> None:
        bit, axis = frame[2], self.axes[frame[2]]
        step = self.jog[self.AXES.index(bit)] * (1 if frame[3] == 1 else -1)
        self.move(bit, min(max(self.now(axis) + step, 0), TRAVEL), session)

    @command("0530")
    def _set_params(self, frame: bytes, _: Session) -> None:
        _, velocity, home, *jog = struct.unpack_from("<6H", frame, 6)
        good = 10 <= velocity <= 100 and home <= TRAVEL and all(step <= TRAVEL for step in jog)
        if good and not self.faults.use("ignore-sets"):
            self.velocity, self.home_position, self.jog = velocity, home, jog

    @command("0531")
    def _get_params(self, _: bytes, __: Session) -> bytes:
        return Apt.long(0x0532, struct.pack("<6H", 0, self.velocity, self.home_position, *self.jog))
