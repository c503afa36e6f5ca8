"""Text dialects over a link: question and one line back, or question and reply up to a prompt.

Both know how to resynchronise after a timeout or a cancellation. The rule behind it: silence
proves nothing (the instrument may only be slow), a *known answer to a fresh question* does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from photonlink.hal.errors import LinkDesync, LinkError, LinkTimeout
from photonlink.hal.links.base import Link, printable

T = TypeVar("T")


def decode_text(reply: bytes, link: Link) -> str:
    """ASCII only: anything else on a text line is noise, and noise is no answer."""
    try:
        text = reply.decode("ascii")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        seen = "" if link.private else printable(reply)
        raise LinkDesync("the reply is no text", where=link.uri, seen=seen)
    return text


class LineCodec:
    """Question → one line ending in LF (CR stripped). Sets are not answered.

    ``parse`` runs inside the transaction: a reply that is no answer to the question (somebody
    else's, garbled) leaves the link dirty, and the next question resynchronises first.

    Resynchronisation writes a fresh random number into a register that can be read back
    (``nonce_set``, e.g. ``"time {}"``) and reads lines until that number comes back: every
    line before it belonged to an earlier question, because these instruments answer in order.
    ``restore`` then repairs the register.
    """

    NONCES = range(1_000, 30_000)

    def __init__(
        self,
        link: Link,
        *,
        nonce_set: str,
        nonce_get: str,
        restore: Callable[[], str],
        abort: str = "",
        question_end: str = "\r\n",
        timeout_s: float = 1.0,
    ) -> None:
        self.link = link
        self.timeout_s = timeout_s
        self._nonce_set, self._nonce_get = nonce_set, nonce_get
        self._restore, self._abort, self._end = restore, abort, question_end
        self._longest_s = timeout_s
        self._random = random.SystemRandom()

    async def ask(
        self, question: str, parse: Callable[[str], T], *, timeout_s: float | None = None
    ) -> T:
        """One question, its one line, parsed."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        async with self.link.transaction(self.resync):
            self._longest_s = max(self.timeout_s, limit)
            await self.link.write((question + self._end).encode("ascii"), self.timeout_s)
            reply = await self.link.read_until(b"\n", limit, 4096)
            return parse(decode_text(reply, self.link).strip())

    async def tell(self, command: str) -> None:
        """A command that is not answered. What it did must be read back by its sender."""
        async with self.link.transaction(self.resync):
            await self.link.write(command.encode("ascii") + b"\r\n", self.timeout_s)

    async def resync(self) -> None:
        """Find the place in the conversation again; LinkDesync when that fails."""
        link, loop = self.link, asyncio.get_running_loop()
        # The outstanding reply may come as late as its own deadline was long.
        deadline = loop.time() + self._longest_s + 2 * self.timeout_s
        if self._abort:
            await link.write(b"\r\n" + self._abort.encode("ascii") + b"\r\n", self.timeout_s)
            await link.drain(0.1, max(0.2, deadline - loop.time()))
        # Twice: a half reply without line end swallows the first answer.
        for until in (deadline - self.timeout_s, deadline):
            if await self._answers_to_nonce(until):
                await link.write(self._restore().encode("ascii") + b"\r\n", self.timeout_s)
                self._longest_s = self.timeout_s
                return
        raise LinkDesync(
            "the instrument no longer answers what it is asked",
            where=link.uri,
            hint="Switch it off and on; the program finds it again by itself",
        )

    async def _answers_to_nonce(self, deadline: float) -> bool:
        link, loop = self.link, asyncio.get_running_loop()
        while link.pending:  # what is here already is no answer to what is asked now
            await link.read_some(65_536, self.timeout_s)
        nonce = str(self._random.choice(self.NONCES))
        question = f"\r\n{self._nonce_set.format(nonce)}\r\n{self._nonce_get}{self._end}"
        await link.write(question.encode("ascii"), self.timeout_s)
        while (left := deadline - loop.time()) > 0:
            try:
                line = await link.read_until(b"\n", left, 1 << 20)
            except LinkTimeout:
                return False
            if line.strip() == nonce.encode("ascii"):
                return True
        return False


class PromptCodec:
    """Question → reply → prompt, for command lines that print a prompt when they are ready.

    Resynchronisation opens a new connection: only a new socket is sure to hold no old reply.
    """

    def __init__(
        self,
        link: Link,
        prompt: bytes,
        *,
        timeout_s: float = 2.0,
        greet: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.link = link
        self.prompt = prompt
        self.timeout_s = timeout_s
        self._greet = greet

    async def connect(self, timeout_s: float) -> str:
        """Open the link and read the banner up to the first prompt. Returns the banner."""
        await self.link.open(timeout_s)
        if self._greet is not None:
            await self._greet()
        try:
            banner = await self.link.read_until(self.prompt, timeout_s)
        except LinkTimeout as error:
            raise LinkTimeout(
                "something accepts the connection but shows no prompt",
                where=self.link.uri,
                seen=error.seen,
            ) from None
        return decode_text(banner, self.link)

    async def resync(self) -> None:
        try:
            await self.connect(self.timeout_s)
        except LinkError:
            await self.link.close()
            raise

    async def ask(
        self, question: str, parse: Callable[[str], T], *, timeout_s: float | None = None
    ) -> T:
        """One question; the text before the prompt, without line ends around it, parsed."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        async with self.link.transaction(self.resync):
            await self.link.write(question.encode("ascii") + b"\n", self.timeout_s)
            reply = await self.link.read_until(self.prompt, limit, 1 << 20)
            return parse(decode_text(reply[: -len(self.prompt)], self.link).strip("\r\n"))
