"""The contracts of links: streams of bytes, and messages; and the receive buffer of streams.

A link ends every operation in one of: a result, ``LinkTimeout``, ``LinkClosed``, ``LinkDesync``,
``LinkBusy``, ``LinkPermission``, ``LinkNotFound``. Questions are asked inside
:meth:`Link.transaction`: only a completely read reply leaves the link clean. After a timeout, a
cancellation or any other error it is *dirty*, and the next transaction first runs the codec's
resynchronisation, so that a late reply is never credited to another question.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from photonlink.hal.errors import LinkClosed, LinkDesync, LinkError, LinkTimeout
from photonlink.hal.links.address import Address

Tap = Callable[[str, bytes], None]
"""Called with ``">"`` (to the instrument) or ``"<"`` (from it) and the bytes. A tagger's bytes are
raw key: a transcript of them belongs only into an explicitly recorded session."""

_SEEN_BYTES = 80


def printable(data: bytes | bytearray) -> str:
    """The last bytes of ``data``, made safe for a message."""
    tail = bytes(data[-_SEEN_BYTES:])
    return ascii(tail.decode("latin-1"))[1:-1] if tail else ""


class Link(abc.ABC):
    """The connection to one instrument. One owner at a time, through ``transaction``.

    pace_s: shortest time from the end of one transaction to the begin of the next, for
    instruments that lose what comes faster.
    """

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        self.address = address
        self.tap = tap
        self.dirty = False
        self.private = False
        """True while the bytes are events: they are then kept out of every message."""
        self.pace_s = 0.0
        self.gone: asyncio.Event | None = None
        """Set while the other end is known to be gone; None for a link that learns it by asking."""
        self._lock = asyncio.Lock()
        self._free_at = 0.0

    @property
    def uri(self) -> str:
        return self.address.uri

    @property
    @abc.abstractmethod
    def is_open(self) -> bool:
        """False before ``open``, after ``close``, and once the other end was found gone."""

    @property
    @abc.abstractmethod
    def pending(self) -> int:
        """Bytes or messages that arrived and were not read yet. They are no answer to a later
        question.
        """

    @abc.abstractmethod
    async def open(self, timeout_s: float) -> None:
        """Reach the other end. LinkNotFound, LinkBusy, LinkPermission, LinkTimeout."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Give the device back. Never raises; safe to call twice."""

    def send_blocking(self, data: bytes) -> None:
        """Send without the event loop, for ``Instrument.emergency_off`` only."""
        raise LinkError("this link cannot send without the event loop", where=self.uri)

    @contextlib.asynccontextmanager
    async def transaction(
        self, resync: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        """Own the link for one question and its answer.

        ``resync`` is run first when an earlier transaction left the link dirty or unrequested bytes
        came; without one such a link is refused with LinkDesync. A link whose other end is gone
        stays closed (LinkClosed): the supervisor opens it again.
        """
        async with self._lock:
            if not self.is_open:
                raise LinkClosed("the link is not open", where=self.uri)
            if self.dirty or self.pending:
                if resync is None:
                    raise LinkDesync("an earlier reply is still outstanding", where=self.uri)
                await resync()
            loop = asyncio.get_running_loop()
            if self.pace_s and (wait_s := self._free_at - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            self.dirty = True
            try:
                yield
            finally:
                self._free_at = loop.time() + self.pace_s
            self.dirty = False


class StreamLink(Link):
    """Bytes without boundaries: ``tcp``, ``serial``."""

    @abc.abstractmethod
    async def write(self, data: bytes, timeout_s: float) -> None:
        """Hand all of ``data`` to the operating system."""

    @abc.abstractmethod
    async def read_exactly(self, count: int, timeout_s: float) -> bytes:
        """``count`` bytes; on a timeout the received bytes stay in the buffer for ``drain``."""

    @abc.abstractmethod
    async def read_some(self, limit: int, timeout_s: float) -> bytes:
        """At least one and at most ``limit`` bytes, as soon as there are any."""

    @abc.abstractmethod
    async def read_until(self, terminator: bytes, timeout_s: float, limit: int = 65_536) -> bytes:
        """Bytes up to and including ``terminator``; more than ``limit`` without it: LinkDesync."""

    async def drain(self, quiet_s: float, timeout_s: float) -> int:
        """Throw away input until none came for ``quiet_s``. Returns the number of bytes."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        thrown = 0
        while (left := deadline - loop.time()) > 0:
            try:
                thrown += len(await self.read_some(65_536, min(quiet_s, left)))
            except LinkTimeout:
                if quiet_s <= left:
                    return thrown
        raise LinkDesync(f"the line did not fall silent within {timeout_s:g} s", where=self.uri)


class MessageLink(Link):
    """Whole messages: ``zmq``, ``udp``, ``visa``, ``http``. No end of line has to be found.

    A message longer than ``MAX_BYTES`` is refused: LinkDesync.
    """

    MAX_BYTES = 64 << 20

    @abc.abstractmethod
    async def send(self, message: bytes, timeout_s: float) -> None:
        """Hand one message over."""

    @abc.abstractmethod
    async def receive(self, timeout_s: float) -> bytes:
        """The next message, whole."""

    async def drain(self) -> int:
        """Drop messages that have arrived. Returns their number."""
        thrown = 0
        while self.pending:
            await self.receive(0.1)
            thrown += 1
        return thrown


class ByteLink(StreamLink):
    """A link whose bytes arrive by event: a bounded buffer, and waiting with a deadline."""

    HIGH_WATER = 4 << 20
    """Input is paused above this many unread bytes; the operating system then holds back."""

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        super().__init__(address, tap=tap)
        self._rx = bytearray()
        self._wake = asyncio.Event()
        self.gone: asyncio.Event = asyncio.Event()
        self._failure = "the link is not open"
        self._last_sent = b""
        self._paused = False

    @property
    def is_open(self) -> bool:
        return not self._failure

    @property
    def pending(self) -> int:
        return len(self._rx)

    def _begin(self) -> None:
        """A fresh connection: nothing unread, nothing outstanding."""
        self._rx.clear()
        self._failure = ""
        self.gone.clear()
        self.dirty = self._paused = False

    def _received(self, data: bytes) -> None:
        self._rx += data
        if self.tap is not None:
            self.tap("<", data)
        if len(self._rx) > self.HIGH_WATER and not self._paused:
            self._paused = True
            self._pause()
        self._wake.set()

    def _lost(self, reason: str) -> None:
        if not self._failure:
            self._failure = reason
        self.gone.set()
        self._wake.set()

    @abc.abstractmethod
    def _pause(self) -> None:
        """Stop taking input from the operating system."""

    @abc.abstractmethod
    def _resume(self) -> None: ...

    def _sent(self, data: bytes) -> None:
        self._last_sent = data
        if self.tap is not None:
            self.tap(">", data)

    def _error(self, kind: type[LinkError], what: str) -> LinkError:
        if self.private:
            return kind(what, where=self.uri)
        seen = f"sent {printable(self._last_sent)!r}, received {printable(self._rx)!r}"
        return kind(what, where=self.uri, seen=seen)

    def _check_open(self) -> None:
        if self._failure:
            raise self._error(LinkClosed, self._failure)

    def _take(self, count: int) -> bytes:
        data = bytes(self._rx[:count])
        del self._rx[:count]
        if self._paused and len(self._rx) < self.HIGH_WATER // 2:
            self._paused = False
            self._resume()
        return data

    async def _more(self, deadline: float, timeout_s: float) -> None:
        """Wait for more input; bytes that came before the end of the link are served first."""
        self._check_open()
        self._wake.clear()
        try:
            async with asyncio.timeout_at(deadline):
                await self._wake.wait()
        except TimeoutError:
            if not self._wake.is_set():  # else it came while this program was busy
                text = f"no complete reply within {timeout_s:g} s"
                raise self._error(LinkTimeout, text) from None

    async def read_exactly(self, count: int, timeout_s: float) -> bytes:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while len(self._rx) < count:
            await self._more(deadline, timeout_s)
        return self._take(count)

    async def read_some(self, limit: int, timeout_s: float) -> bytes:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not self._rx:
            await self._more(deadline, timeout_s)
        return self._take(limit)

    async def read_until(self, terminator: bytes, timeout_s: float, limit: int = 65_536) -> bytes:
        deadline = asyncio.get_running_loop().time() + timeout_s
        searched = 0
        while (at := self._rx.find(terminator, searched)) < 0:
            searched = max(0, len(self._rx) - len(terminator) + 1)
            if len(self._rx) > limit:
                raise self._error(LinkDesync, f"{limit} bytes without an end of reply")
            await self._more(deadline, timeout_s)
        return self._take(at + len(terminator))
