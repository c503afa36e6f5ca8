"""``photonlink mcp`` with the official client: reads, and sets only allowed parameters."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from photonlink.firmware_sim.control import ask
from photonlink.hal.errors import LimitError
from photonlink.pipeline.agents.audit import AuditError, AuditLog
from photonlink.pipeline.agents.desk import Desk, NotAllowed
from photonlink.pipeline.bench.new_station import emulated_station
from photonlink.pipeline.bench.target import with_sim

READING = {"instruments", "parameters", "identify", "read", "readiness", "plan"}


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("mcp") / "bench.toml"
    path.write_text(emulated_station("bench"))
    with with_sim(str(path), start=True):
        yield path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    found = AuditLog(tmp_path / "audit.jsonl")
    yield found
    found.close()


def parameters_server(station: Path, audit: Path, *allow: str) -> Any:
    mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")
    words = [w for each in allow for w in ("--allow", each)]
    return mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "photonlink.pipeline.cli", "mcp", str(station), "--audit", str(audit), *words],
    )


async def test_the_official_client_reads_and_sets_what_is_allowed(
    station: Path, tmp_path: Path
) -> None:
    mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")
    audit = tmp_path / "audit.jsonl"
    server = parameters_server(station, audit, "pump.current_set_ma")
    async with mcp.Client(server, read_timeout_seconds=60) as client:
        offered = {tool.name for tool in (await client.list_tools()).tools}
        assert offered == {*READING, "set"}
        found = await client.call_tool("read", {"instrument": "pump", "parameters": ["emission"]})
        assert found.structured_content == {"emission": False}
        wanted = {"instrument": "pump", "changes": {"current_set_ma": "104"}}
        assert not (await client.call_tool("set", wanted)).is_error
        wanted["changes"] = {"current_set_ma": "100000"}
        refused = await client.call_tool("set", wanted)
        assert refused.is_error
        assert "limit" in refused.content[0].text or "outside" in refused.content[0].text
    events = lines(audit)
    assert [e["event"] for e in events if e["event"] != "end"] == [
        "start", "read", "done", "set", "done", "refused",
    ]  # fmt: skip
    assert bytes.fromhex(events[3]["bytes"][0]).startswith(b"(param-set!")
    assert audit.stat().st_mode & 0o077 == 0


async def test_without_allow_nothing_that_sets_is_offered(station: Path, tmp_path: Path) -> None:
    mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")
    async with mcp.Client(parameters_server(station, tmp_path / "a")) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == READING


async def test_what_is_not_allowed_is_refused_before_anything_is_sent(
    station: Path, log: AuditLog, tmp_path: Path
) -> None:
    desk = Desk(station, ["pump.current_*", "*.drive_enabled"], log)
    before = ask(str(station.with_name("bench-run") / "control.sock"), {"status": True})
    with pytest.raises(NotAllowed, match="temperature_set_c is not allowed"):
        await desk.set("pump", {"temperature_set_c": "21"})
    with pytest.raises(LimitError, match="past the light guard"):
        await desk.set("pump", {"drive_enabled": "on"})
    with pytest.raises(LimitError):
        await desk.set("pump", {"current_set_ma": "nan"})
    with pytest.raises(LimitError, match="0 changes"):
        await desk.set("pump", {})
    after = ask(str(station.with_name("bench-run") / "control.sock"), {"status": True})
    shown = [s["status"]["devices"]["pump"] for s in (before, after)]
    assert shown[0]["emission"] == shown[1]["emission"] is False
    assert [e["event"] for e in lines(tmp_path / "audit.jsonl")].count("refused") == 3
    assert (await desk.plan("pump", {"current_set_ma": "50"}))[0]["text"].startswith('b"(param')


async def test_real_instruments_need_one_more_word(log: AuditLog, tmp_path: Path) -> None:
    path = tmp_path / "real.toml"
    path.write_text(
        'schema = 2\nname = "real"\n[instruments.pump]\ndriver = "toptica.dlc_pro"\n'
        'address = "tcp://127.0.0.1:1"\n'
    )
    with pytest.raises(NotAllowed, match="only emulated"):
        await Desk(path, ["*"], log).set("pump", {"current_set_ma": "1"})
    with pytest.raises(Exception, match="nothing listens there"):
        await Desk(path, ["*"], log, real=True).set("pump", {"current_set_ma": "1"})
    assert lines(tmp_path / "audit.jsonl")[-1]["event"] == "failed"


async def test_without_its_audit_log_nothing_is_done(station: Path, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="cannot be opened"):
        AuditLog(tmp_path)
    log = AuditLog(tmp_path / "audit.jsonl")
    desk = Desk(station, ["*"], log)
    log._file, file = -1, log._file
    with pytest.raises(AuditError, match="cannot be written"):
        await desk.read("pump", ["emission"])
    log._file = file
    log.close()
