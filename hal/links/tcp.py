"""TCP links: native asyncio, TCP_NODELAY, keep-alive; a closed peer is known at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from photonlink.hal.errors import LinkError, LinkNotFound, LinkTimeout
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import ByteLink, Tap

BANNER_S = 0.3
"""How long ``send_blocking`` waits for the greeting of a command line."""


class _Protocol(asyncio.Protocol):
    def __init__(self, link: TcpLink) -> None:
        self._link = link
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Here and not after the connect returns: a banner may arrive in the same step.
        self._link._begin()

    def data_received(self, data: bytes) -> None:
        self._link._received(data)

    def eof_received(self) -> bool:
        self._link._lost("the other end closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable.set()
        self._link._lost(f"connection lost: {exc}" if exc else "the connection was closed")

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


class _Detached(asyncio.Protocol):
    """Drops data that a closed connection still delivers."""


class TcpLink(ByteLink):
    """``tcp://host:port``."""

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        super().__init__(address.only(), tap=tap)
        self._transport: asyncio.Transport | None = None
        self._protocol: _Protocol | None = None

    async def open(self, timeout_s: float) -> None:
        await self.close()
        host, port = self._place()
        try:
            async with asyncio.timeout(timeout_s):
                transport, protocol = await asyncio.get_running_loop().create_connection(
                    lambda: _Protocol(self), host, port
                )
        except TimeoutError:
            raise LinkTimeout(f"no connection within {timeout_s:g} s", where=self.uri) from None
        except ConnectionRefusedError:
            raise LinkNotFound(
                "connection refused: nothing listens there",
                where=self.uri,
                hint="Is the instrument switched on and its network interface enabled?",
            ) from None
        except socket.gaierror as error:
            raise LinkNotFound(f"host {host!r} not found: {error}", where=self.uri) from None
        except OSError as error:
            raise LinkNotFound(f"host not reachable: {error}", where=self.uri) from error
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None:  # not every loop's connections are sockets
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._transport, self._protocol = transport, protocol

    def _place(self) -> tuple[str, int]:
        return self.address.host, self.address.port

    async def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.set_protocol(_Detached())
            transport.close()
            self._lost("the link was closed here")

    async def write(self, data: bytes, timeout_s: float) -> None:
        self._check_open()
        if self._transport is None or self._protocol is None:
            raise self._error(LinkError, "the link is not open")
        self._sent(data)
        self._transport.write(data)
        try:
            async with asyncio.timeout(timeout_s):
                await self._protocol.writable.wait()
        except TimeoutError:
            self.dirty = True
            raise self._error(LinkTimeout, f"could not send within {timeout_s:g} s") from None
        self._check_open()

    def send_blocking(self, data: bytes) -> None:
        """Over a connection of its own, so that a half-sent command does no harm."""
        with socket.create_connection((self.address.host, self.address.port), 1.0) as sock:
            sock.settimeout(BANNER_S)
            with contextlib.suppress(TimeoutError):
                sock.recv(4096)  # a banner, where there is one: the command line is ready
            sock.settimeout(1.0)
            sock.sendall(data)
            with contextlib.suppress(OSError):
                sock.recv(4096)

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
