"""Common part of the drivers of lasers that have a switch for their light.

The driver declares a parameter ``emission`` (``trips=True``: an interlock may end it) and, when an
interlock, a key or a shutter can forbid light, readings with ``stops``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from photonlink.hal.driver import Driver
from photonlink.hal.errors import InstrumentError
from photonlink.hal.facets import Condition, Emits
from photonlink.hal.params import Value

ENDED = "emission ended by itself. Find out why, then ask for light again"


class LaserDriver(Driver, Emits):
    """A driver whose parameter ``emission`` switches the light."""

    async def set_emission(self, on: bool) -> None:
        """Switch and read back. A condition that forbids light raises InstrumentError before
        anything is switched; when the light differs from the request, it is switched off again.
        """
        if not on:
            await self.set("emission", False)
            return
        for param in self.params.table.values():
            if param.stops and (text := param.stops.get(await self.get(param.name))):
                raise InstrumentError(text, where=self.name)
        try:
            await self.set("emission", True)
        except BaseException:
            await asyncio.shield(self.safe_state())
            raise

    async def emission(self) -> bool:
        return bool(await self.get("emission"))

    def conditions(self, readings: Mapping[str, Value]) -> tuple[Condition, ...]:
        found = super().conditions(readings)
        if self.params.wanted.get("emission") is True and readings.get("emission") is False:
            found += (Condition("emission_ended", ENDED),)
        return found
