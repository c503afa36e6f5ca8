"""Programs of a link, started with the documented commands, for the system tests."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from photonlink.pipeline.calibration.files import encode, load, write
from photonlink.pipeline.calibration.model import Calibration
from photonlink.pipeline.demo.files import DemoFiles, write_demo_files
from photonlink.pipeline.keys.psk import load_psk
from photonlink.pipeline.status.broker import free_port

DEADLINE_S = 120.0
PHOTONLINK = (sys.executable, "-m", "photonlink.pipeline.cli")


class Running:
    """A child process; its output is collected line by line, JSON lines as events."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"COLUMNS": "150"},
        )
        self.output = b""
        self.errors = b""
        self.events: list[dict[str, Any]] = []
        self._arrived = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._arrived:
                self.output += line
                with contextlib.suppress(json.JSONDecodeError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        self.events.append(event)
                self._arrived.notify_all()
        with self._arrived:
            self._arrived.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line

    def wait_for(self, **wanted: Any) -> dict[str, Any]:
        """The first event whose fields have these values (a callable: for which it is true)."""
        seen = 0
        deadline = time.monotonic() + DEADLINE_S
        with self._arrived:
            while True:
                for event in self.events[seen:]:
                    if all(_fits(event.get(k), v) for k, v in wanted.items()):
                        return event
                seen = len(self.events)
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reading()):
                    raise AssertionError(f"no event {wanted}; last said:\n{self.tail()}")
                self._arrived.wait(min(left, 0.5))

    def _reading(self) -> bool:
        return self._threads[0].is_alive()

    def tail(self) -> str:
        return (self.output[-1500:] + b"\n--\n" + self.errors[-3000:]).decode(errors="replace")

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def finish(self) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(timeout=DEADLINE_S)
        for thread in self._threads:
            thread.join(timeout=10)
        return code

    def stop(self) -> None:
        if self.process.poll() is None:
            self.interrupt()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=30)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            thread.join(timeout=10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def _fits(value: Any, wanted: Any) -> bool:
    return bool(wanted(value)) if callable(wanted) else value == wanted


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Running]:
    program = Running(*arguments)
    try:
        yield program
    finally:
        program.stop()


@contextlib.contextmanager
def emulated_bench(
    folder: Path,
    *,
    block_bits: int = 30_000,
    mqtt_port: int = 1,
    bench: str = "",
    calibrated: bool = True,
) -> Iterator[tuple[DemoFiles, Running]]:
    """The demo's files and its running emulators, with a calibration; ``bench`` replaces their
    bench file."""
    files = write_demo_files(folder, mqtt_port, free_port(), seed=11, block_bits=block_bits)
    arguments = list(files.emulator_arguments)
    if bench:
        (folder / "bench.toml").write_text(bench)
        arguments.insert(2, str(folder / "bench.toml"))
    with running(sys.executable, *arguments) as emulators:
        emulators.wait_for(ready=True)
        if calibrated:
            _seal_calibration(folder, list(files.stations))
        yield files, emulators


@functools.cache
def _measured_once() -> Calibration:
    """One calibration for all benches, because they have the same seed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with emulated_bench(folder, calibrated=False) as (files, _):
            done = calibrate(files)
            for _ in range(4):  # a starved host may lose tags or fail to open a tagger
                if done.returncode == 0:
                    break
                done = calibrate(files)
            assert done.returncode == 0, done.stdout + done.stderr
            with contextlib.closing(load_psk(folder / "link.psk")) as psk:
                return load(folder / "alice-state" / "calibration.json", psk)


def _seal_calibration(folder: Path, sides: list[str]) -> None:
    with contextlib.closing(load_psk(folder / "link.psk")) as psk:
        for side in sides:
            write(folder / f"{side}-state" / "calibration.json", encode(_measured_once(), psk))


def calibrate(
    files: DemoFiles, *options: str, seconds: float = 1.0
) -> subprocess.CompletedProcess[str]:
    """``photonlink check --calibrate`` at both ends, as JSON."""
    stations = [str(path) for path in files.stations.values()]
    return subprocess.run(
        [*PHOTONLINK, "check", *stations, "--calibrate", "--operator", "test", "--json",
         "--seconds", str(seconds), *options],
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip


def node(station: Path, *options: str) -> tuple[str, ...]:
    return (*PHOTONLINK, "node", str(station), "--json-lines", *options)


def control(folder: Path, *words: str) -> None:
    """Change the emulated bench through its control socket."""
    socket_path = folder / "run" / "control.sock"
    command = [sys.executable, "-m", "photonlink.firmware_sim", "control", str(socket_path), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
