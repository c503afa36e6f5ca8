"""University of Bristol time tagger ("RWN-11", "NOX box"): a serial line for control, a USB
endpoint for events.

Commands, pauses and records: cqptoolkit 4b37aaf, ``Drivers/UsbTagger`` and
``Algorithms/Util/DataFile`` (decoder ``nox``). No command is answered and no record says that
events were lost. Not tried on hardware.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from pydantic import Field

from photonlink.hal import machine
from photonlink.hal.errors import AcquisitionError, LinkClosed, LinkError, LinkTimeout
from photonlink.hal.facets import Identity, Reading
from photonlink.hal.links import Address, Tap, make_stream
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings
from photonlink.hal.taggers import TaggerDriver
from photonlink.hal.tags import (
    AcquisitionStart,
    Provenance,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)

INSTRUMENT = Registration(
    id="bristol.nox",
    title="University of Bristol NOX: time tagger, 1.9 ps",
    driver="Nox",
    facets=("StreamsTags",),
    transports=("serial",),
    usb=("221a:0100",),
    evidence="manual",
    emulator="bristol-nox",
    settings={"pause_s": 0.05},
    case={"first_channel": 0},
)

DATA = "usb:///221a:0100?endpoint=0x82"
COARSE_HZ = 130e6
DETECTION, CONFIGURATION = 0x24, 0x25
RECORD_BYTES = 8
FIRST_EVENT_S = 0.3
CHUNK_EVERY_S = 0.05
CHUNK_BYTES = 8 << 20  # more than the link can hold


class Nox(TaggerDriver):
    """One unit. Channels are those of its records, from 0."""

    OPTIONS = ("data",)
    BAUD = 9600

    class Settings(DriverSettings):
        """Of the control line."""

        pause_s: float = Field(
            default=0.5, gt=0, le=5, description="rest after each command; a real unit needs 0.5, s"
        )

    _first = b""

    def make_codec(self, address: str, tap: Tap | None) -> Any:
        data = Address.parse(address).options.get("data", DATA)
        self._data = make_stream(data, tap=tap)
        self._data.private = True  # what comes is raw key
        return make_stream(self._link_address(address), tap=tap)

    @property
    def provenance(self) -> Provenance:
        return Provenance.REAL  # a stream cannot say that it is emulated

    @property
    def is_open(self) -> bool:
        return bool(self.codec.is_open and self._data.is_open)

    @property
    def capabilities(self) -> TaggerCapabilities:
        return TaggerCapabilities(tuple(range(15)), 1e12 / COARSE_HZ / 4096, 4e6)

    @property
    def wire_format(self) -> WireFormat:
        return WireFormat("nox")

    async def connect(self) -> None:
        self.streaming = False
        for link in (self.codec, self._data):
            await link.open(self.settings.reply_timeout_s)
        await self._tell("WS")  # the stream of a program that was killed ends here

    async def identify(self) -> Identity:
        """The unit says nothing of itself; its USB serial number may be in the data address."""
        serial = self._data.address.options.get("serial", "")
        return Identity("University of Bristol", "NOX", serial)

    async def configure(self) -> None:
        await self._tell("ABCDE")

    async def _tell(self, letters: str) -> None:
        for letter in letters:
            await self.codec.write(letter.encode(), self.settings.reply_timeout_s)
            await asyncio.sleep(self.settings.pause_s)

    async def snapshot(self) -> Mapping[str, Reading]:
        """LinkClosed when one of the two lines is gone: nothing can be asked."""
        await asyncio.sleep(0.001)  # what the system knows of the lines by now is heard first
        if not self.is_open:
            raise LinkClosed("the unit is gone", where=f"{self.name} ({self.address})")
        return {"streaming": self.streaming}

    async def begin(self) -> AcquisitionStart:
        """Whether ``R`` sets the counter to zero is not documented: the time of zero is the arrival
        of the first event minus what the counter shows. Without one for a while it is taken for
        the time of ``R``."""
        timeout_s = self.settings.reply_timeout_s
        with contextlib.suppress(LinkTimeout):
            await self._data.drain(0.05, timeout_s)
        sent = machine.wall_s()
        await self.codec.write(b"R", timeout_s)
        self._first = await self._record(timeout_s)
        if self._first[0] != CONFIGURATION:
            raise AcquisitionError(
                "the stream begins with no configuration record", where=self.name,
                hint="Was the unit set up? Close it and open it again",
            )  # fmt: skip
        begun, record = machine.wall_s(), self._first
        with contextlib.suppress(LinkTimeout):
            while (record := await self._record(FIRST_EVENT_S))[0] == CONFIGURATION:
                self._first += record
        if record[0] == CONFIGURATION:
            return AcquisitionStart.between(sent, begun, 0.01)
        arrived = machine.wall_s()
        self._first += record
        counter_s = (int.from_bytes(record[1:6], "big") >> 4) / COARSE_HZ
        return AcquisitionStart(arrived - counter_s, max(0.0, arrived - sent) + 0.01)

    async def _record(self, timeout_s: float) -> bytes:
        return await self._data.read_exactly(RECORD_BYTES, timeout_s)

    async def pieces(self) -> AsyncIterator[WireChunk]:
        """Bytes of the stream. A unit that sees no light sends nothing: silence is no error."""
        data, self._first = self._first, b""
        while self.streaming:
            yield WireChunk(data)
            data = b""
            await asyncio.sleep(CHUNK_EVERY_S)
            if not self.codec.is_open:
                raise LinkClosed("the control line is gone", where=self.codec.uri)
            if self._data.pending or not self._data.is_open:
                data = await self._data.read_some(CHUNK_BYTES, CHUNK_EVERY_S)

    async def end(self) -> None:
        """End the stream; what is still on its way is thrown away."""
        await self._tell("S")
        await self._data.drain(0.05, self.settings.reply_timeout_s)

    async def release(self) -> None:
        try:
            await super().release()
        finally:
            with contextlib.suppress(LinkError):
                await self._data.close()
