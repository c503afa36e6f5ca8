"""HTTP: a message is the body of a POST, the reply its body. Standard library, a thread of its own.

One connection is kept open between questions. A late reply cannot be credited to another
question: after a timeout the connection is closed.
"""

from __future__ import annotations

import contextlib
import http.client

from photonlink.hal.errors import (
    InstrumentError,
    LinkClosed,
    LinkDesync,
    LinkError,
    LinkNotFound,
    LinkTimeout,
)
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import MessageLink, Tap
from photonlink.hal.links.owner_thread import OwnerThread


class HttpLink(MessageLink):
    """``http://host:port/path``: ``send`` posts to the path, ``request`` to any path below it."""

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        super().__init__(address.only(), tap=tap)
        self.headers = {"Content-Type": "application/json"}
        self._thread = OwnerThread(address.uri)
        self._connection: http.client.HTTPConnection | None = None
        self._reply: bytes | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def pending(self) -> int:
        return 0 if self._reply is None else 1

    async def open(self, timeout_s: float) -> None:
        await self.close()
        connection = http.client.HTTPConnection(
            self.address.host, self.address.port or 80, timeout=timeout_s
        )
        try:
            await self._thread.run(connection.connect, timeout_s + 1.0)
        except TimeoutError:
            self._thread.stop()
            raise LinkTimeout(f"no connection within {timeout_s:g} s", where=self.uri) from None
        except OSError as error:
            self._thread.stop()
            raise LinkNotFound(f"nothing answers there: {error}", where=self.uri) from None
        self._connection, self._reply, self.dirty = connection, None, False

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(LinkError):
                await self._thread.run(connection.close, 1.0)
        self._thread.stop()

    async def send(self, message: bytes, timeout_s: float) -> None:
        """Post it; the reply waits for ``receive``."""
        self._reply = await self.request("POST", "", message, timeout_s)

    async def receive(self, timeout_s: float) -> bytes:
        reply, self._reply = self._reply, None
        if reply is None:
            raise LinkDesync("nothing was asked", where=self.uri)
        return reply

    def send_blocking(self, data: bytes) -> None:
        """Over a connection of its own; the reply is awaited for one second and ignored."""
        connection = http.client.HTTPConnection(
            self.address.host, self.address.port or 80, timeout=1.0
        )
        try:
            connection.request("POST", self.address.path or "/", data, self.headers)
            with contextlib.suppress(TimeoutError):
                connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise LinkClosed(f"nobody took it: {error}", where=self.uri) from error
        finally:
            connection.close()

    async def request(self, method: str, path: str, body: bytes | None, timeout_s: float) -> bytes:
        """One request; the body of its reply. InstrumentError for a status that is no success."""
        connection = self._connection
        if connection is None:
            raise LinkClosed("the link is not open", where=self.uri)
        if self.tap is not None and body is not None:
            self.tap(">", body)
        limit, target = self.MAX_BYTES, (self.address.path.rstrip("/") + path) or "/"

        def ask() -> tuple[int, str, bytes]:
            if connection.sock is None:  # the server closed it after the last reply
                connection.connect()
            connection.sock.settimeout(timeout_s)
            connection.request(method, target, body, self.headers if body is not None else {})
            response = connection.getresponse()
            return response.status, response.reason, response.read(limit + 1)

        try:
            status, reason, reply = await self._thread.run(ask, timeout_s + 0.5)
        except TimeoutError:
            # closes the connection of a late reply; the next question opens another
            connection.close()
            raise LinkTimeout(f"no complete reply within {timeout_s:g} s", where=self.uri) from None
        except (OSError, http.client.HTTPException) as error:
            await self.close()
            raise LinkClosed(f"the connection broke: {error}", where=self.uri) from error
        if len(reply) > limit:
            raise LinkDesync(f"a reply of more than {limit} bytes", where=self.uri)
        if self.tap is not None:
            self.tap("<", reply)
        if not 200 <= status < 300:
            raise InstrumentError(f"HTTP {status} {reason}", where=f"{self.uri}{path}")
        return reply
