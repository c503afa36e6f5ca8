"""SNMP v2c, read only: GetRequest and its response over UDP (RFC 3416; BER of X.690).

Enough for status: integers, octet strings, counters, time ticks, object identifiers. Nothing is
ever set. Every request has its own number, so a late response is recognised and thrown away.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence

from photonlink.hal.codecs.base import Codec, Wanted
from photonlink.hal.errors import InstrumentError, LinkDesync, LinkTimeout
from photonlink.hal.links import MessageLink, Tap, make_link
from photonlink.hal.params import Param, Value

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
GET, RESPONSE = 0xA0, 0xA2
_UNSIGNED = (0x41, 0x42, 0x43, 0x46)  # Counter32, Gauge32, TimeTicks, Counter64
_ABSENT = {0x80: "no such object", 0x81: "no such instance", 0x82: "end of the view"}
_VERSION_2C = 1
_MOST_AT_ONCE = 16
"""Objects in one request: their response fits into a datagram."""


def oid_bytes(text: str) -> bytes:
    """``1.3.6.1.4.1.96`` as X.690 writes it. ValueError for what is no identifier."""
    numbers = [int(part) for part in text.strip(".").split(".")]
    if len(numbers) < 2 or numbers[0] > 2 or min(numbers) < 0:
        raise ValueError(f"no object identifier: {text}")
    out = bytearray()
    for number in (40 * numbers[0] + numbers[1], *numbers[2:]):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        out += bytes(reversed(groups))
    return bytes(out)


def oid_text(data: bytes) -> str:
    """The other way round."""
    numbers, number = [], 0
    for byte in data:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    if not numbers:
        return ""
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def element(tag: int, content: bytes) -> bytes:
    """Tag, length, content."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(value: int) -> bytes:
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) one after another. ValueError for a length beyond the end."""
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1] if at + 1 < len(data) else -1, at + 2
        if size & 0x80 and size >= 0:
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count], "big") if 1 <= count <= 4 else -1
            at += count
        if size < 0 or at + size > len(data):
            raise ValueError("an element is longer than the message")
        yield tag, data[at : at + size]
        at += size


def request(community: str, number: int, oids: Sequence[str]) -> bytes:
    """A GetRequest for these objects."""
    asked = [element(SEQUENCE, element(OID, oid_bytes(o)) + element(NULL, b"")) for o in oids]
    fields = integer(number) + integer(0) + integer(0) + element(SEQUENCE, b"".join(asked))
    head = integer(_VERSION_2C) + element(OCTETS, community.encode("latin-1"))
    return element(SEQUENCE, head + element(GET, fields))


def response(data: bytes) -> tuple[int, int, dict[str, int | str | None]]:
    """(number, error status, object → value; None: it does not exist). ValueError: no response."""
    (_, body), *rest = elements(data)
    (_, version), _, (kind, pdu) = elements(body)
    if rest or kind != RESPONSE or int.from_bytes(version, "big") != _VERSION_2C:
        raise ValueError("no response of version 2c")
    (_, number), (_, status), _, (_, bindings) = elements(pdu)
    values: dict[str, int | str | None] = {}
    for _, binding in elements(bindings):
        (_, name), (tag, content) = elements(binding)
        values[oid_text(name)] = _value(tag, content)
    return int.from_bytes(number, "big", signed=True), int.from_bytes(status, "big"), values


def _value(tag: int, content: bytes) -> int | str | None:
    if tag == INTEGER:
        return int.from_bytes(content, "big", signed=True)
    if tag in _UNSIGNED:
        return int.from_bytes(content, "big")
    if tag == OCTETS:
        return content.decode("utf-8", "replace")
    return oid_text(content) if tag == OID else None


class SnmpCodec(Codec):
    """``Param.get`` is an object identifier. ``community`` is set by the driver; it is sent in
    clear text and is no secret. A datagram that is lost is a LinkTimeout: ask again."""

    community = "public"

    def __init__(
        self, address: str, *, tap: Tap | None, where: str, timeout_s: float, wanted: Wanted
    ) -> None:
        link = make_link(address, tap=tap)
        super().__init__(link, where=where, timeout_s=timeout_s, wanted=wanted)
        self.link: MessageLink
        self._number = random.SystemRandom().randrange(1, 1 << 30)

    async def connect(self) -> None:
        await self.link.open(self.timeout_s)

    async def values(self, oids: Sequence[str]) -> dict[str, int | str | None]:
        """Several objects, in as few requests as fit; None for one that does not exist."""
        found: dict[str, int | str | None] = {}
        for at in range(0, len(oids), _MOST_AT_ONCE):
            found |= await self._ask(oids[at : at + _MOST_AT_ONCE])
        return found

    async def _ask(self, oids: Sequence[str]) -> dict[str, int | str | None]:
        async with self.link.transaction(self.resync):
            self._number = self._number % (1 << 30) + 1
            await self.link.send(request(self.community, self._number, oids), self.timeout_s)
            answer = await self._response(asyncio.get_running_loop().time() + self.timeout_s)
            if answer is not None:
                return self._checked(answer, oids)
            raise LinkTimeout(f"no response within {self.timeout_s:g} s", where=self.link.uri,
                              hint="Is SNMP on, and the community right? A wrong one is not "
                              "answered")  # fmt: skip

    async def _response(self, until: float) -> tuple[int, dict[str, int | str | None]] | None:
        """The response to the present number; others and what is no response are thrown away."""
        loop = asyncio.get_running_loop()
        while (left_s := until - loop.time()) > 0:
            try:
                raw = await self.link.receive(left_s)
                number, status, values = response(raw)
            except LinkTimeout:
                return None
            except ValueError:
                continue
            if number == self._number:
                return status, values
        return None

    def _checked(
        self, answer: tuple[int, dict[str, int | str | None]], oids: Sequence[str]
    ) -> dict[str, int | str | None]:
        status, values = answer
        if status:
            raise InstrumentError(f"SNMP error {status}", where=self.where, seen=", ".join(oids))
        if set(values) != set(oids):
            raise LinkDesync("a response about other objects", where=self.link.uri)
        return values

    async def resync(self) -> None:
        """Nothing to do: responses carry the number of their request, so late ones are dropped."""
        while self.link.pending:
            await self.link.receive(self.timeout_s)

    async def get(self, param: Param) -> Value:
        value = (await self.values([param.get]))[param.get]
        if value is None:
            raise InstrumentError(f"{param.name}: the device has no such object",
                                  where=self.where, seen=param.get)  # fmt: skip
        return param.parse(str(value), self.where)

    async def set(self, param: Param, value: Value) -> None:
        raise InstrumentError("SNMP is used for reading only", where=self.where)

    def command_bytes(self, param: Param, value: Value) -> bytes:
        return b""
