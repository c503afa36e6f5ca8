"""SCPI: over a stream or over messages, with the error queue and definite-length blocks.

SCPI-99 vol. 1 and IEEE 488.2: headers, ``*IDN?``, ``SYSTem:ERRor?``, ``#<digits><length><data>``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

from photonlink.hal.codecs.base import Codec, Wanted, command, decode_text, encode_text
from photonlink.hal.errors import IdentityError, InstrumentError, LinkDesync, LinkError, LinkTimeout
from photonlink.hal.facets import Identity
from photonlink.hal.links import MessageLink, StreamLink, Tap, make_link
from photonlink.hal.params import Param, Value

T = TypeVar("T")
_ERROR = re.compile(r'^\s*([+-]?\d+)\s*(?:,\s*"?([^"]*)"?)?')
_LONGEST_REPLY = 1 << 20
_MOST_ERRORS = 32
_QUIET_S = 0.05
SWITCH = {"0": "0", "1": "1", "OFF": "0", "ON": "1", "FALSE": "0", "TRUE": "1"}


class ScpiCodec(Codec):
    """``CODEC = partial(ScpiCodec, …)``.

    end, reply_end: line ends over a stream; messages end by themselves.
    errors:  the question for the error queue, asked after every set until it is empty; "" for
             instruments that have none.
    failure: a reply that is a refusal (regular expression), for instruments that refuse in the
    reply. answers: whether a set is answered too (ZeroMQ must, a few others do).

    Resynchronisation needs no register that can be written: over ``tcp``, ``zmq`` and ``http`` the
    connection is made anew; elsewhere ``*IDN?`` is asked until the identity known from the opening
    comes back, and the line is silent after it.
    """

    def __init__(
        self,
        address: str,
        *,
        tap: Tap | None,
        where: str,
        timeout_s: float,
        wanted: Wanted,
        end: str = "\n",
        reply_end: str = "\n",
        errors: str = "SYST:ERR?",
        failure: str = "",
        answers: bool = False,
    ) -> None:
        link = make_link(address, tap=tap)
        super().__init__(link, where=where, timeout_s=timeout_s, wanted=wanted)
        self.link: StreamLink | MessageLink
        self._end, self._reply_end = end, reply_end.encode("ascii")
        self._errors, self._answers = errors, answers
        self._failure = re.compile(failure) if failure else None
        self._known = ""

    async def connect(self) -> None:
        await self.link.open(self.connect_timeout_s)
        self._known = ""
        if isinstance(self.link, StreamLink) and self.link.address.scheme == "serial":
            await self.link.write(encode_text(self._end, self.link), self.timeout_s)
            await self.link.drain(_QUIET_S, self.timeout_s + 1.0)

    async def identify(self, *, key: str = "") -> Identity:
        """``*IDN?``: vendor, model, serial, firmware. InstrumentError when it is no such reply,
        IdentityError when ``key`` does not occur in it."""
        text = await self.ask("*IDN?", str)
        self._known = text
        return identity(text, key=key, where=f"{self.where} ({self.link.uri})")

    async def ask(
        self, question: str, parse: Callable[[str], T], *, timeout_s: float | None = None
    ) -> T:
        """One question, its reply as text, parsed within the transaction."""
        async with self.link.transaction(self.resync):
            reply = decode_text(await self._exchange(question, timeout_s), self.link).strip()
            self._refuse(question, reply)
            return parse(reply)

    async def ask_block(self, question: str, *, timeout_s: float | None = None) -> bytes:
        """One question answered by a definite-length block."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        async with self.link.transaction(self.resync):
            if isinstance(self.link, MessageLink):
                return _block(await self._exchange(question, limit), self.link.uri)
            await self.link.write(encode_text(question + self._end, self.link), self.timeout_s)
            head = await self.link.read_exactly(2, limit)
            digits = head[1] - 48
            if head[:1] != b"#" or not 1 <= digits <= 9:
                raise LinkDesync("no definite-length block", where=self.link.uri, seen=repr(head))
            count = _number(await self.link.read_exactly(digits, limit), self.link.uri)
            data = await self.link.read_exactly(count, limit)
            await self.link.read_until(self._reply_end, limit, 16)
            return data

    async def tell(self, text: str) -> None:
        """Send one command; an entry in the error queue is raised as InstrumentError."""
        async with self.link.transaction(self.resync):
            if self._answers:
                reply = decode_text(await self._exchange(text, None), self.link)
                self._refuse(text, reply)
            else:
                await self._send(text)
        if self._errors:
            await self._drain_errors(text)

    async def _drain_errors(self, text: str) -> None:
        found: list[str] = []
        for _ in range(_MOST_ERRORS):
            code, words = await self.ask(self._errors, self._error)
            if code == 0:
                break
            found.append(f"{code} {words}".strip())
        if found:
            raise InstrumentError(
                f"{text!r} was refused: {found[0]}", where=self.where, seen="; ".join(found[1:])
            )

    def _error(self, reply: str) -> tuple[int, str]:
        match = _ERROR.match(reply)
        if match is None:
            raise LinkDesync("unreadable error queue", where=self.link.uri, seen=reply[:80])
        return int(match.group(1)), match.group(2) or ""

    def _refuse(self, question: str, reply: str) -> None:
        if self._failure is not None and self._failure.search(reply):
            self.link.dirty = False
            raise InstrumentError(f"{question!r} was refused", where=self.where, seen=reply[:200])

    async def _send(self, text: str) -> None:
        if isinstance(self.link, MessageLink):
            await self.link.send(encode_text(text, self.link), self.timeout_s)
        else:
            await self.link.write(encode_text(text + self._end, self.link), self.timeout_s)

    async def _exchange(self, text: str, timeout_s: float | None) -> bytes:
        limit = self.timeout_s if timeout_s is None else timeout_s
        await self._send(text)
        if isinstance(self.link, MessageLink):
            return await self.link.receive(limit)
        return await self.link.read_until(self._reply_end, limit, _LONGEST_REPLY)

    async def get(self, param: Param) -> Value:
        return await self.ask(param.get, lambda text: self.value(param, text))

    def value(self, param: Param, text: str) -> Value:
        """A reply as the parameter's value: ON and OFF are known, quotes are taken off."""
        if param.kind is bool:
            text = SWITCH.get(text.strip().upper(), text)
        elif param.kind is str:
            text = text.strip().strip('"')
        return param.parse(text, self.where)

    async def set(self, param: Param, value: Value) -> None:
        await self.tell(command(param, value))

    def command_bytes(self, param: Param, value: Value) -> bytes:
        text = command(param, value)
        if isinstance(self.link, StreamLink):
            text = self._end + text + self._end
        return text.encode("ascii")

    async def resync(self) -> None:
        """Make the line clean; LinkDesync when that fails."""
        if self.link.address.scheme in ("tcp", "zmq", "http"):
            try:
                await self.link.open(self.connect_timeout_s)
            except LinkError:
                await self.link.close()
                raise
            return
        deadline = asyncio.get_running_loop().time() + 4 * self.timeout_s
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            try:
                if await self._identity_comes(min(left, 2 * self.timeout_s)):
                    return
            except LinkTimeout:
                continue
        raise LinkDesync(
            "the instrument no longer answers what it is asked",
            where=self.link.uri,
            hint="Switch it off and on; the program finds it again by itself",
        )

    async def _identity_comes(self, timeout_s: float) -> bool:
        if isinstance(self.link, MessageLink):
            await self.link.drain()
            reply = decode_text(await self._exchange("*IDN?", timeout_s), self.link).strip()
            return bool(reply) and (not self._known or reply == self._known)
        await self.link.drain(_QUIET_S, timeout_s)
        await self._send("*IDN?")
        while True:
            line = await self.link.read_until(self._reply_end, timeout_s, _LONGEST_REPLY)
            if self._known and line.decode("latin-1").strip() == self._known:
                break
            if not self._known and not self.link.pending:
                break
        # The unanswered question may have been *IDN? itself: then two identical replies come.
        return await self.link.drain(_QUIET_S, timeout_s) == 0


def identity(text: str, *, key: str = "", where: str = "") -> Identity:
    """``vendor,model,serial,firmware`` (IEEE 488.2 §10.14)."""
    parts = [part.strip().strip('"') for part in text.split(",")]
    if key and key not in text:
        raise IdentityError(
            "another instrument answers here",
            where=where,
            seen=text[:80],
            hint=f"The reply to *IDN? should contain {key}; are two cables swapped?",
        )
    if len(parts) < 3:
        raise InstrumentError("unreadable reply to *IDN?", where=where, seen=text[:80])
    return Identity(parts[0], parts[1], parts[2], ",".join(parts[3:]))


def _number(digits: bytes, where: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise LinkDesync("no length of a block", where=where, seen=repr(digits)) from None


def _block(message: bytes, where: str) -> bytes:
    digits = message[1] - 48 if len(message) > 1 else 0
    if message[:1] != b"#" or not 1 <= digits <= 9:
        raise LinkDesync("no definite-length block", where=where)
    count = _number(message[2 : 2 + digits], where)
    data = message[2 + digits : 2 + digits + count]
    if len(data) != count or message[2 + digits + count :].strip():
        raise LinkDesync("a block of another length than it says", where=where)
    return data
