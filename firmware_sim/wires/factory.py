"""An address, or only its scheme, to the wire that serves it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from photonlink.firmware_sim.wires.messages import HttpWire, UdpWire, ZmqWire
from photonlink.firmware_sim.wires.pty import PtyWire
from photonlink.firmware_sim.wires.session import Serve, Wire
from photonlink.firmware_sim.wires.tcp import MemoryWire, TcpWire

NETWORK: dict[str, type[TcpWire] | type[UdpWire] | type[ZmqWire]] = {
    "tcp": TcpWire,
    "http": HttpWire,
    "udp": UdpWire,
    "zmq": ZmqWire,
}
SCHEMES = (*NETWORK, "serial", "mem")


def make_wire(address: str, serve: Serve, default_link: Path) -> Wire:
    """``tcp://host:port`` (port 0: a free one), ``serial:///path``, ``mem://name``, or a scheme.

    default_link: the symlink of a serial line without a path. ValueError for anything else.
    """
    parts = urlsplit(address if "://" in address else f"{address}://")
    if parts.scheme in NETWORK:
        try:
            port = parts.port or 0
        except ValueError as error:
            raise ValueError(f"{address}: {error}") from None
        return NETWORK[parts.scheme](serve, parts.hostname or "127.0.0.1", port)
    if parts.scheme == "mem" and parts.hostname:
        return MemoryWire(serve, parts.hostname)
    if parts.scheme == "serial":
        return PtyWire(serve, Path(parts.path) if parts.path else default_link)
    raise ValueError(f"{address!r}: no such wire; known: {', '.join(SCHEMES)}")
