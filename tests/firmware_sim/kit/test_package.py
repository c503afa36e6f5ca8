"""A module that replaces a vendor's Python package and talks to the emulator."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from photonlink.firmware_sim.kit.package import New, PackageDevice, PackageError
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.registration import Registration


class Tagger(PackageDevice):
    MODULE = "TagPackage"
    SURFACE: ClassVar[dict[str, Any]] = {
        "functions": ["create", "scan"],
        "classes": {"Box": ["level", "read", "never"], "Counter": ["getData"]},
        "constants": {"UNUSED": -5},
        "enums": {"Edge": {"Rising": 1, "Falling": 2}},
    }

    @command("create")
    def _create(self, serial: str = "") -> New:
        if serial not in ("", self.serial_number):
            raise PackageError("RuntimeError", f"No device {serial}")
        return New("Box", {"level": 0.5})

    @command("Box.level")
    def _level(self, box: Any, channel: int, *, volts: float = 0.0) -> tuple[int, float]:
        box["level"] = volts
        return channel, box["level"]

    @command("Box.read")
    async def _read(self, box: Any) -> np.ndarray[Any, Any]:
        await self.clock.sleep(0.01)
        return np.arange(6, dtype=np.int64).reshape(2, 3)

    @command("Counter")
    def _counter(self, box: Any, channels: list[int]) -> New:
        return New("Counter", (box, channels))

    @command("Counter.getData")
    def _data(self, counter: Any) -> list[int]:
        return list(counter[1])


def _use(path: str) -> None:
    spec = importlib.util.spec_from_file_location("TagPackage", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.SIM_IS_EMULATOR is True
    assert module.UNUSED == -5
    assert module.Edge.Falling == 2
    box = module.create(serial="000001")
    assert isinstance(box, module.Box)
    assert box.level(3, volts=0.25) == (3, 0.25)
    np.testing.assert_array_equal(box.read(), np.arange(6).reshape(2, 3))
    assert module.Counter(box, np.array([1, 2])).getData() == [1, 2]
    with pytest.raises(RuntimeError, match="No device 7"):
        module.create("7")
    with pytest.raises(NotImplementedError, match="not available"):
        box.never()
    with pytest.raises(NotImplementedError):
        module.scan()
    with pytest.raises(TypeError, match="bad call"):
        box.level()
    with pytest.raises(TypeError, match="cannot hand function"):
        box.level(_use)
    with pytest.raises(AttributeError):
        module.nothing()
    assert box.level(1) == (1, 0.0)


async def test_a_stand_in_package(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    device = Registration("t", "", Tagger, "").create("unit", {})
    await device.start(long)
    try:
        assert device.address == f"package://{long}/unit/TagPackage.py"
        await asyncio.to_thread(_use, device.address.removeprefix("package://"))
        assert device.internal_errors == 0
    finally:
        await device.stop()
