"""From an address to the link that reaches it."""

from __future__ import annotations

import sys

from photonlink.hal.errors import StationError
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import Link, StreamLink, Tap


def make_link(uri: str, *, tap: Tap | None = None) -> Link:
    """A closed link for an address. Imports only what the address needs.

    Vendor libraries and packages carry calls, no bytes: see ``VendorLibrary``, ``VendorPackage``.
    """
    address = Address.parse(uri)
    if address.scheme == "visa":
        from photonlink.hal.links.visa import VisaLink, visa_or_native

        address = visa_or_native(address)
        if address.scheme == "visa":
            return VisaLink(address, tap=tap)
    if address.scheme == "tcp":
        from photonlink.hal.links.tcp import TcpLink

        return TcpLink(address, tap=tap)
    if address.scheme == "mem":
        from photonlink.hal.links.mem import MemoryLink

        return MemoryLink(address, tap=tap)
    if address.scheme == "serial":
        return _serial(address, tap)
    if address.scheme == "zmq":
        from photonlink.hal.links.zmq import ZmqLink

        return ZmqLink(address, tap=tap)
    if address.scheme == "udp":
        from photonlink.hal.links.udp import UdpLink

        return UdpLink(address, tap=tap)
    if address.scheme == "http":
        from photonlink.hal.links.http import HttpLink

        return HttpLink(address, tap=tap)
    if address.scheme == "program":
        from photonlink.hal.links.program import ProgramLink

        return ProgramLink(address, tap=tap)
    if address.scheme == "usb":
        from photonlink.hal.links.usb_bulk import UsbBulkLink

        return UsbBulkLink(address, tap=tap)
    raise StationError("a vendor's library or package carries no bytes", where=uri)


def make_stream(uri: str, *, tap: Tap | None = None) -> StreamLink:
    """As ``make_link``, for dialects that need a stream; else StationError."""
    link = make_link(uri, tap=tap)
    if not isinstance(link, StreamLink):
        raise StationError(
            f"this instrument speaks over a stream of bytes, not over {link.address.scheme}",
            where=uri,
            hint="Write tcp://host:port or serial:///dev/…",
        )
    return link


def _serial(address: Address, tap: Tap | None) -> StreamLink:
    if sys.platform == "win32":
        from photonlink.hal.links.serial_thread import SerialThreadLink

        return SerialThreadLink(address, tap=tap)
    from photonlink.hal.links.serial_posix import SerialPosixLink

    return SerialPosixLink(address, tap=tap)
