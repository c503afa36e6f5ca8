"""Quantum Opus module: queried through the mainframe's buffer; latches are reset and counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from emulated_unit import emulated

from photonlink.hal.errors import IdentityError, LimitError, LinkTimeout

OPUS = "quantumopus.ampsim"


async def test_bias_in_steps_of_its_converter(tmp_path: Path) -> None:
    async with emulated(OPUS, tmp_path) as (amp, device):
        identity = await amp.open()
        assert identity.serial.endswith("/3")
        await amp.set_bias(True)
        assert device.registers["B"] == round(18e-6 / 25e-6 * 65535)
        assert device.wire.excess_v == pytest.approx(2.0, abs=0.01)
        with pytest.raises(LimitError):
            await amp.set("bias_1_a", 26e-6)
        readings = await asyncio.gather(*(amp.get("bias_1_a") for _ in range(5)))
        assert readings == pytest.approx([18e-6] * 5, abs=1e-9)


async def test_a_latch_is_undone_and_counted(tmp_path: Path) -> None:
    async with emulated(OPUS, tmp_path, unlatch_s=0.02, unlatch_most=1) as (amp, device):
        await amp.open()
        await amp.set_bias(True)
        device.control({"fault": "latch"})
        readings = await amp.snapshot()
        assert readings["latches_1"] == 1
        assert not device.state()["latched"]
        assert amp.conditions(readings) == ()
        device.control({"fault": "latch"})
        readings = await amp.snapshot()
        assert readings["bias_1_a"] == 0.0
        assert [c.code for c in amp.conditions(readings)] == ["channel_1_latches"]


async def test_the_module_s_own_reset(tmp_path: Path) -> None:
    async with emulated(OPUS, tmp_path, auto_reset=True, reset_ms=50.0) as (amp, device):
        await amp.open()
        await amp.configure()
        await amp.set_bias(True)
        device.control({"fault": "latch"})
        async with asyncio.timeout(2):
            while device.state()["latched"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_an_empty_slot_and_what_was_left_in_the_buffer(tmp_path: Path) -> None:
    async with emulated(OPUS, tmp_path, slot=5) as (amp, _):
        with pytest.raises(LinkTimeout, match="slot 5"):
            await amp.open()
    (tmp_path / "b").mkdir()
    async with emulated(OPUS, tmp_path / "b") as (amp, device):
        device._buffer = b"stale\n"
        assert (await amp.open()).vendor == "Quantum Opus"
        device.IDENTITY = "other"
        with pytest.raises(IdentityError):
            await amp.open()
