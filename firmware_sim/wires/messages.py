"""Wires on which whole messages travel: UDP, ZeroMQ (REQ clients), HTTP (a POST is a message)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from photonlink.firmware_sim.wires.session import OUTPUT_BYTES, Serve, Session
from photonlink.firmware_sim.wires.tcp import TcpWire

QUEUE = 1024  # queued messages for the device, per client
HTTP_BODY_BYTES = 1 << 20
HTTP_HEAD_LINES = 100


class UdpSession:
    """One peer of a UDP port."""

    boundaries = True

    def __init__(self, wire: UdpWire, peer: tuple[str, int]) -> None:
        self._wire, self._peer = wire, peer
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
        self.state: Any = None

    async def read(self) -> bytes | None:
        return await self.inbox.get()

    async def write(self, data: bytes) -> None:
        self.send(data)

    def send(self, data: bytes) -> bool:
        return self._wire.send_to(data, self._peer)

    @property
    def free(self) -> int:
        return OUTPUT_BYTES if self._wire.plugged else 0


class UdpWire(asyncio.DatagramProtocol):
    """A UDP port; every peer has a session of its own. Messages for a full queue are dropped and
    counted.
    """

    PEERS = 64

    def __init__(self, serve: Serve, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port
        self.lost_messages = 0
        self._serve = serve
        self._transport: asyncio.DatagramTransport | None = None
        self._sessions: dict[tuple[str, int], tuple[UdpSession, asyncio.Task[None]]] = {}
        self._replug: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return f"udp://{self.host}:{self.port}"

    @property
    def plugged(self) -> bool:
        return self._transport is not None

    @property
    def clients(self) -> int:
        return len(self._sessions)

    async def plug(self) -> None:
        if self._transport is None:
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: self, local_addr=(self.host, self.port)
            )
            self.port = self._transport.get_extra_info("sockname")[1]

    def plug_soon(self) -> None:
        self._replug = asyncio.get_running_loop().create_task(self.plug())

    def unplug(self) -> None:
        if self._replug is not None:
            self._replug.cancel()
            self._replug = None
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        for _, task in self._sessions.values():
            task.cancel()
        self._sessions.clear()

    def discard(self) -> None:
        """Nothing to do: this wire has no output memory."""

    async def close(self) -> None:
        tasks = [task for _, task in self._sessions.values()]
        self.unplug()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr not in self._sessions:
            if len(self._sessions) >= self.PEERS:  # drops the client with the oldest message
                _, task = self._sessions.pop(next(iter(self._sessions)))
                task.cancel()
            session = UdpSession(self, addr)
            task = asyncio.get_running_loop().create_task(_serve(self._serve, session))
            self._sessions[addr] = (session, task)
        try:
            self._sessions[addr][0].inbox.put_nowait(data)
        except asyncio.QueueFull:
            self.lost_messages += 1

    def send_to(self, data: bytes, peer: tuple[str, int]) -> bool:
        if self._transport is None:
            return False
        self._transport.sendto(data, peer)
        return True


async def _serve(serve: Serve, session: Session) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await serve(session)


class ZmqSession:
    """One REQ client. Each write is one reply, also an empty one."""

    boundaries = True

    def __init__(self, wire: ZmqWire, peer: bytes) -> None:
        self._wire, self._peer = wire, peer
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
        self.state: Any = None

    async def read(self) -> bytes | None:
        return await self.inbox.get()

    async def write(self, data: bytes) -> None:
        await self._wire.send_to(data, self._peer)

    def send(self, data: bytes) -> bool:
        task = asyncio.ensure_future(self.write(data))
        return not task.cancelled()

    @property
    def free(self) -> int:
        return OUTPUT_BYTES if self._wire.plugged else 0


class ZmqWire:
    """A REP socket for REQ clients; implemented as a ROUTER, so that a question which
    is never answered does not stop the next one. Needs ``pyzmq``."""

    PEERS = 64

    def __init__(self, serve: Serve, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port
        self.lost_messages = 0
        self._serve = serve
        self._context: Any = None
        self._socket: Any = None
        self._task: asyncio.Task[None] | None = None
        self._replug: asyncio.Task[None] | None = None
        self._sessions: dict[bytes, tuple[ZmqSession, asyncio.Task[None]]] = {}

    @property
    def address(self) -> str:
        return f"zmq://{self.host}:{self.port}"

    @property
    def plugged(self) -> bool:
        return self._socket is not None

    @property
    def clients(self) -> int:
        return len(self._sessions)

    async def plug(self) -> None:
        if self._socket is not None:
            return
        import zmq
        import zmq.asyncio

        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            if self.port:
                self._socket.bind(f"tcp://{self.host}:{self.port}")
            else:
                self.port = self._socket.bind_to_random_port(f"tcp://{self.host}")
        except zmq.ZMQError as error:
            self.unplug()
            raise OSError(f"{self.address}: {error}") from None
        self._task = asyncio.get_running_loop().create_task(self._listen())

    def plug_soon(self) -> None:
        self._replug = asyncio.get_running_loop().create_task(self.plug())

    async def _listen(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                peer, *rest = await self._socket.recv_multipart()
                if len(rest) < 2 or rest[0]:
                    self.lost_messages += 1  # not of a REQ socket
                    continue
                try:
                    self._session(peer).inbox.put_nowait(b"".join(rest[1:]))
                except asyncio.QueueFull:
                    self.lost_messages += 1

    def _session(self, peer: bytes) -> ZmqSession:
        if peer not in self._sessions:
            if len(self._sessions) >= self.PEERS:  # drops the client with the oldest message
                self._sessions.pop(next(iter(self._sessions)))[1].cancel()
            session = ZmqSession(self, peer)
            task = asyncio.get_running_loop().create_task(_serve(self._serve, session))
            self._sessions[peer] = (session, task)
        return self._sessions[peer][0]

    async def send_to(self, data: bytes, peer: bytes) -> None:
        """To one client; one that is gone is not an error."""
        if self._socket is not None:
            await self._socket.send_multipart([peer, b"", data])

    def unplug(self) -> None:
        for task in [t for _, t in self._sessions.values()]:
            task.cancel()
        self._sessions.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._socket is not None:
            self._socket.close(0)
            self._context.term()
            self._socket = None

    def discard(self) -> None:
        """Nothing to do: this wire has no output memory."""

    async def close(self) -> None:
        tasks = [t for _, t in self._sessions.values()]
        tasks += [t for t in (self._task, self._replug) if t is not None]
        self.unplug()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)


class HttpSession:
    """One request; ``state`` is ``(method, path)``. The first write is the whole answer."""

    boundaries = True

    def __init__(self, writer: asyncio.StreamWriter, state: tuple[str, str], body: bytes) -> None:
        self._writer, self.state = writer, state
        self._body: bytes | None = body
        self.answered = False
        self.status = "200 OK"
        self.content_type = "application/json"

    async def read(self) -> bytes | None:
        body, self._body = self._body, None
        return body

    async def write(self, data: bytes) -> None:
        self.send(data)
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def send(self, data: bytes) -> bool:
        if self.answered:
            return False
        self.answered = True
        head = f"HTTP/1.1 {self.status}\r\nContent-Type: {self.content_type}\r\n"
        self._writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        return True

    def withhold(self) -> None:
        """No answer at all: the client waits until its own deadline."""
        self.answered = True

    @property
    def free(self) -> int:
        return 0 if self.answered else OUTPUT_BYTES


class HttpWire(TcpWire):
    """HTTP/1.1 with keep-alive; each request is a session of one message."""

    scheme = "http"

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = (await reader.readline()).decode("latin-1").split()
                length = await self._headers(reader)
            except ValueError:
                length = -1
            if not 0 <= length <= HTTP_BODY_BYTES or len(head) != 3:
                writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                return
            body = await reader.readexactly(length)
            session = HttpSession(writer, (head[0], head[1]), body)
            await self._serve(session)
            if not session.answered:
                session.status = "204 No Content"
                await session.write(b"")

    @staticmethod
    async def _headers(reader: asyncio.StreamReader) -> int:
        """Content-Length; ValueError for a head that is none."""
        length = 0
        for _ in range(HTTP_HEAD_LINES):
            line = (await reader.readline()).decode("latin-1").strip()
            if not line:
                return length
            name, _, value = line.partition(":")
            if name.strip().lower() == "content-length":
                length = int(value)
        raise ValueError("too many header lines")
