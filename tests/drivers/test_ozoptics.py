"""OZ Optics attenuator and polarization controller: the conversation, and against the emulators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from photonlink.drivers.ozoptics.dd100mc import Dd100mc
from photonlink.drivers.ozoptics.epc import Epc
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.errors import InstrumentError, LimitError, ReadbackMismatch
from photonlink.hal.testing import expected_dialogue


async def test_an_attenuation_is_set_and_read_back() -> None:
    talk = r"""
        > \r\n
        > A12.30\r\n
        < A12.30\r\n
        < Pos:1230\r\nDone\r\n\r\n
        > D\r\n
        < DPos:1230\r\nATTEN:12.30\r\nDone\r\n\r\n
        > A99.00\r\n
        < Error: out of range\r\nError!\r\n
        > D\r\n
        < DPos:1230\r\nATTEN:unknown\r\nDone\r\n\r\n
    """
    async with expected_dialogue(Dd100mc, talk) as driver:
        await driver.connect()
        await driver.set_attenuation_db(12.3)
        with pytest.raises(InstrumentError, match="was refused") as caught:
            await driver.set_attenuation_db(99.0)
        assert "out of range" in caught.value.seen
        with pytest.raises(InstrumentError, match="not known"):
            await driver.attenuation_db()


async def test_volts_and_mode_of_the_squeezers() -> None:
    volts = r"< Voltage(mV): CH1 +0000 CH2 +0500 CH3 -1000 CH4 +0000\r\nDone\r\n" "\n"
    talk = (
        "> \\r\\n\n> V2,500\\r\\n\n< V2,500\\r\\nDone\\r\\n\n> V?\\r\\n\n" + volts
        + "> V?\\r\\n\n" + volts + r"""
        > MDC\r\n
        < MDC\r\nDone\r\n
        > M?\r\n
        < Operating Mode: DC\r\nDone\r\n
    """)  # fmt: skip
    async with expected_dialogue(Epc, talk, deg_per_v=80.0) as driver:
        await driver.connect()
        await driver.move_to_deg(40.0, 2)
        assert await driver.angle_deg(3) == pytest.approx(-80.0)
        await driver.stop_motion()
        with pytest.raises(LimitError):
            await driver.move_to_deg(401.0, 1)


@asynccontextmanager
async def emulated(model: str, kind: Any, tmp: Path, **settings: Any) -> AsyncIterator[Any]:
    async with Program(bench_of(models()[model], "", {}, 5), tmp) as program:
        device: Any = program.devices["unit"]
        driver = kind("unit", device.address, kind.Settings(reply_timeout_s=5.0, **settings))
        await driver.open()
        try:
            yield driver, device
        finally:
            device.control({"fault": "none"})
            await driver.close()


async def test_open_and_close_leave_it_at_its_highest_attenuation(tmp_path: Path) -> None:
    async with emulated("ozoptics-dd100mc", Dd100mc, tmp_path, motion_s=10.0) as (driver, device):
        assert device.place.get("attenuation_db") == 60.0
        await driver.set_attenuation_db(10.0)
        assert device.place.get("attenuation_db") == 10.0
        device.control({"fault": "motor-stuck"})
        with pytest.raises(ReadbackMismatch):
            await driver.set_attenuation_db(30.0)
        assert not (await driver.safe_state())[0].ok
        device.control({"fault": "reboot"})
        readings = await driver.snapshot()
        assert "attenuation_db" not in readings
        assert "not known" in readings["attenuation_db_error"]
    assert device.place.get("attenuation_db") == 60.0


async def test_a_squeezer_turns_the_light(tmp_path: Path) -> None:
    async with emulated("ozoptics-epc", Epc, tmp_path) as (driver, device):
        await driver.move_to_deg(45.0, 2)
        assert device.place.get("retardance2_deg") == pytest.approx(45.0)
        assert device.place.get("angle2_deg") == 45.0
        await driver.home(2)
        assert device.place.get("retardance2_deg") == 0.0
