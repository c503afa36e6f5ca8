"""Instruments that speak in binary frames: a framing cuts bytes into frames, a model answers them.

Bytes that belong to no frame are dropped one at a time until one fits again, and counted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.registers import Refusal
from photonlink.firmware_sim.wires.session import Session

MORE = 0
"""A framing's answer: the beginning of a frame, more bytes are needed."""
WRONG = -1
"""A framing's answer: no frame starts here."""


class Framing(Protocol):
    """Where a frame ends."""

    def length(self, data: bytes) -> int:
        """Bytes of the frame at the start of ``data``; MORE or WRONG. ``data`` is not empty."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Frames of one size, with an optional check of the whole frame."""

    size: int

    def length(self, data: bytes) -> int:
        return self.size if len(data) >= self.size else MORE


class Itla:
    """OIF-ITLA-MSA: four bytes, BIP-4 checksum in the upper half of the first."""

    def length(self, data: bytes) -> int:
        if len(data) < 4:
            return MORE
        return 4 if data[0] >> 4 == self.checksum(data) else WRONG

    @staticmethod
    def checksum(frame: bytes) -> int:
        x = (frame[0] & 0x0F) ^ frame[1] ^ frame[2] ^ frame[3]
        return (x >> 4) ^ (x & 0x0F)

    @classmethod
    def frame(cls, status: int, register: int, data: int) -> bytes:
        """A frame of either direction; ``status``: the lower half of the first byte."""
        body = bytes([status & 0x0F, register]) + struct.pack(">H", data & 0xFFFF)
        return bytes([cls.checksum(body) << 4 | body[0]]) + body[1:]


class Apt:
    """Thorlabs APT: six bytes, and a data part of the second word's length when dest has bit 7."""

    HOST, DEVICE, LONGEST = 0x01, 0x50, 1024

    def length(self, data: bytes) -> int:
        if len(data) < 6:
            return MORE
        more = struct.unpack_from("<H", data, 2)[0] if data[4] & 0x80 else 0
        if more > self.LONGEST or data[4] & 0x7F not in (0x01, 0x11, 0x21, 0x22, 0x50):
            return WRONG
        return 6 + more if len(data) >= 6 + more else MORE

    @classmethod
    def short(cls, message: int, p1: int = 0, p2: int = 0) -> bytes:
        """A reply without data."""
        return struct.pack("<H4B", message, p1, p2, cls.HOST, cls.DEVICE)

    @classmethod
    def long(cls, message: int, data: bytes) -> bytes:
        """A reply with data."""
        return struct.pack("<HHBB", message, len(data), cls.HOST | 0x80, cls.DEVICE) + data


@dataclass(frozen=True, slots=True)
class Stx:
    """``start``, a length byte, so many bytes of body, a checksum of ``check_size`` bytes.

    check: computes the checksum of length byte and body.
    """

    start: int
    check: Any
    check_size: int = 1

    def length(self, data: bytes) -> int:
        if data[0] != self.start:
            return WRONG
        if len(data) < 2:
            return MORE
        size = 2 + data[1] + self.check_size
        if len(data) < size:
            return MORE
        given = int.from_bytes(data[size - self.check_size : size], "big")
        return size if given == self.check(data[1 : size - self.check_size]) else WRONG

    def frame(self, body: bytes) -> bytes:
        """A whole frame around ``body``."""
        inner = bytes([len(body)]) + body
        total: int = self.check(inner)
        return bytes([self.start]) + inner + total.to_bytes(self.check_size, "big")


def crc16(data: bytes, polynomial: int = 0x1021, initial: int = 0xFFFF) -> int:
    """CRC-16, most significant bit first (defaults: CRC-16/CCITT-FALSE)."""
    crc = initial
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


class FrameDevice(EmulatedDevice):
    """Override :meth:`handle`."""

    FRAMING: ClassVar[Framing]
    skipped_bytes = 0

    def handle(self, frame: bytes, session: Session) -> bytes | None:
        """One frame → its reply (None: none). A :class:`Refusal` becomes :meth:`refused`."""
        raise NotImplementedError

    def refused(self, refusal: Refusal, frame: bytes) -> bytes:
        """The frame for a refusal; empty: none."""
        return b""

    async def serve(self, session: Session) -> None:
        rest = b""
        while (data := await session.read()) is not None:
            rest += data
            while rest:
                size = self.FRAMING.length(rest)
                if size == MORE:
                    break
                if size == WRONG:
                    rest = rest[1:]
                    self.skipped_bytes += 1
                    continue
                frame, rest = rest[:size], rest[size:]
                await self._answer(frame, session)
            if session.boundaries:
                rest = b""

    async def _answer(self, frame: bytes, session: Session) -> None:
        try:
            reply = self.guard(lambda: self.handle(frame, session))
        except Refusal as refusal:
            reply = self.refused(refusal, frame)
        if reply:
            await self.send_reply(session, reply, frame)

    def state(self) -> dict[str, Any]:
        return {"skipped_bytes": self.skipped_bytes}
