"""The device's side of a serial port made of a pseudo terminal.

Not emulated, since a pty does not have them: baud rate (USB-CDC ports ignore it too) and
modem lines. The slave stays open here, so that settings survive and the master never raises EIO
when no client is there; it is raw from the first moment, so nothing is echoed into the device.
No byte from a client is dropped: while the device is behind, the kernel buffers the bytes and the
client's write blocks. The kernel holds about 18 kB towards the client; behind it lies the device's
own output memory. The state of a client (exclusive mode, terminal settings, unread replies) is
reset when the last client closes, as with a real port; the kernel reports that through inotify.
Bytes that a client discards itself (``tcflush``) are lost, as on a real port.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import struct
import termios
import tty
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.wires.session import OUTPUT_BYTES, Serve

READ_BYTES = 4096
INPUT_BYTES = 1 << 15  # bytes queued in the device; the kernel buffers further ones
IN_OPEN, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE = 0x20, 0x08, 0x10
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class PtySession:
    """The one connection of a serial line, for as long as the cable is in."""

    boundaries = False

    def __init__(self, wire: PtyWire) -> None:
        self._wire = wire
        self.state: Any = None

    async def read(self) -> bytes | None:
        return await self._wire.take()

    async def write(self, data: bytes) -> None:
        await self._wire.put(data)

    def send(self, data: bytes) -> bool:
        return self._wire.send(data)

    @property
    def free(self) -> int:
        return self._wire.free


class PtyWire:
    """One serial line under a stable name.

    link: path of the symlink a client opens (the /dev/pts number changes with every plug).
    """

    def __init__(self, serve: Serve, link: Path, *, memory_bytes: int = OUTPUT_BYTES) -> None:
        self.link = link
        self.lost_bytes = 0
        self._serve, self._memory = serve, memory_bytes
        self._in, self._out = bytearray(), bytearray()
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._master = self._slave = self._watch = -1
        self._open_clients = 0
        self._task: asyncio.Task[None] | None = None
        self._reading = False

    @property
    def address(self) -> str:
        return f"serial://{self.link}"

    @property
    def plugged(self) -> bool:
        return self._master >= 0

    @property
    def clients(self) -> int:
        return self._open_clients

    @property
    def pending(self) -> int:
        """Bytes in the device's memory that the kernel has not taken yet."""
        return len(self._out)

    @property
    def free(self) -> int:
        return self._memory - len(self._out)

    async def plug(self) -> None:
        self.plug_soon()

    def plug_soon(self) -> None:
        """Make the port and its name. Raises OSError when the name cannot be made."""
        if self.plugged:
            return
        loop = asyncio.get_running_loop()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        name = os.ttyname(self._slave)
        self._watch_clients(loop, name)
        fresh = self.link.with_name(self.link.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(name)
        fresh.replace(self.link)
        self._in.clear()
        self._listen(True)
        self._task = loop.create_task(self._serve(PtySession(self)))
        self._task.add_done_callback(_report)

    def unplug(self) -> None:
        """Pull the cable: the client's next read ends, its name is gone, output is dropped."""
        if not self.plugged:
            return
        loop = asyncio.get_running_loop()
        self._listen(False)
        loop.remove_writer(self._master)
        if self._watch >= 0:
            loop.remove_reader(self._watch)
            os.close(self._watch)
        self.link.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = self._watch = -1
        self._open_clients = 0
        self._out.clear()
        self._room.set()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def close(self) -> None:
        task = self._task
        self.unplug()
        if task is not None:
            await asyncio.wait([task], timeout=2.0)

    def discard(self) -> None:
        self._out.clear()
        self._in.clear()

    # ---- towards the device --------------------------------------------------------------------

    async def take(self) -> bytes | None:
        """Bytes from the client, waiting for the first."""
        while not self._in:
            if not self.plugged:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._in)
        self._in.clear()
        self._listen(True)
        return data

    def _listen(self, on: bool) -> None:
        if on == self._reading or (on and not self.plugged):
            return
        loop = asyncio.get_running_loop()
        self._reading = on
        if on:
            loop.add_reader(self._master, self._readable)
        else:
            loop.remove_reader(self._master)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, READ_BYTES)
        except OSError:
            return
        self._in += data
        if len(self._in) >= INPUT_BYTES:
            self._listen(False)
        self._arrived.set()

    # ---- towards the client --------------------------------------------------------------------

    async def put(self, data: bytes) -> None:
        """Queue all of a reply, in pieces as room comes."""
        at = 0
        while at < len(data) and self.plugged:
            piece = data[at : at + max(self.free, 0)]
            if piece:
                self._out += piece
                at += len(piece)
                self._flush()
                continue
            self._room.clear()
            await self._room.wait()

    def send(self, data: bytes) -> bool:
        """Queue a run of records, whole or not at all; False: lost (and counted)."""
        if not self.plugged or len(data) > self.free:
            self.lost_bytes += len(data)
            return False
        self._out += data
        self._flush()
        return True

    def _flush(self) -> None:
        if self._master < 0:
            return
        loop = asyncio.get_running_loop()
        while self._out:
            try:
                done = os.write(self._master, self._out[: 1 << 14])
            except BlockingIOError:
                loop.add_writer(self._master, self._flush)
                break
            del self._out[:done]
        else:
            loop.remove_writer(self._master)
        if self.free > 0:
            self._room.set()

    # ---- clients that come and go --------------------------------------------------------------

    def _watch_clients(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._watch = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._watch < 0:
            return  # no inotify left: a client's state is not reset, all else works
        mask = IN_OPEN | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE
        _libc.inotify_add_watch(self._watch, name.encode(), mask)
        loop.add_reader(self._watch, self._client_event)

    def _client_event(self) -> None:
        try:
            events = os.read(self._watch, 4096)
        except OSError:
            return
        for at in range(0, len(events) - _EVENT.size + 1, _EVENT.size):
            mask = _EVENT.unpack_from(events, at)[1]
            self._open_clients += 1 if mask & IN_OPEN else -1
        if self._open_clients <= 0:
            self._open_clients = 0
            self._tidy()

    def _tidy(self) -> None:
        """The last client has closed: reset the line."""
        with contextlib.suppress(OSError, termios.error):
            fcntl.ioctl(self._slave, termios.TIOCNXCL)
            tty.setraw(self._slave, termios.TCSANOW)
            termios.tcflush(self._slave, termios.TCIFLUSH)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()
