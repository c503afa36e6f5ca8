"""The emulator program as a separate process, and stations that reach it over the real wires."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contract_cases import BENCHES, CASES, bench_text, settings_text

from photonlink.firmware_sim.control import ask
from photonlink.hal.station import BenchStation, parse_station


class HostedBench:
    """One bench of a running emulator program: its addresses and its control socket."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.addresses: dict[str, str] = ready["addresses"]
        self.control_socket: str = ready["control"]

    def ask(self, **request: Any) -> dict[str, Any]:
        reply = ask(self.control_socket, request)
        assert reply.pop("ok"), reply
        return reply

    def fault(self, device: str, fault: str, **more: Any) -> None:
        self.ask(device=device, fault=fault, **more)

    def status(self, device: str) -> dict[str, Any]:
        status: dict[str, Any] = self.ask(status=True)["status"]["devices"][device]
        return status

    def station(
        self, *names: str, deadline_s: float = 5.0, open_s: float = 30.0, **extra: str
    ) -> BenchStation:
        """A station with these instruments, every one at its emulator's address."""
        text = 'schema = 2\nname = "contract"\n'
        for name in names:
            settings = settings_text(name, deadline_s)
            text += (
                f'[instruments.{name}]\ndriver = "{CASES[name].id}"\nbackend = "emulator"\n'
                f'emulator = "{self.addresses[name]}"\nopen_timeout_s = {open_s}\n'
                f"[instruments.{name}.settings]\n{settings}\n{extra.get(name, '')}\n"
            )
        return parse_station(text, BenchStation)


class EmulatorProgram(HostedBench):
    """``python -m photonlink.firmware_sim`` with one bench; a test may kill it."""

    def __init__(self, bench: Path, run_dir: Path) -> None:
        self._process = _started("-m", "photonlink.firmware_sim", str(bench), "--run-dir",
                                 str(run_dir), "--until-stdin-closes")  # fmt: skip
        super().__init__(_ready(self._process))

    def kill(self) -> None:
        self._process.kill()
        _finish(self._process)


def _started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ready(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def _finish(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    process.wait(20)


@contextlib.contextmanager
def hosted(folder: Path, numbers: Iterable[int]) -> Iterator[dict[int, HostedBench]]:
    """These benches, all in one emulator program."""
    numbers = sorted(numbers)
    for number in numbers:
        (folder / str(number)).mkdir()
        (folder / str(number) / "bench.toml").write_text(bench_text(number))
    process = _started(str(Path(__file__).parents[1] / "emulator_host.py"), str(folder))
    try:
        ready = _ready(process)
        yield {n: HostedBench(one) for n, one in zip(numbers, ready, strict=True)}
    finally:
        _finish(process)


def start_program(tmp: Path, bench: int = 0) -> EmulatorProgram:
    (tmp / "bench.toml").write_text(bench_text(bench))
    return EmulatorProgram(tmp / "bench.toml", tmp / "run")


def _bench_of(item: Any) -> int:
    """The bench of a test's instrument (its parameter ``name``; without one, the first)."""
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("name") if callspec else None
    return next((i for i, bench in enumerate(BENCHES) if name in bench), 0)


@pytest.fixture(scope="module")
def programs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, HostedBench]]:
    """The benches that the module's tests use."""
    items = [i for i in request.session.items if request.node in i.listchain()]
    wanted = {_bench_of(i) for i in items if "program" in getattr(i, "fixturenames", ())}
    with hosted(tmp_path_factory.mktemp("emu"), wanted) as started:
        yield started


@pytest.fixture(scope="module")
def all_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, HostedBench]]:
    """Every bench: all instruments."""
    with hosted(tmp_path_factory.mktemp("emu"), range(len(BENCHES))) as started:
        yield started


@pytest.fixture
def program(programs: dict[int, HostedBench], request: pytest.FixtureRequest) -> HostedBench:
    """The bench with the test's instrument, without faults and with every cable plugged in."""
    found = programs[_bench_of(request.node)]
    for name in found.addresses:
        found.fault(name, "none")
        found.fault(name, "replug")
    return found


@pytest.fixture
def own_program(tmp_path: Path) -> Iterator[EmulatorProgram]:
    """An emulator program for one test, which may kill it."""
    program = start_program(tmp_path)
    yield program
    program.kill()


@pytest.fixture
def restart(tmp_path: Path) -> Any:
    """Start a killed program again at the same addresses."""
    return lambda: EmulatorProgram(tmp_path / "bench.toml", tmp_path / "run")
