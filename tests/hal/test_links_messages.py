"""Message links: ZeroMQ, UDP, HTTP; vendor packages. The same contract as for streams."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from photonlink.hal.codecs.json_rpc import JsonRpcCodec
from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.errors import (
    InstrumentError,
    LinkBusy,
    LinkClosed,
    LinkError,
    LinkNotFound,
    LinkTimeout,
    StationError,
)
from photonlink.hal.links import Address, MessageLink, make_link
from photonlink.hal.links.udp import UdpLink
from photonlink.hal.links.vendor_package import Raises, VendorPackage
from photonlink.hal.tags import Provenance

COMMON: dict[str, Any] = {
    "tap": None, "where": "dev", "timeout_s": 0.5, "wanted": lambda name: None,
}  # fmt: skip


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


# ---- ZeroMQ ----
@contextlib.asynccontextmanager
async def zmq_device(delay: dict[bytes, float]) -> AsyncIterator[str]:
    """A REP socket that answers SCPI, sets with an empty message."""
    zmq = pytest.importorskip("zmq")
    pytest.importorskip("zmq.asyncio")
    context = zmq.asyncio.Context(io_threads=1)
    device = context.socket(zmq.REP)
    port = device.bind_to_random_port("tcp://127.0.0.1")

    async def serve() -> None:
        while True:
            question = await device.recv()
            await asyncio.sleep(delay.pop(question, 0.0))
            values = {b"*IDN?": b"IDQ,ID900,7,1.0", b"DELA1:VALU?": b"1000TB"}
            await device.send(values.get(question, b"" if b"?" not in question else b"SCPI_ERR_X"))

    task = asyncio.create_task(serve())
    try:
        yield f"zmq://127.0.0.1:{port}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        device.close(linger=0)
        context.destroy(linger=0)


async def test_scpi_over_zeromq() -> None:
    async with zmq_device({}) as uri:
        codec = ScpiCodec(uri, **COMMON, errors="", answers=True, failure="^SCPI_ERR_")
        await codec.connect()
        assert (await codec.identify(key="ID900")).model == "ID900"
        await codec.tell("DELA1:VALU 1000")
        assert await codec.ask("DELA1:VALU?", lambda t: int(t.removesuffix("TB"))) == 1000
        with pytest.raises(InstrumentError, match="refused"):
            await codec.ask("NONSENSE?", str)
        assert await codec.ask("*IDN?", str) == "IDQ,ID900,7,1.0"
        await codec.close()
        assert not codec.is_open


async def test_a_late_zeromq_reply_is_nobody_s() -> None:
    async with zmq_device({b"DELA1:VALU?": 0.7}) as uri:
        codec = ScpiCodec(uri, **COMMON, errors="", answers=True)
        await codec.connect()
        with pytest.raises(LinkTimeout):
            await codec.ask("DELA1:VALU?", str)
        assert codec.link.dirty
        await asyncio.sleep(0.3)
        assert await codec.ask("*IDN?", str) == "IDQ,ID900,7,1.0"
        await codec.close()


async def test_nobody_at_a_zeromq_address_is_found_out() -> None:
    pytest.importorskip("zmq")
    with pytest.raises(LinkNotFound):
        await make_link(f"zmq://127.0.0.1:{_free_port()}").open(0.5)


async def test_without_zeromq_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    monkeypatch.setitem(sys.modules, "zmq.asyncio", None)
    with pytest.raises(LinkError, match=r"photonlink\[zmq\]"):
        await make_link("zmq://127.0.0.1:1").open(0.5)


# ---- UDP ----
@contextlib.contextmanager
def udp_device() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(2.0)
        yield sock


async def test_datagrams_both_ways_and_loss_is_counted() -> None:
    with udp_device() as device:
        link = make_link(f"udp://127.0.0.1:{device.getsockname()[1]}")
        assert isinstance(link, UdpLink)
        await link.open(1.0)
        await link.send(b"start", 1.0)
        data, host = device.recvfrom(100)
        assert data == b"start"
        device.sendto(b"one", host)
        assert await link.receive(1.0) == b"one"
        with pytest.raises(LinkTimeout):
            await link.receive(0.05)
        for number in range(link.QUEUE + 100):
            device.sendto(number.to_bytes(2, "big"), host)
            if number % 500 == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        kept = 0
        while link.pending:
            await link.receive(0.1)
            kept += 1
        assert kept + link.lost == link.QUEUE + 100
        assert link.lost >= 100
        await link.close()
        with pytest.raises(LinkClosed):
            await link.receive(0.1)


async def test_datagrams_from_elsewhere_are_not_taken() -> None:
    with udp_device() as device, udp_device() as stranger:
        link = make_link(f"udp://127.0.0.1:{device.getsockname()[1]}")
        assert isinstance(link, UdpLink)
        await link.open(1.0)
        await link.send(b"x", 1.0)
        _, host = device.recvfrom(10)
        stranger.sendto(b"forged", host)
        device.sendto(b"true", host)
        assert await link.receive(1.0) == b"true"
        await link.close()


async def test_nobody_listens_to_datagrams() -> None:
    link = make_link(f"udp://127.0.0.1:{_free_port()}")
    assert isinstance(link, MessageLink)
    await link.open(1.0)
    await link.send(b"x", 1.0)
    with pytest.raises(LinkClosed, match="refuses"):
        await link.receive(1.0)
    await link.close()


# ---- HTTP ----
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    delay_s = 0.0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        delay_s, type(self).delay_s = self.delay_s, 0.0
        time.sleep(delay_s)
        request = json.loads(body)
        reply = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": self.path}).encode()
        self.send_response(404 if request["method"] == "gone" else 200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(reply)

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def web() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/json-rpc"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_json_rpc_over_http(web: str) -> None:
    codec = JsonRpcCodec(web, **COMMON)
    await codec.connect()
    for _ in range(3):
        assert await codec.call("getSerial") == "/json-rpc"
    with pytest.raises(InstrumentError, match="HTTP 404"):
        await codec.call("gone")
    Handler.delay_s = 0.8
    with pytest.raises(LinkTimeout):
        await codec.call("slow")
    assert codec.link.dirty
    assert await codec.call("getSerial") == "/json-rpc"
    await codec.close()


async def test_nobody_at_an_http_address() -> None:
    with pytest.raises(LinkNotFound):
        await make_link(f"http://127.0.0.1:{_free_port()}/x").open(0.5)


# ---- vendor packages ----
STAND_IN = """
SIM_IS_EMULATOR = True
class Gone(RuntimeError): ...
def create(serial):
    if serial == "busy": raise RuntimeError("No tagger attached or already in use")
    if serial == "gone": raise Gone("unplugged")
    if serial == "odd": raise LookupError("what?")
    import threading
    return threading.current_thread().name
"""
RAISES = (
    Raises("Gone", "", LinkClosed),
    Raises("RuntimeError", "already in use", LinkBusy),
)


async def test_a_package_is_called_from_one_thread_and_its_exceptions_are_mapped(
    tmp_path: Path,
) -> None:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    address = Address.parse(f"package://{tmp_path}/stand_in.py#serial=7")
    package = VendorPackage(address, raises=RAISES)
    with pytest.raises(LinkClosed, match="not open"):
        await package.run(lambda module: module.create("1"))
    await package.connect()
    assert package.provenance is Provenance.EMULATED
    names = await asyncio.gather(*(package.run(lambda m: m.create("1")) for _ in range(5)))
    assert set(names) == {address.uri}
    for serial, kind in (("busy", LinkBusy), ("gone", LinkClosed), ("odd", InstrumentError)):
        with pytest.raises(kind) as caught:
            await package.run(lambda module, serial=serial: module.create(serial))
        assert isinstance(caught.value.__cause__, (RuntimeError, LookupError))
    with pytest.raises(LinkTimeout, match="may hang"):
        await package.run(lambda module: time.sleep(0.3), timeout_s=0.05)
    await package.close()
    await asyncio.sleep(0.3)


async def test_packages_that_are_absent_or_broken(tmp_path: Path) -> None:
    for address, kind in (
        ("package:no_such_package_at_all", LinkNotFound),
        (f"package://{tmp_path}/absent.py", LinkNotFound),
        (f"package://{tmp_path}/broken.py", LinkError),
    ):
        (tmp_path / "broken.py").write_text("1 / 0")
        with pytest.raises(kind):
            await VendorPackage(Address.parse(address)).connect()
    real = VendorPackage(Address.parse("package:json"))
    await real.connect()
    assert real.provenance is Provenance.REAL
    assert await real.run(lambda module: module.dumps([1])) == "[1]"
    await real.close()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("zmq://host", "host and port"),
        ("udp://host:1?locale=1", "unknown option 'locale'"),
        ("http://", "lacks host"),
        ("package:", "name of the package"),
    ],
)
def test_addresses_that_are_none(uri: str, words: str) -> None:
    with pytest.raises(StationError, match=words):
        make_link(uri)
