"""Retina: the tree of settings over HTTP, counts of whole periods, unlatching by rule."""

from __future__ import annotations

import asyncio
import http.client
import json
from pathlib import Path
from typing import Any

import pytest
from emulated_unit import emulated

from photonlink.drivers.singlequantum.retina import Retina
from photonlink.hal.errors import (
    IdentityError,
    InstrumentError,
    LimitError,
    LinkDesync,
    LinkTimeout,
    ReadbackMismatch,
)

RETINA = "singlequantum.retina"
HOST = "http://192.0.2.1"


def closed(**settings: Any) -> Retina:
    """An unopened driver for an address without a listener."""
    return Retina("snspd", HOST, Retina.Settings(**settings))


def as_makers_client(address: str, method: str, path: str = "/api", **params: Any) -> Any:
    """One request with the members, headers and empty ``params`` that ``WebSQController`` sends."""
    host, _, port = address.removeprefix("http://").partition(":")
    line = http.client.HTTPConnection(host, int(port), timeout=10.0)
    body = {"method": method, "params": params or [], "jsonrpc": "2.0", "id": "an-uuid"}
    headers = {"Accept": "application/json", "Content-Type": "application/json; charset=UTF-8"}
    try:
        line.request("POST", path, json.dumps(body).encode(), headers)
        reply = line.getresponse()
        data = reply.read()
    finally:
        line.close()
    return reply.status if reply.status != 200 else json.loads(data)


async def test_the_tree_is_what_the_makers_client_walks(tmp_path: Path) -> None:
    async with emulated(RETINA, tmp_path) as (_, device):
        said = await asyncio.to_thread(as_makers_client, device.address, "getSettings")
        assert (said["jsonrpc"], said["id"]) == ("2.0", "an-uuid")
        tree = said["result"]
        for rank, (mcu, cu) in tree["frontend"]["rankMap"].items():
            channel = tree["devices"][str(mcu)]["channels"][str(cu)]
            assert channel["rank"] == int(rank)
            assert set(channel["configuration"]) >= {"biasI", "triggerV"}
            assert set(channel["data"]) == {"counts", "time", "monitorV"}
        assert set(tree["devices"]["1"]["data"]) == {"temp1", "temp2"}
        wanted = {"devices": {"1": {"channels": {"2": {"configuration": {"biasI": 5e-6}}}}}}
        said = await asyncio.to_thread(as_makers_client, device.address, "setSettings", **wanted)
        assert said["result"] == wanted
        assert [held["biasI"] for held in device.channels] == [0.0, 5e-6, 0.0, 0.0]
        wanted = {"devices": {"1": {"channels": {"2": {"configuration": {"biasI": 84e-6}}}}}}
        said = await asyncio.to_thread(as_makers_client, device.address, "setSettings", **wanted)
        assert "biasI" in said["error"]["data"]["message"]
        gone = await asyncio.to_thread(as_makers_client, device.address, "getSettings", "/")
        assert gone == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"backend": {"intTime": 15}},
        {"backend": {"intTime": True}},
        {"backend": []},
        {"devices": {"2": {}}},
        {"devices": {"1": {"channels": {"1": {"configuration": {"biasI": "1"}}}}}},
        {"devices": {"1": {"channels": {"1": {"configuration": {"triggerV": 11}}}}}},
        {"color": 1},
    ],
)
async def test_a_wrong_setting_changes_nothing(wrong: dict[str, Any], tmp_path: Path) -> None:
    async with emulated(RETINA, tmp_path) as (retina, device):
        await retina.open()
        before = [dict(held) for held in device.channels], device.period_ms
        with pytest.raises(InstrumentError, match="setSettings was refused"):
            await retina.codec.call("setSettings", wrong)
        assert ([dict(held) for held in device.channels], device.period_ms) == before


async def test_channels_set_at_once_do_not_undo_each_other(tmp_path: Path) -> None:
    async with emulated(RETINA, tmp_path) as (retina, device):
        assert (await retina.open()).model == "Retina, 4 detectors"
        await asyncio.gather(*(retina.set(f"bias_{ch}_a", ch * 1e-6) for ch in (1, 2, 3, 4)))
        assert [held["biasI"] for held in device.channels] == [1e-6, 2e-6, 3e-6, 4e-6]
        await retina.set("bias_4_a", -9e-6)
        assert await retina.get("bias_max_a") == pytest.approx(9e-6), "either sign"
        with pytest.raises(LimitError, match="outside"):
            await retina.set("bias_1_a", 84e-6)
        with pytest.raises(LimitError, match="steps of 10"):
            await retina.set("period_ms", 25)
        await retina.safe_state()
        assert not device.state()["bias"]


async def test_another_number_of_detectors_is_refused(tmp_path: Path) -> None:
    async with emulated(RETINA, tmp_path, detectors=8) as (retina, _):
        with pytest.raises(IdentityError, match="Set detectors"):
            await retina.open()


@pytest.mark.parametrize("answer", [None, 7, {}, {"frontend": {"rankMap": {"1": 3}}}])
async def test_another_server_is_refused(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    retina = closed()

    async def call(*_: Any) -> Any:
        return answer

    monkeypatch.setattr(retina.codec, "call", call)
    with pytest.raises(IdentityError, match="another instrument"):
        await retina.identify()
    with pytest.raises(LinkDesync, match=r"no number at backend\.intTime"):
        await retina.get("period_ms")


def test_the_emergency_bytes_take_the_bias_of_every_channel_off() -> None:
    params = json.loads(closed(detectors=14).off_bytes())["params"]
    units = {mcu: unit["channels"] for mcu, unit in params["devices"].items()}
    assert {mcu: len(channels) for mcu, channels in units.items()} == {"1": 12, "2": 2}
    held = [c["configuration"] for channels in units.values() for c in channels.values()]
    assert held == [{"biasI": 0.0}] * 14


async def test_emergency_off_reaches_the_server(tmp_path: Path) -> None:
    async with emulated(RETINA, tmp_path) as (retina, device):
        await retina.open()
        await retina.set_bias(True)
        await asyncio.to_thread(retina.emergency_off)
        assert not device.state()["bias"]


async def test_counts_of_one_period(tmp_path: Path) -> None:
    async with emulated(RETINA, tmp_path) as (retina, device):
        await retina.open()
        assert (await retina.count(0.05)).total == 0, "without bias there are no clicks"
        await retina.set_bias(True)
        counted = await retina.count(0.2)
        assert counted.gate_s == 0.2
        assert set(counted.counts) == {1, 2, 3, 4} == set(retina.count_channels)
        assert all(n > 100 for n in counted.counts.values())
        assert counted.total <= device.state()["clicks_total"]


def test_only_a_period_that_began_after_the_question_is_counted() -> None:
    retina, seen, counts = closed(detectors=1), {1: list[float]()}, dict[int, int]()

    def tree(end: float, clicks: float) -> dict[str, Any]:
        data = {"data": {"time": end, "counts": clicks}}
        return {"devices": {"1": {"channels": {"1": data}}}}

    for end, clicks in ((1.0, 11), (1.0, 11), (1.1, 22)):
        retina._periods(tree(end, clicks), seen, counts)
        assert counts == {}
    retina._periods(tree(1.2, 33), seen, counts)
    retina._periods(tree(1.3, 44), seen, counts)
    assert counts == {1: 33}
    for wrong in (-1, 0.5):
        with pytest.raises(LinkDesync, match="unreadable counts"):
            retina._periods(tree(9.0, wrong), {1: [7.0, 8.0]}, {})


async def test_counts_that_never_come_have_a_deadline(tmp_path: Path) -> None:
    async with emulated(RETINA, tmp_path, reply_timeout_s=1.0) as (retina, device):
        await retina.open()
        device._due_s = float("inf")
        device._begin = lambda: None
        with pytest.raises(LinkTimeout, match="no new counts"):
            await retina.count(0.05)


async def test_a_latched_wire_is_unlatched_and_counted(tmp_path: Path) -> None:
    async with emulated(RETINA, tmp_path, unlatch_s=0.02, unlatch_most=1) as (retina, device):
        await retina.open()
        await retina.set_bias(True)
        assert (await retina.snapshot())["latches_2"] == 0
        device.control({"fault": "latch", "channel": 2})
        readings = await retina.snapshot()
        assert not any(device.state()["latched"])
        assert readings["latches_2"] == 1
        assert readings["bias_2_a"] == pytest.approx(18e-6)
        assert retina.conditions(readings) == ()
        device.control({"fault": "latch", "channel": 2})
        readings = await retina.snapshot()
        assert readings["bias_2_a"] == 0.0, "too often: its bias stays off, and somebody is told"
        assert [c.code for c in retina.conditions(readings)] == ["channel_2_latches"]
        assert readings["bias_1_a"] == pytest.approx(18e-6), "the others go on"


async def test_a_bias_that_is_not_taken_is_noticed(tmp_path: Path) -> None:
    async with emulated(RETINA, tmp_path) as (retina, device):
        await retina.open()
        device.control({"fault": "ignore-sets"})
        with pytest.raises(ReadbackMismatch, match="bias_1_a"):
            await retina.set_bias(True)
        device.control({"fault": "none"})
