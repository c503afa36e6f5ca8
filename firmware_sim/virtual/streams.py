"""Connections in memory: the two ends of a byte stream as asyncio transports, and the listeners.

Bytes arrive in the order in which they were written, one write as one piece, in the next turn of
the loop. A reader that pauses fills its own buffer; above the high mark the writer is paused, as
with a socket. The network keeps a digest of all bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

HIGH_BYTES = 1 << 16
FIRST_PORT = 40_000
Factory = Callable[[], asyncio.BaseProtocol]
Place = tuple[str, int]


class _Name:
    """The part of a socket that ``server.sockets[0]`` needs."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def getsockname(self) -> Place:
        return self._place


class MemoryTransport(asyncio.Transport):
    """One end. ``name`` and ``direction`` say under which heading its writes are digested."""

    def __init__(self, network: Network, name: str, direction: str) -> None:
        super().__init__({"peername": (name, 0), "sockname": (name, 0)})
        self._network, self._heading = network, f"{name} {direction}"
        self._loop = network.loop
        self._protocol: Any = None
        self.other: MemoryTransport
        self._inbox: deque[bytes] = deque()
        self._waiting = 0
        self._high, self._low = HIGH_BYTES, HIGH_BYTES // 4
        self._reading, self._held_back = True, False
        self._closing = self._ended = self._lost = False

    # ---- sending -------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        piece = bytes(data)
        self._network.said(self._heading, piece)
        other = self.other
        if other._lost:
            return
        other._inbox.append(piece)
        other._waiting += len(piece)
        self._loop.call_soon(other._deliver)
        if other._waiting > self._high and not self._held_back:
            self._held_back = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.other._waiting

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH_BYTES if high is None else high
        self._low = self._high // 4 if low is None else low

    def can_write_eof(self) -> bool:
        return False

    # ---- receiving -----------------------------------------------------------------------------

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        while self._inbox and self._reading and not self._lost:
            piece = self._inbox.popleft()
            self._waiting -= len(piece)
            if not self._closing:
                self._hand_over(piece)
        writer = self.other
        if writer._held_back and self._waiting <= writer._low and not writer._lost:
            writer._held_back = False
            writer._protocol.resume_writing()
        if writer._closing and not self._inbox and not self._ended and not self._lost:
            self._ended = True
            if not self._closing:
                self._protocol.eof_received()
            self._end(None)

    def _hand_over(self, piece: bytes) -> None:
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            protocol.data_received(piece)
            return
        while piece and self._reading and not self._closing:
            space = memoryview(protocol.get_buffer(len(piece)))
            n = min(len(space), len(piece))
            space[:n] = piece[:n]
            protocol.buffer_updated(n)
            piece = piece[n:]
        if piece and not self._closing:
            self._inbox.appendleft(piece)
            self._waiting += len(piece)

    # ---- the end -------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Written bytes still arrive; incoming bytes are dropped."""
        if self._closing:
            return
        self._closing = True
        self._loop.call_soon(self._end, None)
        self._loop.call_soon(self.other._deliver)

    def abort(self) -> None:
        """At once, and the other end sees a reset."""
        self._closing = True
        self._loop.call_soon(self._end, None)
        reset = ConnectionResetError(errno.ECONNRESET, "reset by the other end")
        self._loop.call_soon(self.other._end, reset)

    def _end(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._closing = self._lost = True
        self._inbox.clear()
        self._waiting = 0
        self._protocol.connection_lost(error)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol


class MemoryServer(asyncio.AbstractServer):
    """Listens at one place of the network."""

    def __init__(self, network: Network, place: Place, factory: Factory) -> None:
        self._network, self.place, self.factory = network, place, factory
        self.sockets = (_Name(place),)

    def close(self) -> None:
        if self._network.servers.get(self.place) is self:
            del self._network.servers[self.place]

    async def start_serving(self) -> None:
        """Nothing to do: it serves from the start."""

    async def serve_forever(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def wait_closed(self) -> None:
        """Accepted connections remain open."""

    def is_serving(self) -> bool:
        return self._network.servers.get(self.place) is self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._network.loop


class Network:
    """The listeners, and the digest of all bytes with the times at which they were sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.servers: dict[Place, MemoryServer] = {}
        self.bytes_total = 0
        self._next_port = FIRST_PORT
        self._connections: Counter[Place] = Counter()
        self._digests: dict[str, Any] = {}

    def listen(self, factory: Factory, host: str, port: int) -> MemoryServer:
        """OSError when the place is taken; port 0: the next free one."""
        if port == 0:
            port, self._next_port = self._next_port, self._next_port + 1
        if (host, port) in self.servers:
            raise OSError(errno.EADDRINUSE, f"{host}:{port} is taken")
        server = MemoryServer(self, (host, port), factory)
        self.servers[server.place] = server
        return server

    def connect(
        self, factory: Factory, host: str, port: int
    ) -> tuple[MemoryTransport, asyncio.BaseProtocol]:
        """ConnectionRefusedError when nobody listens there."""
        server = self.servers.get((host, port))
        if server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens at {host}:{port}")
        self._connections[host, port] += 1
        name = f"{host}:{port}#{self._connections[host, port]}"
        near, far = MemoryTransport(self, name, ">"), MemoryTransport(self, name, "<")
        near.other, far.other = far, near
        own, theirs = factory(), server.factory()
        near.set_protocol(own)
        far.set_protocol(theirs)
        theirs.connection_made(far)
        own.connection_made(near)
        return near, own

    def said(self, heading: str, piece: bytes) -> None:
        self.bytes_total += len(piece)
        digest = self._digests.get(heading)
        if digest is None:
            digest = self._digests[heading] = hashlib.sha256()
        digest.update(f"{self.loop.time():.9f} {len(piece)}\n".encode())
        digest.update(piece)

    def digests(self) -> dict[str, str]:
        """Connection and direction → SHA-256 over each piece with its virtual time."""
        return {heading: d.hexdigest() for heading, d in sorted(self._digests.items())}

    def digest(self) -> str:
        """Of all connections."""
        lines = (f"{heading} {found}\n" for heading, found in self.digests().items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def close(self) -> None:
        for server in list(self.servers.values()):
            with contextlib.suppress(KeyError):
                server.close()
