"""Question → reply → prompt, for command lines that print a prompt when ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from photonlink.hal.codecs.base import Codec, Wanted, command, decode_text, encode_text
from photonlink.hal.errors import LinkDesync, LinkError, LinkTimeout
from photonlink.hal.links import StreamLink, Tap, make_stream
from photonlink.hal.params import Param, Value

T = TypeVar("T")
_LONGEST_REPLY = 1 << 20


class PromptCodec(Codec):
    """A command line. Resynchronisation opens a new connection, which holds no old reply.

    prompt: as it stands at the beginning of a line. wake: sent over a serial line after opening,
    where nothing greets by itself. Lines end in LF or CR LF; a first line that repeats the command
    is an echo and dropped.
    """

    def __init__(
        self,
        address: str,
        *,
        tap: Tap | None,
        where: str,
        timeout_s: float,
        wanted: Wanted,
        prompt: str,
        wake: bytes = b"\r",
    ) -> None:
        link = make_stream(address, tap=tap)
        super().__init__(link, where=where, timeout_s=timeout_s, wanted=wanted)
        self.link: StreamLink
        self._at_start = prompt.encode("ascii")
        self._prompt = b"\n" + self._at_start
        self._wake = wake if self.link.address.scheme == "serial" else b""

    async def connect(self) -> None:
        """Open the link and read up to the first prompt, with or without a banner before it."""
        await self.link.open(self.connect_timeout_s)
        if self._wake:
            await self.link.write(self._wake, self.timeout_s)
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        seen = b""
        try:
            while not (seen == self._at_start or seen.endswith(self._prompt)):
                left_s = max(0.001, deadline - asyncio.get_running_loop().time())
                seen = (seen + await self.link.read_some(4096, left_s))[-_LONGEST_REPLY:]
        except LinkTimeout as error:
            raise LinkTimeout(
                "something accepts the connection but shows no prompt",
                where=self.link.uri,
                seen=error.seen if not seen else ascii(seen[-80:].decode("latin-1"))[1:-1],
            ) from None
        if self._wake:  # a welcome, and more prompts, may follow the first
            await self.link.drain(0.15, self.timeout_s)
        decode_text(seen, self.link)

    async def resync(self) -> None:
        try:
            await self.connect()
        except LinkError:
            await self.link.close()
            raise

    async def ask(
        self, question: str, parse: Callable[[str], T], *, timeout_s: float | None = None
    ) -> T:
        """One question; the text before the prompt, without echo and line ends around it."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        async with self.link.transaction(self.resync):
            await self.link.write(encode_text(question + "\n", self.link), self.timeout_s)
            reply = await self.link.read_until(self._prompt, limit, _LONGEST_REPLY)
            text = decode_text(reply[: -len(self._prompt)], self.link).replace("\r\n", "\n")
            lines = text.strip("\r\n").split("\n")
            if lines[0].strip() == question.strip():
                lines = lines[1:]
            return parse("\n".join(lines).strip("\r\n"))

    async def get(self, param: Param) -> Value:
        return await self.ask(param.get, lambda text: param.parse(text, self.where))

    async def set(self, param: Param, value: Value) -> None:
        await self.ask(command(param, value), self._nothing)

    def _nothing(self, text: str) -> None:
        if text:
            raise LinkDesync("a set was answered", where=self.where, seen=text[:80])

    def command_bytes(self, param: Param, value: Value) -> bytes:
        return command(param, value).encode("ascii") + b"\n"
