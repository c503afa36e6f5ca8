"""Serial lines where the event loop cannot watch a port (Windows): two threads behind one link.

One thread reads in short turns, one writes. Everything else runs in the event loop, so that it
behaves like every other link.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading

import serial

from photonlink.hal.errors import LinkError, LinkTimeout
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import ByteLink, Tap
from photonlink.hal.links.owner_thread import OwnerThread
from photonlink.hal.links.serial_port import open_port, serial_error

_TURN_S = 0.05
_CHUNK = 1 << 16


class SerialThreadLink(ByteLink):
    """``serial:COM3?baud=115200``; also works on POSIX, where ``SerialPosixLink`` is better."""

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        super().__init__(address.only("baud"), tap=tap)
        self._port: serial.Serial | None = None
        self._writer = OwnerThread(f"write {address.uri}")
        self._reader: threading.Thread | None = None
        self._may_read = threading.Event()

    async def open(self, timeout_s: float) -> None:
        await self.close()
        try:
            port = await self._writer.run(lambda: open_port(self.address), timeout_s)
        except BaseException:
            self._writer.stop()
            raise
        port.timeout = _TURN_S
        self._port = port
        self._begin()
        self._may_read.set()
        loop = asyncio.get_running_loop()
        self._reader = threading.Thread(
            target=self._read, args=(port, loop), name=f"read {self.uri}", daemon=True
        )
        self._reader.start()

    async def close(self) -> None:
        port, self._port = self._port, None
        if port is None:
            return
        self._lost("the link was closed here")
        self._may_read.set()
        reader = self._reader
        with contextlib.suppress(Exception):
            if reader is not None:  # it must not read from a closed port
                await self._writer.run(lambda: reader.join(4 * _TURN_S), 1.0)
            await self._writer.run(port.close, 1.0)
        self._writer.stop()

    def _read(self, port: serial.Serial, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop ended before the port was closed
            while self._port is port:
                self._may_read.wait(_TURN_S)
                if not self._may_read.is_set():
                    continue
                try:
                    data = port.read(min(_CHUNK, max(1, port.in_waiting)))
                except Exception as error:  # noqa: BLE001 - pyserial raises many kinds
                    reason = serial_error(error, self.address).what
                    loop.call_soon_threadsafe(self._ended, port, reason)
                    return
                if data:
                    loop.call_soon_threadsafe(self._arrived, port, data)

    def _arrived(self, port: serial.Serial, data: bytes) -> None:
        if self._port is port:
            self._received(data)

    def _ended(self, port: serial.Serial, reason: str) -> None:
        if self._port is port:
            self._lost(reason)

    async def write(self, data: bytes, timeout_s: float) -> None:
        self._check_open()
        port = self._port
        if port is None:
            raise self._error(LinkError, "the link is not open")
        self._sent(data)
        try:
            await self._writer.run(lambda: port.write(data), timeout_s)
        except (LinkTimeout, serial.SerialTimeoutException):
            self.dirty = True
            raise self._error(LinkTimeout, f"could not send within {timeout_s:g} s") from None
        except LinkError:
            raise
        except Exception as error:
            failure = serial_error(error, self.address)
            self._lost(failure.what)
            raise failure from error

    def send_blocking(self, data: bytes) -> None:
        """pyserial's ports may be written from any thread."""
        if self._port is not None:
            self._port.write(data)

    def _pause(self) -> None:
        self._may_read.clear()

    def _resume(self) -> None:
        self._may_read.set()
