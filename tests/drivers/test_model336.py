"""Lake Shore 336: heaters only when armed, errors of the event register, missing sensors."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from emulated_unit import emulated

from photonlink.hal.errors import InstrumentError, LimitError

LS = "lakeshore.model336"


async def test_heat_warms_the_stage_and_the_safe_state_ends_it(tmp_path: Path) -> None:
    async with emulated(LS, tmp_path, {"settling_s": 0.1}, setpoint_1_k=6.0) as (box, device):
        assert (await box.open()).model == "MODEL336"
        await box.configure()
        assert await box.temperature_k(1) == pytest.approx(2.5, abs=0.01)
        await box.set_output(True)
        assert await box.output()
        async with asyncio.timeout(3):
            while await box.temperature_k(1) < 5.5:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert device.table.elements["alice.cryostat"].get("temperature_k") > 5.0
        assert 0.0 < await box.get("heater_1_percent") <= 100.0
        assert all(step.ok for step in await box.safe_state())
        assert not await box.output()
        assert await box.temperature_c(4) == pytest.approx(21.85)


async def test_heaters_that_are_not_armed_stay_off(tmp_path: Path) -> None:
    async with emulated(LS, tmp_path, heaters_armed=False) as (box, device):
        await box.open()
        with pytest.raises(LimitError, match="not armed"):
            await box.set_output(True)
        assert not device.state()["output"]


async def test_what_the_controller_refuses_is_an_error(tmp_path: Path) -> None:
    async with emulated(LS, tmp_path) as (box, device):
        await box.open()
        with pytest.raises(InstrumentError, match="32"):
            await box.codec.tell("NOSUCH 1,2")
        with pytest.raises(LimitError, match="below its range"):
            await box.temperature_k(3)
        device.control({"fault": "sensor-open"})
        with pytest.raises(LimitError, match="input A"):
            await box.temperature_c(1)
        for wrong in (0, 5):
            with pytest.raises(LimitError, match="no channel"):
                await box.temperature_c(wrong)
