"""One TCP connection to the peer, or to somebody who may be: bytes in, bytes out, nothing believed.

What waits to be read is bounded by one buffer: small until whoever is there has proved to be the
peer (``admit``), so that strangers who pour out bytes fill their own buffers, not this process.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from photonlink.hal.errors import LinkError

WRITE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
STRANGER_BYTES = 4096
READ_BYTES = 1 << 18
WRITE_BUFFER_BYTES = 1 << 22


class PeerStream(asyncio.BufferedProtocol):
    """made: is called once there is a connection."""

    def __init__(self, made: Callable[[PeerStream], None] | None = None) -> None:
        self._made = made
        self._space = bytearray(STRANGER_BYTES)
        self._filled = 0
        self._ended = self._paused = False
        self._something = asyncio.Event()  # to read, or the end
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._transport: asyncio.Transport
        self.sent_bytes = self.received_bytes = 0

    # ---- what the event loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's is one
        self._transport = transport
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if self._made is not None:
            self._made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._space)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled == len(self._space):
            self._paused = True
            self._transport.pause_reading()
        self._something.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._something.set()
        return True  # what was said last may still leave

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        for event in (self._something, self._writable, self._gone):
            event.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # ---- what the node calls ----

    def admit(self) -> None:
        """This is the peer: from now on it may send fast."""
        if len(self._space) < READ_BYTES:
            self._space = self._space[: self._filled].ljust(READ_BYTES, b"\0")
            self._resume()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    async def read(self) -> bytes:
        """The next bytes; empty when the peer closed."""
        await self._something.wait()
        n, self._filled = self._filled, 0
        data = bytes(memoryview(self._space)[:n])
        self._space[:n] = bytes(n)
        if not self._ended:
            self._something.clear()
            self._resume()
        self.received_bytes += n
        return data

    async def write(self, data: bytes) -> None:
        """Send all of it or raise LinkError: the peer gone, or not reading for ten seconds."""
        seen = "the connection is gone"
        try:
            if not self._gone.is_set():
                self._transport.write(data)
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await self._writable.wait()
        except (OSError, TimeoutError) as error:
            seen = str(error) or f"nothing was taken for {WRITE_TIMEOUT_S:g} s"
        else:
            if not self._gone.is_set():
                self.sent_bytes += len(data)
                return
        raise LinkError("the peer does not take our bytes", where="peer", seen=seen)

    def abort(self) -> None:
        """At once; nothing more leaves."""
        self._transport.abort()

    async def close(self) -> None:
        """What was written leaves within a second, or never; a reader that waits comes back."""
        self._ended = True
        self._something.set()
        self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._gone.wait()
        except TimeoutError:
            self._transport.abort()
