"""The emulator program as a separate process, and stations that reach it over the real wires."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract_cases import BENCHES, CASES, bench_text, settings_text

from photonlink.firmware_sim.control import ask
from photonlink.hal.station import BenchStation, parse_station


class EmulatorProgram:
    """``python -m photonlink.firmware_sim`` with its addresses and its control socket."""

    def __init__(self, bench: Path, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "photonlink.firmware_sim",
                str(bench),
                "--run-dir",
                str(run_dir),
                "--until-stdin-closes",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
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

    def kill(self) -> None:
        self._process.kill()
        self._finish()

    def stop(self) -> dict[str, Any]:
        """Ask it to end; its last words say what its lasers do."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.stdout is not None
        words = self._process.stdout.read().strip().splitlines()
        self._finish()
        return dict(json.loads(words[-1]))

    def _finish(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait(20)

    def station(self, *names: str, **extra: str) -> BenchStation:
        """A station with these instruments, every one at its emulator's address."""
        text = 'schema = 2\nname = "contract"\n'
        for name in names:
            text += (
                f'[instruments.{name}]\ndriver = "{CASES[name].id}"\nbackend = "emulator"\n'
                f'emulator = "{self.addresses[name]}"\nopen_timeout_s = 3.0\n'
                f"[instruments.{name}.settings]\n{settings_text(name)}\n{extra.get(name, '')}\n"
            )
        return parse_station(text, BenchStation)


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
) -> Iterator[dict[int, EmulatorProgram]]:
    """One program for each bench that the module's tests use."""
    items = [i for i in request.session.items if request.node in i.listchain()]
    wanted = {_bench_of(i) for i in items if "program" in getattr(i, "fixturenames", ())}
    started = {i: start_program(tmp_path_factory.mktemp("emu"), i) for i in sorted(wanted)}
    yield started
    for program in started.values():
        program.stop()


@pytest.fixture
def program(
    programs: dict[int, EmulatorProgram], request: pytest.FixtureRequest
) -> EmulatorProgram:
    """The program with the test's instrument, every fault healed and every cable in."""
    found = programs[_bench_of(request.node)]
    for name in found.addresses:
        found.fault(name, "none")
        found.fault(name, "replug")
    return found


@pytest.fixture
def own_program(tmp_path: Path) -> Iterator[EmulatorProgram]:
    """A program of the test's own, to be killed."""
    program = start_program(tmp_path)
    yield program
    program.kill()


@pytest.fixture
def restart(tmp_path: Path) -> Any:
    """Starts a killed program again at the same addresses."""
    return lambda: EmulatorProgram(tmp_path / "bench.toml", tmp_path / "run")
