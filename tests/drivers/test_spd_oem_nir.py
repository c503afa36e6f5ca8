"""Aurea SPD_OEM_NIR: its library ends a process that opens it twice; efficiency, dead time and
output change the clicks."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
from emulated_unit import emulated

from photonlink.hal.errors import IdentityError, InstrumentError, LimitError, LinkNotFound
from photonlink.hal.registry import load_driver
from photonlink.hal.tags import Provenance

ID = "aurea.spd_oem_nir"
TWICE = """
import ctypes, sys, time
library = ctypes.CDLL(sys.argv[1])
names, count = ctypes.c_char_p(), ctypes.c_short()
assert library.CPC_listDevices(ctypes.byref(names), ctypes.byref(count)) == -1, "nothing is open"
assert library.CPC_openDevice(0) == 0
assert library.CPC_listDevices(ctypes.byref(names), ctypes.byref(count)) == 0
print(names.value.decode(), count.value, flush=True)
efficiency = ctypes.c_short()
assert library.CPC_setEfficiency(0, ctypes.c_short(25)) == 0
assert library.CPC_getEfficiency(0, ctypes.byref(efficiency)) == 0
print(efficiency.value, flush=True)
assert library.CPC_closeDevice(0) == 0
library.CPC_openDevice(0)
print("still there", flush=True)
"""


async def test_it_is_opened_again_and_again(tmp_path: Path) -> None:
    async with emulated(ID, tmp_path, {"rest_s": 0.0}) as (driver, device):
        for _ in range(3):
            identity = await driver.open()
            assert (identity.model, identity.serial) == ("SPD_OEM_NIR", device.serial_number)
            assert driver.provenance is Provenance.EMULATED
            await driver.close()


async def test_a_process_that_opens_it_twice_is_aborted(tmp_path: Path) -> None:
    async with emulated(ID, tmp_path) as (_, device):
        path = device.address.removeprefix("lib://")
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", TWICE, path],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.splitlines() == [f"SPD_OEM_NIR - {device.serial_number} 1", "25"]
        assert done.returncode == -6, done.stderr
    assert ctypes.CDLL(path), "the library itself may be loaded"


async def test_it_is_waited_for_after_another_program_has_closed_it(tmp_path: Path) -> None:
    async with emulated(ID, tmp_path) as (driver, device):
        await driver.open()
        await driver.close()
        await driver.open()
        device.config.rest_s = 1e12
        await driver.close()
        with pytest.raises(LinkNotFound, match="no such detector"):
            await driver.open()


async def test_output_and_efficiency_change_what_clicks(tmp_path: Path) -> None:
    async with emulated(ID, tmp_path, {"rest_s": 0.0}) as (driver, device):
        await driver.open()
        await driver.configure()
        assert await driver.output() is False
        assert (await driver.count(1.0)).total == 0
        await driver.set_output(True)
        before = device.place.clicks_total()
        async with asyncio.timeout(60):
            while device.place.clicks_total() == before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await driver.get("detections_hz") > 0
        assert device.registers["dead_time"] == 20.0
        with pytest.raises(InstrumentError, match="refused"):
            await driver.set("efficiency_percent", 17)
        assert await driver.get("efficiency_percent") == 20
        with pytest.raises(LimitError):
            await driver.count(0.5)
        driver.emergency_off()
        async with asyncio.timeout(60):
            while device.state()["output"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_another_unit_is_refused(tmp_path: Path) -> None:
    async with emulated(ID, tmp_path, {"rest_s": 0.0}) as (_, device):
        kind = load_driver(ID)
        driver = kind("other", f"{device.address}#serial=X1", kind.Settings())
        with pytest.raises(IdentityError, match="another detector"):
            await driver.open()
        await driver.close()
