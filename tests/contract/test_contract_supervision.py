"""Loss and recovery over the real wires: one report, the same device, outputs off."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from photonlink.hal.errors import BenchError, LinkError
from photonlink.hal.facets import Biased, Emits
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.station import BenchStation, parse_station
from photonlink.hal.supervisor import BackOff, Found, Lost, Notice, Supervisor, WrongDevice
from photonlink.hal.tags import Provenance


@contextlib.asynccontextmanager
async def supervised(bench: Bench) -> AsyncIterator[tuple[Supervisor, list[Any]]]:
    events: list[Any] = []
    supervisor = Supervisor(bench, events.append, poll_s=0.05, back_off=BackOff(0.05, 0.2))
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, events
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.close()


async def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition lies in another process
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", ["pump", "alice-h"])
async def test_unplugged_named_once_found_again_still_off(program: Any, name: str) -> None:
    bench = await open_bench(program.station("pump", "alice-h"))
    async with supervised(bench) as (supervisor, events):
        await bench.having(Emits)["pump"].set_emission(True)
        await bench.having(Biased)["alice-h"].set_bias(True)
        program.fault(name, "unplug")
        await until(lambda: bool(events))
        await asyncio.sleep(0.5)  # several attempts fail meanwhile
        assert len(events) == 1
        assert isinstance(events[0], Lost)
        assert events[0].name == name
        assert name in supervisor.lost
        assert name not in supervisor.readings
        program.fault(name, "replug")
        await until(lambda: len(events) > 1)
        assert isinstance(events[1], Found)
        assert supervisor.lost == {}
        if name == "pump":
            assert not await bench.having(Emits)["pump"].emission()
            assert not program.status("pump")["emission"]
            assert (await bench.having(Emits)["pump"].snapshot())["current_set_ma"] == 80.0
            await bench.having(Emits)["pump"].set_emission(True)
            assert program.status("pump")["emission"], "light comes when it is asked for"
        else:
            assert not program.status("alice-h")["bias"]
        await asyncio.sleep(0.3)
        assert len(events) == 2


async def test_a_laser_that_restarted_by_itself_is_configured_again(program: Any) -> None:
    bench = await open_bench(program.station("pump"))
    async with supervised(bench) as (supervisor, events):
        await until(lambda: float(supervisor.readings.get("pump", {}).get("uptime_s", 0)) >= 1)
        program.fault("pump", "reboot")
        await until(lambda: any(isinstance(event, Found) for event in events))
        assert (await bench.having(Emits)["pump"].snapshot())["current_set_ma"] == 80.0
        assert [type(event) for event in events] == [Lost, Found]


async def test_a_detector_that_lost_its_settings_is_configured_again(program: Any) -> None:
    bench = await open_bench(program.station("alice-h", **{"alice-h": "threshold_v=0.07"}))
    async with supervised(bench) as (_, events):
        await bench.having(Biased)["alice-h"].set_bias(True)
        await bench.having(Biased)["alice-h"].count(0.05)
        await asyncio.sleep(0.3)
        assert events == [], "its own changes are no restart"
        program.fault("alice-h", "reboot")
        await until(lambda: any(isinstance(event, Found) for event in events))
        assert [type(event) for event in events] == [Lost, Found]
        assert (await bench.having(Biased)["alice-h"].snapshot())["threshold_v"] == 0.07
        assert not program.status("alice-h")["bias"]


async def test_killed_emulator_comes_back_at_the_same_place(
    own_program: Any, restart: Callable[[], Any]
) -> None:
    bench = await open_bench(own_program.station("alice-h", "alice-tagger"))
    async with supervised(bench) as (_, events):
        await bench.having(Biased)["alice-h"].set_bias(True)
        own_program.kill()
        await until(lambda: bool(events))
        with pytest.raises(LinkError):
            await bench.having(Biased)["alice-h"].snapshot()
        again = restart()
        try:
            await until(lambda: len(events) > 1)
            assert [type(event) for event in events] == [Lost, Found]
            assert not again.status("alice-h")["bias"]
        finally:
            again.kill()


async def test_another_serial_number_is_left_alone_and_named_once(program: Any) -> None:
    bench = await open_bench(program.station("pump"))
    other = bench.resolutions["pump"].identity.__class__("Toptica", "DLC pro", "another")
    async with supervised(bench) as (_, events):
        resolution = bench.resolutions["pump"]
        object.__setattr__(resolution, "identity", other)
        program.fault("pump", "unplug", for_s=0.2)
        await until(lambda: len(events) > 1)
        await asyncio.sleep(0.5)
        assert [type(event) for event in events] == [Lost, WrongDevice]
        assert "another" in events[1].reason


def _auto_station(program: Any, real: str, backend: str = "auto") -> BenchStation:
    return parse_station(
        'schema = 2\nname = "t"\n[instruments.pump]\ndriver = "toptica.dlc_pro"\n'
        f'backend = "{backend}"\naddress = "{real}"\nemulator = "{program.addresses["pump"]}"\n'
        "open_timeout_s = 2.0\nsettings = { reply_timeout_s = 0.3 }\n",
        BenchStation,
    )


async def test_auto_says_why_it_took_the_emulator_and_real_never_does(program: Any) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    silent = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        absent = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        for real, outcome, words in (
            (absent, "LinkNotFound", "refused"),
            (silent, "LinkTimeout", "no prompt"),
        ):
            bench = await open_bench(_auto_station(program, real))
            try:
                resolution = bench.resolutions["pump"]
                assert resolution.chosen == "emulator"
                assert resolution.provenance is Provenance.EMULATED
                first, second = resolution.attempts
                assert (first.address, first.outcome) == (real, outcome)
                assert words in first.reason
                assert second.outcome == "opened"
                assert bench.emulated
            finally:
                await bench.close()
            with pytest.raises(BenchError, match=words):
                await open_bench(_auto_station(program, real, "real"))
    server.close()


async def test_all_failures_come_back_as_one_tree_and_the_rest_is_closed(
    program: Any, tmp_path: Path
) -> None:
    station = program.station("pump", "alice-h", "alice-tagger")
    text = station.model_dump(mode="json", by_alias=True)
    text["instruments"]["alice-tagger"]["emulator"] = f"serial://{tmp_path}/absent"
    text["instruments"]["alice-h"]["emulator"] = program.addresses["alice-tagger"]
    with pytest.raises(BenchError) as caught:
        await open_bench(BenchStation.model_validate(text))
    message = str(caught.value)
    assert "2 instrument(s)" in message
    assert "alice-tagger" in message
    assert "no such port" in message
    assert "SPD" in message, "the wrong instrument at the address is named"
    assert program.status("pump")["clients"] == 0


async def test_a_real_address_that_is_an_emulator_is_called_one(program: Any) -> None:
    """A stand-in library at a *real* address is still reported as an emulator."""
    text = (
        'schema = 2\nname = "t"\n[instruments.tagger]\ndriver = "picoquant.multiharp150"\n'
        f'address = "{program.addresses["bob-tagger"]}"\n'
    )
    bench = await open_bench(parse_station(text, BenchStation))
    try:
        assert bench.resolutions["tagger"].chosen == "real"
        assert bench.resolutions["tagger"].provenance is Provenance.EMULATED
    finally:
        await bench.close()


async def test_what_the_laser_says_by_itself_is_heard(program: Any) -> None:
    station = program.station("pump").model_dump(mode="json", by_alias=True)
    port = program.status("pump")["monitoring_port"]
    station["instruments"]["pump"]["emulator"] += f"?monitor={port}"
    bench = await open_bench(BenchStation.model_validate(station))
    async with supervised(bench) as (_, events):
        await asyncio.sleep(0.3)
        await bench.having(Emits)["pump"].set_emission(True)
        await until(lambda: Notice("pump", "emission is ON") in events)
        program.ask(device="pump", set={"interlock_open": True})
        await until(lambda: Notice("pump", "the interlock opened") in events)
        await until(lambda: Notice("pump", "emission is off") in events)
        assert not await bench.having(Emits)["pump"].emission()
        program.ask(device="pump", set={"interlock_open": False})
        await until(lambda: Notice("pump", "the interlock is closed") in events)
        assert not await bench.having(Emits)["pump"].emission(), "it stays off until asked"
        program.fault("pump", "unplug", for_s=0.3)
        await until(lambda: any(isinstance(event, Found) for event in events))
        assert sum(isinstance(event, Lost) for event in events) == 1
        await asyncio.sleep(0.5)  # the monitoring line is back too
        await bench.having(Emits)["pump"].set_emission(True)
        await until(lambda: events.count(Notice("pump", "emission is ON")) == 2)
