"""IRSPD1: questions end in ``;``, sets are not answered. The far end is a script on a pty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from wire_peers import PtyPeer, pty_peer

from photonlink.drivers.sfifteen.irspd1 import Irspd1
from photonlink.hal.errors import (
    IdentityError,
    InstrumentError,
    LimitError,
    LinkDesync,
    LinkTimeout,
    ReadbackMismatch,
)


class Detector:
    """Answers as the vendor's ``s15lib`` expects it."""

    def __init__(self) -> None:
        self.idn = "S-Fifteen SPD serial: 7"
        self.values = {
            "hvolt": "55.0",
            "threshvolt": "0.1",
            "settemp": "-20.0",
            "temp": "-19.8 C",
            "loop": "0",
            "constp": "0.1",
            "consti": "0.01",
            "pvolt": "2.0",
            "time": "1000",
        }
        self.frozen: set[str] = set()
        self.counts = "1234"

    def __call__(self, question: bytes) -> bytes | None:
        name, _, value = question.decode("latin-1").partition(" ")
        if name == "*idn?":
            return f"{self.idn}\r\n".encode()
        if name == "counts?":
            return f"{self.counts}\r\n".encode()
        if name.endswith("?"):
            return f"{self.values[name[:-1]]}\r\n".encode()
        if name not in self.frozen:
            self.values[name] = value
        return None


@asynccontextmanager
async def detector(tmp: Path, **settings: Any) -> AsyncIterator[tuple[Irspd1, Detector, PtyPeer]]:
    device = Detector()
    with pty_peer(tmp / "spd", device, ends=b";\r\n") as peer:
        wanted = {"bias_v": 62.0, "reply_timeout_s": 0.4, "settle_s": 0.2, **settings}
        driver = Irspd1("spd", peer.uri, Irspd1.Settings(**wanted))
        try:
            yield driver, device, peer
        finally:
            await driver.close()


async def test_open_identifies_and_takes_the_bias_off(tmp_path: Path) -> None:
    async with detector(tmp_path) as (driver, device, peer):
        assert (await driver.open()).serial == "7"
        assert device.values["hvolt"] == "0.0"
        assert peer.seen == [b"*idn?", b"hvolt 0.0", b"hvolt?"]
        assert bytes(peer.raw) == b"\r\n*idn?;hvolt 0.0\r\nhvolt?;"


async def test_settings_are_applied_and_bias_only_when_asked(tmp_path: Path) -> None:
    async with detector(tmp_path, threshold_v=0.08, temperature_c=-30.0) as (driver, device, _):
        await driver.open()
        await driver.configure()
        assert (device.values["threshvolt"], device.values["settemp"]) == ("0.08", "-30.0")
        assert device.values["loop"] == "1"
        assert device.values["hvolt"] == "0.0"
        await driver.set_bias(True)
        assert device.values["hvolt"] == "62.0"
        assert all(step.ok for step in await driver.safe_state())
        assert device.values["hvolt"] == "0.0"


async def test_bias_that_does_not_go_is_reported(tmp_path: Path) -> None:
    async with detector(tmp_path) as (driver, device, _):
        await driver.open()
        await driver.set_bias(True)
        device.frozen.add("hvolt")
        (step,) = await driver.safe_state()
        assert not step.ok
        assert "reads back 62" in step.readback


async def test_slow_discharge_is_waited_for(tmp_path: Path) -> None:
    async with detector(tmp_path, settle_s=3.0) as (driver, device, _):
        await driver.open()
        device.values["hvolt"] = "40.0"
        device.frozen.add("hvolt")
        task = asyncio.create_task(driver.set_bias(False))
        await asyncio.sleep(0.2)
        device.values["hvolt"] = "0.4"
        await task


async def test_count_is_one_write_and_waits_for_its_gate(tmp_path: Path) -> None:
    async with detector(tmp_path) as (driver, device, peer):
        await driver.open()
        peer.raw.clear()
        reading = await driver.count(0.25)
        assert (reading.total, reading.gate_s) == (1234, 0.25)
        assert bytes(peer.raw) == b"time 250;counts?;"
        for nonsense in ("-5", "12.5", "many"):
            device.counts = nonsense
            with pytest.raises(InstrumentError):
                await driver.count(0.01)
        for wrong in (0.0, 70.0):
            with pytest.raises(LimitError):
                await driver.count(wrong)


async def test_wrong_instrument_and_no_instrument(tmp_path: Path) -> None:
    async with detector(tmp_path) as (driver, device, peer):
        device.idn = "TDC1"
        with pytest.raises(IdentityError, match=r"TDC1.*swapped"):
            await driver.open()
        peer.answer = lambda _: None
        with pytest.raises(LinkTimeout):
            await driver.open()


@pytest.mark.parametrize("reply", ["nan", "inf", "1e30", "", "-19,8", "warm"])
async def test_nonsense_readings_are_refused(tmp_path: Path, reply: str) -> None:
    async with detector(tmp_path) as (driver, device, _):
        await driver.open()
        device.values["hvolt"] = reply
        values = await driver.snapshot()
        assert "bias_v" not in values
        assert "bias_v_error" in values
        assert values["threshold_v"] == 0.1


async def test_a_threshold_that_does_not_take(tmp_path: Path) -> None:
    async with detector(tmp_path, threshold_v=0.2) as (driver, device, _):
        await driver.open()
        device.frozen.add("threshvolt")
        with pytest.raises(ReadbackMismatch, match=r"threshold_v was set to 0\.2"):
            await driver.configure()


async def test_an_echoed_question_is_no_reply(tmp_path: Path) -> None:
    async with detector(tmp_path) as (driver, _, peer):
        await driver.open()
        answer = peer.answer
        peer.answer = lambda q: None if (a := answer(q)) is None else q + b"\r\n" + a
        assert await driver.get("temperature_act_c") == -19.8


async def test_a_garbled_reply_is_never_credited_to_the_next_question(tmp_path: Path) -> None:
    async with detector(tmp_path) as (driver, device, _):
        await driver.open()
        device.values["hvolt"] = "\x80"
        with pytest.raises(LinkDesync):
            await driver.get("bias_v")
        device.values["hvolt"] = "0.0"
        assert await driver.get("bias_v") == 0.0
        assert device.values["time"] == "1000", "the register is restored"
