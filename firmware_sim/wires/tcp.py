"""Stream sockets as a device holds them: a TCP port, or the Unix socket of a vendor library.

A wire accepts any number of clients, hands each to a coroutine and can be pulled and plugged in
again at the same address. A client that does not read fills its own send buffer and nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LINE_LIMIT = 1 << 16  # bytes a client may send without a line end before it is cut off


class StreamWire:
    """Common to both: listen, serve, unplug (clients see a reset), plug again."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._replug: asyncio.Task[None] | None = None

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
        """As :meth:`plug`, from code that cannot wait."""
        self._replug = asyncio.get_running_loop().create_task(self.plug())

    def unplug(self) -> None:
        """Pull the cable: connections are reset at once, new ones refused."""
        if self._replug is not None:
            self._replug.cancel()
            self._replug = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, writer in list(self._clients.items()):
            task.cancel()
            writer.transport.abort()

    async def close(self) -> None:
        """Unplug and wait until no client task is left."""
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
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left or the cable was pulled: both are everyday events here
        finally:
            del self._clients[task]
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class TcpWire(StreamWire):
    """A listening TCP port; port 0 is chosen once and then kept over unplug and plug."""

    def __init__(self, host: str, port: int, serve: Serve) -> None:
        super().__init__(serve)
        self.host, self.port = host, port

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(
            self._accept, self.host, self.port, limit=LINE_LIMIT, reuse_address=True
        )
        self.port = server.sockets[0].getsockname()[1]
        return server


class UnixWire(StreamWire):
    """A Unix stream socket, removed from the file system while unplugged."""

    def __init__(self, path: Path, serve: Serve) -> None:
        super().__init__(serve)
        self.path = path

    async def _listen(self) -> asyncio.Server:
        self.path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(self.path))
        return await asyncio.start_unix_server(self._accept, sock=sock, limit=LINE_LIMIT)

    def unplug(self) -> None:
        super().unplug()
        self.path.unlink(missing_ok=True)
