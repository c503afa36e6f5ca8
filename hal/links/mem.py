"""Links to an emulator on the same event loop: no socket, no port, no thread."""

from __future__ import annotations

import asyncio

from photonlink.hal.errors import LinkError, LinkNotFound
from photonlink.hal.links.tcp import TcpLink


class MemoryLink(TcpLink):
    """``mem://name``. Exists only where the loop itself has a network."""

    async def open(self, timeout_s: float) -> None:
        if not hasattr(asyncio.get_running_loop(), "network"):
            raise LinkNotFound(
                "this event loop has no wires in memory",
                where=self.uri,
                hint="mem: addresses exist in a virtual run only (docs/virtual_time.md)",
            )
        await super().open(timeout_s)

    def _place(self) -> tuple[str, int]:
        return self.address.host, 1  # a name has one line

    def send_blocking(self, data: bytes) -> None:
        raise LinkError("a wire in memory needs its event loop", where=self.uri)
