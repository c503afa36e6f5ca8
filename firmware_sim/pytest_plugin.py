"""pytest plugin (entry point ``pytest11``): a fresh emulated bench for any project's tests.

::

    def test_my_software(photonlink_bench):
        bench = photonlink_bench()                       # the demo's bench
        my_software.connect(bench.addresses["pump"])
        bench.fault("pump", "silent", count=2)
        bench.set("bob.loss_db", 6.0)

The bench runs as a program of its own on free addresses and ends with the test, light off first.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

READY_S, STOP_S = 60.0, 20.0


class BenchProcess:
    """A running bench. addresses: name → main address; lines: name → line → address."""

    def __init__(self, arguments: list[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "photonlink.firmware_sim", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        watch = threading.Timer(READY_S, self._process.kill)
        watch.start()
        line = self._process.stdout.readline()
        watch.cancel()
        if not line:
            self.stop()
            raise RuntimeError("the emulated bench did not start: see its messages above")
        ready = json.loads(line)
        self.addresses: dict[str, str] = ready["addresses"]
        self.lines: dict[str, dict[str, str]] = ready["lines"]
        self.control: str = ready["control"]

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request of the control socket (docs/emulated_bench.md). ValueError if refused."""
        from photonlink.firmware_sim.control import ask

        reply = ask(self.control, request)
        if not reply.pop("ok"):
            raise ValueError(reply.get("error", "refused"))
        return reply

    def fault(self, device: str, fault: str, **more: Any) -> None:
        """Arm a fault on one device: ``count=``, ``for_s=``, …"""
        self.ask(device=device, fault=fault, **more)

    def set(self, path: str, value: Any) -> None:
        """A parameter of the optical table (``bob.loss_db``)."""
        self.ask(set={path: value})

    def status(self, device: str = "") -> dict[str, Any]:
        """Of the bench, or of one device."""
        status: dict[str, Any] = self.ask(status=True)["status"]
        return status["devices"][device] if device else status

    def stop(self) -> None:
        """End it; its lasers go off first."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def photonlink_bench(tmp_path: Path) -> Iterator[Callable[..., BenchProcess]]:
    """``photonlink_bench([bench file or its text], model="…", seed=1, speed=1.0)`` starts a bench.

    With ``model`` it is one instrument on a lit table, named ``unit``.
    """
    started: list[BenchProcess] = []

    def start(
        bench: str | Path = "", *, model: str = "", seed: int = 1, speed: float = 1.0
    ) -> BenchProcess:
        folder = tmp_path / f"bench{len(started)}"
        arguments = ["--run-dir", str(folder), "--seed", str(seed), "--speed", str(speed)]
        arguments.append("--until-stdin-closes")
        if model:
            arguments = ["emulate", model, "--json", *arguments]
        elif isinstance(bench, Path):
            arguments = [str(bench), *arguments]
        elif bench:
            file = tmp_path / f"bench{len(started)}.toml"
            file.write_text(bench, encoding="utf-8")
            arguments = [str(file), *arguments]
        started.append(BenchProcess(arguments))
        return started[-1]

    yield start
    for each in started:
        each.stop()
