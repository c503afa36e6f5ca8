"""Run ``docs/add_an_instrument.md``: its driver is registered, tested and driven as written."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import types
from collections.abc import AsyncIterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from photonlink.hal import registry
from photonlink.hal.errors import LimitError
from photonlink.hal.facets import HasOutput
from photonlink.hal.opening import open_bench
from photonlink.hal.params import describe
from photonlink.hal.registry import check_driver
from photonlink.hal.station import BenchStation, parse_station
from photonlink.hal.supervisor import Supervisor
from photonlink.hal.testing import play
from photonlink.pipeline.bench.reading import reading
from photonlink.pipeline.node.shown import instrument_states
from photonlink.pipeline.status.payload import flatten

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add_an_instrument.md"
DRIVER, TEST, EMULATOR = re.findall(
    r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
)


@pytest.fixture
def ps1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> types.ModuleType:
    """The page's driver in a package of its own, registered by an entry point."""
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


@contextlib.asynccontextmanager
async def emulated(tmp_path: Path) -> AsyncIterator[Any]:
    """The page's emulator on a free port, its output left on."""
    names: dict[str, Any] = {}
    exec(compile(EMULATOR, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    device = names["REGISTRATION"].create("unit", {})
    await device.start(tmp_path)
    device.registers.put("out", 1)
    try:
        yield device
    finally:
        await device.stop()


async def test_the_page_s_own_test_passes(ps1: types.ModuleType) -> None:
    names: dict[str, Any] = {"Ps1": ps1.Ps1}
    exec(compile(TEST, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    ran = [await work() for name, work in list(names.items()) if name.startswith("test_")]
    assert len(ran) == 1


async def test_a_station_opens_it_watches_it_and_makes_it_safe(
    ps1: types.ModuleType, tmp_path: Path
) -> None:
    async with emulated(tmp_path) as device:
        station = parse_station(
            'schema = 2\nname = "t"\n[instruments.modulator]\ndriver = "acme.ps1"\n'
            f'address = "{device.address}"\nlimits = {{ level_v = [0, 9] }}\n'
            "settings = { level_v = 3.5, reply_timeout_s = 0.5 }\n",
            BenchStation,
        )
        bench = await open_bench(station)
        assert (device.registers["out"], device.registers["vset"]) == (0, 3.5)
        ((name, supply),) = bench.having(HasOutput).items()
        await supply.set_output(True)
        modulator: Any = bench.instruments[name]
        assert await modulator.get("current_a") == pytest.approx(3.5 / 282, rel=1e-3)
        events: list[Any] = []
        supervisor = Supervisor(bench, events.append, poll_s=0.02)
        watching = asyncio.create_task(supervisor.run())
        await modulator.set("level_v", 8.8)  # 31 mA
        async with asyncio.timeout(5):
            while not events:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (events[0].code, events[0].active) == ("tripped", True)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        steps = await bench.close()
        assert [(step.action, step.ok) for step in steps] == [("modulator: output off", True)]
        assert device.registers["out"] == 0


async def test_the_page_s_conversation_is_the_emulator_s_too(tmp_path: Path) -> None:
    names: dict[str, Any] = {"Ps1": None}
    exec(compile(TEST, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    async with emulated(tmp_path) as device:
        assert await play(names["OPENING"], device.address) == []
        other = names["OPENING"].replace("0042", "0043")
        assert len(await play(other, device.address, timeout_s=0.3)) == 1


async def test_one_declaration_feeds_everything(ps1: types.ModuleType, tmp_path: Path) -> None:
    """The line for ``level_v`` in PARAMS is enough for validation, settings, the station's limits,
    snapshot, command line, docs page and MQTT."""
    (param,) = (p for p in ps1.Ps1.PARAMS if p.name == "level_v")
    field = ps1.Ps1.Settings.model_fields["level_v"]
    assert (field.annotation, field.description) == (float | None, "voltage asked for")
    assert "| `level_v` | V | read/set | 0…10 | `level_v` | voltage asked for |" in describe(
        [param]
    )
    async with emulated(tmp_path) as device:
        text = (
            'schema = 2\nname = "t"\n[instruments.modulator]\ndriver = "acme.ps1"\n'
            f'address = "{device.address}"\nlimits = {{ level_v = [0, 9] }}\n'
            "settings = { level_v = 3.5 }\n"
        )
        bench = await open_bench(parse_station(text, BenchStation))
        supply: Any = bench.instruments["modulator"]
        for wrong, words in ((10.5, "outside 0…10"), (9.5, "outside 0…9"), ("x", "finite number")):
            with pytest.raises(LimitError, match=words):
                await supply.set("level_v", wrong)
        supervisor = Supervisor(bench, lambda _: None, poll_s=0.01)
        watching = asyncio.create_task(supervisor.run())
        while "modulator" not in supervisor.readings:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        (state,) = instrument_states(bench, supervisor)
        assert flatten(state)["level_v"] == 3.5, "MQTT's instrument/modulator"
        await bench.close()
        entry = parse_station(text, BenchStation).instruments["modulator"]
        async with reading("modulator", entry) as reader:  # photonlink get
            assert await reader.read(["level_v"]) == {"level_v": 3.5}
