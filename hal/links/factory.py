"""From an address to the link that reaches it."""

from __future__ import annotations

import sys

from photonlink.hal.errors import StationError
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import Link, Tap
from photonlink.hal.links.tcp import TcpLink


def make_link(uri: str, *, tap: Tap | None = None) -> Link:
    """A closed byte link for an address. Imports only what the address needs.

    Vendor libraries are no byte links: their drivers open a ``VendorLibrary`` themselves.
    """
    address = Address.parse(uri)
    if address.scheme == "visa":
        from photonlink.hal.links.visa import VisaLink, visa_or_native

        address = visa_or_native(address)
        if address.scheme == "visa":
            return VisaLink(address, tap=tap)
    if address.scheme == "tcp":
        return TcpLink(address, tap=tap)
    if address.scheme == "serial":
        if sys.platform == "win32":
            from photonlink.hal.links.serial_thread import SerialThreadLink

            return SerialThreadLink(address, tap=tap)
        from photonlink.hal.links.serial_posix import SerialPosixLink

        return SerialPosixLink(address, tap=tap)
    raise StationError("a vendor library carries no bytes", where=uri)
