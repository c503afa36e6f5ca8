"""Scripted far ends for link and driver tests: a TCP server and a pty, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

Send = Callable[[bytes], None]
Answer = Callable[[bytes], bytes | None]


class PtyPeer:
    """A pty behind a stable link name; ``answer`` gives the reply to a line (None: silence).

    ``ends`` are the bytes that end a question; they are stripped before ``answer`` sees it.
    """

    def __init__(self, link: Path, answer: Answer, ends: bytes = b"\n;") -> None:
        self.link, self.answer, self.ends = link, answer, ends
        self.seen: list[bytes] = []
        self.raw = bytearray()
        self._master = self._slave = -1
        self._pending = bytearray()

    def plug(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def unplug(self) -> None:
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = -1
            self.link.unlink(missing_ok=True)

    def send(self, data: bytes) -> None:
        os.write(self._master, data)

    def _readable(self) -> None:
        data = os.read(self._master, 65_536)
        self.raw += data
        for byte in data:
            if byte not in self.ends:
                self._pending.append(byte)
                continue
            question = bytes(self._pending).strip()
            self._pending.clear()
            if question:
                self.seen.append(question)
                reply = self.answer(question)
                if reply is not None:
                    self.send(reply)

    @property
    def uri(self) -> str:
        return f"serial://{self.link}"


@contextlib.contextmanager
def pty_peer(link: Path, answer: Answer, ends: bytes = b"\n;") -> Iterator[PtyPeer]:
    peer = PtyPeer(link, answer, ends)
    peer.plug()
    try:
        yield peer
    finally:
        peer.unplug()


class TcpPeer:
    """A server on a free loopback port; every connection runs ``script(reader, writer)``."""

    def __init__(
        self, script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        self._script = script
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.port = 0

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._script(reader, writer)
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)
            writer.close()

    async def stop(self) -> None:
        """Close the listening socket and every connection, as a killed program does."""
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._server = None

    @property
    def uri(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def tcp_peer(
    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[TcpPeer]:
    peer = TcpPeer(script)
    await peer.start()
    try:
        yield peer
    finally:
        await peer.stop()
