"""Thorlabs MPC paddles (MPC320, MPC220): common part beside ``apt.py``.

170° are 1370 counts; velocity, home position and jog steps are one frame (0x0530). An axis moves
only when it is enabled; axes stay enabled between moves, because disabling them makes queued jumps
(QKDServer, PnPQ). Relative moves are ignored by the device and not used.
"""

from __future__ import annotations

import struct
from typing import ClassVar

from photonlink.drivers.thorlabs.apt import ENABLED, SET_CHANENABLE, AptDriver, axis_params
from photonlink.hal.codecs.frames import Apt
from photonlink.hal.errors import InstrumentError
from photonlink.hal.facets import Retarder
from photonlink.hal.params import Param, Value

POL_SET, POL_REQ, POL_GET = 0x0530, 0x0531, 0x0532
FULL_SPEED_DEG_S = 400.0
_POL = "<6H"


def mpc_params(axes: tuple[int, ...]) -> tuple[Param, ...]:
    return (
        *axis_params(axes, (0.0, 170.0)),
        Param("velocity_percent", int, "velocity of all axes; 100 % are 400 deg/s", "pol 1",
              "pol 1", "%", limits=(10, 100), setting="velocity_percent"),
        Param("home_position_deg", float, "where homing ends", "pol 2", "pol 2", "deg",
              limits=(0.0, 170.0), tolerance=0.2, setting="home_position_deg"),
    )  # fmt: skip


class MpcDriver(AptDriver):
    """Paddles. ``open`` stops them and leaves them where they are."""

    COUNTS_PER_DEG = 1370 / 170.0
    STATUS = (0x0490, 0x0491, "<HiHhI")

    LOOPS_DEG: ClassVar[tuple[float, ...]] = (90.0, 180.0, 90.0)
    """Retardance of the paddles' fibre loops as delivered (λ/4, λ/2, λ/4)."""

    @property
    def retarders(self) -> tuple[Retarder, ...]:
        loops = self.LOOPS_DEG[: len(self.CHANNELS)]
        return tuple(Retarder(loop, 0.0, 0.0, 170.0) for loop in loops)

    async def speed_deg_per_s(self) -> float:
        return max((await self._pol())[1], 10) / 100.0 * FULL_SPEED_DEG_S

    async def prepare(self, axis: int, word: int) -> None:
        if not word & ENABLED:
            await self.codec.tell(Apt.short(SET_CHANENABLE, sum(self.CHANNELS), 1))

    async def _pol(self) -> list[int]:
        frame = await self.request(Apt.short(POL_REQ), POL_GET)
        if len(frame) < 6 + struct.calcsize(_POL):
            raise InstrumentError("parameters of the wrong length", where=self.name)
        return list(struct.unpack_from(_POL, frame, 6))

    async def read(self, param: Param) -> Value:
        what, _, place = param.get.partition(" ")
        if what != "pol":
            return await super().read(param)
        found = (await self._pol())[int(place)]
        return found / self.COUNTS_PER_DEG if param.kind is float else found

    async def write(self, param: Param, value: Value) -> None:
        what, _, place = param.set.partition(" ")
        if what != "pol":
            await super().write(param, value)
            return
        fields = await self._pol()
        scale = self.COUNTS_PER_DEG if param.kind is float else 1.0
        fields[int(place)] = round(float(value) * scale)
        await self.codec.tell(Apt.long(POL_SET, struct.pack(_POL, *fields)))
