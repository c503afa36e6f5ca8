"""Fibre switches and a delay line: the conversation, and against the emulators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from photonlink.drivers.agiltron.ff_switch import FfSwitch
from photonlink.drivers.ozoptics.odl650 import Odl650
from photonlink.drivers.thorlabs.osw_e import OswE
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.errors import InstrumentError, LimitError, ReadbackMismatch
from photonlink.hal.testing import expected_dialogue


@asynccontextmanager
async def emulated(model: str, kind: Any, tmp: Path, **settings: Any) -> AsyncIterator[Any]:
    async with Program(bench_of(models()[model], "", {}, 5), tmp) as program:
        device: Any = program.devices["unit"]
        driver = kind("unit", device.address, kind.Settings(reply_timeout_s=5.0, **settings))
        await driver.open()
        try:
            yield driver, device
        finally:
            await driver.close()
        assert device.internal_errors == 0


async def test_the_osw_is_asked_until_it_agrees() -> None:
    talk = r"""
        > \n
        > S 2\n
        > S?\n
        < 1\r\n
        > S?\n
        < 2\r\n
    """
    async with expected_dialogue(OswE, talk) as driver:
        await driver.connect()
        await driver.set_position(2)


async def test_what_is_not_echoed_is_a_refusal() -> None:
    talk = r"""
        > \x01\x12\x00\x03
        < \x01\x12\x00\xff
        > \x01\x11\x00\x00
        < \x01\x11\x00\x01
    """
    async with expected_dialogue(FfSwitch, talk, outputs=4) as driver:
        await driver.connect()
        with pytest.raises(InstrumentError, match="refused"):
            await driver.set_position(3)
        assert await driver.position() == 1
        with pytest.raises(LimitError):
            await driver.set_position(5)


@pytest.mark.parametrize(
    ("model", "kind"), [("thorlabs-osw-e", OswE), ("agiltron-ff-switch", FfSwitch)]
)
async def test_light_goes_where_the_switch_stands(model: str, kind: Any, tmp_path: Path) -> None:
    async with emulated(model, kind, tmp_path, settle_s=0.3) as (switch, device):
        assert device.place.get("blocked") == 0.0
        await switch.set_position(2)
        assert device.place.get("blocked") == 1.0
        assert await switch.position() == 2
        device.control({"fault": "stuck"})
        with pytest.raises(ReadbackMismatch):
            await switch.set_position(1)
        with pytest.raises(LimitError):
            await switch.set_position(max(switch.positions) + 1)


async def test_a_delay_is_refused_before_homing(tmp_path: Path) -> None:
    async with emulated("ozoptics-odl650", Odl650, tmp_path, motion_s=10.0) as (line, device):
        assert await line.snapshot() == {"homed": False}
        with pytest.raises(InstrumentError, match="Home it first"):
            await line.set_delay_ps(10.0)
        await line.home()
        await line.set_delay_ps(33.3564)
        assert device.place.get("delay_ps") == pytest.approx(33.3564, abs=0.001)
        assert await line.delay_ps() == pytest.approx(33.3564, abs=0.001)
        device.control({"fault": "motor-stuck"})
        with pytest.raises(ReadbackMismatch):
            await line.set_delay_ps(100.0)
        with pytest.raises(LimitError):
            await line.set_delay_ps(668.0)
