"""AIT / Roithner TTM8000: time tagger with eight stop inputs; its data stream over UDP.

Packets and words: ``packets.py``. The bytes of the board's control port are not public: the
measurement is set up and started with the vendor's software, I-mode packed, its data sent to this
host's port (``?local=``). This driver listens and counts what is lost. Not tried on hardware.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Literal

from pydantic import Field

from photonlink.drivers.roithner.packets import PACKED, TICK_PS, PacketStream, packet_of
from photonlink.hal.errors import AcquisitionError, IdentityError, LinkClosed, LinkTimeout
from photonlink.hal.facets import Identity, Reading
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.udp import UdpLink
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
    id="roithner.ttm8000",
    title="AIT / Roithner TTM8000: time tagger, eight inputs, 82 ps",
    driver="Ttm8000",
    facets=("StreamsTags",),
    transports=("udp",),
    evidence="manual",
    emulator="roithner-ttm8000",
    settings={"byte_order": "little"},
    case={"reply_timeout_s": 1.0, "unplug_s": 5.0},
)

CHUNK_EVERY_S = 0.05
SILENCE_S = 1.0


class Ttm8000(TaggerDriver):
    """One board whose measurement runs. Channels are 1 to 8; a falling edge is 128 + channel."""

    class Settings(DriverSettings):
        """How the measurement was set up."""

        byte_order: Literal["little", "big"] = Field(
            default="little", description="of the payload: `UseLittleEndianByteOrder`, or `big`"
        )

    _first = WireChunk(b"")

    def make_codec(self, address: str, tap: Tap | None) -> UdpLink:
        self._stream = PacketStream(self.settings.byte_order, self.name)
        return UdpLink(Address.parse(address), tap=tap)

    async def connect(self) -> None:
        self.streaming, self._stream.packets, self._stream.lost = False, 0, 0
        self.codec.private = True  # its data are raw key
        await self.codec.open(self.settings.reply_timeout_s)

    @property
    def provenance(self) -> Provenance:
        return Provenance.REAL  # the stream does not show whether it is emulated

    @property
    def capabilities(self) -> TaggerCapabilities:
        inputs = range(1, 9)
        return TaggerCapabilities((*inputs, *(128 + n for n in inputs)), TICK_PS, 25e6)

    @property
    def wire_format(self) -> WireFormat:
        return WireFormat("packed32", {"resolution_ps": TICK_PS})

    async def identify(self) -> Identity:
        """From a packet: the stream has no serial number."""
        try:
            packet = packet_of(await self.codec.receive(self.settings.reply_timeout_s), self.name)
        except LinkTimeout as error:
            raise LinkTimeout(
                "no data packet came",
                where=f"{self.name} ({self.address})",
                hint="Start the measurement with the vendor's software, data to this host's port",
            ) from error
        if packet.form != PACKED:
            raise IdentityError(
                f"the board sends data format {packet.form}",
                where=self.name,
                hint="Set the measurement to I-mode packed (format 2)",
            )
        version = f"{packet.version >> 8}.{packet.version & 255:02}"
        return Identity("AIT", "TTM8000", "", version)

    async def snapshot(self) -> Mapping[str, Reading]:
        """InstrumentError when no packet comes: cable out, or the measurement has ended."""
        stream = self._stream
        if not self.streaming:
            await self._fresh()
        return {
            "streaming": self.streaming,
            "packets": stream.packets,
            "packets_lost": stream.lost,
            "digital_inputs": stream.inputs,
        }

    async def _fresh(self) -> WireChunk:
        """Begin with a fresh packet; queued ones are dropped."""
        await self.codec.drain()
        try:
            packet = packet_of(await self.codec.receive(self.settings.reply_timeout_s), self.name)
        except LinkTimeout:
            raise LinkClosed("no data packet comes any more", where=self.codec.uri) from None
        self._stream.packets += 1
        return self._stream.begin(packet)

    async def begin(self) -> AcquisitionStart:
        """The first high word from now on is time zero: it comes within 11 ms."""
        before, deadline = time.time(), time.monotonic() + SILENCE_S
        self._first = await self._fresh()
        while not self._stream.begun and time.monotonic() < deadline:
            data = await self.codec.receive(self.settings.reply_timeout_s)
            self._first = self._stream.take(data)
        if not self._stream.begun:
            raise AcquisitionError("no high word came: is the measurement paused?", where=self.name)
        return AcquisitionStart.between(before, time.time(), 0.02)

    async def pieces(self) -> AsyncIterator[WireChunk]:
        """Words, each packet's loss beside them. LinkTimeout when no packet comes."""
        yield self._first
        last, silence_s = time.monotonic(), max(SILENCE_S, self.settings.reply_timeout_s)
        while self.streaming:
            await asyncio.sleep(CHUNK_EVERY_S)
            came = [await self.codec.receive(1.0) for _ in range(self.codec.pending)]
            if came:
                last = time.monotonic()
            elif time.monotonic() - last > silence_s or not self.codec.is_open:
                raise LinkTimeout(f"no packet for {silence_s:g} s", where=self.codec.uri)
            yield self._stream.take(*came)

    async def end(self) -> None:
        """The board continues, since this driver has not started it."""
