"""Binary frames: a header with the length, with or without a checksum.

Layouts: Thorlabs APT (APT Communications Protocol, issue 25: 6-byte header, little-endian), frames
between STX and a CRC-16, and the four bytes of OIF-ITLA-MSA-01.3 with their BIP-4.
"""

from __future__ import annotations

import abc
import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from photonlink.hal.codecs.base import Codec, Wanted
from photonlink.hal.errors import InstrumentError, LinkDesync, LinkTimeout
from photonlink.hal.links import StreamLink, Tap, make_stream
from photonlink.hal.params import Param, Value

T = TypeVar("T")


class Layout(abc.ABC):
    """How frames are cut out of a stream of bytes."""

    header_bytes: int

    @abc.abstractmethod
    def length(self, header: bytes) -> int:
        """Length of the whole frame. ValueError: this is not a header."""

    def check(self, frame: bytes) -> None:  # noqa: B027 - a layout may have no checksum
        """ValueError when the checksum is wrong."""


class Apt(Layout):
    """Thorlabs APT: id u16, then two parameters or a data length, destination, source."""

    header_bytes = 6

    def length(self, header: bytes) -> int:
        _, count, destination, _ = struct.unpack("<HHBB", header)
        if not destination & 0x80:
            return 6
        if count > 4096:
            raise ValueError(f"{count} bytes of data")
        return 6 + int(count)

    @staticmethod
    def short(
        ident: int, p1: int = 0, p2: int = 0, *, destination: int = 0x50, source: int = 1
    ) -> bytes:
        return struct.pack("<HBBBB", ident, p1, p2, destination, source)

    @staticmethod
    def long(ident: int, data: bytes, *, destination: int = 0x50, source: int = 1) -> bytes:
        return struct.pack("<HHBB", ident, len(data), destination | 0x80, source) + data

    @staticmethod
    def ident(frame: bytes) -> int:
        return int.from_bytes(frame[:2], "little")


@dataclass(frozen=True)
class StxCrc(Layout):
    """STX, a length byte that counts what follows it but the CRC, payload, CRC-16 (CCITT, BE)."""

    stx: int = 0x02
    initial: int = 0xFFFF
    header_bytes = 2

    def length(self, header: bytes) -> int:
        if header[0] != self.stx:
            raise ValueError(f"starts with 0x{header[0]:02x}")
        return 2 + header[1] + 2

    def check(self, frame: bytes) -> None:
        found = int.from_bytes(frame[-2:], "big")
        if found != (right := crc16(frame[1:-2], self.initial)):
            raise ValueError(f"CRC 0x{found:04x} instead of 0x{right:04x}")

    def frame(self, payload: bytes) -> bytes:
        body = bytes([len(payload)]) + payload
        return bytes([self.stx]) + body + crc16(body, self.initial).to_bytes(2, "big")


class Itla(Layout):
    """OIF-ITLA-MSA: four bytes, BIP-4 in the high nibble of the first (§8.2)."""

    header_bytes = 4

    def length(self, header: bytes) -> int:
        return 4

    def check(self, frame: bytes) -> None:
        if frame[0] >> 4 != (right := bip4(frame)):
            raise ValueError(f"checksum {frame[0] >> 4:x} instead of {right:x}")

    @staticmethod
    def request(register: int, data: int = 0, *, write: bool = False) -> bytes:
        body = bytes([int(write), register, *(data & 0xFFFF).to_bytes(2, "big")])
        return bytes([bip4(body) << 4 | body[0]]) + body[1:]


class Fixed(Layout):
    """Frames of one length without a checksum."""

    def __init__(self, count: int) -> None:
        self.header_bytes = count

    def length(self, header: bytes) -> int:
        return self.header_bytes


def crc16(data: bytes, crc: int = 0xFFFF) -> int:
    """CRC-16/CCITT, polynomial 0x1021, most significant bit first."""
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def bip4(frame: bytes) -> int:
    """Bit-interleaved parity over four bytes; the first one's high nibble does not count."""
    x = (frame[0] & 0x0F) ^ frame[1] ^ frame[2] ^ frame[3]
    return (x >> 4) ^ (x & 0x0F)


class FrameCodec(Codec):
    """Frames over a stream. ``exchange`` sends one and waits for its answer.

    Unrequested frames (status updates) are passed to ``unsolicited`` or only counted.
    probe: a frame that the instrument always answers, and how its answer is recognised: it proves
    that the line is clean after a timeout.
    """

    def __init__(
        self,
        address: str,
        *,
        tap: Tap | None,
        where: str,
        timeout_s: float,
        wanted: Wanted,
        layout: Layout,
        probe: bytes,
        probed: Callable[[bytes], bool],
        quiet_s: float = 0.05,
    ) -> None:
        link = make_stream(address, tap=tap)
        super().__init__(link, where=where, timeout_s=timeout_s, wanted=wanted)
        self.link: StreamLink
        self.layout, self._probe, self._probed, self._quiet_s = layout, probe, probed, quiet_s
        self.unsolicited: Callable[[bytes], None] | None = None
        self.unsolicited_count = 0

    async def connect(self) -> None:
        await self.link.open(self.connect_timeout_s)
        await self.link.drain(self._quiet_s, self.timeout_s + 1.0)

    async def exchange(
        self,
        frame: bytes,
        answers: Callable[[bytes], bool],
        parse: Callable[[bytes], T],
        *,
        timeout_s: float | None = None,
    ) -> T:
        """Send a frame; the first frame for which ``answers`` holds, parsed."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        async with self.link.transaction(self.resync):
            await self.link.write(frame, self.timeout_s)
            return parse(await self._await(answers, limit))

    async def tell(self, frame: bytes) -> None:
        """Send a frame that is not answered."""
        async with self.link.transaction(self.resync):
            await self.link.write(frame, self.timeout_s)

    async def _await(self, answers: Callable[[bytes], bool], timeout_s: float) -> bytes:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            frame = await self._frame(max(0.001, deadline - loop.time()))
            if answers(frame):
                return frame
            self.unsolicited_count += 1
            if self.unsolicited is not None:
                self.unsolicited(frame)

    async def _frame(self, timeout_s: float) -> bytes:
        header = await self.link.read_exactly(self.layout.header_bytes, timeout_s)
        try:
            rest = self.layout.length(header) - len(header)
            frame = header + (await self.link.read_exactly(rest, timeout_s) if rest else b"")
            self.layout.check(frame)
        except ValueError as error:
            seen = "" if self.link.private else header.hex(" ")
            raise LinkDesync(f"no frame: {error}", where=self.link.uri, seen=seen) from None
        return frame

    async def resync(self) -> None:
        """Wait for silence, then a known answer to the probe, then silence again; LinkDesync
        otherwise.
        """
        deadline = asyncio.get_running_loop().time() + 4 * self.timeout_s
        while asyncio.get_running_loop().time() < deadline:
            try:
                await self.link.drain(self._quiet_s, self.timeout_s)
                await self.link.write(self._probe, self.timeout_s)
                await self._await(self._probed, self.timeout_s)
                if await self.link.drain(self._quiet_s, self.timeout_s) == 0:
                    return
            except (LinkTimeout, LinkDesync):
                continue
        raise LinkDesync("the instrument no longer answers what it is asked", where=self.link.uri)

    async def get(self, param: Param) -> Value:
        raise InstrumentError(f"{param.name}: frames are read by their driver", where=self.where)

    async def set(self, param: Param, value: Value) -> None:
        raise InstrumentError(f"{param.name}: frames are written by their driver", where=self.where)

    def command_bytes(self, param: Param, value: Value) -> bytes:
        """A driver with frames makes its own "off" command (``Driver.off_bytes``)."""
        return b""
