"""``python -m photonlink.firmware_sim`` as a program: ready line, wires, light off at the end."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from photonlink.firmware_sim.config import (
    BenchConfig,
    BenchFileError,
    default_bench,
    parse_bench,
    with_models,
)
from photonlink.firmware_sim.control import ask
from photonlink.firmware_sim.kit.clock import Clock
from photonlink.firmware_sim.program import Program

COMMAND = [sys.executable, "-m", "photonlink.firmware_sim"]
TABLE = """
[source]
pump_power_mw = 10.0

[devices]
alice-tagger = { model = "sfifteen-tdc1", place = "alice.tagger" }
pump = { model = "toptica-dlc-pro", place = "pump" }
"""
LIMIT_S = 20.0


class Running:
    """The program in a separate process; every read has a deadline."""

    def __init__(self, *args: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def line(self) -> dict[str, Any]:
        stdout = self.process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], LIMIT_S)
        assert ready, "no line in time"
        text = stdout.readline()
        assert text, self.errors()
        line = json.loads(text)
        assert isinstance(line, dict)
        return line

    def errors(self) -> str:
        self.process.kill()
        return self.process.communicate(timeout=LIMIT_S)[1].decode()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process.wait(LIMIT_S)

    def end(self) -> tuple[int, str]:
        """Exit status and stderr; stdout must have no further output."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        assert out == b""
        return self.process.returncode, err.decode()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def go(*args: str, table: str = TABLE) -> Running:
        file = tmp_path / "bench.toml"
        file.write_text(table, encoding="utf-8")
        started.append(Running(str(file), "--run-dir", str(tmp_path / "run"), *args))
        return started[-1]

    yield go
    for running in started:
        running.process.kill()
        running.close()


def test_ready_line_names_every_wire_and_the_file_says_the_same(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    running = start("--seed", "9")
    ready = running.line()
    assert ready["ready"] is True
    assert ready["seed"] == 9
    assert ready["addresses"]["pump"].startswith("tcp://127.0.0.1:")
    link = Path(ready["addresses"]["alice-tagger"].removeprefix("serial://"))
    assert link == tmp_path / "run" / "alice-tagger"
    assert link.is_symlink()
    assert json.loads((tmp_path / "run" / "addresses.json").read_text()) == ready
    running.process.send_signal(signal.SIGTERM)
    last = running.line()
    assert last["stopped"] is True
    assert last["lasers"] == {"pump": {"emission": False, "power_mw": 0.0}}
    assert last["pump_power_mw"] == 0.0
    assert running.end() == (0, "")
    assert not link.is_symlink()
    assert not (tmp_path / "run" / "addresses.json").exists()
    assert not Path(ready["control"]).exists()


@pytest.mark.parametrize("how", ["sigint", "stop", "stdin"])
def test_every_way_to_stop_turns_the_light_off(start: Callable[..., Running], how: str) -> None:
    running = start("--until-stdin-closes")
    ready = running.line()
    ask(ready["control"], {"set": {"source.pump_power_mw": 30.0}})
    if how == "sigint":
        running.process.send_signal(signal.SIGINT)
    elif how == "stop":
        assert ask(ready["control"], {"stop": True})["ok"]
    else:
        assert running.process.stdin is not None
        running.process.stdin.close()
        running.process.stdin = None
    last = running.line()
    assert last["lasers"]["pump"]["emission"] is False
    assert last["pump_power_mw"] == 0.0
    assert running.end()[0] == 0


def test_a_parent_that_hangs_up_does_not_keep_the_program(start: Callable[..., Running]) -> None:
    running = start()
    running.line()
    assert running.process.stdout is not None
    running.process.stdout.close()
    running.process.stdout = None
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(LIMIT_S) == 0


def test_loss_through_the_control_socket_changes_the_clicks(start: Callable[..., Running]) -> None:
    running = start(table="[source]\npump_power_mw = 10.0\n")
    control = running.line()["control"]

    def bob_rate() -> float:
        before = ask(control, {"truth": True})["truth"]["detectors"]
        t0 = ask(control, {"status": True})["status"]["bench_time_s"]
        time.sleep(0.5)
        after = ask(control, {"truth": True})["truth"]["detectors"]
        t1 = ask(control, {"status": True})["status"]["bench_time_s"]
        return sum(after[f"bob.{d}"]["clicks"] - before[f"bob.{d}"]["clicks"] for d in "hvda") / (
            t1 - t0
        )

    near = bob_rate()
    ask(control, {"set": {"bob.loss_db": 12}})
    time.sleep(0.1)
    assert 0.05 * near < bob_rate() < 0.5 * near
    ask(control, {"set": {"source.pump_power_mw": 0}})
    time.sleep(0.1)
    assert bob_rate() < 10_000  # dark counts


def test_control_from_the_command_line(start: Callable[..., Running]) -> None:
    control = start().line()["control"]
    done = subprocess.run(
        [*COMMAND, "control", control, "set", "bob.loss_db=6"], capture_output=True, timeout=LIMIT_S
    )
    assert json.loads(done.stdout)["values"] == {"bob.loss_db": 6.0}
    assert done.returncode == 0
    done = subprocess.run(
        [*COMMAND, "control", control, "set", "bob.los_db=6"], capture_output=True, timeout=LIMIT_S
    )
    assert done.returncode == 1
    assert "los_db" in json.loads(done.stdout)["error"]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("[bob]\nlos_db = 1\n", "bob.los_db: unknown key"),
        ("[[[", "not TOML"),
        ('[devices.p]\nmodel = "sfifteen-tdc1"\nplace = "bob.tagger"\nsettings = {zz = 1}', "zz"),
    ],
)
def test_a_wrong_bench_file_is_named(start: Callable[..., Running], table: str, says: str) -> None:
    status, errors = start(table=table).end()
    assert status == 1
    assert says in errors
    assert "Traceback" not in errors


def test_another_model_stands_where_the_bench_file_has_one() -> None:
    bench = parse_bench(default_bench())
    changed = with_models(bench, ["alice-tagger=picoquant-multiharp150"])
    assert changed.devices["alice-tagger"].model == "picoquant-multiharp150"
    assert changed.devices["alice-tagger"].place == bench.devices["alice-tagger"].place
    assert bench.devices["alice-tagger"].model == "sfifteen-tdc1"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("nobody=sfifteen-tdc1", "no device 'nobody'"),
        ("alice-tagger=sfifteen-tdc9", "unknown model 'sfifteen-tdc9'"),
        ("alice-tagger=toptica-dlc-pro", "cannot stand at"),
        ("alice-tagger", "unknown model ''"),
    ],
)
def test_a_model_that_cannot_stand_there_is_named(change: str, says: str) -> None:
    with pytest.raises(BenchFileError, match=says):
        with_models(parse_bench(default_bench()), [change])


def test_print_default_is_the_default() -> None:
    done = subprocess.run([*COMMAND, "--print-default"], capture_output=True, timeout=LIMIT_S)
    assert done.stdout.decode() == default_bench()
    config = parse_bench(done.stdout.decode())
    assert {d.place for d in config.devices.values()} == {
        "pump",
        *(f"{s}.{p}" for s in ("alice", "bob") for p in ("tagger", "h", "v", "d", "a")),
    }


# ---- in this process ---------------------------------------------------------------------------


async def test_a_host_that_sleeps_loses_time_loudly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = BenchConfig.model_validate({"source": {"pump_power_mw": 10.0}, "max_lag_s": 0.2})
    async with Program(config, tmp_path) as program:
        tagger = program.bench.taggers["alice"]
        tagger.start()
        await asyncio.sleep(0.1)
        time.sleep(0.5)  # noqa: ASYNC251 - the host is stopped
        async with asyncio.timeout(60):
            while program.bench.dropped_ps < 3e11 or program.lag_s() >= 0.2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        read = tagger.read()
        assert read.overflow
        assert read.lost > 0
        async with asyncio.timeout(60):
            while tagger.read().until_ps <= read.until_ps:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert "dropped" in capsys.readouterr().err


async def test_bench_time_follows_the_host(tmp_path: Path) -> None:
    config = BenchConfig.model_validate({"source": {"pump_power_mw": 10.0}})
    async with Program(config, tmp_path, clock=Clock(5.0)) as program:
        begin, t0, ahead = program.bench.end_ps, time.monotonic(), 9.0
        async with asyncio.timeout(60):  # the bench catches up after a pause of the host
            while abs(ahead) > 0.5 or time.monotonic() - t0 < 0.5:
                await asyncio.sleep(0.05)
                passed = (program.bench.end_ps - begin) * 1e-12
                ahead = passed - 5.0 * (time.monotonic() - t0)


class Stubborn:
    """A device on which every step of switching off fails."""

    name, address = "stubborn", "none://"

    async def start(self, run_dir: Path) -> None:
        assert run_dir.name

    async def stop(self) -> None:
        raise OSError("wire on fire")

    def safe_off(self) -> None:
        raise RuntimeError("key switch stuck")

    def status(self) -> dict[str, Any]:
        return {}

    def control(self, command: Any) -> dict[str, Any]:
        return dict(command)

    def addresses(self) -> dict[str, str]:
        return {"command": self.address}


async def test_one_device_that_fails_does_not_keep_the_others_on(tmp_path: Path) -> None:
    config = parse_bench('[devices]\npump = { model = "toptica-dlc-pro", place = "pump" }')
    program = Program(config, tmp_path)
    stubborn = Stubborn()
    program.devices = {"stubborn": stubborn, **program.devices}
    program.bench.config.devices["stubborn"] = config.devices["pump"].model_copy(
        update={"model": "sfifteen-tdc1", "place": "bob.tagger"}
    )
    await program._start()
    program.bench.set({"source.pump_power_mw": 5.0})
    last = await program.close()
    assert last["lasers"]["pump"]["emission"] is False
    assert [e.split(":")[0] for e in last["errors"]] == ["stubborn", "stubborn"]


def test_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    async def once() -> None:
        async with Program(parse_bench(TABLE), tmp_path):
            await asyncio.sleep(0.05)

    asyncio.run(once())
    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(once())
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_bench_that_breaks_ends_the_program_with_the_light_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Program(parse_bench(TABLE), tmp_path) as program:

        def broken() -> None:
            raise MemoryError("no memory")

        monkeypatch.setattr(program.bench, "advance", broken)
        async with asyncio.timeout(5):
            await program.stopping.wait()
        last = await program.close()
    assert "no memory" in last["errors"][0]
    assert last["lasers"]["pump"]["emission"] is False
    assert "no memory" in capsys.readouterr().err


async def test_two_benches_do_not_share_a_run_dir(tmp_path: Path) -> None:
    async with Program(parse_bench(TABLE), tmp_path) as first:
        link = (tmp_path / "alice-tagger").resolve()
        with pytest.raises(OSError, match="another bench"):
            async with Program(parse_bench(TABLE), tmp_path):
                pass
        assert (tmp_path / "alice-tagger").resolve() == link
        reply = await asyncio.to_thread(ask, first.ready()["control"], {"status": True})
        assert reply["ok"]


async def test_a_device_that_does_not_start_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sleepy(Stubborn):
        async def start(self, run_dir: Path) -> None:
            await asyncio.sleep(3600)

        async def stop(self) -> None: ...

        def safe_off(self) -> None: ...

    monkeypatch.setattr("photonlink.firmware_sim.program.DEVICE_DEADLINE_S", 0.05)
    program = Program(BenchConfig(), tmp_path)
    program.devices = {"sleepy": Sleepy()}
    program.bench.config.devices["sleepy"] = parse_bench(TABLE).devices["alice-tagger"]
    with pytest.raises(OSError, match="sleepy: not up"):
        async with program:
            pass
