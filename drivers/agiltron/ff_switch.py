"""Agiltron FF fibre switch, 1x4 or 1x8, on a serial line (9600 8N1), frames of four bytes.

Frames: QMI 0.54.2 (``agiltron/_ff_optical_switch.py``): a set is echoed, anything else is a
refusal. The frames carry no checksum: a position is read back. Not tried on hardware.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from photonlink.hal.codecs.frames import Fixed, FrameCodec
from photonlink.hal.driver import Driver
from photonlink.hal.errors import IdentityError, InstrumentError, LimitError
from photonlink.hal.facets import Identity, Switches
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="agiltron.ff_switch",
    title="Agiltron FF: fibre switch, 1x4 or 1x8",
    driver="FfSwitch",
    facets=("Switches",),
    transports=("serial", "tcp"),
    evidence="manual",
    emulator="agiltron-ff-switch",
    settings={"outputs": 8},
    case={"place": "bob.shutter", "steady": ("position", 1)},
)
_ASK, _SET = b"\x01\x11", b"\x01\x12"


class FfSwitch(Driver, Switches):
    """One switch. ``open`` and ``close`` leave it where it is."""

    class Settings(DriverSettings):
        """Which of the two it is."""

        outputs: int = Field(8, ge=2, le=8, description="number of outputs")

    PARAMS = (
        Param("position", int, "output that the light takes", "ask", "set", limits=(1, 8),
              plausible=(1, 8), settle_s=0.5, setting="position"),
    )  # fmt: skip
    CODEC = partial(
        FrameCodec,
        layout=Fixed(4),
        probe=_ASK + b"\0\0",
        probed=lambda frame: frame[:2] == _ASK and 1 <= frame[3] <= 8,
    )

    async def identify(self) -> Identity:
        """It reports no identity: any position within its outputs is accepted."""
        position = await self.codec.exchange(_ASK + b"\0\0", _any, bytes)
        if position[:2] != _ASK or not 1 <= position[3] <= 8:
            raise IdentityError(
                "another instrument answers here", where=self.name, seen=position.hex(" ")
            )
        return Identity("Agiltron", f"FF 1x{self.settings.outputs}", "")

    async def read(self, param: Param) -> Value:
        frame = await self.codec.exchange(_ASK + b"\0\0", lambda found: found[:2] == _ASK, bytes)
        return int(frame[3])

    async def write(self, param: Param, value: Value) -> None:
        if int(value) > self.settings.outputs:
            raise LimitError(f"this switch has {self.settings.outputs} outputs", where=self.name)
        frame = _SET + bytes([0, int(value)])
        if await self.codec.exchange(frame, _any, bytes) != frame:
            raise InstrumentError(f"position {value} was refused", where=self.name)

    @property
    def positions(self) -> tuple[int, ...]:
        return tuple(range(1, self.settings.outputs + 1))

    async def set_position(self, position: int) -> None:
        await self.set("position", position)

    async def position(self) -> int:
        return int(await self.get("position"))


def _any(_: bytes) -> bool:
    return True
