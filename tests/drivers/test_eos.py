"""EOS: lists set as a whole, broadcasts between question and answer, counts, unlatching."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from emulated_unit import emulated

from photonlink.drivers.singlequantum.eos import Eos
from photonlink.drivers.singlequantum.websq_codec import objects
from photonlink.hal.errors import IdentityError, InstrumentError, LimitError, ReadbackMismatch
from photonlink.hal.testing import expected_dialogue

EOS = "singlequantum.eos"
TWO = r"""
> {"request": "labelProps", "value": "None"}{"request": "NumberOfDetectors"}
< {"label": "BiasCurrent", "value": {"value": [1, 2]}}\x17
< {"label": "NumberOfDetectors", "value": {"value": 2}}\x17
< {"label": "NumberOfDetectors", "value": 2}\x17
"""
OFF = r"""
> {"command": "SetAllBiasCurrents", "label": "BiasCurrent", "value": [0.0, 0.0]}
> {"request": "BiasCurrent"}{"request": "NumberOfDetectors"}
< {"label": "BiasCurrent", "value": [1, 2]}\x17{"label": "Temperature", "value": 3}\x17
< {"label": "BiasCurrent", "value": [0, 0.01]}\x17{"label": "NumberOfDetectors", "value": 2}\x17
> {"command": "DetectorEnable", "label": "DetectorEnable", "value": false}
> {"request": "DetectorEnable"}{"request": "NumberOfDetectors"}
< {"label": "DetectorEnable", "value": false}\x17{"label": "NumberOfDetectors", "value": 2}\x17
"""


async def test_opening_takes_the_bias_off_between_broadcasts() -> None:
    async with expected_dialogue(Eos, TWO + OFF, detectors=2) as eos:
        assert (await eos.open()).model == "EOS, 2 detectors"


async def test_another_number_of_detectors_is_refused() -> None:
    async with expected_dialogue(Eos, TWO, detectors=3) as eos:
        with pytest.raises(IdentityError, match="Set detectors"):
            await eos.open()


def test_objects_run_together_and_nothing_else_passes() -> None:
    assert [*objects('{"a": 1}{"b": 2} ')] == [{"a": 1}, {"b": 2}]
    for wrong in ("[1]", "{", '{"a": 1} x'):
        with pytest.raises(ValueError, match=r"."):
            list(objects(wrong))


async def test_channels_set_at_once_do_not_undo_each_other(tmp_path: Path) -> None:
    async with emulated(EOS, tmp_path) as (eos, device):
        await eos.open()
        await asyncio.gather(*(eos.set(f"bias_{ch}_a", ch * 1e-6) for ch in (1, 2, 3, 4)))
        assert device.labels["BiasCurrent"] == [1.0, 2.0, 3.0, 4.0]
        with pytest.raises(LimitError, match="outside"):
            await eos.set("bias_1_a", 1.0)
        with pytest.raises(InstrumentError, match="out of range"):  # ours is wider
            await eos.set("bias_1_a", 90e-6)
        assert device.labels["BiasCurrent"] == [1.0, 2.0, 3.0, 4.0]


async def test_counts_of_one_period(tmp_path: Path) -> None:
    async with emulated(EOS, tmp_path) as (eos, device):
        await eos.open()
        assert (await eos.count(0.05)).total == 0, "without bias there are no clicks"
        await eos.set_bias(True)
        counted = await eos.count(0.2)
        assert counted.gate_s == 0.2
        assert set(counted.counts) == {1, 2, 3, 4} == set(eos.count_channels)
        assert all(n > 100 for n in counted.counts.values())
        assert counted.total <= device.state()["clicks_total"]


async def test_a_latched_wire_is_unlatched_and_counted(tmp_path: Path) -> None:
    async with emulated(EOS, tmp_path, unlatch_s=0.02, unlatch_most=2) as (eos, device):
        await eos.open()
        await eos.set_bias(True)
        assert (await eos.snapshot())["latches_2"] == 0
        for n in (1, 2):
            device.control({"fault": "latch", "channel": 2})
            assert device.state()["latched"] == [False, True, False, False]
            readings = await eos.snapshot()
            assert not any(device.state()["latched"])
            assert readings["latches_2"] == n
            assert readings["bias_2_a"] == pytest.approx(18e-6)
            assert readings["voltage_2_v"] < 0.01
            assert eos.deviation(readings) == ""
            assert eos.conditions(readings) == ()
        device.control({"fault": "latch", "channel": 2})
        readings = await eos.snapshot()
        assert readings["latches_2"] == 3, "too often: its bias stays off, and somebody is told"
        assert readings["bias_2_a"] == 0.0
        assert [c.code for c in eos.conditions(readings)] == ["channel_2_latches"]
        assert readings["bias_1_a"] == pytest.approx(18e-6), "the others go on"
        await eos.set_bias(True)
        assert eos.conditions(await eos.snapshot()) == ()


async def test_a_stage_that_warms_makes_wires_latch(tmp_path: Path) -> None:
    async with emulated(EOS, tmp_path, unlatch_s=0.02, unlatch_most=0) as (eos, device):
        await eos.open()
        await eos.set_bias(True)
        device.table.stand("alice.cryostat").put("temperature_k", 6.0)
        await asyncio.sleep(0.1)
        assert all(device.state()["latched"])
        readings = await eos.snapshot()
        assert [readings[f"latches_{ch}"] for ch in (1, 2, 3, 4)] == [1, 1, 1, 1]
        assert len(eos.conditions(readings)) == 4


async def test_a_bias_that_is_not_taken_is_noticed(tmp_path: Path) -> None:
    async with emulated(EOS, tmp_path) as (eos, device):
        await eos.open()
        device.control({"fault": "ignore-sets"})
        with pytest.raises(ReadbackMismatch, match="bias_1_a"):
            await eos.set_bias(True)
        device.control({"fault": "none"})
        with pytest.raises(LimitError, match="no channel 9"):
            await eos.set_bias(True, 9)
