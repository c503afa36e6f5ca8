"""A device's side of one client's connection, on any wire."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

OUTPUT_BYTES = 1 << 16  # a device's memory towards one client


class Session(Protocol):
    """Bytes or messages to and from one client. Used from the event loop only."""

    boundaries: bool
    """True: every read is one whole message; False: a stream of bytes."""
    state: Any
    """Whatever a dialect keeps about this client."""

    async def read(self) -> bytes | None:
        """The next bytes or message; None when the client is gone and everything was read."""

    async def write(self, data: bytes) -> None:
        """Send all of it; waits until there is room. A client that is gone is not an error."""

    def send(self, data: bytes) -> bool:
        """Send it whole, or not at all when there is no room (False). Never waits."""

    @property
    def free(self) -> int:
        """Bytes that :meth:`send` would take now."""


Serve = Callable[[Session], Coroutine[Any, Any, None]]


class Wire(Protocol):
    """Device side of one connection point. ``address`` is the client's address for it."""

    @property
    def address(self) -> str: ...

    @property
    def plugged(self) -> bool: ...

    @property
    def clients(self) -> int: ...

    async def plug(self) -> None:
        """Accept clients. OSError when the address is not available."""

    def plug_soon(self) -> None:
        """As :meth:`plug`, from code that cannot wait."""

    def unplug(self) -> None:
        """Pull the cable: clients are disconnected at once, new ones are refused."""

    def discard(self) -> None:
        """Empty the device's output memory (power cycle)."""

    async def close(self) -> None:
        """Unplug, and wait until no client is served any more."""
