"""Addresses of instruments as they stand in a station file.

* ``tcp://host:port``: a socket
* ``serial:///dev/serial/by-id/…?baud=115200``: a serial port (``serial:COM3`` on Windows)
* ``lib:///opt/…/libmh150.so#serial=1045678``: a vendor library and one of its devices, by serial
  number or by place (``#index=0``)
* ``package:Swabian.TimeTagger#serial=…``: a vendor's Python package, or by absolute path a module
  with the same names (``package:///opt/…/stand_in.py``)
* ``zmq://host:port``, ``udp://host:port?local=port``, ``http://host:port/path``: messages
* ``program:///usr/bin/chronyc``: a command-line program that reads the instrument
* ``usb:///vvvv:pppp?endpoint=0x82#serial=…``: a bulk endpoint, for data beside another line
* ``mem://name``: an emulator on the same event loop (a virtual run)
* ``visa:USB0::0x1313::0x8078::P0012::INSTR``: a VISA resource (``?lib=@py`` is the default)

Addresses never carry credentials: they are shown and logged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import parse_qsl, unquote, urlsplit

from photonlink.hal.errors import StationError

SCHEMES = ("tcp", "serial", "lib", "package", "visa", "zmq", "udp", "http", "mem", "program", "usb")
_HOST_AND_PORT = ("tcp", "zmq", "udp")


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address. ``path`` is a file, a port name or a VISA resource."""

    uri: str
    scheme: str
    host: str
    port: int
    path: str
    options: Mapping[str, str]

    @staticmethod
    def parse(uri: str) -> Address:
        """Split an address; StationError names what is wrong with it."""
        scheme, colon, rest = uri.partition(":")
        if not colon or scheme not in SCHEMES:
            raise StationError(
                "this is no address of an instrument",
                where=uri,
                hint="Write tcp://host:port, serial:///dev/…, lib:///…/lib.so#serial=… or another "
                f"of {', '.join(SCHEMES)}",
            )
        if scheme == "visa":
            resource, _, query = rest.partition("?")
            return _checked(Address(uri, scheme, "", 0, resource, dict(parse_qsl(query))))
        parts = urlsplit(uri)
        if parts.username is not None or parts.password is not None:
            raise StationError("an address carries no user name and no password", where=scheme)
        try:
            port = parts.port or 0
        except ValueError as error:
            raise StationError("the port is not a number from 1 to 65535", where=uri) from error
        options = dict(parse_qsl(parts.query)) | dict(parse_qsl(parts.fragment))
        host = parts.hostname or ""
        return _checked(Address(uri, scheme, host, port, unquote(parts.path), options))

    def only(self, *known: str) -> Address:
        """Itself, unless it has an option beyond these: StationError names it."""
        if self.scheme == "lib":
            known = (*known, "process")  # of every library: hal.links.library_process
        unknown = sorted(set(self.options) - set(known))
        if unknown:
            raise StationError(
                f"unknown option {unknown[0]!r}",
                where=self.uri,
                hint=f"Known options: {', '.join(known) or 'none'}",
            )
        return self

    def without(self, *options: str) -> Address:
        """The address without these options: they are the driver's own, not the link's."""
        rest, mark, fragment = self.uri.partition("#")
        head, _, query = rest.partition("?")
        parts = [part for part in query.split("&") if part.partition("=")[0] not in options]
        query = "&".join(part for part in parts if part)
        return Address.parse(head + (f"?{query}" if query else "") + mark + fragment)

    def default(self, option: str, value: str) -> Address:
        """The address with this option, unless it has it already."""
        if option in self.options:
            return self
        head, mark, fragment = self.uri.partition("#")
        joint = "&" if "?" in head else "?"
        return Address.parse(f"{head}{joint}{option}={value}{mark}{fragment}")

    def number(self, option: str, default: int) -> int:
        """An integer option of the address."""
        text = self.options.get(option)
        if text is None:
            return default
        try:
            return int(text)
        except ValueError as error:
            raise StationError(
                f"option {option!r} must be a whole number, not {text!r}", where=self.uri
            ) from error


def _checked(address: Address) -> Address:
    missing = ""
    if address.scheme in _HOST_AND_PORT and not (address.host and address.port):
        missing = "host and port"
    elif address.scheme in ("http", "mem") and not address.host:
        missing = "host" if address.scheme == "http" else "name"
    elif address.scheme == "package" and (address.host or not address.path):
        missing = "the name of the package, or an absolute path of a module (three slashes)"
    elif address.scheme == "serial" and (address.host or not address.path):
        missing = "an absolute port name (three slashes: serial:///dev/ttyACM0)"
    elif address.scheme == "lib" and (address.host or not PurePath(address.path).is_absolute()):
        # The dynamic loader ignores LD_LIBRARY_PATH set at run time, so a bare name is a lottery.
        missing = "an absolute path of the library (three slashes: lib:///opt/…/libmh150.so)"
    elif address.scheme == "program" and (address.host or not PurePath(address.path).is_absolute()):
        missing = "an absolute path of the program (three slashes: program:///usr/bin/chronyc)"
    elif address.scheme == "visa" and not address.path:
        missing = "a resource name"
    elif address.scheme == "usb" and not re.fullmatch(r"/[0-9a-f]{4}:[0-9a-f]{4}", address.path):
        missing = "vendor and product in hexadecimal (three slashes: usb:///221a:0100)"
    if missing:
        raise StationError(f"the address lacks {missing}", where=address.uri)
    return address
