"""Instruments that speak in lines of text: any terminators, any reply end, echo, chained commands.

Commands of one client are executed in order, one at a time: a command whose method is a coroutine
(a measurement) delays the next ones. Nothing is dropped: when :data:`QUEUE` commands are queued,
the wire is not read until there is room. Text never enters a binary stream: a reply is sent in its
turn, never while a stream is being sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.registers import Refusal
from photonlink.firmware_sim.wires.session import Session

QUEUE = 1024
LINE_LIMIT = 1 << 16  # bytes of one command; the rest of a longer one is cut off
FINISH_S = 5.0  # how long commands of a client that has left are still executed


class LineDevice(EmulatedDevice):
    """Words, a query mark, registers by name. Override :meth:`answer` for another grammar."""

    TERMINATORS: ClassVar[bytes] = b"\r\n"
    """Bytes any of which ends a command; empty commands are skipped unless BLANK_LINES."""
    REPLY_END: ClassVar[str] = "\r\n"
    UNKNOWN: ClassVar[str] = "Unknown command"
    """Reply to what is not understood; empty: none."""
    REFUSED: ClassVar[str] = ""
    """Reply to a set out of range; empty: none."""
    DONE: ClassVar[str] = ""
    """Reply to an accepted set; empty: none."""
    BLANK_LINES: ClassVar[bool] = False
    COMMAND_LIMIT: ClassVar[int] = LINE_LIMIT

    # ---- grammar -------------------------------------------------------------------------------

    def answer(self, line: str, session: Session) -> Any:
        """One command → its reply (None: none), or a coroutine that returns it.

        Default: ``word argument``; a ``@command`` of that word, a query ``name?``, or a set.
        """
        word, _, argument = line.partition(" ")
        word, argument = word.lower(), argument.strip()
        method = self.method(word)
        if method is not None:
            return method(argument, session)
        if word.endswith("?"):
            if argument:
                raise Refusal("unknown", line)
            return self.show(word[:-1])
        if not argument:
            raise Refusal("unknown", line)
        self.change(word, argument)
        return self.DONE

    def refused(self, refusal: Refusal, line: str, session: Session) -> str:
        """The text of a refusal on this wire."""
        return self.REFUSED if refusal.kind in ("range", "level") else self.UNKNOWN

    def urgent(self, line: str, session: Session) -> bool:
        """Called as soon as a command has arrived; True: queued commands are dropped."""
        return False

    def encode(self, reply: str) -> bytes:
        return f"{reply}{self.REPLY_END}".encode("utf-8", "replace")

    def greeting(self, session: Session) -> bytes:
        """Sent to a client that connects."""
        return b""

    # ---- engine --------------------------------------------------------------------------------

    async def serve(self, session: Session) -> None:
        queue: asyncio.Queue[str] = asyncio.Queue(QUEUE)
        worker = asyncio.create_task(self._work(session, queue), name=f"{self.name} commands")
        try:
            if hello := self.greeting(session):
                await session.write(hello)
            async for line in self.commands(session):
                if self.urgent(line, session):
                    while not queue.empty():
                        queue.get_nowait()
                        queue.task_done()
                await queue.put(line)
                if session.boundaries:  # one message is answered before the next is read
                    await queue.join()
            # commands that a client sent before it closed are executed
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FINISH_S):
                    await queue.join()
        finally:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker

    async def commands(self, session: Session) -> AsyncIterator[str]:
        """Commands as they arrive."""
        rest = b""
        while (data := await session.read()) is not None:
            *pieces, rest = self.split(rest + data)
            if session.boundaries:  # a message is a whole command, with or without a terminator
                pieces, rest = [b" ".join([*pieces, rest])], b""
            for piece in pieces:
                text = piece[: self.COMMAND_LIMIT].decode("utf-8", "replace").strip()
                if text or self.BLANK_LINES or session.boundaries:
                    yield text
            rest = rest[: self.COMMAND_LIMIT]

    def split(self, data: bytes) -> list[bytes]:
        """Cut at every terminator; the last piece is the rest after the last one."""
        for terminator in self.TERMINATORS[1:]:
            data = data.replace(bytes([terminator]), self.TERMINATORS[:1])
        return data.split(self.TERMINATORS[:1])

    async def _work(self, session: Session, queue: asyncio.Queue[str]) -> None:
        while True:
            line = await queue.get()
            try:
                await self.obey(line, session)
            except Exception as error:  # noqa: BLE001 - never raises for input
                self.broken(error)
            finally:
                queue.task_done()

    async def obey(self, line: str, session: Session) -> None:
        """Execute one command and send its reply."""
        try:
            reply = self.answer(line, session)
            if inspect.isawaitable(reply):
                reply = await reply
        except Refusal as refusal:
            reply = self.refused(refusal, line, session)
        if reply:
            await self.reply(session, self.encode(reply), self.encode(line))

    async def reply(self, session: Session, data: bytes, request: bytes = b"") -> None:
        """Send a reply through the armed faults."""
        await self.send_reply(session, data, request, self.encode("# extra"))
