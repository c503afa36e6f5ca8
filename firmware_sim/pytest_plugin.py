"""pytest plugin (entry point ``pytest11``): a fresh emulated bench for any project's tests.

::

    def test_my_software(photonlink_bench):
        bench = photonlink_bench()                       # the demo's bench
        my_software.connect(bench.addresses["pump"])
        bench.fault("pump", "silent", count=2)
        bench.set("bob.loss_db", 6.0)

The bench runs as a program of its own on free addresses and ends with the test, light off first.
With ``virtual=True`` it runs in the test's own process on an event loop whose time jumps, and so
does what is given to ``run``::

    def test_an_hour_of_my_software(photonlink_bench):
        bench = photonlink_bench(virtual=True, seed=7)
        bench.run(my_software(bench))                    # a coroutine; asyncio TCP, or mem:// links
        assert bench.wire_digest == "…"                  # the same on every machine
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

T = TypeVar("T")

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


class VirtualBench:
    """An emulated bench on virtual time. It lives while :meth:`run` runs.

    addresses, lines: as of :class:`BenchProcess`, once it runs. Serial instruments have addresses
    ``mem://NAME``; those of vendors' libraries, datagrams and HTTP are refused with ValueError.
    """

    def __init__(self, text: str, folder: Path, seed: int) -> None:
        from photonlink.firmware_sim.config import parse_bench
        from photonlink.firmware_sim.virtual.bench import demo_bench

        self._config = parse_bench(text) if text else demo_bench()
        self._folder, self._seed = folder, seed
        self._program: Any = None
        self.addresses: dict[str, str] = {}
        self.lines: dict[str, dict[str, str]] = {}
        self.wire_digest = ""
        self.virtual_s = 0.0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Start the bench, do the work on its loop, end the bench, light off first."""
        from photonlink.firmware_sim.virtual.bench import running
        from photonlink.firmware_sim.virtual.loop import VirtualLoop, virtual_runner

        async def inside(loop: VirtualLoop) -> T:
            async with running(self._config, self._folder, loop, seed=self._seed) as program:
                self._program = program
                ready = program.ready()
                self.addresses, self.lines = ready["addresses"], ready["lines"]
                return await work

        with virtual_runner(self._seed) as runner:
            loop = cast(VirtualLoop, runner.get_loop())
            begin_s = loop.time()
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                return runner.run(inside(loop))
            finally:
                work.close()
                self._program = None
                self.virtual_s = loop.time() - begin_s
                self.wire_digest = loop.network.digest()

    def ask(self, **request: Any) -> dict[str, Any]:
        """As of :class:`BenchProcess`, while it runs. ValueError if refused."""
        from photonlink.firmware_sim.control import answer

        if self._program is None:
            raise RuntimeError("a virtual bench answers while run() runs")
        reply = answer(json.dumps(request).encode(), self._program.handle)
        if not reply.pop("ok"):
            raise ValueError(reply.get("error", "refused"))
        return reply

    def fault(self, device: str, fault: str, **more: Any) -> None:
        """Arm a fault on one device: ``count=``, ``for_s=``, …"""
        self.ask(device=device, fault=fault, **more)

    def set(self, path: str, value: Any) -> None:
        """A parameter of the optical table (``bob.loss_db``)."""
        self.ask(set={path: value})

    def stop(self) -> None:
        """It ended with :meth:`run`."""


@pytest.fixture
def photonlink_bench(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``photonlink_bench([bench file or its text], model="…", seed=1, speed=1.0)`` starts a bench.

    With ``model`` it is one instrument on a lit table, named ``unit``. With ``virtual=True``
    (no ``model``, no ``speed``) it is a :class:`VirtualBench`.
    """
    started: list[BenchProcess | VirtualBench] = []

    def start(
        bench: str | Path = "",
        *,
        model: str = "",
        seed: int = 1,
        speed: float = 1.0,
        virtual: bool = False,
    ) -> BenchProcess | VirtualBench:
        folder = tmp_path / f"bench{len(started)}"
        if virtual:
            if model or speed != 1.0:
                raise ValueError("a virtual bench takes a bench file and a seed, nothing else")
            text = bench.read_text(encoding="utf-8") if isinstance(bench, Path) else bench
            started.append(VirtualBench(text, folder, seed))
            return started[-1]
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
