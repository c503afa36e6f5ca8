"""The emulator program: a bench, its devices, the control socket, in one event loop.

Bench time follows the host's monotonic clock slice by slice. When the host cannot keep up, time is
dropped, and every running tagger reports the loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from photonlink.firmware_sim.config import BenchConfig
from photonlink.firmware_sim.control import TableControlServer
from photonlink.firmware_sim.kit.clock import Clock
from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.registration import catalogue, models
from photonlink.firmware_sim.optical_table import (
    PS_PER_S,
    OpticalTable,
    TableParameterError,
    beside_the_table,
)
from photonlink.firmware_sim.physics.engine import component_seed
from photonlink.firmware_sim.schedule import Schedule

MAX_SOCKET_PATH = 100
DEVICE_DEADLINE_S = 5.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Program:
    """One running bench. ``async with Program(...)`` starts and stops everything."""

    def __init__(
        self,
        config: BenchConfig,
        run_dir: Path,
        *,
        seed: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.bench = OpticalTable(config, seed)
        self.run_dir = run_dir
        self.clock = clock or Clock()
        self.devices: dict[str, EmulatedDevice] = {}
        for name, entry in config.devices.items():
            kind = models()[entry.model].kind
            place = self.bench.stand(entry.place) if entry.place else beside_the_table(kind)
            own = component_seed(self.bench.seed, f"device/{name}")
            self.devices[name] = models()[entry.model].create(
                name, entry.settings, place, own, self.clock
            )
        self.stopping = asyncio.Event()
        self.failure = ""
        self._schedule = Schedule(config.faults)
        self._control = TableControlServer(self._socket_path(), self.handle)
        self._follower: asyncio.Task[None] | None = None
        self._started = 0.0

    # ---- start and stop
    # -------------------------------------------------------------------------------

    async def __aenter__(self) -> Program:
        await self._control.refuse_if_taken()
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _start(self) -> None:
        for name, device in self.devices.items():
            try:
                async with asyncio.timeout(DEVICE_DEADLINE_S):
                    await device.start(self.run_dir)
            except TimeoutError:
                raise OSError(f"{name}: not up within {DEVICE_DEADLINE_S} s") from None
        await self._control.start()
        self._started = self.clock.now_s()
        self.bench.host_now_ps = self._host_now_ps
        self._follower = asyncio.create_task(self._follow(), name="bench")
        self._follower.add_done_callback(self._follower_ended)
        text = json.dumps(self.ready(), indent=1)
        (self.run_dir / "addresses.json").write_text(text + "\n", encoding="utf-8")

    async def close(self) -> dict[str, Any]:
        """Light off first, then every wire; one device's failure does not stop the next. Returns
        the read-back of every laser, taken when no client can switch it on again."""
        complaints = self._all_off()
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait([self._follower])
            self._follower = None
        await self._control.stop()
        if self._control.path.parent != self.run_dir:
            with contextlib.suppress(OSError):
                self._control.path.parent.rmdir()
        for name, device in self.devices.items():
            try:
                async with asyncio.timeout(DEVICE_DEADLINE_S):
                    await device.stop()
            except Exception as error:  # noqa: BLE001 - the next device must be stopped too
                complaints.append(f"{name}: {error!r}")
        (self.run_dir / "addresses.json").unlink(missing_ok=True)
        self._all_off()
        reply = {
            "stopped": True,
            "lasers": self.lasers(),
            "pump_power_mw": self.bench.config.source.pump_power_mw,
            "bench_time_s": self.bench.end_ps / PS_PER_S,
            "dropped_s": self.bench.dropped_ps / PS_PER_S,
        }
        complaints += [self.failure] if self.failure else []
        return {**reply, "errors": complaints} if complaints else reply

    def _is_laser(self, name: str) -> bool:
        return models()[self.bench.config.devices[name].model].kind == "pump"

    def _all_off(self) -> list[str]:
        complaints = []
        for name in sorted(self.devices, key=lambda n: not self._is_laser(n)):
            try:
                self.devices[name].safe_off()
            except Exception as error:  # noqa: BLE001 - every laser must be tried
                complaints.append(f"{name}: {error!r}")
        return complaints

    def lasers(self) -> dict[str, dict[str, Any]]:
        """Emission and power of every laser device, read back; ``error`` when that fails."""
        found = {}
        for name in filter(self._is_laser, self.devices):
            try:
                status = self.devices[name].status()
                found[name] = {key: status.get(key) for key in ("emission", "power_mw")}
            except Exception as error:  # noqa: BLE001 - the other lasers are still to be read
                found[name] = {"error": repr(error)}
        return found

    def ready(self) -> dict[str, Any]:
        """The ready line, with all addresses."""
        return {
            "ready": True,
            "name": self.bench.config.name,
            "seed": self.bench.seed,
            "addresses": {name: device.address for name, device in self.devices.items()},
            "lines": {name: device.addresses() for name, device in self.devices.items()},
            "control": str(self._control.path),
        }

    def _socket_path(self) -> Path:
        path = self.run_dir / "control.sock"
        if len(str(path)) > MAX_SOCKET_PATH:  # sun_path holds 108 bytes
            path = Path(tempfile.mkdtemp(prefix="photonlink-")) / "control.sock"
        return path

    # ---- time -------------------------------------------------------------------------------

    def _host_now_ps(self) -> int:
        return int((self.clock.now_s() - self._started) * PS_PER_S)

    async def _follow(self) -> None:
        bench = self.bench
        most = int(bench.config.max_lag_s * self.clock.speed * PS_PER_S)
        while True:
            behind = self._host_now_ps() - bench.end_ps
            if behind > most:
                span = (behind // bench.slice_ps) * bench.slice_ps
                bench.drop(span)
                _log(f"the host is too slow: {span / PS_PER_S:.3f} s of light dropped")
            elif behind >= bench.slice_ps:
                for complaint in self._schedule.run(bench, self.device_control):
                    _log(complaint)
                bench.advance()
                await asyncio.sleep(0)
            else:
                wait_s = (bench.slice_ps - behind) / PS_PER_S
                await self.clock.sleep(max(wait_s, 0.001 * self.clock.speed))

    def _follower_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.failure = f"the bench stopped: {task.exception()!r}"
            _log(self.failure)
            self.stopping.set()

    def lag_s(self) -> float:
        """How far the bench is behind the host's clock."""
        if self.bench.host_now_ps is None:
            return 0.0
        return max(self._host_now_ps() - self.bench.end_ps, 0) / PS_PER_S

    # ---- control ----------------------------------------------------------------------------

    def device_control(self, name: str, command: Mapping[str, Any]) -> dict[str, Any]:
        """One command for one device. ValueError for an unknown device or command."""
        if name not in self.devices:
            raise ValueError(f"no device {name!r}; there are: {', '.join(self.devices) or 'none'}")
        if set(command) <= {"status"}:
            return self.devices[name].status()
        return self.devices[name].control(command)

    def handle(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request of the control socket."""
        if "device" in request:
            rest = {key: value for key, value in request.items() if key != "device"}
            return {"result": self.device_control(str(request["device"]), rest)}
        if len(request) != 1:
            raise ValueError("one of get, set, device, status, truth, addresses, stop per request")
        ((verb, what),) = request.items()
        actions: dict[str, Callable[[], dict[str, Any]]] = {
            "get": lambda: {"values": self._get(what)},
            "set": lambda: {"values": self._set(what)},
            "status": self._status,
            "truth": lambda: {"truth": self.bench.truth()},
            "addresses": self.ready,
            "stop": self._stop,
        }
        if verb not in actions:
            raise ValueError(f"unknown request {verb!r}; known: device, {', '.join(actions)}")
        return actions[verb]()

    def _get(self, what: Any) -> dict[str, Any]:
        paths = [what] if isinstance(what, str) else what
        if not isinstance(paths, list) or not all(isinstance(p, str) for p in paths):
            raise TableParameterError("get takes a path or a list of paths")
        return {path: self.bench.get(path) for path in paths}

    def _set(self, what: Any) -> dict[str, Any]:
        if not isinstance(what, dict):
            raise TableParameterError("set takes an object {path: value}")
        return self.bench.set(what)

    def _status(self) -> dict[str, Any]:
        devices = {name: device.status() for name, device in self.devices.items()}
        status = {**self.bench.status(), "lag_s": self.lag_s(), "speed": self.clock.speed}
        return {"status": {**status, "devices": devices}}

    def _stop(self) -> dict[str, Any]:
        self.stopping.set()
        return {}


def _log(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"firmware_sim: {text}", file=sys.stderr, flush=True)


class QuietRepeats:
    """Errors of the event loop (no descriptor left for a client, …): each kind is printed once per
    REPEAT_S, with its count. Without this, asyncio would fill a disk.
    """

    REPEAT_S = 10.0

    def __init__(self, log: Callable[[str], None] = _log) -> None:
        self._log = log
        self._seen: dict[str, tuple[float, int]] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        text = f"{context.get('message', 'event loop')}: {error!r}"
        due_s, count = self._seen.get(text, (0.0, 0))
        now_s = loop.time()
        if now_s < due_s:
            self._seen[text] = (due_s, count + 1)
            return
        if len(self._seen) > 100:
            self._seen.clear()
        self._log(text + (f" ({count} more before)" if count else ""))
        self._seen[text] = (now_s + self.REPEAT_S, 0)


def _say(out: TextIO, line: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the parent may be gone: the light must go off nevertheless
        print(json.dumps(line), file=out, flush=True)


async def _end_with_stdin(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1 << 12):
        pass
    stopping.set()


async def run(
    config: BenchConfig,
    run_dir: Path,
    *,
    seed: int | None = None,
    speed: float = 1.0,
    until_stdin_closes: bool = False,
    out: TextIO | None = None,
    faults: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """Run until SIGINT, SIGTERM, SIGHUP, the control socket's ``stop`` (or stdin's end).

    faults: armed on every device before the ready line.  False: the bench itself failed.
    """
    out = out or sys.stdout
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(QuietRepeats())
    for problem in catalogue().problems:
        _log(problem)
    program = Program(config, run_dir, seed=seed, clock=Clock(speed))
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, program.stopping.set)
    watcher = None
    try:
        async with program:
            if until_stdin_closes:
                watcher = asyncio.create_task(_end_with_stdin(program.stopping))
            for name in program.devices:
                for fault in faults:
                    program.device_control(name, fault)
            _say(out, program.ready())
            await program.stopping.wait()
            _say(out, await program.close())
            return not program.failure
    finally:
        if watcher is not None:
            watcher.cancel()
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
