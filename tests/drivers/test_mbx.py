"""Thorlabs MBX: sets with and without an answer, a bias that drifts, an attenuator that opens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from photonlink.drivers.thorlabs.mbx import Mbx
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.errors import InstrumentError, LimitError
from photonlink.hal.testing import expected_dialogue


@asynccontextmanager
async def controller(tmp: Path, device: dict[str, Any], **settings: Any) -> AsyncIterator[Any]:
    config = bench_of(models()["thorlabs-mbx"], "pump.modulator", device, 5)
    async with Program(config, tmp) as program:
        sim: Any = program.devices["unit"]
        driver = Mbx("unit", sim.address, Mbx.Settings(reply_timeout_s=5.0, **settings))
        await driver.open()
        await driver.configure()
        try:
            yield driver, sim
        finally:
            await driver.close()


async def test_a_set_is_acknowledged_and_a_refusal_is_an_error() -> None:
    talk = r"""
        > \r
        > MZM:HOLD:VOLTAGE: -2500\r
        < 1\n
        > MZM:HOLD:VOLTAGE?\r
        < -2500\n
        > MZM:MODE: 2\r
        < Err: Execution error\n
    """
    async with expected_dialogue(Mbx, talk) as driver:
        await driver.connect()
        await driver.set("hold_v", -2.5)
        with pytest.raises(InstrumentError, match="was refused"):
            await driver.set("bias_mode", "null")


@pytest.mark.parametrize("ack", [True, False])
async def test_both_kinds_of_unit(tmp_path: Path, ack: bool) -> None:
    device = {"ack": "all" if ack else "none"}
    async with controller(tmp_path, device, ack=ack, bias_mode="peak") as (driver, sim):
        assert sim.place.pump_loss_db() == pytest.approx(20.0, abs=0.01)
        await driver.set_attenuation_db(3.0)
        assert sim.place.pump_loss_db() == pytest.approx(3.0, abs=0.01)
        await driver.set("bias_mode", "quad-")
        assert (await driver.snapshot())["calibrating"]
        assert sim.place.pump_loss_db() == pytest.approx(6.0, abs=0.1)
        with pytest.raises(LimitError):
            await driver.set_attenuation_db(20.5)
    assert sim.place.get("insertion_db") == 20.0


async def test_the_lock_follows_a_drifting_modulator_a_held_voltage_does_not(
    tmp_path: Path,
) -> None:
    async with controller(tmp_path, {}, bias_mode="null") as (driver, sim):
        dark = sim.place.transmission(0.0)
        sim.control({"set": {"drift_v": 1.5}})
        assert sim.place.transmission(0.0) == pytest.approx(dark)
        sim.control({"fault": "unlocked"})
        sim.control({"set": {"drift_v": 3.0}})
        assert sim.place.transmission(0.0) > 50 * dark
        assert not (await driver.snapshot())["locked"]
