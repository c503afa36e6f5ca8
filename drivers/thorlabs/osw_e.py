"""Thorlabs OSW-E (OSW12-…E, OSW22-…E): a fibre switch on a USB serial line (115200 8N1).

Dialect: ``pnpq`` 0.2.1, tried by its authors on an OSW22-1310E: a set is not answered, then the
position is queried for up to 3 s. Not tried on hardware by us.
"""

from __future__ import annotations

from functools import partial

from photonlink.hal.codecs.lines import LineCodec, Probe
from photonlink.hal.driver import Driver
from photonlink.hal.errors import IdentityError
from photonlink.hal.facets import Identity, Switches
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="thorlabs.osw_e",
    title="Thorlabs OSW-E: fibre switch, 1x2 or 2x2",
    driver="OswE",
    facets=("Switches",),
    transports=("serial", "tcp"),
    usb=("1313:80e0",),
    evidence="manual",
    emulator="thorlabs-osw-e",
    case={"place": "alice.shutter", "steady": ("position", 1)},
)


class OswE(Driver, Switches):
    """One switch: 1 is bar, 2 is cross. ``open`` and ``close`` leave it where it is."""

    PARAMS = (
        Param("position", int, "1 bar, 2 cross", "S?", "S {}", limits=(1, 2), settle_s=3.0,
              setting="position"),
        Param("board", str, "name and firmware as the board says them", "I?", poll="once"),
        Param("type_code", str, "code of the configuration table", "T?", poll="once"),
    )  # fmt: skip
    CODEC = partial(
        LineCodec,
        question_end="\n",
        command_end="\n",
        wake="\n",
        resync=Probe("I?", ".*[A-Za-z]{3}.*"),
    )

    async def identify(self) -> Identity:
        """The USB serial number differs from the one on the label, so none is checked."""
        board = await self.codec.ask("I?", str)
        if "OSW" not in board.upper():
            raise IdentityError("another instrument answers here", where=self.name, seen=board[:80])
        return Identity("Thorlabs", "OSW-E", board)

    @property
    def positions(self) -> tuple[int, ...]:
        return (1, 2)

    async def set_position(self, position: int) -> None:
        await self.set("position", position)

    async def position(self) -> int:
        return int(await self.get("position"))
