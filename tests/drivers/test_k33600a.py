"""Keysight 33600A: the conversation, and a pattern on the modulator of the optical table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from photonlink.drivers.keysight.k33600a import K33600a
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.errors import InstrumentError, LimitError
from photonlink.hal.facets import PatternStep
from photonlink.hal.testing import expected_dialogue


async def test_a_set_asks_the_error_queue_and_reads_back() -> None:
    talk = r"""
        > SOUR1:VOLT 2.5\n
        > SYST:ERR?\n
        < +0,"No error"\n
        > SOUR1:VOLT?\n
        < +2.500000E+00\n
        > OUTP2 1\n
        > SYST:ERR?\n
        < -221,"Settings conflict"\n
        > SYST:ERR?\n
        < +0,"No error"\n
    """
    async with expected_dialogue(K33600a, talk) as driver:
        await driver.connect()
        await driver.set("amplitude1_v", 2.5)
        with pytest.raises(InstrumentError, match="-221"):
            await driver.set_output(True, 2)


async def test_a_pattern_carves_the_pump(tmp_path: Path) -> None:
    config = bench_of(models()["keysight-33600a"], "pump.modulator", {}, 5)
    async with Program(config, tmp_path) as program:
        sim: Any = program.devices["unit"]
        settings = K33600a.Settings(reply_timeout_s=5.0, sample_rate1_hz=1e8, load1_ohm=50.0)
        driver = K33600a("unit", sim.address, settings)
        await driver.open()
        await driver.configure()
        await driver.load_pattern([PatternStep(30, 0, {0: 0.0}), PatternStep(70, 0, {0: 5.0})])
        assert sim.place.pump_loss_db() == pytest.approx(0.0, abs=1e-6)  # loaded, not yet on
        await driver.play(0)
        assert 10 ** (-sim.place.pump_loss_db() / 10) == pytest.approx(0.3, abs=0.01)
        await driver.set("load1_ohm", 9.9e37)  # the same set value now gives half the voltage
        assert 10 ** (-sim.place.pump_loss_db() / 10) == pytest.approx(0.65, abs=0.01)
        for wrong in ([PatternStep(33, 0, {0: 1.0})], [PatternStep(30, 1, {0: 1.0})],
                      [PatternStep(30, 0, {0: 5.5})], []):  # fmt: skip
            with pytest.raises(LimitError):
                await driver.load_pattern(wrong)
        with pytest.raises(LimitError):
            await driver.play(3)
        await driver.close()
        assert not sim.state()["output1"]
        assert sim.internal_errors == 0
