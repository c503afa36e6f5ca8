"""NOX: records against the decoder, driver and emulator over both lines, and the USB endpoint."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from emulated_unit import emulated

from photonlink.firmware_sim.devices.bristol.nox import CONFIGURATION, records
from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import (
    AcquisitionError,
    LinkClosed,
    LinkError,
    LinkNotFound,
    LinkPermission,
    StationError,
)
from photonlink.hal.links.address import Address
from photonlink.hal.links.usb_bulk import UsbBulkLink
from photonlink.hal.tags import WireChunk, WireFormat

USB = "usb:///221a:0100?endpoint=0x82"


def test_the_emulator_s_records_are_the_decoder_s() -> None:
    """Over a turn of the counter (528 s), to its step of 1.88 ps."""
    rng = np.random.default_rng(3)
    times = np.sort(rng.integers(0, 1100 * 10**12, 4000))
    channel = rng.integers(0, 4, 4000)
    decoder = decoder_for(WireFormat("nox"))
    blocks = [decoder.feed(WireChunk(records(times, channel))), decoder.finish()]
    found = np.concatenate([block.time_ps for block in blocks])
    assert np.all((times - found >= -1) & (times - found <= 3))
    np.testing.assert_array_equal(np.concatenate([b.channel for b in blocks]), channel)


async def test_a_unit_that_is_not_set_up_does_not_start(tmp_path: Path) -> None:
    async with emulated("bristol.nox", tmp_path) as (driver, device):
        assert (await driver.open()).model == "NOX"
        await driver.configure()
        start = await driver.start()
        assert start.uncertainty_s > 0
        assert device.state() == {"streaming": True, "inputs": 31}
        await driver.stop()
        device.reboot()
        with pytest.raises((AcquisitionError, LinkError)):
            await driver.start()
        assert not driver.streaming


async def test_it_is_gone_when_either_line_is(tmp_path: Path) -> None:
    async with emulated("bristol.nox", tmp_path) as (driver, device):
        await driver.open()
        device.lines["data"].unplug()
        async with asyncio.timeout(5):
            while driver.is_open:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with pytest.raises(LinkClosed, match="gone"):
            await driver.snapshot()


def test_the_stream_begins_with_the_configuration() -> None:
    decoder = decoder_for(WireFormat("nox"))
    data = bytes([CONFIGURATION, *bytes(7)]) + records(np.array([1_000_000]), np.array([2]))
    decoder.feed(WireChunk(data))
    assert list(decoder.finish().channel) == [2]


class Endpoint:
    """The part of a pyusb bulk endpoint that the link uses."""

    def __init__(self, core: Any) -> None:
        self.core, self.todo = core, [b"\x24" * 8, b"", b"\x25" * 16]
        self.asked: list[tuple[int, int]] = []
        self.gone = self.disposed = False

    def set_configuration(self) -> None: ...

    def read(self, endpoint: int, size: int, timeout_ms: int) -> bytes:
        self.asked.append((endpoint, size))
        if self.gone:
            raise self.core.USBError("no such device", 19)
        if not self.todo:
            raise self.core.USBTimeoutError("nothing came", 110)
        return self.todo.pop(0)


@pytest.fixture
def usb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replacements for ``usb.core`` and ``usb.util``."""

    class USBError(OSError):
        def __init__(self, text: str, errno: int) -> None:
            super().__init__(errno, text)

    core = ModuleType("usb.core")
    core.USBError = USBError
    core.USBTimeoutError = type("USBTimeoutError", (USBError,), {})
    core.NoBackendError = type("NoBackendError", (ValueError,), {})
    endpoint = Endpoint(core)
    core.found, core.matched = endpoint, []

    def find(**match: Any) -> Any:
        core.matched.append(match)
        if isinstance(core.found, Exception):
            raise core.found
        return core.found

    core.find = find
    util = ModuleType("usb.util")
    util.claim_interface = lambda *_: None
    util.dispose_resources = lambda device: setattr(device, "disposed", True)
    for module in (core, util):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return SimpleNamespace(core=core, endpoint=endpoint)


async def test_the_endpoint_is_read_until_it_is_gone(usb: Any) -> None:
    link = UsbBulkLink(Address.parse(USB + "#serial=N7"))
    await link.open(5.0)
    assert usb.core.matched == [{"idVendor": 0x221A, "idProduct": 0x100, "serial_number": "N7"}]
    assert await link.read_exactly(24, 5.0) == b"\x24" * 8 + b"\x25" * 16
    assert set(usb.endpoint.asked) == {(0x82, 8192)}
    with pytest.raises(LinkError, match="only read"):
        await link.write(b"R", 1.0)
    usb.endpoint.gone = True
    with pytest.raises(LinkClosed, match="no such device"):
        await link.read_exactly(1, 5.0)
    await link.close()
    assert usb.endpoint.disposed
    assert not link.is_open


@pytest.mark.parametrize(
    ("found", "kind", "words"),
    [
        (None, LinkNotFound, "no such USB device"),
        ("denied", LinkPermission, "cannot be opened"),
        ("backend", LinkError, "libusb"),
    ],
)
async def test_what_keeps_it_closed_is_named(usb: Any, found: Any, kind: Any, words: str) -> None:
    errors = {"denied": usb.core.USBError("denied", 13), "backend": usb.core.NoBackendError()}
    usb.core.found = errors.get(found)
    link = UsbBulkLink(Address.parse(USB))
    with pytest.raises(kind, match=words):
        await link.open(5.0)
    assert not link.is_open


def test_an_address_that_is_none() -> None:
    with pytest.raises(StationError, match="vendor and product"):
        Address.parse("usb:///dev/usb0")
