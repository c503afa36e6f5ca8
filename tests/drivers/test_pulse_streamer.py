"""Pulse Streamer: the driver against the emulator, over HTTP and the binary line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from photonlink.drivers.swabian.pulse_streamer import PulseStreamer
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.errors import IdentityError, InstrumentError, LimitError, ReadbackMismatch
from photonlink.hal.facets import PatternStep

DARK = PatternStep(100, 0x01, {0: 1.0})  # Vpi at the modulator: five times 1 V
OPEN = PatternStep(100, 0x01, {0: 0.0})


@asynccontextmanager
async def streamer(tmp: Path, **device: Any) -> AsyncIterator[Any]:
    config = bench_of(models()["swabian-pulse-streamer"], "pump.modulator", device, 5)
    async with Program(config, tmp) as program:
        sim: Any = program.devices["unit"]
        port = sim.addresses()["upload"].rpartition(":")[2]
        driver = PulseStreamer(
            "unit", f"{sim.address}?upload={port}", PulseStreamer.Settings(reply_timeout_s=5.0)
        )
        await driver.open()
        try:
            yield driver, sim
        finally:
            await driver.close()
        assert sim.internal_errors == 0


async def test_a_pattern_is_what_the_modulator_makes_of_the_light(tmp_path: Path) -> None:
    async with streamer(tmp_path) as (driver, sim):
        assert sim.place.pump_loss_db() == pytest.approx(0.0, abs=1e-6)
        await driver.load_pattern([DARK, OPEN, OPEN, OPEN])
        await driver.play(0)
        assert await driver.get("playing")
        assert sim.player.sequence.runs == -1
        assert sim.player.sequence.steps[0] == (100, 1, 0x7FFF, 0)
        assert 10 ** (-sim.place.pump_loss_db() / 10) == pytest.approx(0.75, abs=0.01)
        await driver.halt()
        assert not await driver.get("playing")
        assert sim.place.pump_loss_db() == pytest.approx(0.0, abs=1e-6)


async def test_runs_end_and_the_outputs_are_zero(tmp_path: Path) -> None:
    async with streamer(tmp_path) as (driver, sim):
        await driver.load_pattern([PatternStep(5_000_000, 0xFF, {1: -1.0})])
        await driver.play(3)
        for _ in range(1000):
            if await driver.get("finished"):
                break
            await asyncio.sleep(0.01)
        assert sim.player.output == (0, 0, 0)


async def test_long_steps_are_split_and_wrong_ones_named(tmp_path: Path) -> None:
    async with streamer(tmp_path) as (driver, sim):
        await driver.load_pattern([PatternStep(10_000_000_000, 0x80)])
        await driver.play(1)
        assert [step[0] for step in sim.player.sequence.steps] == [2**32 - 1] * 2 + [1410065410]
        for wrong in (PatternStep(0, 0), PatternStep(1, 256), PatternStep(1, 0, {0: 1.01})):
            with pytest.raises(LimitError, match="step 1"):
                await driver.load_pattern([OPEN, wrong])
        with pytest.raises(LimitError):
            await driver.load_pattern([])
        with pytest.raises(LimitError):
            await driver.play(-1)


async def test_underflow_is_a_condition_and_a_stuck_output_is_found_out(tmp_path: Path) -> None:
    async with streamer(tmp_path) as (driver, sim):
        sim.control({"fault": "underflow"})
        assert [c.code for c in driver.conditions(await driver.snapshot())] == ["underflow"]
        await driver.load_pattern([OPEN])
        await driver.play(0)
        sim.control({"fault": "ignore-sets"})
        with pytest.raises(ReadbackMismatch):
            await driver.halt()
        sim.control({"fault": "none"})
        driver.emergency_off()  # on its own connection, served by the loop afterwards
        assert driver.dark_command().program


async def test_old_firmware_and_no_pattern(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match=r"older than 1\.1\.0"):
        async with streamer(tmp_path, firmware="1.0.1 beta"):
            pass
    async with streamer(tmp_path) as (driver, _):
        with pytest.raises(InstrumentError, match="no pattern"):
            await driver.play(1)
