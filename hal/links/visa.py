"""VISA resources: USBTMC, GPIB, VXI-11, HiSLIP, through pyvisa (pyvisa-py unless told otherwise).

Raw sockets and serial ports are *not* opened through VISA although it could: measured, pyvisa-py
opens a refused socket without complaint, spins on a closed one until the timeout, never returns
from ``clear()`` there, and does not map pyserial's errors. ``visa_or_native`` gives them to our own
links. ``clear()`` is never called. One thread owns the resource: two threads on one resource got
386 of 800 replies wrong without a single exception.

No instrument of this kind was at hand: tested against a scripted resource only.
"""

from __future__ import annotations

from typing import Any

from photonlink.hal.errors import (
    LinkBusy,
    LinkClosed,
    LinkDesync,
    LinkError,
    LinkNotFound,
    LinkPermission,
    LinkTimeout,
    StationError,
)
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import MessageLink, Tap, printable
from photonlink.hal.links.owner_thread import OwnerThread

_CHUNK = 1 << 16
_ABSENT = {"VI_ERROR_RSRC_NFOUND", "VI_ERROR_INV_RSRC_NAME", "VI_ERROR_LIBRARY_NFOUND"}
_BUSY = {"VI_ERROR_RSRC_BUSY", "VI_ERROR_RSRC_LOCKED"}


def visa_or_native(address: Address) -> Address:
    """The same place as ``tcp:`` or ``serial:`` when VISA would only wrap a socket or a port."""
    parts = address.path.split("::")
    kind = parts[0].upper()
    if kind.startswith("TCPIP") and parts[-1].upper() == "SOCKET" and len(parts) == 4:
        return Address.parse(f"tcp://{parts[1]}:{parts[2]}")
    if kind.startswith("ASRL"):
        port = parts[0][4:]
        if port.isdecimal():
            raise StationError(
                "a numbered serial port means another thing on every system",
                where=address.uri,
                hint="Write serial:///dev/… or serial:COM3",
            )
        return Address.parse(f"serial:{'//' if port.startswith('/') else ''}{port}")
    return address


class VisaLink(MessageLink):
    """``visa:USB0::0x1313::0x8078::P0012::INSTR?lib=@py``. The bus marks the end of a message."""

    def __init__(self, address: Address, *, tap: Tap | None = None) -> None:
        super().__init__(address.only("lib"), tap=tap)
        self._thread = OwnerThread(address.uri)
        self._manager: Any = None
        self._resource: Any = None
        self._failure = "the link is not open"
        self._last = b"", b""

    @property
    def is_open(self) -> bool:
        return not self._failure

    @property
    def pending(self) -> int:
        """Nothing arrives unasked."""
        return 0

    def _lost(self, reason: str) -> None:
        self._failure = self._failure or reason

    def _error(self, kind: type[LinkError], what: str) -> LinkError:
        sent, received = self._last
        seen = f"sent {printable(sent)!r}, received {printable(received)!r}"
        return kind(what, where=self.uri, seen="" if self.private else seen)

    async def open(self, timeout_s: float) -> None:
        await self.close()
        try:
            await self._thread.run(lambda: self._open(timeout_s), timeout_s + 1.0)
        except LinkError:
            self._thread.stop()
            raise
        except Exception as error:
            self._thread.stop()
            raise self._named(error, opening=True) from error
        self._failure, self.dirty = "", False

    def _open(self, timeout_s: float) -> None:
        import pyvisa

        self._manager = pyvisa.ResourceManager(self.address.options.get("lib", "@py"))
        resource = self._manager.open_resource(
            self.address.path, open_timeout=round(timeout_s * 1000)
        )
        # Terminators belong to the codec; pyvisa's default (none in, CR LF out) would add to them.
        resource.read_termination = resource.write_termination = None
        self._resource = resource

    async def close(self) -> None:
        resource, self._resource = self._resource, None
        if resource is None:
            return
        self._lost("the link was closed here")
        try:
            await self._thread.run(resource.close, 2.0)
        except Exception as error:  # noqa: BLE001 - a vanished device may fail to close too
            self._failure = f"{self._failure} (close: {error})"
        self._thread.stop()

    async def send(self, message: bytes, timeout_s: float) -> None:
        self._last = message, b""
        if self.tap is not None:
            self.tap(">", message)
        await self._call(lambda r: r.write_raw(message), timeout_s)

    async def receive(self, timeout_s: float) -> bytes:
        message = bytes(await self._call(lambda r: r.read_raw(_CHUNK), timeout_s))
        if len(message) > self.MAX_BYTES:
            raise self._error(LinkDesync, f"a message of more than {self.MAX_BYTES} bytes")
        self._last = self._last[0], message
        if self.tap is not None:
            self.tap("<", message)
        return message

    def send_blocking(self, data: bytes) -> None:
        """Queued for the resource's thread, behind its present call."""
        resource = self._resource
        if resource is None:
            raise self._error(LinkClosed, self._failure)
        self._thread.post(lambda: resource.write_raw(data))

    async def _call(self, work: Any, timeout_s: float) -> Any:
        resource = self._resource
        if self._failure:
            raise self._error(LinkClosed, self._failure)

        def in_thread() -> Any:
            resource.timeout = max(1, round(timeout_s * 1000))
            return work(resource)

        try:
            # The library keeps the deadline itself; ours is for a library that does not.
            return await self._thread.run(in_thread, timeout_s + 0.5)
        except LinkTimeout:
            self.dirty = True
            raise self._error(
                LinkTimeout, f"the VISA library hangs beyond {timeout_s:g} s"
            ) from None
        except Exception as error:
            failure = self._named(error, opening=False)
            self.dirty = True
            if not failure.retryable:
                self._lost(failure.what)
            raise failure from error

    def _named(self, error: Exception, *, opening: bool) -> LinkError:
        """Our error for pyvisa's VisaIOError and for exceptions of lower layers."""
        code = getattr(error, "abbreviation", "")
        if code == "VI_ERROR_TMO":
            return self._error(LinkTimeout, "no complete reply in time")
        if code in _BUSY:
            return self._error(LinkBusy, "another program holds the resource")
        if isinstance(error, PermissionError) or "Access denied" in str(error):
            return self._error(LinkPermission, "access to the resource is refused: udev rules?")
        if opening or code in _ABSENT:
            return self._error(LinkNotFound, f"the resource cannot be opened: {error}")
        return self._error(LinkClosed, f"the resource went away: {error}")
