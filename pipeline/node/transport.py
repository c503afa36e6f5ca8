"""TCP between the two nodes: a byte stream, nothing else. Trust comes from the session's tags.

One side listens and hands over every stream; the other connects again and again with growing
pauses. The session determines which connection is the peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass

from photonlink.hal import machine
from photonlink.hal.errors import LinkError, PhotonlinkError
from photonlink.pipeline.node.peer_stream import PeerStream

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
MOST_STREAMS, STREAMS_PER_SWEEP = 48, 64
WAITING = 16  # accepted and not yet handed over; the oldest is closed first
BACKOFF_S = (0.2, 5.0)  # after a peer that refuses us
AGAIN_S = (
    0.8  # the longest pause while connecting fails or is not kept: the peer is starting, or busy
)


def _listen_hint(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "There is no such host: correct [peer] listen, or write 0.0.0.0 for every network"
    if error.errno == errno.EADDRNOTAVAIL:
        return "This machine does not have that address: write 0.0.0.0 in [peer] listen"
    if error.errno == errno.EACCES:
        return "Ports below 1024 need rights: choose another [peer] listen port"
    return "Is another node running here? Choose another [peer] listen port"


class PeerAddressError(PhotonlinkError, ValueError):
    """An address that is not ``host:port``."""


@dataclass(frozen=True, slots=True)
class PeerAddress:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> PeerAddress:
        """``host:port`` or ``[v6]:port``."""
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdigit() or int(port) > 65535:
            raise PeerAddressError("not a host:port", where=text, hint="write e.g. 10.0.0.2:7101")
        return cls(host, int(port))


async def connections(
    address: PeerAddress, unreachable: Callable[[str], None] = log.debug
) -> AsyncGenerator[PeerStream, None]:
    """Connect to a listening peer, again after each loss. Runs until it is cancelled.

    The pause grows each time that the session gave the peer up (``refused``), since it will refuse
    us the next time too. Other failures (no answer, a tunnel without its far end, too many
    connections at the peer) are tried again soon. unreachable: called with the reason when
    connecting fails.
    """
    first, longest = BACKOFF_S[0], {True: BACKOFF_S[1], False: AGAIN_S}
    pauses = {True: first, False: first}
    loop = asyncio.get_running_loop()
    while True:
        since, refused = machine.monotonic_s(), False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, stream = await loop.create_connection(PeerStream, address.host, address.port)
        except (OSError, TimeoutError) as error:
            unreachable(os.strerror(error.errno) if error.errno else str(error) or "no answer")
        else:
            try:
                yield stream
            finally:
                await stream.close()
            refused = stream.refused
            if stream.received_bytes and machine.monotonic_s() - since > BACKOFF_S[1]:
                pauses = {True: first, False: first}
        await asyncio.sleep(pauses[refused] * machine.jitter())
        pauses[refused] = min(2 * pauses[refused], longest[refused])


class Listener:
    """Waits for the peer. ``port`` is the one bound (useful with port 0)."""

    def __init__(self, address: PeerAddress) -> None:
        self._address = address
        self._arrived: asyncio.Queue[PeerStream] = asyncio.Queue(maxsize=WAITING)
        self._server: asyncio.Server | None = None
        self.turned_away = 0  # streams closed because too many were waiting
        self.port = address.port

    async def start(self) -> None:
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: PeerStream(self._accept), self._address.host, self._address.port
            )
        except OSError as error:
            raise LinkError(
                "cannot listen for the peer",
                where=f"{self._address.host}:{self._address.port}",
                seen=error.strerror or str(error),
                hint=_listen_hint(error),
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    def _accept(self, stream: PeerStream) -> None:
        if self._arrived.full():
            self.turned_away += 1
            self._arrived.get_nowait().abort()
        self._arrived.put_nowait(stream)

    async def serve(self, handle: Callable[[PeerStream], Coroutine[None, None, None]]) -> None:
        """Hand over all connections concurrently; beyond MOST_STREAMS they wait or are closed."""
        room, gone = asyncio.Semaphore(MOST_STREAMS), 0

        async def one(stream: PeerStream) -> None:
            nonlocal gone
            try:
                await handle(stream)
            finally:
                room.release()
                gone += 1
                # asyncio keeps closed streams in a reference cycle
                if gone % STREAMS_PER_SWEEP == 0:
                    gc.collect()

        async with asyncio.TaskGroup() as tasks:
            async for stream in self.connections():
                try:
                    await room.acquire()
                except asyncio.CancelledError:
                    stream.abort()
                    raise
                tasks.create_task(one(stream))

    async def connections(self) -> AsyncGenerator[PeerStream, None]:
        """All connections as they arrive; the caller closes them."""
        while True:
            yield await self._arrived.get()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            while not self._arrived.empty():
                self._arrived.get_nowait().abort()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._server.wait_closed()
