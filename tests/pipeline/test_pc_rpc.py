"""A bench offered to sipyco clients: the allow-list, both versions of PYON, and bad clients.

The conversations are those of sipyco's own client and server (``pc_rpc.py``, ``pyon.py``)."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from emulated_unit import emulated

from photonlink.hal.codecs import pyon
from photonlink.hal.errors import (
    IdentityError,
    InstrumentError,
    LimitError,
    LinkDesync,
    StationError,
)
from photonlink.hal.opening import Bench
from photonlink.hal.registry import load_driver
from photonlink.hal.station import BenchStation, parse_station
from photonlink.pipeline.agents.pc_rpc import PcRpcServer, allowed

STATION = """
schema = 2
name = "t"
[instruments.voa]
driver = "ozoptics.dd100mc"
address = "serial:///dev/voa"
[instruments.switch]
driver = "thorlabs.osw_e"
address = "serial:///dev/switch"
[instruments.pump]
driver = "toptica.dlc_pro"
address = "tcp://host:1998"
[instruments.spd]
driver = "sfifteen.irspd1"
address = "serial:///dev/spd"
settings = { bias_v = 60.0 }
"""
STATION_OF = parse_station(STATION, BenchStation)
VALUES = [
    None, True, False, 3, -2.5, "a\"b\\c\nd", [1, [2]], (1,), (1, 2), {"a", "b"}, {"k": [None]},
    b"\x00\xff", 1 - 2j,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_values_come_back_in_both_versions(value: Any) -> None:
    assert pyon.decode(pyon.encode(value).encode()) == value
    assert pyon.decode(pyon.encode_1(value).encode()) == value


def test_arrays_and_what_sipyco_writes_itself() -> None:
    array = pyon.decode(b'nparray((3, ), "<i8", b"AQAAAAAAAAACAAAAAAAAAAMAAAAAAAAA")')
    np.testing.assert_array_equal(array, [1, 2, 3])
    np.testing.assert_array_equal(pyon.decode(pyon.encode(array).encode()), array)
    assert pyon.decode(b'npscalar("<f8", b"AAAAAAAA8D8=")') == 1.0
    assert pyon.decode(b'{"ret": (1, null, inf), "status": "ok"}')["ret"][1] is None
    assert pyon.decode(pyon.encode({1: "one"}).encode()) == {1: "one"}
    assert pyon.decode(b"Fraction(1, 4)") == 0.25


@pytest.mark.parametrize(
    "line",
    [b"", b"__import__('os')", b"[].__class__", b"nparray(1)", b"open('x')", b"\xff\xfe", b"1 + 2",
     b"(" * 500, b'{"__jsonclass__": ["os", []]}', b"[x for x in ()]", b"lambda: 1"],
)  # fmt: skip
def test_nothing_that_arrives_is_executed(line: bytes) -> None:
    with pytest.raises(LinkDesync):
        pyon.decode(line)
    with pytest.raises(LinkDesync):
        pyon.encode(object())


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("vao", "Did you mean 'voa'"),
        ("switch.positon", "Did you mean 'position'"),
        ("pump.drive_enabled", "never offered"),
        ("spd.bias_v", "never offered"),
    ],
)
def test_what_may_not_be_offered(word: str, words: str) -> None:
    with pytest.raises(StationError, match=words):
        allowed(STATION_OF, [word])


def test_what_may_be_offered() -> None:
    found = allowed(STATION_OF, ["voa", "switch.position", "spd"])
    assert found == {"voa": frozenset(), "switch": frozenset({"position"}), "spd": frozenset()}


class Client:
    """A client that sends lines, as sipyco's client does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def say(self, line: str) -> Any:
        self.writer.write(line.encode() + b"\n")
        answer = await self._reader.readline()
        return pyon.decode(answer) if answer else None

    async def call(self, name: str, *args: Any, **more: Any) -> Any:
        request = {"action": "call", "name": name, "args": args, "kwargs": {}, **more}
        return await self.say(pyon.encode(request))


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[PcRpcServer]:
    async with emulated("thorlabs.osw_e", tmp_path) as (driver, _):
        await driver.open()
        bench = Bench({"switch": driver, "other": driver}, {})
        served = PcRpcServer(bench, {"switch": frozenset({"position"})})
        await served.start("127.0.0.1", 0)
        yield served
        await served.stop()


async def connected(server: PcRpcServer, *lines: str) -> tuple[Client, list[Any]]:
    client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
    return client, [await client.say(line) for line in lines]


async def test_a_client_reads_sets_and_is_refused(server: PcRpcServer) -> None:
    client, (hello, methods) = await connected(server, "ARTIQ pc_rpc", "switch pyon_v2")
    assert hello["targets"] == ["switch"]
    assert methods == {"get", "ping", "safe_state", "set", "snapshot"}
    assert await client.call("ping") == {"status": "ok", "ret": True}
    assert (await client.call("set", "position", 2))["status"] == "ok"
    assert await client.call("get", "position") == {"status": "ok", "ret": 2}
    assert (await client.call("snapshot"))["ret"]["position"] == 2
    for name, args, kind in (
        ("set", ("position", 9), "LimitError"),
        ("set", ("name", 1), "LimitError"),
        ("get", ("no_such",), "LimitError"),
        ("get", (), "TypeError"),
        ("close", (), "AttributeError"),
        ("__init__", (), "AttributeError"),
        ("terminate", (), "AttributeError"),
    ):
        failed = await client.call(name, *args)
        assert failed["status"] == "failed", name
        assert failed["exception"]["class"] == kind, failed
        assert failed["exception"]["traceback"] == []
    assert (await client.call("get", "position"))["ret"] == 2, "nothing was changed"
    listed = await client.say('{"action": "get_rpc_method_list"}')
    assert set(listed["ret"]["methods"]) == methods
    assert (await client.say('{"action": "explode"}'))["exception"]["class"] == "ValueError"
    client.writer.close()


async def test_an_older_client_is_understood(server: PcRpcServer) -> None:
    client, (_, methods) = await connected(server, "ARTIQ pc_rpc", "switch")
    assert "snapshot" in methods
    request = '{"action": "call", "name": "get", "args": ("position", ), "kwargs": {}}'
    assert (await client.say(request))["status"] == "ok"
    client.writer.close()


@pytest.mark.parametrize(
    "lines",
    [("GET / HTTP/1.1",), ("ARTIQ pc_rpc", "other pyon_v2"), ("ARTIQ pc_rpc", "switch pyon_v9"),
     ("ARTIQ pc_rpc", "switch pyon_v2", "no pyon at all")],
)  # fmt: skip
async def test_a_bad_client_is_cut_off_without_a_word(
    server: PcRpcServer, lines: tuple[str, ...]
) -> None:
    client, answers = await connected(server, *lines)
    assert answers[-1] is None
    client.writer.close()


ID = "sipyco.controller"


@pytest.mark.parametrize("newer", [True, False])
async def test_theirs_used_here(tmp_path: Path, newer: bool) -> None:
    async with emulated(ID, tmp_path, {"newer": newer}) as (driver, device):
        device.registers.put("output", 1)
        identity = await driver.open()
        assert (identity.model, identity.firmware) == ("aom", "AOM driver")
        assert device.registers["output"] == 0, "its safe value"
        await driver.set("frequency_hz", 110e6)
        assert device.registers["frequency"] == 110e6
        with pytest.raises(LimitError):
            await driver.set("frequency_hz", 5e8)
        assert await driver.call("get_errors") == []
        with pytest.raises(LimitError, match="does not allow 'close'"):
            await driver.call("close")
        await driver.set("output", True)
        driver.emergency_off()
        async with asyncio.timeout(60):
            while device.registers["output"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"target": "aon"}, IdentityError, "Did you mean 'aom'"),
        ({"methods": ["get_error"]}, IdentityError, "Did you mean 'get_errors'"),
        ({"parameters": [{"name": "x", "get": "1+1"}]}, StationError, "no call"),
        (
            {"parameters": [{"name": "x", "get": "x", "off": 0.0}]},
            StationError,
            "cannot be set",
        ),
    ],
)
async def test_what_the_station_gets_wrong_is_named(
    tmp_path: Path, change: dict[str, Any], kind: type[Exception], words: str
) -> None:
    driver: Any = load_driver(ID)
    async with emulated(ID, tmp_path) as (example, device):
        settings = {**json.loads(example.settings.model_dump_json()), **change}
        with pytest.raises(kind, match=words):
            await driver("unit", device.address, driver.Settings(**settings)).open()


async def test_a_controller_that_does_not_reach_its_instrument(tmp_path: Path) -> None:
    async with emulated(ID, tmp_path, {"reachable": False}) as (driver, _):
        with pytest.raises(InstrumentError, match="does not reach"):
            await driver.open()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_ends_the_server_by_its_safe_state(tmp_path: Path, number: int) -> None:
    """Not by the signal itself: the bench is guarded as that of every other command."""
    async with emulated("sfifteen.irspd1", tmp_path) as (_, device):
        station = tmp_path / "bench.toml"
        station.write_text(
            'schema = 2\nname = "t"\n[instruments.spd]\ndriver = "sfifteen.irspd1"\n'
            f'address = "{device.address}"\nbackend = "real"\nsettings = {{ bias_v = 60.0 }}\n'
        )
        served = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "photonlink.pipeline.cli", "pc-rpc", str(station),
            "--allow", "spd", "--port", "0",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert served.stdout is not None
        async with asyncio.timeout(60):
            told = await served.stdout.readline()
            assert b"spd" in told, (await served.communicate())[1]
            served.send_signal(number)
            _, errors = await served.communicate()
        assert served.returncode == 130, errors
        assert b"Traceback" not in errors
