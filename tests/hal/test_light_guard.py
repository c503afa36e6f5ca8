"""The light guard's access to an instrument: by bytes, or by its driver in a separate process."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from photonlink.hal import light_guard, light_guard_program
from photonlink.hal.driver import Driver, Off
from photonlink.hal.facets import HasOutput, Identity
from photonlink.hal.light_guard import LightGuardError
from photonlink.hal.links import Address
from photonlink.hal.links.vendor_package import VendorPackage
from photonlink.hal.params import Param, Value

DRIVER = """
from photonlink.hal.driver import Driver, Off
from photonlink.hal.facets import HasOutput, Identity
from photonlink.hal.links import Address
from photonlink.hal.links.vendor_package import VendorPackage
from photonlink.hal.params import Param

class Amplifier(Driver, HasOutput):
    PARAMS = (Param("output", bool, "output on", "output", "output"),)
    OFF = (Off("output", False, "output off"),)
    def make_codec(self, address, tap):
        return VendorPackage(Address.parse(address))
    async def identify(self):
        return Identity("Acme", "Amplifier", "1")
    async def read(self, param):
        return await self.codec.run(lambda module: module.read())
    async def write(self, param, value):
        await self.codec.run(lambda module: module.write(value))
    def emergency_off(self):
        module = self.codec._module
        self.codec.post(lambda: module.write(False))
    async def set_output(self, on, channel=1):
        await self.set("output", on)
    async def output(self, channel=1):
        return await self.get("output")
"""
PACKAGE = """
from pathlib import Path
STATE = Path(__file__).with_name("state")
def read(): return STATE.read_text() == "True"
def write(value): STATE.write_text(str(value))
"""


@pytest.fixture
def amplifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A driver on a vendor's package; the device's state is a file."""
    (tmp_path / "amp_driver.py").write_text(DRIVER)
    (tmp_path / "vendor.py").write_text(PACKAGE)
    (tmp_path / "state").write_text("True")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "amp_driver", raising=False)
    import amp_driver

    kind = amp_driver.Amplifier
    return kind("amp", f"package://{tmp_path}/vendor.py", kind.Settings())


def test_an_instrument_behind_a_package_is_switched_off_by_its_driver(
    amplifier: Any, tmp_path: Path
) -> None:
    target = light_guard._target("amp", amplifier)
    assert target is not None
    assert target["scheme"] == "program"
    light_guard_program.SENDERS["program"](target)
    assert (tmp_path / "state").read_text() == "False"


def test_a_driver_that_fails_there_is_told_with_its_reason(amplifier: Any, tmp_path: Path) -> None:
    target = light_guard._target("amp", amplifier)
    assert target is not None
    (tmp_path / "vendor.py").write_text("1 / 0")
    with pytest.raises(OSError, match="fails while it is imported"):
        light_guard_program.SENDERS["program"](target)


async def test_emergency_off_is_posted_to_the_package_s_thread(
    amplifier: Any, tmp_path: Path
) -> None:
    await amplifier.connect()
    amplifier.emergency_off()
    await amplifier.codec.run(lambda module: None)  # runs after the emergency call
    assert (tmp_path / "state").read_text() == "False"
    await amplifier.release()


def test_datagrams_reach_an_instrument_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.bind(("127.0.0.1", 0))
        device.settimeout(2.0)
        port = device.getsockname()[1]
        target = {"host": "127.0.0.1", "port": port, "data": b"off".hex()}
        light_guard_program.SENDERS["udp"](target)
        assert device.recv(10) == b"off"


def test_an_instrument_that_cannot_be_reached_is_named() -> None:
    class Lamp(Driver, HasOutput):
        PARAMS = (Param("output", bool, "on", "o?", "o {}"),)
        OFF = (Off("output", False, "off"),)

        def make_codec(self, address: str, tap: Any) -> VendorPackage:
            return VendorPackage(Address.parse(address))

        async def identify(self) -> Identity:
            return Identity("", "", "")

        async def read(self, param: Param) -> Value:
            return False

        async def set_output(self, on: bool, channel: int = 1) -> None: ...

        async def output(self, channel: int = 1) -> bool:
            return False

        def dark_command(self) -> Any:
            return type("DarkCommand", (), {"address": self.address, "data": b"", "program": ()})()

    with pytest.raises(LightGuardError, match="lamp: the light guard cannot reach"):
        light_guard._target("lamp", Lamp("lamp", "package:json", Lamp.Settings()))
