"""A file that a client loads or runs (a library, a module, a program), with a socket beside it."""

from __future__ import annotations

import os
from pathlib import Path

from photonlink.firmware_sim.wires.session import Serve
from photonlink.firmware_sim.wires.tcp import UnixWire


class LocalWire(UnixWire):
    """A file in a folder of its own; it talks to the emulator through the socket."""

    def __init__(
        self, serve: Serve, path: Path, content: bytes, socket_name: str, mode: int = 0o644
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_bytes(content)
        fresh.chmod(mode)
        fresh.replace(path)  # replaced, not overwritten: a process may have the old file mapped
        self.file = path
        # through the folder's descriptor: a socket's own path may hold 107 bytes only
        self._folder_fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        super().__init__(serve, Path(f"/proc/self/fd/{self._folder_fd}") / socket_name)

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.file}"

    async def close(self) -> None:
        if self._folder_fd < 0:
            return
        await super().close()
        os.close(self._folder_fd)
        self._folder_fd = -1
