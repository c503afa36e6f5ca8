"""N7752A and mVOA: shut on open and close, opened last, power behind the attenuator."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from photonlink.drivers.keysight.n7752a import N7752a
from photonlink.drivers.viavi.mvoa import Mvoa
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.errors import InstrumentError, LimitError, ReadbackMismatch
from photonlink.hal.testing import expected_dialogue

MODELS: list[Any] = [("keysight-n7752a", N7752a, 5), ("viavi-mvoa", Mvoa, 1)]


async def test_the_shutter_opens_last() -> None:
    talk = r"""
        > :INP3:ATT 12.5 dB\n
        > SYST:ERR?\n
        < +0,"No error"\n
        > :INP3:ATT?\n
        < +1.25000000E+01\n
        > :OUTP3 1\n
        > SYST:ERR?\n
        < +0,"No error"\n
        > :OUTP3?\n
        < 1\n
    """
    async with expected_dialogue(N7752a, talk) as driver:
        await driver.connect()
        await driver.set_attenuation_db(12.5, 3)


async def test_under_range_is_no_number() -> None:
    async with expected_dialogue(Mvoa, "> :FETC:POW:OUTP? 2\\n\n< -----\\n\n") as driver:
        await driver.connect()
        with pytest.raises(InstrumentError, match="below"):
            await driver.power_w(2)


@pytest.mark.parametrize(("model", "kind", "meter"), MODELS)
async def test_light_follows_filter_and_shutter(
    model: str, kind: Any, meter: int, tmp_path: Path
) -> None:
    async with Program(bench_of(models()[model], "", {}, 5), tmp_path) as program:
        device: Any = program.devices["unit"]
        driver = kind("unit", device.address, kind.Settings(reply_timeout_s=5.0))
        await driver.open()
        await driver.configure()
        assert device.place.get("blocked") == 1.0
        await driver.set_attenuation_db(0.0)
        bright = await driver.power_w(meter)
        await driver.set_attenuation_db(20.0)
        async with asyncio.timeout(10):  # the motor takes its time
            while device.place.get("attenuation_db") < 20.0:  # noqa: ASYNC110 - models have no event
                await asyncio.sleep(0.02)
        assert device.place.get("blocked") == 0.0
        assert await driver.power_w(meter) == pytest.approx(bright / 100.0, rel=0.01)
        with pytest.raises(LimitError):
            await driver.set_attenuation_db(71.0)
        device.control({"fault": "ignore-sets"})
        with pytest.raises(ReadbackMismatch):
            await driver.set_attenuation_db(5.0)
        assert not (await driver.safe_state())[0].ok
        device.control({"fault": "none"})
        await driver.close()
        assert device.place.get("blocked") == 1.0
        assert device.internal_errors == 0
