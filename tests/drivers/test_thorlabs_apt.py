"""Thorlabs APT drivers: the conversation byte by byte, motion against the emulators."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from photonlink.drivers.thorlabs.k10cr1 import K10cr1
from photonlink.drivers.thorlabs.mpc320 import Mpc320
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.errors import IdentityError, InstrumentError, LimitError
from photonlink.hal.testing import expected_dialogue

INFO = r"""
> \x12\x00\x00\x00\x50\x01
> \x05\x00\x00\x00\x50\x01
"""
STATUS = r"> \x90\x04\x01\x00\x50\x01" "\n"


def info(model: str) -> str:
    data = struct.pack("<I8sH4B60xHHH", 38123456, model.encode(), 16, 3, 2, 1, 0, 1, 0, 3)
    frame = struct.pack("<HHBB", 6, 84, 0x81, 0x50) + data
    return "< " + "".join(f"\\x{byte:02x}" for byte in frame) + "\n"


async def test_who_answers_is_asked_and_another_model_is_refused() -> None:
    async with expected_dialogue(Mpc320, INFO + info("MPC320")) as driver:
        await driver.connect()
        identity = await driver.identify()
        assert (identity.model, identity.serial, identity.firmware) == (
            "MPC320",
            "38123456",
            "1.2.3",
        )
    async with expected_dialogue(Mpc320, INFO + info("MPC220")) as driver:
        await driver.connect()
        with pytest.raises(IdentityError, match="MPC220"):
            await driver.identify()


async def test_status_frames_that_nobody_asked_for_are_passed_over() -> None:
    other = r"< \x64\x04\x02\x00\x01\x50" "\n"  # MOVE_COMPLETED of another axis
    right = r"< \x91\x04\x0e\x00\x81\x50\x01\x00\x91\x01\x00\x00\x00\x00\x00\x00\x00\x04\x00\x90"
    async with expected_dialogue(Mpc320, STATUS + other + right) as driver:
        await driver.connect()
        assert await driver.angle_deg(1) == pytest.approx(401 * 170 / 1370)
        assert driver.codec.unsolicited_count == 1


async def test_off_is_a_stop_for_every_axis() -> None:
    async with expected_dialogue(Mpc320, "") as driver:
        stop = b"\x65\x04%c\x02\x50\x01"
        assert driver.off_bytes() == stop % 1 + stop % 2 + stop % 4


@asynccontextmanager
async def on_the_table(model: str, kind: Any, tmp: Path, **settings: Any) -> AsyncIterator[Any]:
    config = bench_of(models()[model], "", {}, 5)
    async with Program(config, tmp) as program:
        device: Any = program.devices["unit"]
        driver = kind("unit", device.address, kind.Settings(reply_timeout_s=5.0, **settings))
        await driver.open()
        await driver.configure()
        try:
            yield driver, device
        finally:
            device.control({"fault": "none"})
            await driver.close()


async def test_paddles_move_home_and_turn_the_light(tmp_path: Path) -> None:
    async with on_the_table("thorlabs-mpc320", Mpc320, tmp_path, velocity_percent=100) as (d, sim):
        await asyncio.gather(d.move_to_deg(90.0, 1), d.move_to_deg(45.0, 3))
        assert await d.angle_deg(1) == pytest.approx(90.0, abs=0.2)
        assert sim.place.get("angle1_deg") == pytest.approx(90.0, abs=0.2)
        assert sim.place.get("angle3_deg") == pytest.approx(45.0, abs=0.2)
        assert sim.place.get("retardance2_deg") == 180.0
        assert d.deviation(await d.snapshot()) == ""
        await d.home(1)
        assert await d.angle_deg(1) == pytest.approx(0.0, abs=0.2)
        with pytest.raises(LimitError, match="170"):
            await d.move_to_deg(171.0, 1)
        sim.control({"fault": "slip", "counts": 40})
        assert "angle3_deg" in d.deviation(await d.snapshot())


async def test_a_lost_completion_is_no_lost_move(tmp_path: Path) -> None:
    async with on_the_table("thorlabs-mpc320", Mpc320, tmp_path, velocity_percent=100) as (d, sim):
        sim.control({"fault": "lost-completion"})
        await d.home(2)
        await d.move_to_deg(10.0, 2)
        sim.control({"fault": "none"})
        sim.control({"fault": "stall"})
        with pytest.raises(InstrumentError, match="stalled"):
            await d.move_to_deg(100.0, 2)
        assert [c.code for c in d.conditions(await d.snapshot())] == ["stalled2"]


async def test_stop_ends_a_slow_move(tmp_path: Path) -> None:
    async with on_the_table(
        "thorlabs-mpc320", Mpc320, tmp_path, velocity_percent=10, margin_s=0.3
    ) as (d, sim):
        sim.control({"fault": "slow"})
        move = asyncio.ensure_future(d.move_to_deg(100.0, 1))
        await asyncio.sleep(0.2)
        assert (await d.snapshot())["moving1"]
        await d.stop_motion()
        assert not sim.state()["moving"]
        with pytest.raises(InstrumentError, match="not arrived"):
            await move


async def test_a_mount_is_homed_first_and_takes_the_short_way(tmp_path: Path) -> None:
    settings = {"velocity_deg_per_s": 10.0}
    async with on_the_table("thorlabs-k10cr1", K10cr1, tmp_path, **settings) as (d, sim):
        with pytest.raises(InstrumentError, match="Home it first"):
            await d.move_to_deg(1.0)
        await d.home()
        await d.move_to_deg(359.0)
        assert await d.angle_deg() == pytest.approx(359.0, abs=0.01)
        assert sim.now(sim.axes[1]) == pytest.approx(-409_600 / 3, abs=2)
        await d.move_to_deg(0.0)
        assert await d.angle_deg() == pytest.approx(0.0, abs=0.01)
        assert sim.stored[0x0440][3] == pytest.approx(73_291_090)
