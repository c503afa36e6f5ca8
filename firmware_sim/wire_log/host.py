"""The host's end of a wire: connects to a device (or an emulator) as any client would."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import termios
import tty
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

CONNECT_S = 5.0
READ_BYTES = 1 << 16


class WireHost(Protocol):
    """One connection to a device."""

    async def read(self) -> bytes | None:
        """The next bytes or message; None when the device has closed."""

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


class TcpHost:
    """TCP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes | None:
        try:
            return await self._reader.read(READ_BYTES) or None
        except OSError:
            return None

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._writer.write(data)
            await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class SerialHost:
    """A serial port (or pty), raw, 8N1."""

    def __init__(self, path: str, baud: int) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        tty.setraw(self._fd, termios.TCSANOW)
        attributes = termios.tcgetattr(self._fd)
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            os.close(self._fd)
            raise ValueError(f"{path}: no baud rate {baud}")
        attributes[4] = attributes[5] = speed
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    async def read(self) -> bytes | None:
        data: bytes = await self._when_ready("reader", lambda: os.read(self._fd, READ_BYTES))
        return data or None

    async def write(self, data: bytes) -> None:
        while data:
            done = await self._when_ready("writer", functools.partial(os.write, self._fd, data))
            data = data[done or len(data) :]

    async def _when_ready(self, side: str, act: Any) -> Any:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        getattr(loop, f"add_{side}")(self._fd, functools.partial(_done, ready))
        try:
            await ready
            return act()
        except OSError:
            return b"" if side == "reader" else 0
        finally:
            getattr(loop, f"remove_{side}")(self._fd)

    async def close(self) -> None:
        os.close(self._fd)


class ZmqHost:
    """A ZeroMQ REQ socket."""

    def __init__(self, address: str) -> None:
        import zmq
        import zmq.asyncio

        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(address)
        self._asked = asyncio.Event()

    async def read(self) -> bytes | None:
        await self._asked.wait()
        data: bytes = await self._socket.recv()
        self._asked.clear()
        return data

    async def write(self, data: bytes) -> None:
        await self._socket.send(data)
        self._asked.set()

    async def close(self) -> None:
        self._socket.close(0)
        self._context.term()


def _done(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def connect(address: str) -> WireHost:
    """Reach a device. OSError when it is not there, ValueError for an address of another kind."""
    parts = urlsplit(address)
    if parts.scheme in ("tcp", "zmq") and not parts.port:
        raise ValueError(f"{address}: a device's address needs a port")
    async with asyncio.timeout(CONNECT_S):
        if parts.scheme == "tcp":
            return TcpHost(*await asyncio.open_connection(parts.hostname, parts.port))
        if parts.scheme == "zmq":
            return ZmqHost(f"tcp://{parts.hostname}:{parts.port}")
        if parts.scheme == "serial":
            baud = int(parse_qs(parts.query).get("baud", ["115200"])[0])
            return SerialHost(parts.path, baud)
    raise ValueError(f"{address}: tcp://HOST:PORT, serial:///PATH[?baud=N] or zmq://HOST:PORT")
