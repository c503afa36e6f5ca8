"""``program:///usr/bin/chronyc``: an instrument whose wire is a command-line program.

A question is one run of the program: the message is its arguments, separated by NUL; the reply is
what it printed when it ended with status 0. A tagger's readout program runs until it is stopped:
:meth:`ProgramLink.start` hands its output out as a stream.

The program gets nothing on standard input, runs in a group of its own (Ctrl-C at the terminal
reaches us first), and never outlives the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from photonlink.hal.errors import (
    LinkClosed,
    LinkDesync,
    LinkNotFound,
    LinkPermission,
    LinkTimeout,
)
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import ByteLink, MessageLink, Tap, printable

_END_S = 2.0
_WORDS_BYTES = 4096  # bytes of standard error that are reported
_READ_BYTES = 1 << 18


class _Run:
    """One child process: its output, the end of its standard error, its exit."""

    def __init__(self, child: asyncio.subprocess.Process, uri: str) -> None:
        self.child, self.uri = child, uri
        self._words = bytearray()
        self._reader = asyncio.create_task(self._hear(), name=f"{uri} errors")

    async def _hear(self) -> None:
        assert self.child.stderr is not None  # noqa: S101 - a pipe was asked for
        while data := await self.child.stderr.read(_WORDS_BYTES):
            self._words += data
            del self._words[:-_WORDS_BYTES]

    async def how_it_ended(self) -> str:
        """Status and end of standard error, once its output has ended."""
        status = await self.child.wait()
        await self._reader
        words = printable(self._words).strip()
        return f"status {status}" + (f": {words}" if words else "")

    async def end(self, ask: int = signal.SIGTERM) -> None:
        """Terminate it, then kill it if needed, and reap it."""
        for number, patience_s in ((ask, _END_S), (signal.SIGKILL, _END_S)):
            with contextlib.suppress(ProcessLookupError):
                self.child.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.child.wait(), patience_s)
                break
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        transport = getattr(self.child, "_transport", None)
        if transport is not None:
            transport.close()  # pipes that a grandchild holds open


def _check(address: Address) -> None:
    """Check that the program exists and is executable, before the first question."""
    path = address.path
    if not os.path.exists(path):
        raise LinkNotFound(
            "no such program", where=address.uri,
            hint="Install it, or correct the path in the station file",
        )  # fmt: skip
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise LinkPermission("this is no program that may be run here", where=address.uri)


async def _spawn(address: Address, arguments: Sequence[str]) -> _Run:
    try:
        child = await asyncio.create_subprocess_exec(
            address.path, *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise LinkNotFound("the program is gone", where=address.uri) from None
    except OSError as error:
        raise LinkClosed(f"the program does not start: {error}", where=address.uri) from None
    return _Run(child, address.uri)


class ProgramLink(MessageLink):
    """Questions to a program, one run each; :meth:`start` for a run that streams."""

    MAX_BYTES = 1 << 20

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        super().__init__(address, tap=tap)
        self._open = False
        self._run: _Run | None = None
        self.stream: ProgramStream | None = None

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def pending(self) -> int:
        return 0  # a run's output is read with the run, or dropped with it

    async def open(self, timeout_s: float) -> None:
        del timeout_s
        _check(self.address)
        self._open, self.dirty = True, False

    async def close(self) -> None:
        self._open = False
        await self._end_run()
        await self.halt()

    async def _end_run(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            await run.end()

    async def send(self, message: bytes, timeout_s: float) -> None:
        if not self._open:
            raise LinkClosed("the link is not open", where=self.uri)
        await self._end_run()
        if self.tap is not None:
            self.tap(">", message)
        arguments = [part.decode("utf-8", "replace") for part in message.split(b"\0") if part]
        async with asyncio.timeout(timeout_s):
            self._run = await _spawn(self.address, arguments)

    async def receive(self, timeout_s: float) -> bytes:
        run, self._run = self._run, None
        if run is None:
            raise LinkClosed("the program does not run", where=self.uri)
        assert run.child.stdout is not None  # noqa: S101 - a pipe was asked for
        said = bytearray()
        try:
            async with asyncio.timeout(timeout_s):
                while data := await run.child.stdout.read(_READ_BYTES):
                    said += data
                    if len(said) > self.MAX_BYTES:
                        raise LinkDesync("the program prints without end", where=self.uri)
                ended = await run.how_it_ended()
        except TimeoutError:
            raise LinkTimeout(f"no end of the program within {timeout_s:g} s", where=self.uri,
                              seen="" if self.private else printable(said)) from None  # fmt: skip
        finally:
            await run.end()
        if run.child.returncode:
            self._open = False  # its instrument is absent: to be found by opening again
            words = "" if self.private else f" {printable(said)}"
            raise LinkClosed("the program failed", where=self.uri, seen=ended + words)
        if self.tap is not None:
            self.tap("<", bytes(said))
        return bytes(said)

    async def start(self, arguments: Sequence[str]) -> ProgramStream:
        """Run it until :meth:`halt`; what it prints is a stream. An earlier run is ended."""
        await self.halt()
        if not self._open:
            raise LinkClosed("the link is not open", where=self.uri)
        if self.tap is not None:
            self.tap(">", "\0".join(arguments).encode())
        self.stream = ProgramStream(self.address, await _spawn(self.address, arguments), self.tap)
        return self.stream

    async def halt(self) -> None:
        """End the streaming run and drop its output."""
        stream, self.stream = self.stream, None
        if stream is not None:
            await stream.close()


class ProgramStream(ByteLink):
    """The output of a running program. A slow reader blocks the program."""

    def __init__(self, address: Address, run: _Run, tap: Tap | None) -> None:
        super().__init__(address, tap=tap)
        self._run = run
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._begin()
        self._pump = asyncio.create_task(self._take_all(), name=f"{address.uri} output")

    async def open(self, timeout_s: float) -> None:
        del timeout_s

    def check_open(self) -> None:
        """LinkClosed with the end of its standard error when the program has ended."""
        self._check_open()

    async def _take_all(self) -> None:
        assert self._run.child.stdout is not None  # noqa: S101 - a pipe was asked for
        while data := await self._run.child.stdout.read(_READ_BYTES):
            self._received(data)
            await self._may_read.wait()
        self._lost(f"the program ended, {await self._run.how_it_ended()}")

    def _pause(self) -> None:
        self._may_read.clear()

    def _resume(self) -> None:
        self._may_read.set()

    async def write(self, data: bytes, timeout_s: float) -> None:
        raise LinkClosed("the program takes no input", where=self.uri)

    async def close(self) -> None:
        self._lost("the stream was closed")
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        await self._run.end()
