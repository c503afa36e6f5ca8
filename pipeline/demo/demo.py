"""The demo: an emulated bench, two nodes and a broker on this machine, until there is key.

It writes two station files and a pre-shared key, starts
``python -m photonlink.firmware_sim``, ``photonlink node alice.toml`` and ``photonlink node
bob.toml`` as programs of their own, and shows what the nodes report. The emulators run in a
process group of their own and stop last, so that after Ctrl-C the light can be turned off and read
back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.tasks import together
from photonlink.pipeline.demo import watchdog as watchdog_program
from photonlink.pipeline.demo.files import write_demo_files
from photonlink.pipeline.status.broker import EmbeddedBroker, free_port
from photonlink.pipeline.status.run_summary import account

READY_TIMEOUT_S = 60.0
# for opening, the last block and the end, beyond the acquisition itself
NODE_GRACE_S = 120.0
STOP_TIMEOUT_S = 20.0
CALIBRATE_S = 5.0  # seconds of light; the first key should come within a minute
LINE_LIMIT = 1 << 20
NODES = ("alice", "bob")
# done, without key, interrupted, and interrupted when it was done and Python was about to end it
ENDED_AS_ASKED = (0, 3, 130, -signal.SIGINT)
ENDING_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if name in signal.Signals.__members__
)


class DemoError(PhotonlinkError):
    """A program of the demo did not start or did not answer."""


@dataclass
class StartedProgram:
    """A child process that speaks JSON lines on its standard output."""

    name: str
    process: asyncio.subprocess.Process
    errors: list[str] = field(default_factory=list)

    @classmethod
    async def start(cls, name: str, *arguments: str) -> StartedProgram:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal interrupts the demo alone
            limit=LINE_LIMIT,
        )
        program = cls(name, process)
        program._drain = asyncio.create_task(program._read_errors())
        return program

    _drain: asyncio.Task[None] | None = None

    async def _read_errors(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - a pipe was asked for
        async for line in self.process.stderr:
            self.errors = [*self.errors[-19:], line.decode(errors="replace").rstrip()]

    async def read(self) -> dict[str, Any] | None:
        """The next JSON line; other lines are passed over; None when the program ended."""
        assert self.process.stdout is not None  # noqa: S101 - a pipe was asked for
        while line := await self.process.stdout.readline():
            with contextlib.suppress(json.JSONDecodeError):
                found = json.loads(line)
                if isinstance(found, dict):
                    return found
        return None

    async def write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None  # noqa: S101 - a pipe was asked for
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            await self.process.stdin.drain()

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def stop(self) -> None:
        """Ask to end, wait, and end it by force when it does not."""
        if self.process.returncode is None:
            self.signal(signal.SIGINT)
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self.process.wait()
            except TimeoutError:
                self.errors.append("did not end in time and was killed")
                self.process.kill()
                await self.process.wait()
        if self._drain is not None:
            await self._drain

    def failure(self, what: str) -> DemoError:
        return DemoError(what, where=self.name, seen="\n".join(self.errors[-12:]))


@dataclass
class DemoOutcome:
    """The final reports of the nodes and the emulators."""

    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    lasers: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False
    failures: list[str] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        """The object of ``--json``: Alice's account, with the comparison of both keys."""
        found = self.summaries.get("alice") or self.summaries.get("bob")
        result = dict(found or account([], 0.0, emulated=True))
        for name in ("event", "node"):
            result.pop(name, None)
        result["aborts"] = [*result["aborts"], *self.failures]
        both = len(self.checks) == len(NODES)
        made_key = bool(result.get("secret_bits"))
        result["keys_match"] = both and len(set(self.checks.values())) == 1 and made_key
        result["lasers_off"] = bool(self.lasers) and not any(
            laser.get("emission") for laser in self.lasers.values()
        )
        return result


class Demo:
    """One run. ``show`` is called with every event of the nodes.

    folder: where the files go and stay; none: a temporary folder that is removed.
    web: serve the page of ``photonlink watch`` meanwhile.
    """

    def __init__(
        self,
        *,
        duration_s: float,
        seed: int | None,
        show: Callable[[Mapping[str, Any]], None],
        block_bits: int | None = None,
        folder: Path | None = None,
        web: bool = False,
    ) -> None:
        self._duration_s = duration_s
        self._seed = seed
        self._block_bits = block_bits
        self._folder, self._web = folder, web
        self._show = show
        self._stopping = asyncio.Event()
        self.outcome = DemoOutcome()

    async def run(self) -> DemoOutcome:
        """Run, and return the outcome, also of a failed run: ``failures`` then has the reasons."""
        loop = asyncio.get_running_loop()
        for number in ENDING_SIGNALS:
            loop.add_signal_handler(number, self._interrupt)
        try:
            if self._folder is not None:
                self._folder.mkdir(parents=True)
                await self._run_in(self._folder, temporary=False)
            else:
                with tempfile.TemporaryDirectory(prefix="photonlink-demo-") as name:
                    await self._run_in(Path(name), temporary=True)
        except TimeoutError:
            self.outcome.failures.append("the nodes did not finish in time")
        except PhotonlinkError as error:
            self.outcome.failures.append(str(error))
        except OSError as error:
            where = error.filename or "the demo's files"
            self.outcome.failures.append(f"{where}: {error.strerror or error}")
        finally:
            for number in ENDING_SIGNALS:
                loop.remove_signal_handler(number)
        return self.outcome

    def _interrupt(self) -> None:
        self.outcome.interrupted = True
        self._stopping.set()

    async def _run_in(self, folder: Path, *, temporary: bool) -> None:
        broker = EmbeddedBroker(folder=folder)
        files = write_demo_files(
            folder, broker.port, free_port(), seed=self._seed, block_bits=self._block_bits
        )
        emulators = await StartedProgram.start("emulators", *files.emulator_arguments)
        watchdog = await _Watchdog.start(folder if temporary else None, emulators)
        nodes: list[StartedProgram] = []
        page: StartedProgram | None = None
        try:
            await self._or_stopped(self._ready(emulators))
            await asyncio.to_thread(broker.start)
            if self._web:
                page = await self._open_page(broker.port)
                await watchdog.watch(page.process.pid)
            await self._or_stopped(self._calibrate(list(files.stations.values()), watchdog))
            for name, station in files.stations.items():
                if self._stopping.is_set():
                    break
                nodes.append(await StartedProgram.start(name, *self._node_arguments(station)))
                await watchdog.watch(nodes[-1].process.pid)
            await self._or_stopped(self._follow(nodes))
        finally:
            # each step runs even when an earlier one failed; the emulators end last, lasers off
            try:
                await asyncio.gather(*(self._end(node) for node in nodes), return_exceptions=True)
                if page is not None:
                    await page.stop()
                await asyncio.to_thread(broker.stop)
            finally:
                await self._end_emulators(emulators)
                await watchdog.done()

    async def _open_page(self, broker_port: int) -> StartedProgram:
        """``photonlink watch`` on this demo's broker."""
        page = await StartedProgram.start(
            "watch", "-m", "photonlink.pipeline.cli", "watch", "--broker",
            f"mqtt://127.0.0.1:{broker_port}", "--listen", "127.0.0.1:0", "--history", ":memory:",
        )  # fmt: skip
        assert page.process.stdout is not None  # noqa: S101 - a pipe was asked for
        async with asyncio.timeout(READY_TIMEOUT_S):
            line = (await page.process.stdout.readline()).decode().strip()
        self._take({"event": "page", "node": "watch", "url": line.rpartition(" ")[2]})
        return page

    def _node_arguments(self, station: Path) -> tuple[str, ...]:
        return (
            "-m", "photonlink.pipeline.cli", "node", str(station), "--json-lines", "--control",
            "--duration", str(self._duration_s),
        )  # fmt: skip

    async def _or_stopped(self, work: Any) -> None:
        """Do the work, or cancel it when the user asks to stop."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            for pending in (task, stop):
                if not pending.done():
                    pending.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await pending

    async def _ready(self, emulators: StartedProgram) -> None:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                first = await emulators.read()
        except TimeoutError:
            first = None
        if not (first and first.get("ready")):
            raise emulators.failure("the emulators did not start")

    async def _calibrate(self, stations: list[Path], watchdog: _Watchdog) -> None:
        """The operator's calibration before key is made; the demo vouches for its emulated
        light.
        """
        self._take({"event": "calibrating", "node": "both", "seconds": CALIBRATE_S})
        check = await StartedProgram.start(
            "check", "-m", "photonlink.pipeline.cli", "check", *map(str, stations), "--calibrate",
            "--operator", "demo", "--seconds", str(CALIBRATE_S), "--json",
        )  # fmt: skip
        await watchdog.watch(check.process.pid)
        try:
            async with asyncio.timeout(CALIBRATE_S + READY_TIMEOUT_S):
                found = await check.read()
                await check.process.wait()
        finally:
            await check.stop()
        if found is None or "digest" not in found:
            raise check.failure("the emulated bench could not be calibrated")
        self._take({"event": "calibrated", "node": "both", "calibration": found})

    async def _follow(self, nodes: list[StartedProgram]) -> None:
        """Read both nodes until each has given its account, then compare their keys."""
        async with asyncio.timeout(self._duration_s + NODE_GRACE_S):
            await together(*(self._until_summary(node) for node in nodes))
            if all(s.get("emulated") for s in self.outcome.summaries.values()):
                nonce = secrets.token_hex(32)
                for node in nodes:
                    await node.write({"key_check": nonce})
                await together(*(self._until_check(node) for node in nodes))

    async def _until_summary(self, node: StartedProgram) -> None:
        while event := await node.read():
            self._take(event)
            if event.get("event") == "summary":
                return
        raise node.failure("the node ended without an account of its session")

    async def _until_check(self, node: StartedProgram) -> None:
        while event := await node.read():
            self._take(event)
            if event.get("event") == "key_check":
                self.outcome.checks[node.name] = event["hmac"]
                return

    def _take(self, event: dict[str, Any]) -> None:
        if event.get("event") == "summary":
            self.outcome.summaries[str(event.get("node"))] = event
        self._show(event)

    async def _end(self, node: StartedProgram) -> None:
        """Stop a node, and read its reports about its light meanwhile."""

        async def read_rest() -> None:
            while event := await node.read():
                self._take(event)

        rest = asyncio.create_task(read_rest())
        await node.stop()
        await rest
        if node.process.returncode not in ENDED_AS_ASKED:
            said = node.errors[-1] if node.errors else f"it ended with {node.process.returncode}"
            self.outcome.failures.append(f"{node.name} failed: {said}")

    async def _end_emulators(self, emulators: StartedProgram) -> None:
        async def read_rest() -> None:
            while event := await emulators.read():
                if "lasers" in event:
                    self.outcome.lasers = event["lasers"]

        rest = asyncio.create_task(read_rest())
        await emulators.stop()
        await rest
        steps = [{"instrument": n, "readback": str(v)} for n, v in self.outcome.lasers.items()]
        self._take({"event": "light", "node": "emulator", "steps": steps})


class _Watchdog:
    """A process that ends the nodes and removes the folder should the demo be killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, folder: Path | None, emulators: StartedProgram) -> _Watchdog:
        assert emulators.process.stdin is not None  # noqa: S101 - a pipe was asked for
        held: int = emulators.process.stdin.get_extra_info("pipe").fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(Path(watchdog_program.__file__)), str(folder or "-"),
            str(held),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
            pass_fds=(held,),
        )  # fmt: skip
        return cls(process)

    async def watch(self, pid: int) -> None:
        await self._say(f"node {pid}")

    async def done(self) -> None:
        await self._say("done")
        await self._process.wait()

    async def _say(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        with contextlib.suppress(OSError):
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()
