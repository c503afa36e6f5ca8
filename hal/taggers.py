"""Common part of the drivers of time taggers: idle or streaming, with no state between.

The driver implements ``begin``, ``pieces`` and ``end``; starting twice, asking for events before
the start, a start that fails halfway and closing while events come are handled here.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from photonlink.hal.driver import Driver
from photonlink.hal.errors import InstrumentError, PhotonlinkError
from photonlink.hal.facets import Reading, StreamsTags
from photonlink.hal.params import Param
from photonlink.hal.tags import AcquisitionStart, WireChunk


class TaggerDriver(Driver, StreamsTags):
    """A driver that streams events. ``streaming`` is False until ``start`` has returned."""

    streaming = False

    @abc.abstractmethod
    async def begin(self) -> AcquisitionStart:
        """Start an acquisition."""

    @abc.abstractmethod
    def pieces(self) -> AsyncIterator[WireChunk]:
        """The bytes of the acquisition, as ``chunks`` promises them, while ``streaming``."""

    @abc.abstractmethod
    async def end(self) -> None:
        """End an acquisition, however far it came."""

    def only_idle(self, what: str) -> None:
        """InstrumentError while it streams: the tagger cannot ``what``."""
        if self.streaming:
            raise InstrumentError(f"the tagger cannot {what} while it streams", where=self.name)

    def gate_ms(self, gate_s: float, longest_ms: int) -> int:
        """The gate of a count in whole milliseconds; LimitError."""
        gate = Param("gate_ms", int, "gate", "-", unit="ms", limits=(1, longest_ms))
        return gate.whole(gate_s * 1000, where=self.name)

    async def connect(self) -> None:
        self.streaming = False
        await super().connect()

    async def start(self) -> AcquisitionStart:
        if self.streaming:
            raise InstrumentError("the measurement already runs", where=self.name)
        try:
            stamp = await self.begin()
        except BaseException:
            with contextlib.suppress(PhotonlinkError):
                await asyncio.shield(self.end())
            raise
        self.streaming = True
        return stamp

    async def chunks(self) -> AsyncIterator[WireChunk]:
        if not self.streaming:
            raise InstrumentError("the tagger was not started", where=self.name)
        async with contextlib.aclosing(self.pieces()) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece

    async def stop(self) -> None:
        if self.streaming:
            self.streaming = False
            await self.end()

    async def snapshot(self) -> Mapping[str, Reading]:
        return {"streaming": self.streaming, **await super().snapshot()}

    async def release(self) -> None:
        try:
            with contextlib.suppress(PhotonlinkError):  # a device that is gone cannot be stopped
                await self.stop()
        finally:
            self.streaming = False
            await super().release()
