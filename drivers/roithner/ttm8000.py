"""AIT / Roithner TTM8000: time tagger with eight stop inputs; its data stream over UDP.

Packets and words as in the vendor's headers (``FlexIOLibTypes.h``, ``TTMLib.h`` 4.4.4, copied in
``acraddoc91/timeTaggerODMeasurement``). The bytes of the board's control port are not public: the
measurement is set up and started with the vendor's software, I-mode packed, its data sent to this
host's port (``?local=``). This driver listens and counts what is lost. Not tried on hardware.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from photonlink.hal.driver import Driver
from photonlink.hal.errors import (
    AcquisitionError,
    IdentityError,
    InstrumentError,
    LinkClosed,
    LinkTimeout,
)
from photonlink.hal.facets import Identity, Reading, StreamsTags
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.udp import UdpLink
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings
from photonlink.hal.tags import (
    AcquisitionStart,
    LostInterval,
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
    case={"reply_timeout_s": 1.0, "unplug_s": 2.0},
)

TICK_PS = 82.3045
HEADER = struct.Struct(">8sHHBBHHHHHHHH")
MAGIC, PACKED = b"TTM8Data", 2
HIGH = np.uint32(1 << 31)
CHUNK_EVERY_S = 0.05
SILENCE_S = 1.0
"""High words come every 11 ms of a running measurement."""


class Packet(NamedTuple):
    """A data packet: version, number, data format, digital inputs, run, payload."""

    version: int
    number: int
    form: int
    inputs: int
    run: int
    payload: memoryview


def packet_of(data: bytes, where: str) -> Packet:
    """InstrumentError for bytes that are no data packet."""
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise InstrumentError("this is no TTM8000 data packet", where=where, seen=data[:8].hex(" "))
    fields = HEADER.unpack_from(data)
    payload = memoryview(data)[HEADER.size :]
    if fields[12] != len(payload) or len(payload) % 4:
        raise InstrumentError("a data packet of another length than it says", where=where)
    return Packet(fields[1], fields[2], fields[3], fields[6], fields[7], payload)


class Ttm8000(Driver, StreamsTags):
    """One board whose measurement runs. Channels are 1 to 8; a falling edge is 128 + channel."""

    class Settings(DriverSettings):
        """How the measurement was set up."""

        byte_order: Literal["little", "big"] = Field(
            default="little", description="of the payload: `UseLittleEndianByteOrder`, or `big`"
        )

    _number = -1
    _run = 0
    _base: int | None = None
    _streaming = False
    _first: WireChunk | None = None
    _packets = _lost = 0
    _inputs = 0

    def make_codec(self, address: str, tap: Tap | None) -> UdpLink:
        return UdpLink(Address.parse(address), tap=tap)

    async def connect(self) -> None:
        self._streaming, self._packets, self._lost = False, 0, 0
        self.codec.private = True  # what comes is raw key
        await self.codec.open(self.settings.reply_timeout_s)

    @property
    def provenance(self) -> Provenance:
        return Provenance.REAL  # a stream cannot say that it is emulated

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
        if not self._streaming:
            await self._fresh()
        return {
            "streaming": self._streaming,
            "packets": self._packets,
            "packets_lost": self._lost,
            "digital_inputs": self._inputs,
        }

    async def _fresh(self) -> Packet:
        """A packet that comes now; what lay in the queue is thrown away."""
        await self.codec.drain()
        try:
            packet = packet_of(await self.codec.receive(self.settings.reply_timeout_s), self.name)
        except LinkTimeout:
            raise LinkClosed("no data packet comes any more", where=self.codec.uri) from None
        self._packets, self._inputs = self._packets + 1, packet.inputs
        self._number, self._run = packet.number, packet.run
        return packet

    async def start(self) -> AcquisitionStart:
        """The first high word from now on is time zero: it comes within 11 ms."""
        if self._streaming:
            raise InstrumentError("the measurement already runs", where=self.name)
        self._base, self._first = None, None
        before, deadline = time.time(), time.monotonic() + SILENCE_S
        data = self._words(await self._fresh())
        while self._base is None and time.monotonic() < deadline:
            data, _ = self._taken(await self.codec.receive(self.settings.reply_timeout_s))
        if self._base is None:
            raise AcquisitionError("no high word came: is the measurement paused?", where=self.name)
        self._streaming, self._first = True, WireChunk(data)
        after = time.time()
        return AcquisitionStart((before + after) / 2, (after - before) / 2 + 0.02)

    def _words(self, packet: Packet) -> bytes:
        """Words since time zero. Events whose high word was lost are left out."""
        order = "<u4" if self.settings.byte_order == "little" else ">u4"
        words = np.frombuffer(packet.payload, order).astype("<u4")
        high = words >= HIGH
        if self._base is None or not self._synchronous:
            if not high.any():
                return b""
            first = int(np.argmax(high))
            words, high = words[first:], high[first:]
            self._synchronous = True
            if self._base is None:
                self._base = int(words[0])
        words[high] -= np.uint32(self._base & 0x7FFFFFFF)
        return words.tobytes()

    _synchronous = False

    def _taken(self, data: bytes) -> tuple[bytes, tuple[LostInterval, ...]]:
        """(words, gaps before them) of one packet. AcquisitionError when the run is another."""
        packet = packet_of(data, self.name)
        if packet.run != self._run:
            raise AcquisitionError("the measurement was started anew", where=self.name)
        ahead = (packet.number - self._number) & 0xFFFF
        if ahead == 0 or ahead >= 1 << 15:
            return b"", ()  # twice, or later than its successor: that gap has been told
        self._number, self._inputs = packet.number, packet.inputs
        self._packets += 1
        gaps: tuple[LostInterval, ...] = ()
        if ahead > 1:
            self._lost += ahead - 1
            self._synchronous = False
            gaps = (LostInterval(self._until_ps, -1, None, f"{ahead - 1} packets lost"),)
        words = self._words(packet)
        if words:
            self._note(words)
        return words, gaps

    _until_ps = 0

    def _note(self, words: bytes) -> None:
        """Up to where the stream was whole: the latest high word."""
        found = np.frombuffer(words, "<u4")
        high = found[found >= HIGH]
        if len(high):
            self._until_ps = int((int(high[-1]) & 0x7FFFFFFF) * (1 << 27) * TICK_PS)

    async def chunks(self) -> AsyncIterator[WireChunk]:
        """Words, each packet's loss beside them. LinkTimeout when no packet comes."""
        if not self._streaming or self._first is None:
            raise InstrumentError("the tagger was not started", where=self.name)
        first, self._first = self._first, None
        yield first
        last = time.monotonic()
        while self._streaming:
            await asyncio.sleep(CHUNK_EVERY_S)
            parts: list[bytes] = []
            gaps: list[LostInterval] = []
            while self._streaming and self.codec.pending:
                words, lost = self._taken(await self.codec.receive(1.0))
                parts.append(words)
                gaps += lost
            if parts:
                last = time.monotonic()
            elif time.monotonic() - last > SILENCE_S or not self.codec.is_open:
                raise LinkTimeout(f"no packet for {SILENCE_S:g} s", where=self.codec.uri)
            yield WireChunk(b"".join(parts), tuple(gaps))

    async def stop(self) -> None:
        self._streaming = False

    async def release(self) -> None:
        self._streaming = False
        await super().release()
