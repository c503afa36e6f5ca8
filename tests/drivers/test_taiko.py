"""Taiko against its emulator behind the stand-in library: lock, powers, refusals, loss."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from photonlink.drivers.picoquant.taiko import Taiko
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.errors import InstrumentError, LimitError, LinkClosed, LinkNotFound


@asynccontextmanager
async def taiko(tmp: Path, fragment: str = "", **settings: Any) -> AsyncIterator[tuple[Any, Any]]:
    config = bench_of(models()["picoquant-taiko"], "", {"serial_number": "1234567"}, 1)
    async with Program(config, tmp) as program:
        device = program.devices["unit"]
        laser = Taiko("t", device.address + fragment, Taiko.Settings(**settings))
        try:
            yield laser, device
        finally:
            await laser.close()


async def test_powers_are_kept_until_there_is_light(tmp_path: Path) -> None:
    async with taiko(tmp_path, "#serial=1234567", pulse_power_permille=250, mode=1) as (laser, sim):
        assert (await laser.open()).serial == "1234567"
        await laser.configure()
        assert sim.registers["PulsePowerPermille"] == 100, "a locked laser refuses it"
        await laser.set_emission(True)
        assert await laser.get("pulse_power_permille") == 250
        assert sim.emitting
        await laser.set("pulse_power_permille", 300)
        await laser.set_emission(False)
        await laser.set("pulse_power_permille", 50)
        assert sim.registers["PulsePowerPermille"] == 300
        with pytest.raises(LimitError):
            await laser.set("pulse_power_permille", 1001)
        await laser.set_emission(True)
        assert await laser.get("pulse_power_permille") == 50
        await laser.set("frequency_hz", 80_000_000)
        assert await laser.get("pulse_power_w") == pytest.approx(5e-3 * 0.05 * 2)


async def test_temperature_wavelength_and_what_forbids_light(tmp_path: Path) -> None:
    async with taiko(tmp_path) as (laser, sim):
        await laser.open()
        await laser.set("temperature_set_c", 30.0)
        assert await laser.temperature_c() == pytest.approx(30.0)
        assert await laser.get("wavelength_nm") == pytest.approx(1550.5)
        sim.head_missing = True
        with pytest.raises(InstrumentError, match="no laser head"):
            await laser.set_emission(True)
        with pytest.raises(InstrumentError, match="illegal value"):
            await laser.set("temperature_set_c", 49.0)


async def test_another_number_and_a_device_that_goes(tmp_path: Path) -> None:
    async with taiko(tmp_path, "#serial=7654321") as (laser, _):
        with pytest.raises(LinkNotFound, match="1234567"):
            await laser.open()
    async with taiko(tmp_path) as (laser, sim):
        await laser.open()
        sim.unplug()
        with pytest.raises(LinkClosed):
            await laser.snapshot()
