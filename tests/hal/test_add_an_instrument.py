"""``docs/add_an_instrument.md`` is run: its driver is registered, tested and driven as written."""

from __future__ import annotations

import asyncio
import re
import sys
import types
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from wire_peers import tcp_peer

from photonlink.hal import registry
from photonlink.hal.facets import HasOutput
from photonlink.hal.opening import open_bench
from photonlink.hal.registry import check_driver
from photonlink.hal.station import BenchStation, parse_station
from photonlink.hal.supervisor import Supervisor

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add_an_instrument.md"
DRIVER, TEST = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def ps1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> types.ModuleType:
    """The page's driver in a package of its own, joined by an entry point."""
    package = tmp_path / "acme"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "ps1.py").write_text(DRIVER, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = EntryPoints([EntryPoint("acme.ps1", "acme.ps1", registry.GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    for name in ("acme", "acme.ps1"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = registry.registry()
    assert found.problems == ()
    assert check_driver(found.drivers["acme.ps1"]) == []
    return sys.modules["acme.ps1"]


class Device:
    """The supply as its manual has it: a dictionary behind lines."""

    def __init__(self) -> None:
        self.values = {"OUT": "1", "VSET": "0.00", "IMEAS": "12.5", "TRIP": "0"}

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            name, _, value = line.decode().strip().partition(" ")
            if name == "ID?":
                writer.write(b"ACME PS1 0042\n")
            elif name.endswith("?"):
                writer.write(self.values[name[:-1]].encode() + b"\n")
            elif name:
                self.values[name] = value


async def test_the_page_s_own_test_passes(ps1: types.ModuleType) -> None:
    names: dict[str, Any] = {"Ps1": ps1.Ps1}
    exec(compile(TEST, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    ran = [await work() for name, work in list(names.items()) if name.startswith("test_")]
    assert len(ran) == 1


async def test_a_station_opens_it_watches_it_and_makes_it_safe(ps1: types.ModuleType) -> None:
    device = Device()
    async with tcp_peer(device) as peer:
        station = parse_station(
            'schema = 2\nname = "t"\n[instruments.modulator]\ndriver = "acme.ps1"\n'
            f'address = "{peer.uri}"\nlimits = {{ level_v = [0, 5] }}\n'
            "settings = { level_v = 3.5, reply_timeout_s = 0.5 }\n",
            BenchStation,
        )
        bench = await open_bench(station)
        assert (device.values["OUT"], device.values["VSET"]) == ("0", "3.5")
        (supply,) = bench.having(HasOutput).values()
        await supply.set_output(True)
        events: list[Any] = []
        supervisor = Supervisor(bench, events.append, poll_s=0.02)
        watching = asyncio.create_task(supervisor.run())
        device.values["TRIP"] = "1"
        async with asyncio.timeout(5):
            while not events:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (events[0].code, events[0].active) == ("tripped", True)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        steps = await bench.close()
        assert [(step.action, step.ok) for step in steps] == [("modulator: output off", True)]
        assert device.values["OUT"] == "0"
