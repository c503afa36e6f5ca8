"""Instruments that answer SNMP v2c GetRequest and GetNextRequest (RFC 3416, BER of X.690)."""

from __future__ import annotations

from typing import Any

from photonlink.firmware_sim.kit.message import MessageDevice
from photonlink.firmware_sim.wires.session import Session

INTEGER, OCTETS, NULL, OID, SEQUENCE, COUNTER32, COUNTER64 = 2, 4, 5, 6, 0x30, 0x41, 0x46
GET, GET_NEXT, RESPONSE = 0xA0, 0xA1, 0xA2
NO_INSTANCE, END_OF_VIEW = 0x81, 0x82
MOST = 128

Oid = tuple[int, ...]


def pack(tag: int, content: bytes) -> bytes:
    """One element with a definite length."""
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    size = len(content).to_bytes(2, "big")
    return bytes([tag, 0x82]) + size + content


def take(data: bytes) -> tuple[int, bytes, bytes]:
    """(tag, content, rest). ValueError when it is cut off."""
    if len(data) < 2:
        raise ValueError("cut off")
    tag, size, at = data[0], data[1], 2
    if size > 127:
        at += size & 127
        size = int.from_bytes(data[2:at], "big")
    if len(data) < at + size:
        raise ValueError("cut off")
    return tag, data[at : at + size], data[at + size :]


def number(value: int, tag: int = INTEGER) -> bytes:
    signed = tag == INTEGER
    size = max((value.bit_length() + (8 if value >= 0 else 7)) // 8, 1)
    return pack(tag, value.to_bytes(size, "big", signed=signed))


def pack_oid(oid: Oid) -> bytes:
    data = bytearray()
    for part in (oid[0] * 40 + oid[1], *oid[2:]):
        chunk = [part % 128]
        while part := part // 128:
            chunk.insert(0, 128 + part % 128)
        data += bytes(chunk)
    return pack(OID, bytes(data))


def read_oid(data: bytes) -> Oid:
    parts: list[int] = []
    value = 0
    for byte in data:
        value = value * 128 + byte % 128
        if byte < 128:
            parts.append(value)
            value = 0
    if not parts:
        raise ValueError("an empty identifier")
    first = min(parts[0] // 40, 2)
    return (first, parts[0] - 40 * first, *parts[1:])


class SnmpDevice(MessageDevice):
    """Override :meth:`objects`. A wrong community is not answered."""

    WIRES = ("udp",)
    COMMUNITY = "public"

    def objects(self) -> dict[Oid, bytes]:
        """Every object and its present value, packed (``number``, ``pack(OCTETS, …)``)."""
        raise NotImplementedError

    def handle(self, message: bytes, session: Session) -> bytes | None:
        try:
            return self._answer(message)
        except (ValueError, IndexError):
            return None  # an agent drops malformed requests

    def _answer(self, message: bytes) -> bytes | None:
        _, body, _ = take(message)
        _, version, rest = take(body)
        _, community, rest = take(rest)
        kind, pdu, _ = take(rest)
        known = kind in (GET, GET_NEXT) and version == b"\x01"
        if not known or community.decode("latin-1") != self.COMMUNITY:
            return None
        _, request_id, rest = take(pdu)
        _, _, rest = take(rest)
        _, _, rest = take(rest)
        _, bindings, _ = take(rest)
        values, out = self.objects(), b""
        for _ in range(MOST):
            if not bindings:
                break
            _, binding, bindings = take(bindings)
            _, name, _ = take(binding)
            out += self._binding(read_oid(name), values, kind)
        fields = pack(INTEGER, request_id) + number(0) + number(0) + pack(SEQUENCE, out)
        head = pack(INTEGER, version) + pack(OCTETS, community)
        return pack(SEQUENCE, head + pack(RESPONSE, fields))

    @staticmethod
    def _binding(oid: Oid, values: dict[Oid, Any], kind: int) -> bytes:
        if kind == GET_NEXT:
            after = min((o for o in values if o > oid), default=None)
            if after is None:
                return pack(SEQUENCE, pack_oid(oid) + pack(END_OF_VIEW, b""))
            oid = after
        return pack(SEQUENCE, pack_oid(oid) + values.get(oid, pack(NO_INSTANCE, b"")))
