"""The control socket: its requests, and that no client can harm it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photonlink.firmware_sim.config import BenchConfig
from photonlink.firmware_sim.control import (
    MAX_CLIENTS,
    MAX_LINE,
    TableControlServer,
    answer,
    ask,
    parse_words,
)
from photonlink.firmware_sim.program import Program

BENCH = BenchConfig.model_validate({"source": {"pump_power_mw": 10.0}})


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    async with Program(BENCH, tmp_path) as running:
        yield running


async def talk(program: Program, *lines: bytes) -> list[Any]:
    """Send lines, close the sending side, return every reply."""
    reader, writer = await asyncio.open_unix_connection(program.ready()["control"])
    writer.writelines(lines)
    writer.write_eof()
    async with asyncio.timeout(5):
        replies = (await reader.read()).splitlines()
    writer.close()
    await writer.wait_closed()
    return [json.loads(r) for r in replies]


async def request(program: Program, **what: Any) -> dict[str, Any]:
    (reply,) = await talk(program, json.dumps(what).encode() + b"\n")
    assert isinstance(reply, dict)
    return reply


async def test_get_set_status_truth(program: Program) -> None:
    assert await request(program, get="bob.loss_db", id=7) == {
        "ok": True,
        "values": {"bob.loss_db": 2.0},
        "id": 7,
    }
    assert (await request(program, set={"bob.loss_db": 6}))["values"] == {"bob.loss_db": 6.0}
    both = await request(program, get=["bob.loss_db", "alice.loss_db"])
    assert both["values"] == {"bob.loss_db": 6.0, "alice.loss_db": 2.0}
    await asyncio.sleep(0.1)
    status = (await request(program, status=True))["status"]
    assert status["bench_time_s"] > 0
    assert status["devices"] == {}
    truth = (await request(program, truth=True))["truth"]
    assert truth["pairs"] > 0
    assert set(truth["detectors"]) == {f"{s}.{d}" for s in ("alice", "bob") for d in "hvda"}
    assert (await request(program, addresses=True))["addresses"] == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"\x00\xff\xfe\n", "JSON"),
        (b"[1, 2]\n", "not a JSON object"),
        (b"null\n", "not a JSON object"),
        (b"{}\n", "per request"),
        (b'{"get": 1}\n', "path or a list"),
        (b'{"get": [[]]}\n', "path or a list"),
        (b'{"set": [1]}\n', "object"),
        (b'{"set": {"bob.loss_db": NaN}}\n', "finite"),
        (b'{"set": {"bob.loss_db": 1e999}}\n', "finite"),
        (b'{"set": {"bob.loss_db": {"a": 1}}}\n', "number"),
        (b'{"set": {"bob.tagger.inputs": {"q": 1}}}\n', "inputs"),
        (b'{"device": "pump", "fault": "x"}\n', "no device"),
        (b'{"device": {}, "fault": "x"}\n', "no device"),
        (b'{"fly": true}\n', "unknown request"),
        (b'{"status": true, "truth": true}\n', "per request"),
        (b"[" * 60_000 + b"\n", "JSON"),
        (b'{"set": {"bob.loss_db": ' + b"1" * 5000 + b"}}\n", "loss_db|digits"),
    ],
)
async def test_nonsense_gets_an_answer_and_harms_nothing(
    program: Program, line: bytes, says: str
) -> None:
    before = program.bench.config.model_dump()
    replies = await talk(program, line, b'{"get": "bob.loss_db"}\n')
    assert replies[0]["ok"] is False
    assert any(word in replies[0]["error"] for word in says.split("|"))
    assert replies[1]["ok"] is True
    assert program.bench.config.model_dump() == before


async def test_an_endless_line_is_cut_off(program: Program) -> None:
    (reply,) = await talk(program, b"x" * (2 * MAX_LINE))
    assert reply["ok"] is False
    assert (await request(program, get="bob.loss_db"))["ok"]


async def test_clients_are_bounded_and_a_deaf_one_is_let_go(program: Program) -> None:
    path = program.ready()["control"]
    held = [await asyncio.open_unix_connection(path) for _ in range(MAX_CLIENTS)]
    await asyncio.sleep(0.05)
    reader, writer = await asyncio.open_unix_connection(path)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    for w in [writer, *(w for _, w in held)]:
        w.close()
    await asyncio.sleep(0.05)
    assert (await request(program, get="bob.loss_db"))["ok"]


async def test_stop_ends_the_program(program: Program) -> None:
    assert (await request(program, stop=True))["ok"]
    assert program.stopping.is_set()


async def test_the_socket_is_private_and_removed(tmp_path: Path) -> None:
    server = TableControlServer(tmp_path / "c.sock", lambda _: {})
    await server.start()
    assert server.path.stat().st_mode & 0o777 == 0o600
    reply = await asyncio.to_thread(ask, server.path, {"x": 1})
    assert reply == {"ok": True}
    await server.stop()
    assert not server.path.exists()
    with pytest.raises(OSError, match="No such file"):
        ask(server.path, {"x": 1})


async def test_a_run_dir_too_deep_for_a_socket_still_works(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    async with Program(BENCH, deep) as program:
        assert (await request(program, get="bob.loss_db"))["ok"]


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_line_is_answered(line: bytes) -> None:
    def handler(_: Mapping[str, Any]) -> dict[str, Any]:
        raise ValueError("no")

    assert answer(line, handler)["ok"] is False


def test_command_line_words() -> None:
    assert parse_words(["set", "bob.loss_db=6", "a.b=[1, 2]", "c=text"]) == {
        "set": {"bob.loss_db": 6, "a.b": [1, 2], "c": "text"}
    }
    assert parse_words(["get", "a"]) == {"get": "a"}
    assert parse_words(["get", "a", "b"]) == {"get": ["a", "b"]}
    assert parse_words(["device", "pump", "fault=unplug", "for_s=2"]) == {
        "device": "pump",
        "fault": "unplug",
        "for_s": 2,
    }
    assert parse_words(["status"]) == {"status": True}
    for wrong in ([], ["fly"], ["set"], ["set", "x"], ["device", "a"], ["stop", "now"]):
        with pytest.raises(ValueError, match=r"say one of|cannot read|KEY=VALUE"):
            parse_words(wrong)
