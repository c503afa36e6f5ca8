"""One TCP connection to the peer or to a stranger: bytes in, bytes out, nothing is trusted.

Unread bytes are bounded by one buffer: it is small until the other end has proved to be the peer
(``admit``), so that a flood from strangers fills their own send buffers, not this process. Until
then bytes are handed on in whole frames, so that single bytes do not wake the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from photonlink.hal.errors import LinkError

WRITE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
HEADER_BYTES, LONGEST_FRAME = 4, 4096 + 4  # before the proof (docs/protocol.md)
STRANGER_BYTES = 1024
READ_BYTES = 1 << 20
WRITE_BUFFER_BYTES = 1 << 22


class PeerStream(asyncio.BufferedProtocol):
    """made: called when the connection is open."""

    def __init__(self, made: Callable[[PeerStream], None] | None = None) -> None:
        self._made = made
        self._space = bytearray(STRANGER_BYTES)
        self._filled = 0
        self._admitted = self._paused = False
        self._ended = self._gone = False  # input has ended; output has ended
        self._full = False  # unsent bytes
        self._waiters: list[asyncio.Future[None]] = []
        self._last_call: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self.sent_bytes = self.received_bytes = 0
        self.refused = False  # the session gave it up

    # ---- what the event loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's is one
        self._transport = transport
        raw = transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):  # already closed
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
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return True  # the last bytes may still be sent

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = self._gone = True
        if self._last_call is not None:
            self._last_call.cancel()
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    # ---- waiting ----

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)

    def _enough(self) -> bool:
        """Whether there is enough to hand on: any bytes of the peer; of others a whole frame, or
        bytes that cannot be one.
        """
        if self._ended or self._filled == len(self._space):
            return True
        if self._admitted:
            return self._filled > 0
        size = HEADER_BYTES + int.from_bytes(self._space[1:HEADER_BYTES], "big")
        return self._filled >= HEADER_BYTES and (size > LONGEST_FRAME or self._filled >= size)

    # ---- what the node calls ----

    def admit(self) -> None:
        """This is the peer: enlarge the buffer."""
        if not self._admitted:
            self._admitted = True
            self._space = self._space[: self._filled].ljust(READ_BYTES, b"\0")
            self._wake()
            self._resume()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    async def read(self) -> bytes:
        """The next bytes; empty when the peer closed."""
        await self._until(self._enough)
        n, self._filled = self._filled, 0
        data = bytes(memoryview(self._space)[:n])
        self._space[:n] = bytes(n)
        self._resume()
        self.received_bytes += n
        return data

    async def write(self, data: bytes) -> None:
        """Send all of it or raise LinkError: the peer gone, or not reading for ten seconds."""
        seen = "the connection is gone"
        try:
            if not self._gone:
                self._transport.write(data)
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await self._until(lambda: self._gone or not self._full)
        except TimeoutError:
            seen = f"nothing was taken for {WRITE_TIMEOUT_S:g} s"
        else:
            if not self._gone:
                self.sent_bytes += len(data)
                return
        raise LinkError("the peer does not take our bytes", where="peer", seen=seen)

    def abort(self) -> None:
        """Close at once; unsent bytes are dropped."""
        self._transport.abort()

    def shut(self) -> None:
        """Close; written bytes are sent within a second or dropped; a waiting reader returns."""
        self._ended = True
        self._wake()
        self._transport.close()
        if self._last_call is None and not self._gone:
            loop = asyncio.get_running_loop()
            self._last_call = loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    async def close(self) -> None:
        """Shut, and wait until it is closed."""
        self.shut()
        await self._until(lambda: self._gone)
