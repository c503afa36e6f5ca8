"""Keithley 2400: off with zero level, compliance, a nanowire that latches under its current."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulated_unit import emulated

from photonlink.hal.errors import InstrumentError, LimitError

SMU = "keithley.model2400"


async def test_current_through_a_nanowire(tmp_path: Path) -> None:
    async with emulated(SMU, tmp_path) as (smu, device):
        await smu.open()
        await smu.configure()
        with pytest.raises(InstrumentError, match="output is off"):
            await smu.measure()
        await smu.set_output(True)
        volts, amps = await smu.measure()
        assert amps == pytest.approx(18e-6, rel=1e-3)
        assert volts == pytest.approx(18e-6 * 50.0, rel=1e-3)
        assert device.wire.excess_v == pytest.approx(2.0, abs=0.01)
        await smu.set("current_a", 21e-6)  # above the switching current
        volts, _ = await smu.measure()
        assert volts == pytest.approx(1.0, rel=1e-3), "the compliance holds the latched wire"
        assert device.state()["latched"]
        await smu.set("current_a", 0.0)
        assert not device.state()["latched"]
        assert all(step.ok for step in await smu.safe_state())
        assert await smu.get("current_a") == 0.0
        assert not await smu.output()


async def test_voltage_at_a_diode(tmp_path: Path) -> None:
    load = {"load": "diode"}
    wanted = {"source": "voltage", "voltage_v": 62.0, "compliance_a": 1e-3}
    async with emulated(SMU, tmp_path, load, **wanted) as (smu, device):
        await smu.open()
        await smu.configure()
        await smu.set_output(True)
        assert await smu.measure() == pytest.approx((62.0, 2.0 / 1e5), rel=1e-3)
        with pytest.raises(InstrumentError, match="switch it off before"):
            await smu.set("source", "current")
        assert device.state()["output"]


async def test_no_level_and_no_such_channel(tmp_path: Path) -> None:
    async with emulated(SMU, tmp_path, source="voltage") as (smu, device):
        await smu.open()
        await smu.configure()
        with pytest.raises(LimitError, match="give no voltage_v"):
            await smu.set_output(True)
        with pytest.raises(LimitError, match="no channel 2"):
            await smu.set_output(True, 2)
        assert not device.state()["output"]
