"""A serial port made of a pseudo terminal, seen from the device.

What a pty does not have and this does not pretend: baud rate (USB-CDC ports ignore it too) and
modem lines. The slave stays open here, so that settings survive and the master never raises EIO
when no client is there; it is raw from the first moment, so nothing is echoed into the device.
The kernel holds about 18 kB towards the client; behind it lies the device's own output memory of
``memory_bytes``. What fits neither is lost, as in the instrument, and counted.
"""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import Callable
from pathlib import Path

READ_BYTES = 4096


class PtyWire:
    """Device side of one serial line under a stable name.

    link: path of the symlink a client opens (the /dev/pts number changes with every plug).
    received: called with bytes from the client.
    drained: called when output that had to wait is in the kernel.
    """

    def __init__(
        self,
        link: Path,
        received: Callable[[bytes], None],
        drained: Callable[[], None] | None = None,
        *,
        memory_bytes: int = 1 << 16,
    ) -> None:
        self.link = link
        self.lost_bytes = 0
        self._received, self._drained = received, drained
        self._memory = memory_bytes
        self._out = bytearray()
        self._master = self._slave = -1
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def plugged(self) -> bool:
        return self._master >= 0

    @property
    def pending(self) -> int:
        """Bytes in the device's memory that the kernel has not taken yet."""
        return len(self._out)

    @property
    def free(self) -> int:
        return self._memory - len(self._out)

    def plug(self) -> None:
        """Make the port and its name. Raises OSError when the name cannot be made."""
        if self.plugged:
            return
        self._loop = asyncio.get_running_loop()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        fresh = self.link.with_name(self.link.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(self._slave))
        fresh.replace(self.link)
        self._loop.add_reader(self._master, self._readable)

    def unplug(self) -> None:
        """Pull the cable: the client's next read ends, its name is gone, output is dropped."""
        if not self.plugged or self._loop is None:
            return
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        self.link.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1
        self._out.clear()

    def send(self, data: bytes) -> bool:
        """Queue a reply or a run of records, whole or not at all; False: lost (and counted)."""
        if not self.plugged or len(data) > self.free:
            self.lost_bytes += len(data)
            return False
        self._out += data
        self._flush()
        return True

    def discard(self) -> None:
        """Empty the device's own output memory (power cycle)."""
        self._out.clear()

    def _readable(self) -> None:
        try:
            data = os.read(self._master, READ_BYTES)
        except OSError:
            return
        if data:
            self._received(data)

    def _flush(self) -> None:
        loop, master = self._loop, self._master
        if loop is None or master < 0:
            return
        while self._out:
            try:
                done = os.write(master, self._out[: 1 << 14])
            except BlockingIOError:
                loop.add_writer(master, self._writable)
                return
            del self._out[:done]
        loop.remove_writer(master)

    def _writable(self) -> None:
        self._flush()
        if not self._out and self._drained is not None:
            self._drained()
