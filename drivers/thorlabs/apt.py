"""Thorlabs motors with the APT protocol: common part of rotation mounts and paddles.

Frames and status bits: Thorlabs "APT Controllers Host-Controller Communications Protocol", issue
25. Completion frames get lost and belong to other commands (PnPQ issue 104): a move has ended when
the status bits show it and two readings of the position agree.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from pydantic import Field

from photonlink.hal.codecs.frames import Apt, FrameCodec
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import IdentityError, InstrumentError
from photonlink.hal.facets import Identity, Rotates
from photonlink.hal.params import Param, Value
from photonlink.hal.settings import DriverSettings

STOP_UPDATEMSGS, HW_REQ_INFO, HW_GET_INFO, SET_CHANENABLE = 0x0012, 0x0005, 0x0006, 0x0210
MOVE_HOME, MOVE_ABSOLUTE, MOVE_STOP = 0x0443, 0x0453, 0x0465
MOVING, HOMED, POSITION_ERROR, ENABLED = 0x2F0, 0x400, 0x4000, 0x8000_0000
_POLL_S = 0.05


def axis_params(
    axes: tuple[int, ...], limits: tuple[float, float], ours: str = ""
) -> tuple[Param, ...]:
    """The parameters of every axis. ``get`` is a field of its status frame."""
    return (
        Param("angle{ch}_deg", float, "angle of axis {ch}", "angle {ch}", "angle {ch}", "deg",
              limits=limits, ours=ours, tolerance=0.2, channels=axes),
        Param("moving{ch}", bool, "axis {ch} is moving; false stops it", f"{MOVING} {{ch}}",
              "stop {ch}", channels=axes, only=(False,), trips=True, settle_s=1.0),
        Param("homed{ch}", bool, "axis {ch} knows where it is", f"{HOMED} {{ch}}", channels=axes),
        Param("stalled{ch}", bool, "axis {ch} does not follow", f"{POSITION_ERROR} {{ch}}",
              channels=axes, stops={True: "a motor does not follow. Is something in its way? "
              "Home it"}),
    )  # fmt: skip


def stops(axes: tuple[int, ...]) -> tuple[Off, ...]:
    return tuple(Off(f"moving{axis}", False, f"axis {axis} stopped") for axis in axes)


class AptDriver(Driver, Rotates):
    """Axes 1…n. A model gives units, its status frame and its speeds."""

    class Settings(DriverSettings):
        """Deadlines of motion."""

        home_s: float = Field(120.0, gt=0, description="deadline of homing")
        margin_s: float = Field(3.0, gt=0, description="what a move may take beyond its way")

    MODEL: ClassVar[str]
    CHANNELS: ClassVar[tuple[int, ...]]
    """The wire's name of each axis."""
    COUNTS_PER_DEG: ClassVar[float]
    STATUS: ClassVar[tuple[int, int, str]]
    """Request, reply, layout: channel, position, …, status bits."""
    NEEDS_HOME: ClassVar[bool] = False
    CODEC = partial(
        FrameCodec,
        layout=Apt(),
        probe=Apt.short(HW_REQ_INFO),
        probed=lambda frame: Apt.ident(frame) == HW_GET_INFO,
    )

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.CHANNELS) + 1))

    async def speed_deg_per_s(self) -> float:
        """Speed of moves from now on."""
        raise NotImplementedError

    async def prepare(self, axis: int, word: int) -> None:
        """Make an axis ready to move. ``word``: its status bits."""

    def counts(self, angle: float, position: int) -> int:
        """The target in counts for an angle, starting from ``position``."""
        return round(angle * self.COUNTS_PER_DEG)

    def angle(self, axis: int, position: int) -> float:
        return position / self.COUNTS_PER_DEG

    async def identify(self) -> Identity:
        await self.codec.tell(Apt.short(STOP_UPDATEMSGS))
        data = (await self.request(Apt.short(HW_REQ_INFO), HW_GET_INFO))[6:]
        serial, model = struct.unpack_from("<I8s", data)
        name = model.rstrip(b"\0").decode("ascii", "replace")
        if name != self.MODEL:
            raise IdentityError("another instrument answers here", where=self.name, seen=name,
                                hint=f"Expected was {self.MODEL}")  # fmt: skip
        minor, interim, major = data[14:17]
        return Identity("Thorlabs", name, f"{serial:08}", f"{major}.{interim}.{minor}")

    async def request(self, frame: bytes, reply: int, channel: int | None = None) -> bytes:
        """Send a frame; the one that answers it (for this channel)."""

        def answers(found: bytes) -> bool:
            long = channel is not None and len(found) > 7
            return Apt.ident(found) == reply and (not long or found[6] == channel)

        answer: bytes = await self.codec.exchange(frame, answers, bytes)
        return answer

    async def status(self, axis: int) -> tuple[int, int]:
        """(position in counts, status bits)."""
        request, reply, layout = self.STATUS
        channel = self.CHANNELS[axis - 1]
        frame = await self.request(Apt.short(request, channel), reply, channel)
        if len(frame) < 6 + struct.calcsize(layout):
            raise InstrumentError("a status of the wrong length", where=self.name, seen=frame.hex())
        fields = struct.unpack_from(layout, frame, 6)
        return fields[1], fields[-1]

    async def read(self, param: Param) -> Value:
        what, _, axis = param.get.partition(" ")
        position, word = await self.status(int(axis))
        return self.angle(int(axis), position) if what == "angle" else bool(word & int(what))

    async def write(self, param: Param, value: Value) -> None:
        what, _, axis = param.set.partition(" ")
        if what == "angle":
            await self._move(int(axis), float(value))
        else:
            await self.codec.tell(self.command_bytes(param, value))

    def command_bytes(self, param: Param, value: Value) -> bytes:
        return Apt.short(MOVE_STOP, self.CHANNELS[int(param.set.partition(" ")[2]) - 1], 2)

    async def _move(self, axis: int, angle: float) -> None:
        position, word = await self.status(axis)
        if self.NEEDS_HOME and not word & HOMED:
            raise InstrumentError(f"axis {axis} does not know where it is", where=self.name,
                                  hint="Home it first; nothing was moved")  # fmt: skip
        await self.prepare(axis, word)
        target = self.counts(angle, position)
        way_s = abs(target - position) / self.COUNTS_PER_DEG / await self.speed_deg_per_s()
        data = struct.pack("<Hi", self.CHANNELS[axis - 1], target)
        await self.codec.tell(Apt.long(MOVE_ABSOLUTE, data))
        near = 0.2 * self.COUNTS_PER_DEG
        await self._arrive(axis, way_s + self.settings.margin_s,
                           lambda at, _: abs(at - target) <= near)  # fmt: skip

    async def _arrive(self, axis: int, limit_s: float, done: Callable[[int, int], bool]) -> None:
        deadline, last = asyncio.get_running_loop().time() + limit_s, None
        while True:
            position, word = await self.status(axis)
            if word & POSITION_ERROR:
                raise InstrumentError(f"axis {axis} has stalled", where=self.name,
                                      hint="Is something in its way? Home it")  # fmt: skip
            if not word & MOVING and position == last and done(position, word):
                return
            if asyncio.get_running_loop().time() > deadline:
                raise InstrumentError(f"axis {axis} has not arrived within {limit_s:.1f} s",
                                      where=self.name, seen=f"{position} counts")  # fmt: skip
            last = position
            await asyncio.sleep(_POLL_S)

    async def home(self, axis: int = 1) -> None:
        self.params.wanted.pop(f"angle{axis}_deg", None)
        await self.prepare(axis, (await self.status(axis))[1])
        await self.codec.tell(Apt.short(MOVE_HOME, self.CHANNELS[axis - 1]))
        await asyncio.sleep(_POLL_S)  # the bit of an earlier homing is cleared when this one begins
        await self._arrive(axis, self.settings.home_s, lambda _, word: bool(word & HOMED))

    async def move_to_deg(self, angle: float, axis: int = 1) -> None:
        await self.set(f"angle{axis}_deg", angle)

    async def angle_deg(self, axis: int = 1) -> float:
        return await self.params.get_float(f"angle{axis}_deg")

    async def stop_motion(self) -> None:
        for axis in self.axes:
            await self.set(f"moving{axis}", False)
