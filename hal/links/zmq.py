"""ZeroMQ REQ/REP: one message out, one message back. Needs ``pyzmq`` (extra ``zmq``)."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from photonlink.hal.errors import LinkClosed, LinkDesync, LinkError, LinkNotFound, LinkTimeout
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import MessageLink, Tap, printable


class ZmqLink(MessageLink):
    """``zmq://host:port``.

    ZeroMQ connects in the background and reports no missing peer, so ``open``
    first reaches the port by a plain TCP connection, and a monitor of the socket reports when the
    other end closes. A REQ socket that missed its reply refuses the next question: resynchronising
    is ``open`` again, a fresh socket.
    """

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        super().__init__(address.only(), tap=tap)
        self._socket: Any = None
        self._context: Any = None
        self._gone = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._socket is not None and not self._gone.is_set()

    @property
    def pending(self) -> int:
        """A REQ socket accepts no unrequested message."""
        return 0

    async def open(self, timeout_s: float) -> None:
        await self.close()
        zmq = _package()
        host, port = self.address.host, self.address.port
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            raise LinkTimeout(f"no connection within {timeout_s:g} s", where=self.uri) from None
        except OSError as error:
            raise LinkNotFound(f"nothing answers there: {error}", where=self.uri) from None
        writer.close()
        self._context = zmq.asyncio.Context(io_threads=1)
        socket = self._context.socket(zmq.REQ)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, self.MAX_BYTES)
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._gone = asyncio.Event()
        self._watch = asyncio.get_running_loop().create_task(_watch(monitor, self._gone))
        socket.connect(f"tcp://{host}:{port}")
        self._socket, self.dirty = socket, False

    async def close(self) -> None:
        socket, self._socket = self._socket, None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        if socket is not None:
            socket.disable_monitor()
            socket.close(linger=0)
            self._context.destroy(linger=0)

    async def send(self, message: bytes, timeout_s: float) -> None:
        if self.tap is not None:
            self.tap(">", message)
        await self._within(self._open_socket().send(message), timeout_s, "send")

    async def receive(self, timeout_s: float) -> bytes:
        parts = await self._within(
            self._open_socket().recv_multipart(), timeout_s, "complete reply"
        )
        if len(parts) != 1:
            seen = "" if self.private else printable(b" ".join(parts))
            raise LinkDesync("a reply in several parts", where=self.uri, seen=seen)
        message = bytes(parts[0])
        if self.tap is not None:
            self.tap("<", message)
        return message

    def _open_socket(self) -> Any:
        if self._socket is None:
            raise LinkClosed("the link is not open", where=self.uri)
        return self._socket

    async def _within(self, work: Any, timeout_s: float, what: str) -> Any:
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({task, gone}, timeout=timeout_s, return_when="FIRST_COMPLETED")
            if task.done():
                return task.result()
        except _package().ZMQError as error:
            self.dirty = True
            raise LinkClosed(f"ZeroMQ: {error}", where=self.uri) from error
        finally:
            task.cancel()
            gone.cancel()
        self.dirty = True
        if self._gone.is_set():
            raise LinkClosed("the other end is gone", where=self.uri)
        raise LinkTimeout(f"no {what} within {timeout_s:g} s", where=self.uri)


async def _watch(monitor: Any, gone: asyncio.Event) -> None:
    """Sets ``gone`` when the connection ends: the socket itself would wait for a new one."""
    await monitor.recv_multipart()
    gone.set()


def _package() -> Any:
    try:
        importlib.import_module("zmq.asyncio")
        return importlib.import_module("zmq")
    except ImportError as error:
        raise LinkError(
            f"ZeroMQ is not installed: {error}", hint="pip install 'photonlink[zmq]'"
        ) from error


class ZmqPairs:
    """Receiving ends of PAIR sockets, one per key; ``take`` never waits.

    The sender holds back further messages: at most ``HELD`` are queued here per socket.
    """

    HELD = 64
    MAX_BYTES = 1 << 30

    def __init__(self) -> None:
        self._context: Any = None
        self._sockets: dict[int, Any] = {}

    def connect(self, key: int, host: str, port: int) -> None:
        zmq = _package()
        if self._context is None:
            self._context = zmq.Context(io_threads=1)
        socket = self._sockets[key] = self._context.socket(zmq.PAIR)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, self.HELD)
        socket.setsockopt(zmq.MAXMSGSIZE, self.MAX_BYTES)
        socket.connect(f"tcp://{host}:{port}")

    def take(self, key: int) -> memoryview | None:
        """The next message, or None when there is none yet."""
        zmq = _package()
        try:
            return memoryview(self._sockets[key].recv(zmq.NOBLOCK, copy=False).buffer)
        except zmq.Again:
            return None

    def close(self) -> None:
        for socket in self._sockets.values():
            socket.close(linger=0)
        self._sockets.clear()
        if self._context is not None:
            self._context.term()
            self._context = None
