"""UDP: datagrams as messages. Losses are counted, as far as this end can detect them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque

from photonlink.hal.errors import LinkClosed, LinkNotFound, LinkTimeout
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import MessageLink, Tap

_RECEIVE_BUFFER = 8 << 20
_SO_RXQ_OVFL = 40  # Linux: with each datagram the kernel gives its count of dropped ones
_LARGEST = 65_535


class UdpLink(MessageLink):
    """``udp://host:port?local=port``. Datagrams from other hosts or ports are not taken.

    lost: datagrams that came and were dropped: by the kernel, whose buffer was full (Linux
    reports), or here, because the queue was full. Datagrams that never arrived can only be counted
    by a number inside the datagrams: the driver does that.
    """

    QUEUE = 4096

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        super().__init__(address.only("local"), tap=tap)
        self._socket: socket.socket | None = None
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure = ""
        self._lost_here = self._lost_in_kernel = 0

    @property
    def lost(self) -> int:
        """Datagrams dropped since ``open``."""
        return self._lost_here + self._lost_in_kernel

    @property
    def is_open(self) -> bool:
        return self._socket is not None and not self._failure

    @property
    def pending(self) -> int:
        return len(self._queue)

    async def open(self, timeout_s: float) -> None:
        await self.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                found = await loop.getaddrinfo(
                    self.address.host, self.address.port, type=socket.SOCK_DGRAM
                )
        except TimeoutError:
            raise LinkTimeout("the host's name was not resolved in time", where=self.uri) from None
        except OSError as error:
            raise LinkNotFound(f"host not found: {error}", where=self.uri) from None
        family, _, _, _, place = found[0]
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            sock.bind(("", self.address.number("local", 0)))
            sock.connect(place)
        except OSError as error:
            sock.close()
            raise LinkNotFound(f"the port cannot be used: {error}", where=self.uri) from error
        self._socket, self._loop, self._failure, self.dirty = sock, loop, "", False
        self._lost_here = self._lost_in_kernel = 0
        self._queue.clear()
        loop.add_reader(sock.fileno(), self._readable)

    async def close(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None and self._loop is not None:
            self._loop.remove_reader(sock.fileno())
            sock.close()
            self._wake.set()

    def _readable(self) -> None:
        sock = self._socket
        while sock is not None:
            try:
                data, ancillary, _, _ = sock.recvmsg(_LARGEST, 64)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:  # an ICMP "port unreachable" comes back like this
                self._failure = f"the other end refuses: {error.strerror or error}"
                break
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL and len(value) >= 4:
                    self._lost_in_kernel = struct.unpack("I", value[:4])[0]
            if len(self._queue) >= self.QUEUE:
                self._lost_here += 1
                continue
            self._queue.append(data)
            if self.tap is not None:
                self.tap("<", data)
        self._wake.set()

    async def send(self, message: bytes, timeout_s: float) -> None:
        sock = self._checked()
        if self.tap is not None:
            self.tap(">", message)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_sendall(sock, message)
        except TimeoutError:
            raise LinkTimeout(f"could not send within {timeout_s:g} s", where=self.uri) from None
        except OSError as error:
            raise LinkClosed(f"could not send: {error}", where=self.uri) from error

    async def receive(self, timeout_s: float) -> bytes:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not self._queue:
            self._checked()
            self._wake.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._wake.wait()
            except TimeoutError:
                raise LinkTimeout(f"no datagram within {timeout_s:g} s", where=self.uri) from None
        return self._queue.popleft()

    def send_blocking(self, data: bytes) -> None:
        if self._socket is not None:
            self._socket.send(data)

    def _checked(self) -> socket.socket:
        if self._socket is None or self._failure:
            raise LinkClosed(self._failure or "the link is not open", where=self.uri)
        return self._socket
