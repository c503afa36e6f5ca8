"""Stream sockets as a device holds them: a TCP port, or the Unix socket of a vendor library.

A wire accepts any number of clients, hands each to a coroutine and can be pulled and plugged in
again at the same address. A client that does not read fills only its own send buffer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.wires.session import OUTPUT_BYTES, Serve

READ_BYTES = 1 << 14
BACKLOG = 16
MEMORY_PORT = 1  # of every name: it has one line


class StreamSession:
    """One connection."""

    boundaries = False

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.state: Any = None

    async def read(self) -> bytes | None:
        try:
            return await self._reader.read(READ_BYTES) or None
        except OSError:
            return None

    async def write(self, data: bytes) -> None:
        if self._writer.transport.is_closing():
            return
        self._writer.write(data)
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def send(self, data: bytes) -> bool:
        if len(data) > self.free or self._writer.transport.is_closing():
            return False
        self._writer.write(data)
        return True

    @property
    def free(self) -> int:
        return OUTPUT_BYTES - self._writer.transport.get_write_buffer_size()


class StreamWire:
    """Common to both: listen, serve, unplug (clients see a reset), plug again."""

    scheme = "tcp"

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._replug: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        raise NotImplementedError

    async def _listen(self) -> asyncio.Server:
        raise NotImplementedError

    @property
    def plugged(self) -> bool:
        return self._server is not None

    @property
    def clients(self) -> int:
        return len(self._clients)

    async def plug(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        if self._server is None:
            self._server = await self._listen()

    def plug_soon(self) -> None:
        self._replug = asyncio.get_running_loop().create_task(self.plug())

    def unplug(self) -> None:
        if self._replug is not None:
            self._replug.cancel()
            self._replug = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, writer in list(self._clients.items()):
            task.cancel()
            writer.transport.abort()

    def discard(self) -> None:
        """The kernel holds a connection's output; a power cycle cuts the connection anyway."""

    async def close(self) -> None:
        tasks = list(self._clients)
        self.unplug()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._server is None:
            writer.transport.abort()
            return
        self._clients[task] = writer
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left or the cable was pulled: both are normal here
        finally:
            del self._clients[task]
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(StreamSession(reader, writer))


class TcpWire(StreamWire):
    """A listening TCP port; port 0 is chosen once and then kept over unplug and plug."""

    def __init__(self, serve: Serve, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(serve)
        self.host, self.port = host, port

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(
            self._accept, self.host, self.port, reuse_address=True, backlog=BACKLOG
        )
        self.port = server.sockets[0].getsockname()[1]
        return server


class MemoryWire(TcpWire):
    """A stream under a name, on an event loop that has a network of its own (``virtual/``)."""

    scheme = "mem"

    def __init__(self, serve: Serve, name: str) -> None:
        super().__init__(serve, name)

    @property
    def address(self) -> str:
        return f"mem://{self.host}"

    async def _listen(self) -> asyncio.Server:
        if not hasattr(asyncio.get_running_loop(), "network"):
            raise OSError(f"{self.address}: this event loop has no wires in memory")
        return await asyncio.start_server(self._accept, self.host, MEMORY_PORT)


class UnixWire(StreamWire):
    """A Unix stream socket, removed from the file system while unplugged."""

    scheme = "unix"

    def __init__(self, serve: Serve, path: Path) -> None:
        super().__init__(serve)
        self.path = path

    @property
    def address(self) -> str:
        return f"unix://{self.path}"

    async def _listen(self) -> asyncio.Server:
        self.path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(str(self.path))
        except BaseException:
            sock.close()
            raise
        return await asyncio.start_unix_server(self._accept, sock=sock, backlog=BACKLOG)

    def unplug(self) -> None:
        super().unplug()
        self.path.unlink(missing_ok=True)
