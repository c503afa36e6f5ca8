"""A bulk IN endpoint of a USB device that no kernel driver serves, through ``pyusb``: read only.

One thread reads in short turns; what comes is handed to the event loop, as from every other link.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
from typing import Any

from photonlink.hal.errors import LinkError, LinkNotFound, LinkPermission
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import ByteLink, Tap
from photonlink.hal.links.owner_thread import OwnerThread

_TURN_MS = 100
_READ_BYTES = 8192


class UsbBulkLink(ByteLink):
    """``usb:///221a:0100?endpoint=0x82#serial=…``: vendor and product in hexadecimal."""

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        super().__init__(address.only("endpoint", "serial"), tap=tap)
        self._device: Any = None
        self._opener = OwnerThread(address.uri)
        self._reader: threading.Thread | None = None
        self._may_read = threading.Event()

    @property
    def _endpoint(self) -> int:
        return int(self.address.options.get("endpoint", "0x82"), 16)

    async def open(self, timeout_s: float) -> None:
        await self.close()
        try:
            device = await self._opener.run(self._find, timeout_s)
        except BaseException:
            self._opener.stop()
            raise
        self._device = device
        self._begin()
        self._may_read.set()
        loop = asyncio.get_running_loop()
        self._reader = threading.Thread(
            target=self._read, args=(device, loop), name=f"read {self.uri}", daemon=True
        )
        self._reader.start()

    def _find(self) -> Any:
        try:
            core = importlib.import_module("usb.core")
            util = importlib.import_module("usb.util")
        except ImportError:
            raise LinkError(
                "pyusb is not installed", where=self.uri, hint="pip install photonlink[usb]"
            ) from None
        vendor, _, product = self.address.path.strip("/").partition(":")
        wanted = self.address.options.get("serial")
        match = {"serial_number": wanted} if wanted else {}
        try:
            found = core.find(idVendor=int(vendor, 16), idProduct=int(product, 16), **match)
            if found is None:
                raise LinkNotFound(
                    "no such USB device", where=self.uri, hint="Is it plugged in and powered?"
                )
            found.set_configuration()
            util.claim_interface(found, 0)
        except core.NoBackendError:
            raise LinkError("libusb is not installed", where=self.uri) from None
        except core.USBError as error:
            kind = LinkPermission if error.errno == 13 else LinkError
            raise kind(f"the device cannot be opened: {error}", where=self.uri) from error
        except ValueError as error:  # a serial number that this user may not read
            raise LinkPermission(str(error), where=self.uri) from error
        return found

    async def close(self) -> None:
        device, self._device = self._device, None
        if device is None:
            return
        self._lost("the link was closed here")
        self._may_read.set()
        reader = self._reader
        with contextlib.suppress(Exception):
            if reader is not None:
                await self._opener.run(lambda: reader.join(10 * _TURN_MS / 1000), 2.0)
            await self._opener.run(lambda: _dispose(device), 1.0)
        self._opener.stop()

    def _read(self, device: Any, loop: asyncio.AbstractEventLoop) -> None:
        core = importlib.import_module("usb.core")
        with contextlib.suppress(RuntimeError):  # the loop ended before the link was closed
            while self._device is device:
                if not self._may_read.wait(_TURN_MS / 1000):
                    continue
                try:
                    data = bytes(device.read(self._endpoint, _READ_BYTES, _TURN_MS))
                except core.USBTimeoutError:
                    continue
                except core.USBError as error:
                    loop.call_soon_threadsafe(self._ended, device, f"the device is gone: {error}")
                    return
                if data:
                    loop.call_soon_threadsafe(self._arrived, device, data)

    def _arrived(self, device: Any, data: bytes) -> None:
        if self._device is device:
            self._received(data)

    def _ended(self, device: Any, reason: str) -> None:
        if self._device is device:
            self._lost(reason)

    async def write(self, data: bytes, timeout_s: float) -> None:
        raise LinkError("this endpoint is only read", where=self.uri)

    def _pause(self) -> None:
        self._may_read.clear()

    def _resume(self) -> None:
        self._may_read.set()


def _dispose(device: Any) -> None:
    importlib.import_module("usb.util").dispose_resources(device)
