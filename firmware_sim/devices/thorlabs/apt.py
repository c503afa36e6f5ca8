"""Emulated Thorlabs motors that speak APT: what mounts and paddles have in common.

Frames and status bits: Thorlabs "APT Controllers Host-Controller Communications Protocol", issue
25, and what ``pnpq`` 0.2.1, ``pylablib`` 1.4.5 and QMI 0.54.2 send. Evidence: manual. Unverified,
chosen here: nothing answers a frame with values out of range; a new target of a moving axis waits
its turn; a stopped motor answers MOVE_STOP too; STATUSUPDATE is pushed every second for 5 s after
the last sign of life (START_UPDATEMSGS or ACK).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.frame import Apt, FrameDevice
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.wires.session import Session

MOVING_CW, MOVING_CCW, CONNECTED, HOMING, HOMED = 0x10, 0x20, 0x100, 0x200, 0x400
SETTLED, POSITION_ERROR, POWER_OK, ENABLED = 0x2000, 0x4000, 0x10000000, 0x80000000
UPDATE_S, UPDATES_LAST_S = 1.0, 5.0


@dataclass
class Axis:
    """One motor. Positions in counts; ``origin``: mechanical counts where the counter reads 0."""

    position: float = 0.0
    origin: float = 0.0
    speed: float = 1.0
    start: float = 0.0
    target: float = 0.0
    started_s: float = 0.0
    busy: str = ""
    homed: bool = False
    enabled: bool = False
    error: bool = False
    waiting: deque[Callable[[], None]] = field(default_factory=deque)


class AptMotors(FrameDevice):
    """Axes, motion and the frames all of them share. A model adds speeds and its own frames."""

    FRAMING = Apt()
    WIRES = ("serial", "tcp")
    TICK_S = 0.02
    MODEL: ClassVar[str] = ""
    TYPE: ClassVar[int] = 16
    AXES: ClassVar[tuple[int, ...]] = (1,)
    """Channel identifiers: bit codes."""
    COUNTS_PER_DEG: ClassVar[float] = 1.0
    ENABLED_AT_START: ClassVar[bool] = True

    def setup(self) -> None:
        self._stuck = self._mute = self._slow = False
        self._listeners: dict[Session, float] = {}
        self._pushed_s = 0.0
        self.booted()

    def booted(self) -> None:
        self.axes = {bit: Axis(enabled=self.ENABLED_AT_START) for bit in self.AXES}
        self._listeners.clear()
        self.show_light()

    def make_serial(self, seed: int) -> str:
        return f"{self.SERIAL_PREFIX}{seed % 10**6:06}"

    SERIAL_PREFIX: ClassVar[str] = "55"

    # ---- for a model ---------------------------------------------------------------------------

    def speed(self, bit: int, homing: bool) -> float:
        """Counts per second of a move that starts now."""
        raise NotImplementedError

    def completed(self, bit: int, message: int) -> bytes:
        """HOMED, MOVE_COMPLETED or MOVE_STOPPED."""
        return Apt.short(message, bit)

    def home_of(self, bit: int) -> float:
        """Where homing ends, in mechanical counts."""
        return 0.0

    def show_light(self) -> None:
        """Tell the optical table the angles."""
        for n, bit in enumerate(self.AXES, 1):
            axis = self.axes[bit]
            angle = (self.now(axis) + axis.origin) / self.COUNTS_PER_DEG
            self.place.put(f"angle{n}_deg", angle % 360.0)

    # ---- motion --------------------------------------------------------------------------------

    def now(self, axis: Axis) -> float:
        """Position at this moment."""
        if not axis.busy or axis.error:
            return axis.position
        way = axis.target - axis.start
        gone = axis.speed * (self.clock.now_s() - axis.started_s)
        return axis.target if gone >= abs(way) else axis.start + (gone if way > 0 else -gone)

    def move(self, bit: int, target: float, session: Session, why: str = "move") -> None:
        """Go to a position, after what this axis is doing now. A disabled one does not listen."""
        axis = self.axes[bit]
        if not axis.enabled or self.faults.use("ignore-sets"):
            return
        axis.waiting.append(lambda: self._begin(bit, target, session, why))
        if not axis.busy:
            axis.waiting.popleft()()

    def _begin(self, bit: int, target: float, session: Session, why: str) -> None:
        axis = self.axes[bit]
        axis.start, axis.target, axis.busy = axis.position, target, why
        if why == "home":
            axis.homed = False
            axis.target = self.home_of(bit) - axis.origin
        axis.speed = self.speed(bit, why == "home") * (0.1 if self._slow else 1.0)
        axis.started_s, axis.error = self.clock.now_s(), self._stuck
        if not self._stuck:
            duration_s = abs(axis.target - axis.start) / max(axis.speed, 1e-9)
            began_s = axis.started_s
            self.clock.call_later(duration_s, lambda: self._arrive(bit, axis, began_s, session))

    def _arrive(self, bit: int, axis: Axis, began_s: float, session: Session) -> None:
        if self.axes[bit] is not axis or not axis.busy or axis.started_s != began_s:
            return  # stopped or restarted meanwhile
        why, axis.busy, axis.position = axis.busy, "", axis.target
        if why == "home":
            axis.homed, axis.origin, axis.position = True, self.home_of(bit), self.home_reads(bit)
            if not self._mute:
                session.send(self.completed(bit, 0x0444))
        elif not self._mute:
            session.send(self.completed(bit, 0x0464))
        self.show_light()
        if axis.waiting:
            axis.waiting.popleft()()

    def home_reads(self, bit: int) -> float:
        """What the counter says after homing."""
        return 0.0

    def safe_off(self) -> None:
        """A motor is not dangerous; it stops where it is."""
        for bit in self.axes:
            self._halt(bit)

    def _halt(self, bit: int) -> None:
        axis = self.axes[bit]
        axis.position = self.now(axis)
        axis.busy = ""
        axis.waiting.clear()

    def bits(self, bit: int) -> int:
        """The status word of one axis."""
        axis = self.axes[bit]
        moving = MOVING_CW if axis.target > axis.start else MOVING_CCW
        word = CONNECTED | POWER_OK | (ENABLED if axis.enabled else 0)
        word |= HOMED if axis.homed else 0
        word |= (moving | (HOMING if axis.busy == "home" else 0)) if axis.busy else SETTLED
        return word | (POSITION_ERROR if axis.error else 0)

    def tick(self) -> None:
        self.show_light()
        now_s = self.clock.now_s()
        if now_s - self._pushed_s < UPDATE_S:
            return
        self._pushed_s = now_s
        for session, since_s in list(self._listeners.items()):
            if now_s - since_s > UPDATES_LAST_S or not session.send(self.pushed()):
                del self._listeners[session]

    def pushed(self) -> bytes:
        """What START_UPDATEMSGS makes the device send."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        angles = {
            f"angle{n}_deg": self.now(self.axes[bit]) / self.COUNTS_PER_DEG
            for n, bit in enumerate(self.AXES, 1)
        }
        return {**super().state(), **angles, "moving": any(a.busy for a in self.axes.values())}

    # ---- frames --------------------------------------------------------------------------------

    def handle(self, frame: bytes, session: Session) -> bytes | None:
        method = self.method(f"{int.from_bytes(frame[:2], 'little'):04x}")
        if method is None:
            return None  # the real ones keep silent too
        try:
            reply: bytes | None = method(frame, session)
        except (struct.error, KeyError):  # a short frame, a channel that is none
            return None
        return reply

    @command("0005")
    def _hw_info(self, _: bytes, __: Session) -> bytes:
        notes = b"photonlink emulator".ljust(60, b"\0")
        head = struct.pack("<I8sH4B", int(self.serial_number), self.MODEL.encode(), self.TYPE,
                           2, 0, 1, 0)  # fmt: skip
        return Apt.long(0x0006, head + notes + struct.pack("<HHH", 1, 0, len(self.AXES)))

    @command("0011", "0492")
    def _start_updates(self, frame: bytes, session: Session) -> None:
        if frame[:2] == b"\x11\0" or session in self._listeners:
            self._listeners[session] = self.clock.now_s()

    @command("0012")
    def _stop_updates(self, _: bytes, session: Session) -> None:
        self._listeners.pop(session, None)

    @command("0211")
    def _enabled(self, frame: bytes, _: Session) -> bytes:
        return Apt.short(0x0212, frame[2], 1 if self.axes[frame[2]].enabled else 2)

    @command("0411")
    def _counter(self, frame: bytes, _: Session) -> bytes:
        position = round(self.faults.drift(self.now(self.axes[frame[2]])))
        return Apt.long(0x0412, struct.pack("<Hi", frame[2], position))

    @command("0429")
    def _status_bits(self, frame: bytes, _: Session) -> bytes:
        return Apt.long(0x042A, struct.pack("<HI", frame[2], self.bits(frame[2])))

    @command("0443")
    def _home(self, frame: bytes, session: Session) -> None:
        self.move(frame[2], 0.0, session, "home")

    @command("0453")
    def _absolute(self, frame: bytes, session: Session) -> None:
        bit, target = struct.unpack_from("<Hi", frame, 6)
        self.move(bit, target, session)

    @command("0465")
    def _stop(self, frame: bytes, _: Session) -> bytes:
        self._halt(frame[2])
        return self.completed(frame[2], 0x0466)

    # ---- faults --------------------------------------------------------------------------------

    def _flag(self, name: str) -> Callable[[], object]:
        setattr(self, name, True)
        return lambda: setattr(self, name, False)

    @fault("stall", "the motor does not turn: position error, no completion")
    def _stall(self, _: Mapping[str, Any]) -> Callable[[], object]:
        def free() -> None:
            self._stuck = False
            for bit, axis in self.axes.items():
                if axis.error:
                    self._halt(bit)
                    axis.error = False

        self._stuck = True
        return free

    @fault("lost-completion", "HOMED and MOVE_COMPLETED are not sent")
    def _lost(self, _: Mapping[str, Any]) -> Callable[[], object]:
        return self._flag("_mute")

    @fault("slow", "moves take ten times as long")
    def _crawl(self, _: Mapping[str, Any]) -> Callable[[], object]:
        return self._flag("_slow")

    @fault("slip", "every axis turns by `counts` and knows it", "counts")
    def _slip(self, order: Mapping[str, Any]) -> None:
        for axis in self.axes.values():
            axis.position = self.now(axis) + float(order.get("counts", 100))
        self.show_light()
