"""Serial lines on POSIX: pyserial configures and locks, the event loop reads. No thread."""

from __future__ import annotations

import asyncio
import os

import serial

from photonlink.hal.errors import LinkTimeout
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import ByteLink, Tap
from photonlink.hal.links.serial_port import open_port

_CHUNK = 1 << 16


class SerialPosixLink(ByteLink):
    """``serial:///dev/…?baud=115200``."""

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        super().__init__(address.only("baud"), tap=tap)
        self._port: serial.Serial | None = None
        self._fd = -1
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, timeout_s: float) -> None:
        """``timeout_s`` is not needed: the port is opened with O_NONBLOCK and never waits."""
        await self.close()
        self._port = open_port(self.address)
        self._fd = self._port.fileno()
        os.set_blocking(self._fd, False)
        self._begin()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    async def close(self) -> None:
        port, self._port = self._port, None
        if port is None:
            return
        self._stop_reading()
        self._lost("the link was closed here")
        try:
            port.close()
        except Exception as error:  # noqa: BLE001 - a vanished device may fail to close too
            self._failure = f"{self._failure} (close: {error})"

    def _stop_reading(self) -> None:
        if self._loop is not None and self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
        self._fd = -1

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._gone(error.strerror or str(error))
            return
        if data:
            self._received(data)
        else:
            self._gone("end of file: the device was unplugged")

    def _gone(self, reason: str) -> None:
        # The descriptor stays readable for ever once the device is gone: stop watching it.
        self._stop_reading()
        self._lost(f"the port went away: {reason}")

    async def write(self, data: bytes, timeout_s: float) -> None:
        self._check_open()
        self._sent(data)
        rest = memoryview(data)
        deadline = asyncio.get_running_loop().time() + timeout_s
        while rest:
            self._check_open()
            try:
                rest = rest[os.write(self._fd, rest) :]
            except (BlockingIOError, InterruptedError):
                await self._writable(deadline, timeout_s)
            except OSError as error:
                self._gone(error.strerror or str(error))

    async def _writable(self, deadline: float, timeout_s: float) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_writer(self._fd, ready.set)
        try:
            async with asyncio.timeout_at(deadline):
                await ready.wait()
        except TimeoutError:
            self.dirty = True
            raise self._error(LinkTimeout, f"could not send within {timeout_s:g} s") from None
        finally:
            if self._fd >= 0:
                loop.remove_writer(self._fd)

    def send_blocking(self, data: bytes) -> None:
        """On the open descriptor, since the locked port cannot be opened a second time."""
        os.write(self._fd, data)

    def _pause(self) -> None:
        if self._loop is not None and self._fd >= 0:
            self._loop.remove_reader(self._fd)

    def _resume(self) -> None:
        if self._loop is not None and self._fd >= 0:
            self._loop.add_reader(self._fd, self._readable)
