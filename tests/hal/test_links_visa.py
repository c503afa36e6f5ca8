"""VISA: sockets and ports go to our own links; the rest is owned by one thread."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import pyvisa
from pyvisa.constants import StatusCode
from wire_peers import tcp_peer

from photonlink.hal.errors import (
    LinkBusy,
    LinkClosed,
    LinkError,
    LinkNotFound,
    LinkPermission,
    LinkTimeout,
    StationError,
)
from photonlink.hal.links import make_link
from photonlink.hal.links.serial_posix import SerialPosixLink
from photonlink.hal.links.tcp import TcpLink
from photonlink.hal.links.visa import VisaLink

URI = "visa:USB0::0x1313::0x8078::P0012::INSTR"


class Resource:
    """A message-based instrument that repeats questions; ``fail`` is raised by the next call."""

    def __init__(self) -> None:
        self.timeout = 0
        self.read_termination = self.write_termination = "not set"
        self.messages: list[bytes] = []
        self.fail: Exception | None = None
        self.hang_s = 0.0
        self.threads: set[int] = set()
        self.closed = False

    def _enter(self) -> None:
        self.threads.add(threading.get_ident())
        if self.hang_s:
            time.sleep(self.hang_s)
        if self.fail is not None:
            raise self.fail

    def write_raw(self, data: bytes) -> None:
        self._enter()
        self.messages += [b"re:" + data.strip() + b"\n"]

    def read_raw(self, size: int) -> bytes:
        self._enter()
        if not self.messages:
            raise pyvisa.VisaIOError(StatusCode.error_timeout)
        return self.messages.pop(0)

    def close(self) -> None:
        self.closed = True

    def clear(self) -> None:
        raise AssertionError("clear() may never return")


@pytest.fixture
def resource(monkeypatch: pytest.MonkeyPatch) -> Resource:
    one = Resource()

    class Manager:
        def __init__(self, library: str) -> None:
            assert library == "@py"

        def open_resource(self, name: str, open_timeout: int) -> Resource:
            one._enter()
            assert name == "USB0::0x1313::0x8078::P0012::INSTR"
            return one

    monkeypatch.setattr(pyvisa, "ResourceManager", Manager)
    return one


async def test_questions_and_answers_from_one_thread(resource: Resource) -> None:
    link = make_link(URI)
    assert isinstance(link, VisaLink)
    await link.open(1.0)
    assert resource.read_termination is None
    assert resource.write_termination is None

    async def ask(number: int) -> bytes:
        async with link.transaction():
            await link.send(b"q%d\n" % number, 1.0)
            return await link.receive(1.0)

    replies = await asyncio.gather(*(ask(n) for n in range(100)))
    assert replies == [b"re:q%d\n" % n for n in range(100)]
    assert len(resource.threads) == 1
    assert resource.threads != {threading.get_ident()}
    await link.close()
    assert resource.closed


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pyvisa.VisaIOError(StatusCode.error_timeout), LinkTimeout),
        (pyvisa.VisaIOError(StatusCode.error_connection_lost), LinkClosed),
        (pyvisa.VisaIOError(StatusCode.error_resource_busy), LinkBusy),
        (BrokenPipeError(), LinkClosed),  # pyvisa-py does not convert it
        (ConnectionRefusedError(), LinkClosed),
    ],
)
async def test_every_error_has_one_name(
    resource: Resource, error: Exception, kind: type[LinkError]
) -> None:
    link = make_link(URI)
    await link.open(1.0)
    resource.fail = error
    with pytest.raises(kind):
        await link.receive(0.2)
    assert link.dirty
    assert link.is_open == (kind is LinkTimeout)
    await link.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pyvisa.VisaIOError(StatusCode.error_resource_not_found), LinkNotFound),
        (ValueError("No device found."), LinkNotFound),
        (PermissionError(13, "x"), LinkPermission),
    ],
)
async def test_opening(resource: Resource, error: Exception, kind: type[LinkError]) -> None:
    resource.fail = error
    with pytest.raises(kind):
        await make_link(URI).open(0.5)


async def test_a_library_that_hangs_does_not_hang_us(resource: Resource) -> None:
    link = make_link(URI)
    await link.open(1.0)
    resource.hang_s = 1.2
    begin = asyncio.get_running_loop().time()
    with pytest.raises(LinkTimeout, match="hangs"):
        await link.send(b"q\n", 0.1)
    assert asyncio.get_running_loop().time() - begin < 1.1
    resource.hang_s = 0.0
    await link.close()


async def test_a_socket_is_our_own_link_and_a_refused_one_is_found_out() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)

    async with tcp_peer(echo) as peer:
        link = make_link(f"visa:TCPIP0::127.0.0.1::{peer.port}::SOCKET")
        assert isinstance(link, TcpLink)
        await link.open(1.0)
        await link.write(b"x\n", 1.0)
        assert await link.read_until(b"\n", 1.0) == b"x\n"
        await link.close()
    with pytest.raises(LinkNotFound, match="refused"):
        await link.open(1.0)


def test_a_serial_port_is_our_own_link() -> None:
    link = make_link("visa:ASRL/dev/ttyACM0::INSTR")
    assert isinstance(link, SerialPosixLink)
    assert link.address.path == "/dev/ttyACM0"
    with pytest.raises(StationError, match="numbered"):
        make_link("visa:ASRL3::INSTR")
    with pytest.raises(StationError, match="unknown option 'libb'"):
        make_link(URI + "?libb=@py")
