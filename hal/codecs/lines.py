"""Question and lines back. Sets may be silent or answered; replies may end in a status line.

Resynchronisation after a timeout or a cancellation follows one rule: silence proves nothing (the
instrument may only be slow), but a *known answer to a fresh question* proves that the line is
clean.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from photonlink.hal import machine
from photonlink.hal.codecs.base import Codec, Wanted, command, decode_text, encode_text
from photonlink.hal.errors import InstrumentError, LinkDesync, LinkTimeout
from photonlink.hal.links import StreamLink, Tap, make_stream
from photonlink.hal.params import Param, Value

T = TypeVar("T")
_LONGEST_REPLY = 65_536


@dataclass(frozen=True, slots=True)
class Nonce:
    """A register that can be written and read back: a random number in it proves the line clean.

    ``param`` is the parameter that lives in the register; afterwards it gets back its last
    requested value, or ``default``.
    """

    set: str
    get: str
    param: str
    default: int
    values: range = range(1_000, 30_000)


@dataclass(frozen=True, slots=True)
class Probe:
    """For instruments without such a register: a question with a known reply."""

    question: str
    reply: str  # a regular expression for the whole line


class LineCodec(Codec):
    """Text lines over a stream. Written as ``CODEC = partial(LineCodec, question_end=";", …)``.

    question_end, command_end: what ends a question and a set. reply_end: what ends a line back.
    status:  the reply's last line (regular expression); the lines before it are the reply. A
             reply without one is a single line. tail: an empty line may follow it.
    refusal: a line that refuses (regular expression), anywhere in the reply: InstrumentError.
    sets_answer: whether a set is answered; its reply's content is not looked at.
    leading: numbers may be followed by a unit or a remark (``-20.1 C``).
    resync:  Nonce or Probe. wake: sent after opening; input is dropped until the line was silent
    for ``quiet_s``. abort: ends a stream before resynchronising.

    A first line that repeats the command is an echo and dropped.
    """

    def __init__(
        self,
        address: str,
        *,
        tap: Tap | None,
        where: str,
        timeout_s: float,
        wanted: Wanted,
        resync: Nonce | Probe,
        question_end: str = "\r\n",
        command_end: str = "\r\n",
        reply_end: str = "\n",
        status: str = "",
        tail: bool = False,
        refusal: str = "",
        sets_answer: bool = False,
        leading: bool = False,
        wake: str = "\r\n",
        quiet_s: float = 0.05,
        abort: str = "",
    ) -> None:
        super().__init__(
            make_stream(address, tap=tap), where=where, timeout_s=timeout_s, wanted=wanted
        )
        self.link: StreamLink
        self._resync, self._abort = resync, abort
        self._question_end, self._command_end = question_end, command_end
        self._reply_end = reply_end.encode("ascii")
        self._status = re.compile(status) if status else None
        self._refusal = re.compile(refusal) if refusal else None
        self._sets_answer, self._leading, self._tail = sets_answer, leading, tail
        self._wake, self._quiet_s = wake, quiet_s
        self._longest_s = timeout_s

    async def connect(self) -> None:
        await self.link.open(self.connect_timeout_s)
        if self._wake or self._abort:
            # Ends a half-written command of an earlier owner; its reply is dropped.
            wake = self._wake + (self._abort + self._command_end if self._abort else "")
            await self.link.write(encode_text(wake, self.link), self.timeout_s)
            await self.link.drain(self._quiet_s, self.timeout_s + 1.0)

    async def ask(
        self, question: str, parse: Callable[[str], T], *, timeout_s: float | None = None
    ) -> T:
        """One question and its reply, parsed within the transaction: a reply that is no answer
        leaves the link dirty. Lines of a reply with a status are joined by LF."""
        return await self._converse(question, self._question_end, parse, timeout_s)

    async def tell(self, text: str) -> None:
        """A set; when sets are answered, the reply is awaited and a refusal is an error."""
        if self._sets_answer:
            await self._converse(text, self._command_end, str, None)
            return
        async with self.link.transaction(self.resync):
            await self.link.write(encode_text(text + self._command_end, self.link), self.timeout_s)

    async def _converse(
        self, text: str, end: str, parse: Callable[[str], T], timeout_s: float | None
    ) -> T:
        limit = self.timeout_s if timeout_s is None else timeout_s
        refused = ""
        async with self.link.transaction(self.resync):
            self._longest_s = max(self.timeout_s, limit)
            deadline = asyncio.get_running_loop().time() + limit
            await self.link.write(encode_text(text + end, self.link), self.timeout_s)
            lines = await self._reply(text, deadline)
            refused = next((x for x in lines if self._refusal and self._refusal.search(x)), "")
            if not refused:
                return parse("\n".join(lines))
        seen = "; ".join(lines)
        raise InstrumentError(f"{text!r} was refused", where=self.where, seen=seen)

    async def _reply(self, text: str, deadline: float) -> list[str]:
        lines: list[str] = []
        while True:
            line = await self._line(deadline)
            if not lines and line == text.strip():
                continue  # the echo
            if self._status is None:
                return [line]
            if self._status.search(line) or (self._refusal and self._refusal.search(line)):
                await self._drop_tail()
                return lines if self._status.search(line) else [*lines, line]
            if line:
                lines.append(line)

    async def _drop_tail(self) -> None:
        """The empty line behind a status, where there is one."""
        if self._tail:
            with contextlib.suppress(LinkTimeout):
                await self.link.read_until(self._reply_end, self._quiet_s, _LONGEST_REPLY)

    async def _line(self, deadline: float) -> str:
        left_s = max(0.001, deadline - asyncio.get_running_loop().time())
        raw = await self.link.read_until(self._reply_end, left_s, _LONGEST_REPLY)
        return decode_text(raw[: -len(self._reply_end)], self.link).strip()

    async def get(self, param: Param) -> Value:
        return await self.ask(param.get, lambda text: self.value(param, text))

    def value(self, param: Param, text: str) -> Value:
        """A reply as the parameter's value."""
        if self._leading and param.numeric:
            text = (text.split() or [""])[0]
        return param.parse(text, self.where)

    async def set(self, param: Param, value: Value) -> None:
        await self.tell(command(param, value))

    def command_bytes(self, param: Param, value: Value) -> bytes:
        text = self._command_end + command(param, value) + self._command_end
        return text.encode("ascii")

    async def resync(self) -> None:
        """Synchronise the conversation again; LinkDesync when that fails."""
        link, loop = self.link, asyncio.get_running_loop()
        # The outstanding reply may come as late as its own deadline was long.
        deadline = loop.time() + self._longest_s + 2 * self.timeout_s
        if self._abort:
            abort = f"\r\n{self._abort}\r\n"
            await link.write(encode_text(abort, link), self.timeout_s)
            await link.drain(0.1, max(0.2, deadline - loop.time()))
        # Twice: a half reply without line end swallows the first answer.
        for until in (deadline - self.timeout_s, deadline):
            if await self._answers(until):
                await self._restore()
                self._longest_s = self.timeout_s
                return
        raise LinkDesync(
            "the instrument no longer answers what it is asked",
            where=link.uri,
            hint="Switch it off and on; the program finds it again by itself",
        )

    async def _restore(self) -> None:
        if isinstance(self._resync, Nonce):
            value = self.wanted(self._resync.param)
            text = self._resync.set.format(self._resync.default if value is None else value)
            await self.link.write(encode_text(text + self._command_end, self.link), self.timeout_s)

    async def _answers(self, deadline: float) -> bool:
        link, loop = self.link, asyncio.get_running_loop()
        while link.pending:  # bytes that arrived before the question cannot be its reply
            await link.read_some(65_536, self.timeout_s)
        if isinstance(self._resync, Nonce):
            # Every line before the number belonged to an earlier question: they answer in order.
            nonce = str(machine.any_of(self._resync.values))
            expected = re.compile(re.escape(nonce))
            set_to = self._resync.set.format(nonce) + self._command_end
            question = self._command_end + set_to + self._resync.get
        else:
            expected, question = re.compile(self._resync.reply), self._resync.question
        await link.write(encode_text(question + self._question_end, link), self.timeout_s)
        while (left := deadline - loop.time()) > 0:
            try:
                line = await link.read_until(self._reply_end, left, 1 << 20)
            except LinkTimeout:
                return False
            if expected.fullmatch(line.decode("latin-1").strip()):
                if self._status is not None or isinstance(self._resync, Probe):
                    await link.drain(self._quiet_s, max(2 * self._quiet_s, deadline - loop.time()))
                return True
        return False
