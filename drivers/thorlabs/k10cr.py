"""Thorlabs K10CR1 and K10CR2 rotation mounts: common part beside ``apt.py``.

Units: 409600/3 counts per degree, 7 329 109 per deg/s, 1502 per deg/s² (``pnpq`` 0.2.1, QMI 0.54.2,
``pylablib`` 1.4.5). The counter does not wrap: a move takes the nearest equivalent angle. The home
parameters of power-on are unusable (PnPQ issue 142): they are written with the velocity.
"""

from __future__ import annotations

import struct

from photonlink.drivers.thorlabs.apt import AptDriver, axis_params
from photonlink.hal.codecs.frames import Apt
from photonlink.hal.params import Param, Value

SET_VELPARAMS, REQ_VELPARAMS, GET_VELPARAMS, SET_HOMEPARAMS = 0x0413, 0x0414, 0x0415, 0x0440
VELOCITY, ACCELERATION = 7_329_109, 1502
TURN = 49_152_000
HOME_REVERSE, REVERSE_LIMIT, HOME_OFFSET = 2, 1, 546_133  # as the vendor's software writes them


def k10cr_params(top_deg_per_s: float) -> tuple[Param, ...]:
    return (
        *axis_params((1,), (0.0, 360.0), ours="one turn"),
        Param("velocity_deg_per_s", float, "velocity of moves and homing", "velocity", "velocity",
              "deg/s", limits=(0.1, top_deg_per_s), tolerance=0.001,
              ours="what the mount is specified for", setting="velocity_deg_per_s"),
    )  # fmt: skip


class K10crDriver(AptDriver):
    """One mount."""

    CHANNELS = (1,)
    COUNTS_PER_DEG = TURN / 360.0
    STATUS = (0x0480, 0x0481, "<HiiI")
    NEEDS_HOME = True
    _aim = 180.0

    async def speed_deg_per_s(self) -> float:
        data = await self.request(Apt.short(REQ_VELPARAMS, 1), GET_VELPARAMS, 1)
        return max(float(struct.unpack_from("<HIII", data, 6)[3]) / VELOCITY, 0.01)

    def counts(self, angle: float, position: int) -> int:
        self._aim = angle
        way = round(angle * self.COUNTS_PER_DEG) - position
        return position + (way + TURN // 2) % TURN - TURN // 2

    def angle(self, axis: int, position: int) -> float:
        """Within half a turn of where it was sent: 0° is not read as 359.99°."""
        found = position / self.COUNTS_PER_DEG
        return self._aim + (found - self._aim + 180.0) % 360.0 - 180.0

    async def read(self, param: Param) -> Value:
        return (
            await self.speed_deg_per_s() if param.get == "velocity" else await super().read(param)
        )

    async def write(self, param: Param, value: Value) -> None:
        if param.set != "velocity":
            await super().write(param, value)
            return
        velocity = round(float(value) * VELOCITY)
        motion = struct.pack("<HIII", 1, 0, 10 * ACCELERATION, velocity)
        homing = struct.pack("<HHHii", 1, HOME_REVERSE, REVERSE_LIMIT, velocity, HOME_OFFSET)
        await self.codec.tell(Apt.long(SET_VELPARAMS, motion))
        await self.codec.tell(Apt.long(SET_HOMEPARAMS, homing))
