"""White Rabbit switch: locked while the servo updates; wrong community; lost datagrams."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from emulated_unit import emulated

from photonlink.hal.errors import LinkTimeout

WR = "whiterabbit.switch"


async def test_locked_only_while_the_servo_updates(tmp_path: Path) -> None:
    async with emulated(WR, tmp_path, {"update_s": 0.01}) as (switch, device):
        await switch.open()
        assert not (await switch.clock_state()).locked, "nothing to compare with yet"
        await asyncio.sleep(0.05)
        state = await switch.clock_state()
        assert state.locked
        assert state.offset_s == pytest.approx(0.0, abs=2e-10)
        device.control({"fault": "servo-stuck"})
        await switch.clock_state()
        assert not (await switch.clock_state()).locked, "well on paper, and dead"
        device.control({"fault": "none"})
        device.control({"set": {"offset_ps": 5000.0}})
        assert (await switch.clock_state()).offset_s == pytest.approx(5e-9, abs=2e-10)


async def test_a_cut_fibre_is_an_alarm(tmp_path: Path) -> None:
    async with emulated(WR, tmp_path) as (switch, device):
        await switch.open()
        assert switch.conditions(await switch.snapshot()) == ()
        device.control({"fault": "link-lost"})
        readings = await switch.snapshot()
        assert {c.code for c in switch.conditions(readings)} == {"main_status", "timing_status"}
        assert readings["delocks"] == 1
        assert not (await switch.clock_state()).locked


async def test_a_late_response_is_nobody_s(tmp_path: Path) -> None:
    async with emulated(WR, tmp_path, reply_timeout_s=0.2) as (switch, device):
        await switch.open()
        device.control({"fault": "late", "count": 1, "delay_s": 0.3})
        with pytest.raises(LinkTimeout):
            await switch.get("pll_mode")
        assert await switch.get("pll_sequence") == 8
        await asyncio.sleep(0.2)
        assert await switch.get("pll_sequence") == 8


async def test_a_wrong_community_is_told(tmp_path: Path) -> None:
    async with emulated(WR, tmp_path, community="secret", reply_timeout_s=0.2) as (switch, _):
        with pytest.raises(LinkTimeout, match="community"):
            await switch.open()
