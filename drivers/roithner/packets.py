"""The data stream of a TTM8000: packets over UDP, their words, and gaps between them.

Packets and words as in the vendor's headers (``FlexIOLibTypes.h``, ``TTMLib.h`` 4.4.4, copied in
``acraddoc91/timeTaggerODMeasurement``).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from photonlink.hal.errors import AcquisitionError, InstrumentError
from photonlink.hal.tags import LostInterval, WireChunk

TICK_PS = 82.3045
HEADER = struct.Struct(">8sHHBBHHHHHHHH")
MAGIC, PACKED = b"TTM8Data", 2
HIGH = np.uint32(1 << 31)
"""A word that counts the upper bits of time; they come every 11 ms of a running measurement."""


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


class PacketStream:
    """The packets of one measurement in their order: words since time zero, gaps beside them.

    order: of the bytes of a word, ``little`` or ``big``.
    """

    def __init__(self, order: str, where: str) -> None:
        self._swapped, self._where = order == "big", where
        self.packets = self.lost = self.inputs = 0
        self.begin(Packet(0, 0, PACKED, 0, 0, memoryview(b"")))

    def begin(self, packet: Packet) -> WireChunk:
        """Time zero is the first high word from this packet on; its words since then."""
        self._number, self._run, self.inputs = packet.number, packet.run, packet.inputs
        self._base: int | None = None
        self._synchronous, self._missing, self._until_ps = False, 0, 0
        return WireChunk(self._words([packet.payload], []))

    @property
    def begun(self) -> bool:
        """Whether time zero has come."""
        return self._base is not None

    def take(self, *datagrams: bytes) -> WireChunk:
        """Their words, and the gaps between them. AcquisitionError when the run is another."""
        payloads: list[memoryview] = []
        found: list[memoryview] = []
        gaps: list[LostInterval] = []
        for data in datagrams:
            packet = packet_of(data, self._where)
            if packet.run != self._run:
                raise AcquisitionError("the measurement was started anew", where=self._where)
            ahead = (packet.number - self._number) & 0xFFFF
            if ahead == 0 or ahead >= 1 << 15:
                continue  # a duplicate, or later than its successor: that gap has been reported
            self._number, self.inputs = packet.number, packet.inputs
            self.packets += 1
            if ahead > 1:
                found.append(self._words(payloads, gaps))
                payloads.clear()
                self.lost += ahead - 1
                self._missing += ahead - 1
                self._synchronous = False
            payloads.append(packet.payload)
        found.append(self._words(payloads, gaps))
        if self._missing:  # reported now: the next high word may never come
            gaps.append(self._gap(-1))
        return WireChunk(found[0] if len(found) == 1 else b"".join(found), tuple(gaps))

    def _gap(self, end_ps: int) -> LostInterval:
        count, self._missing = self._missing, 0
        return LostInterval(self._until_ps, end_ps, None, f"{count} packets lost")

    def _words(self, payloads: list[memoryview], gaps: list[LostInterval]) -> memoryview:
        """Words since time zero. Events whose high word was lost are left out."""
        words = np.frombuffer(bytearray().join(payloads), "<u4")
        if self._swapped:
            words.byteswap(inplace=True)
        high = np.flatnonzero(words >= HIGH)
        if not len(high):
            return (words if self._synchronous else words[:0]).data.cast("B")
        if self._base is None:
            self._base = int(words[high[0]]) & 0x7FFFFFFF
        words[high] -= np.uint32(self._base)
        times_ps = [(int(words[n]) & 0x7FFFFFFF) * (1 << 27) * TICK_PS for n in (high[0], high[-1])]
        if not self._synchronous:
            words, self._synchronous = words[high[0] :], True
            if self._missing:
                gaps.append(self._gap(int(times_ps[0])))
        self._until_ps = int(times_ps[1])
        return words.data.cast("B")
