"""TLB-6700 against its emulator behind the stand-in library: stale replies, tuning, refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from photonlink.drivers.newport.tlb670x import Tlb670x
from photonlink.firmware_sim.kit.clock import Clock
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.errors import InstrumentError, LinkClosed, LinkNotFound


@asynccontextmanager
async def tlb(tmp: Path, fragment: str = "", **settings: Any) -> AsyncIterator[tuple[Any, Any]]:
    config = bench_of(models()["newport-tlb670x"], "", {"serial_number": "1012"}, 1)
    async with Program(config, tmp, clock=Clock(20.0)) as program:
        device = program.devices["unit"]
        laser = Tlb670x("t", device.address + fragment, Tlb670x.Settings(**settings))
        try:
            yield laser, device
        finally:
            await laser.close()


async def test_a_stale_reply_does_no_harm_and_the_motor_arrives(tmp_path: Path) -> None:
    async with tlb(tmp_path, "#serial=SN1012", current_ma=80.0) as (laser, sim):
        sim.control({"fault": "stale-reply"})
        assert (await laser.open()).serial == "1012"
        await laser.configure()
        await laser.set_emission(True)
        await laser.tune(1555.0)
        assert sim.registers["OUTPut:TRACk"] == 0
        assert await laser.get("wavelength_act_nm") == pytest.approx(1555.0, abs=0.05)
        assert await laser.get("power_act_mw") == pytest.approx(6.0, rel=0.05)


async def test_key_and_range(tmp_path: Path) -> None:
    async with tlb(tmp_path) as (laser, sim):
        await laser.open()
        sim.key_locked = True
        with pytest.raises(InstrumentError, match="key switch"):
            await laser.set_emission(True)
        with pytest.raises(InstrumentError, match="refused"):
            await laser.set("wavelength_nm", 1600.0)


async def test_no_answer_and_another_number(tmp_path: Path) -> None:
    async with tlb(tmp_path, "#serial=7") as (laser, _):
        with pytest.raises(LinkNotFound, match="1012"):
            await laser.open()
    async with tlb(tmp_path) as (laser, sim):
        await laser.open()
        sim.unplug()
        with pytest.raises(LinkClosed):
            await laser.snapshot()
