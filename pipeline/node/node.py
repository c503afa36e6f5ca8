"""A node: the thin shell around the session. It owns clocks, sockets, files and instruments.

Every input of the session passes through :meth:`Node._feed`, one at a time, in one worker thread
(the C core releases the GIL, so the event loop never waits for it); the session returns effects,
which the node carries out. With a recorder, every input is recorded first.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from photonlink.hal import machine
from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import BenchError, PhotonlinkError, first_error
from photonlink.hal.facets import SafetyStep
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.safety import guard
from photonlink.hal.supervisor import (
    ConditionChanged,
    Event,
    Found,
    Lost,
    Started,
    Supervisor,
    WrongDevice,
)
from photonlink.hal.tags import TagDecoder, WireChunk
from photonlink.pipeline.calibration.model import Calibration
from photonlink.pipeline.keys.node_store import NodeStore
from photonlink.pipeline.node.bench_tap import tap_of
from photonlink.pipeline.node.calibrated import calibrated, summary, with_time_left
from photonlink.pipeline.node.emission import Emission
from photonlink.pipeline.node.health import LOOK_S, Health
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.peer_absent import PEER_ABSENT, PeerPresence
from photonlink.pipeline.node.peer_stream import PeerStream
from photonlink.pipeline.node.plugged import announce
from photonlink.pipeline.node.pressure import catch_up
from photonlink.pipeline.node.recorded_session import NodeSession
from photonlink.pipeline.node.report import Reporter
from photonlink.pipeline.node.shown import instrument_states, opened, telling
from photonlink.pipeline.node.simulated_station import with_emulator_addresses
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.node.store_watch import mind_store
from photonlink.pipeline.node.transport import Listener, PeerAddress, connections
from photonlink.pipeline.node.upkeep import Upkeep
from photonlink.pipeline.protocol.setup import Disconnect, Effect, Finished, Publish, Send
from photonlink.pipeline.recordings.write import SessionRecorder
from photonlink.pipeline.status.alarms import FATAL, KeyWatch, alarm, instrument_code
from photonlink.pipeline.status.model import (
    Alarm,
    BlockReport,
    LinkState,
    Phase,
    Readiness,
    SessionRecord,
)
from photonlink.pipeline.status.run_summary import account

log = logging.getLogger(__name__)

TICK_S = 0.1
GOODBYE_S = 30.0  # for the last block and its tags, once acquisition has ended
CONTROL_S = 60.0  # how long a parent may take to ask for the key check
INSTRUMENTS_S = 2.0  # between two evaluations of the supervisor's readings
_UP = (Phase.ACQUIRING, Phase.SIFTING, Phase.DISTILLING)
MAX_REASONS = 64  # reasons for disconnecting, each reported once


class NodeError(PhotonlinkError):
    """The node cannot make key any more."""


@dataclasses.dataclass(frozen=True, slots=True)
class NodeOptions:
    """duration_s: of acquisition; None runs until it is stopped. control: lines on stdin, or from
    ``commands`` where that is given."""

    duration_s: float | None = None
    record: Path | None = None
    control: bool = False
    commands: asyncio.Queue[str] | None = None


class Node:
    """One run of one node; ``run`` returns the account of the session."""

    def __init__(self, station: NodeStation, options: NodeOptions, report: Reporter) -> None:
        self._station = with_emulator_addresses(station)
        self._options = options
        self._report = report
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="session")
        self._turn = asyncio.Lock()
        self._streams: dict[int, PeerStream] = {}  # open connections, by number
        self._finished = asyncio.Event()
        self._recorder = SessionRecorder(options.record) if options.record else None
        self._session: NodeSession | None = None
        self._store: NodeStore | None = None
        self._acquired_since: float | None = None
        self._acquiring = asyncio.Event()
        self._failure = ""
        self._presence = PeerPresence(station.peer, self._record)
        self._was_up, self._losses = False, 0
        self._alarms: dict[str, Alarm] = {}  # active ones
        self._fatal: Alarm | None = None
        self._calibration: Calibration | None = None
        self._key_watch = KeyWatch()
        self._upkeep: Upkeep | None = None
        self._health = Health(
            station.node.state_dir, station.protocol.parameters().block_max_s, self._record
        )
        self._hung_up: set[str] = set()  # reasons reported since the link went up
        self._commands: asyncio.Queue[str] = options.commands or asyncio.Queue(maxsize=4)

    # ---- the run ----
    async def run(self) -> dict[str, Any]:
        """Open, distil, close; light and bias are off and read back when this returns."""
        async with telling(self._station, self._report):
            return await self._run()

    async def _run(self) -> dict[str, Any]:
        on_stdin = self._options.control and self._options.commands is None
        listening = asyncio.create_task(self._listen()) if on_stdin else None
        account: dict[str, Any] = {}
        stopped = ""
        try:
            stopped = await self._run_bench()
        except PhotonlinkError as error:
            self._failure = f"{error.where}: {error.what}" if error.where else error.what
            if isinstance(error, BenchError):
                self._record(alarm("bench_not_opened", self._failure))
            raise
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            account = self._account()
            self._report.event("summary", **account)
            if self._options.control and not stopped:
                await self._serve_key_check()
            if listening is not None:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
            await self._close(account)
        return account

    async def _run_bench(self) -> str:
        """The name of the signal that ended the run, or "" when it ended by itself."""
        # before any instrument is touched: another process may run this node, and what is wrong
        # with key or ledger shows before any light
        store = self._store = open_store(self._station)
        psk = store.psk(self._station.node.psk)
        for finding in store.findings:
            self._report.event("store", text=finding)
        bench = await open_bench(self._station, tap=tap_of(self._recorder, self._station))
        emission = Emission(bench, self._show_light, self._light_alarm)
        async with emission, guard(bench, report=emission.closed) as state:
            own = self._station.node
            self._report.event(
                "opened", link=own.link, role=own.role, instruments=opened(bench, self._station)
            )
            self._report.describe(emulated=bench.emulated)
            calibration = self._calibration = calibrated(self._station, bench, psk)
            assumed = self._station.protocol.parameters().assumptions
            self._report.event("calibration", **summary(calibration), assumes=list(assumed))
            self._session = NodeSession.build(
                self._station, bench, calibration, store, psk, self._recorder
            )
            self._upkeep = Upkeep(
                self._station, bench, calibration, psk, self._record,
                self._notice,
            )  # fmt: skip
            await self._run_session(bench, emission, self._upkeep)
        if state.signal:
            self._report.event("stopped", reason=state.signal)
        if not await self._store_works():
            raise NodeError("the ledger cannot be written", where="ledger_failed")
        return state.signal

    def _show_light(self, steps: tuple[SafetyStep, ...]) -> None:
        self._report.light(
            {"instrument": s.action, "ok": s.ok, "readback": s.readback} for s in steps
        )

    async def _run_session(self, bench: Bench, emission: Emission, upkeep: Upkeep) -> None:
        supervisor = Supervisor(bench, self._instrument_event)
        loops = (
            self._peer_loop(),
            self._presence.miss(),
            self._tagger_loop(bench, supervisor),
            self._tick_loop(),
            supervisor.run(),
            self._publish_instruments(bench, supervisor),
            self._look_after(supervisor),
            emission.run(),
            self._light_up(emission),
            upkeep.run(supervisor.readings),
            announce(bench, self._notice),
            self._end_after(self._options.duration_s),
            self._obey(emission),
            mind_store(self._store_works, emission, self._notice, lambda: self._losses),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(work) for work in loops]
                await self._finished.wait()
                for task in running:
                    task.cancel()
        except ExceptionGroup as group:
            # the first fault ends the run and is reported alone, not as a group of tasks
            raise first_error(group) from group
        if self._fatal is not None:
            raise NodeError(self._fatal.text, where=self._fatal.code)

    def _notice(self, text: str) -> None:
        self._report.event("notice", text=text)

    async def _store_works(self) -> bool:
        assert self._store is not None  # noqa: S101 - the first thing that is opened
        works, loop = self._store.ledger.works, asyncio.get_running_loop()
        async with self._turn:
            return await loop.run_in_executor(self._worker, works)

    def _instrument_event(self, event: Event) -> None:
        """Report an instrument once when it is lost and once when it is back; it returns dark."""
        lost = instrument_code(event.name, "lost")
        if isinstance(event, Found):
            self._record(alarm(lost, active=False))
            self._report.event("found", instrument=event.name, light="off until asked")
        elif isinstance(event, Lost | WrongDevice):
            self._losses += 1
            text = f"{event.name}: {event.reason or 'it gave no reason'}"
            self._record(alarm(lost, text))
        elif isinstance(event, ConditionChanged):
            text = f"{event.name}: {event.text}"
            code = instrument_code(event.name, event.code)
            self._record(alarm(code, text, active=event.active))
        else:
            self._report.event("notice", instrument=event.name, text=event.text)

    # ---- inputs of the session, and its effects ----
    async def _feed(
        self,
        name: str,
        call: Callable[[float], list[Effect]],
        quick: Callable[[], bool] = lambda: False,
    ) -> None:
        """Give the session one input and carry out its effects. quick, asked in the session's turn:
        whether the call takes less time than passing it to the worker and back."""
        async with self._turn:
            now_s = machine.monotonic_s()
            if quick():
                effects = call(now_s)
            else:
                loop = asyncio.get_running_loop()
                effects = await loop.run_in_executor(self._worker, call, now_s)
            for effect in effects:
                await self._carry_out(effect)

    async def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            if self._recorder is not None:
                self._recorder.sent(effect.data)
            stream = self._streams.get(effect.stream)
            if stream is not None:
                try:
                    await stream.write(effect.data)
                except PhotonlinkError as error:
                    log.info("%s", error)
                    stream.abort()  # its reader returns and tells the session
        elif isinstance(effect, Publish):
            self._record(effect.record)
        elif isinstance(effect, Disconnect):
            # a refused peer connects again and again, and strangers choose their words
            if effect.reason not in self._hung_up and len(self._hung_up) < MAX_REASONS:
                self._hung_up.add(effect.reason)
                self._report.event("disconnect", reason=effect.reason)
            self._drop_stream(effect.stream)
        elif isinstance(effect, Finished):
            self._finished.set()

    def _record(self, record: SessionRecord | Readiness) -> None:
        if isinstance(record, Alarm) and record.active:
            record = self._alarms[record.code] = self._health.told(record)
        elif isinstance(record, Alarm):
            self._alarms.pop(record.code, None)
        elif isinstance(record, LinkState):
            if record.phase in _UP:
                if not self._was_up:
                    self._hung_up.clear()
                if self._report.mqtt is not None:
                    self._report.mqtt.meet(self._open_session.peer_node)
            self._was_up = record.phase in _UP
            record = self._health.state(record, machine.monotonic_s())
            record = with_time_left(record, self._calibration)
        self._report.record(record)
        if isinstance(record, BlockReport):
            if self._upkeep is not None:
                self._upkeep.block(record)
            self._health.block(record, machine.monotonic_s())
            for change in self._key_watch.block(record):
                self._record(change)
        if isinstance(record, Alarm) and record.active and record.code in FATAL:
            self._fatal = record
            self._finished.set()

    def _drop_stream(self, number: int) -> None:
        """Close a stream without waiting for the other end to read the last bytes."""
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.shut()

    @property
    def _open_session(self) -> NodeSession:
        assert self._session is not None  # noqa: S101 - loops start after it is built
        return self._session

    # ---- sources of inputs ----
    async def _peer_loop(self) -> None:
        """Serve all connections concurrently; the session determines which is the peer."""
        peer, numbers = self._station.peer, itertools.count(1)
        if peer.listen is None:
            async for stream in connections(
                PeerAddress.parse(peer.connect or ""), self._presence.not_reached
            ):
                await self._serve(stream, next(numbers))
            return
        listener = Listener(PeerAddress.parse(peer.listen))
        await listener.start()
        try:
            await listener.serve(lambda stream: self._serve(stream, next(numbers)))
        finally:
            await listener.close()

    async def _serve(self, stream: PeerStream, number: int) -> None:
        session = self._open_session
        self._streams[number], self._presence.somebody_came = stream, True
        try:
            await self._feed("connected", functools.partial(session.connected, number))
            while number in self._streams and (data := await stream.read()):
                receive = functools.partial(session.receive, number, data)
                await self._feed(
                    "receive", receive, functools.partial(session.is_quick, number, data)
                )
                if session.line == number:
                    stream.admit()
                    self._presence.prove()
            stream.refused = self._streams.pop(number, None) is None
            if not stream.refused:
                await self._feed("disconnected", functools.partial(session.disconnected, number))
        finally:
            self._streams.pop(number, None)
            await stream.close()

    async def _tagger_loop(self, bench: Bench, supervisor: Supervisor) -> None:
        session, tagger = self._open_session, bench.tagger
        decoder: TagDecoder | None = None
        async for event in supervisor.tagger_stream():
            if isinstance(event, Started):
                wire = tagger.wire_format
                decoder = decoder_for(wire, session.provenance)
                self._acquired_since = self._acquired_since or machine.monotonic_s()
                self._acquiring.set()
                await self._feed(
                    "acquisition_started",
                    functools.partial(
                        session.acquisition_started, event.start, tagger.capabilities, wire
                    ),
                )
            elif isinstance(event, WireChunk) and decoder is not None:
                await self._feed("tags", functools.partial(session.tags, event, decoder))
                await catch_up(session, self._turn)
            # the supervisor reports a loss; afterwards the stream starts with Started again

    async def _tick_loop(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self._feed("tick", self._open_session.tick)

    async def _light_up(self, emission: Emission) -> None:
        """Bias on, then emission: only now, when the session can use the light."""
        await emission.bias()
        await emission.on()

    def _light_alarm(self, code: str, text: str, active: bool = True) -> None:
        if active or code in self._alarms:
            self._record(alarm(code, text, active=active))

    async def _end_after(self, duration_s: float | None) -> None:
        if duration_s is None:
            return
        await self._acquiring.wait()
        await asyncio.sleep(duration_s)
        await self._feed("end_of_input", self._open_session.end_of_input)
        await asyncio.sleep(GOODBYE_S)
        text = "the peer did not finish the last block in time"
        self._record(alarm("no_goodbye", text))
        self._finished.set()

    # ---- status and control ----
    async def _look_after(self, supervisor: Supervisor) -> None:
        while True:
            self._health.look(supervisor.readings, machine.monotonic_s())
            await asyncio.sleep(LOOK_S)

    async def _publish_instruments(self, bench: Bench, supervisor: Supervisor) -> None:
        while True:
            for state in instrument_states(bench, supervisor):
                self._report.instrument(state)
            await asyncio.sleep(INSTRUMENTS_S)

    def _account(self) -> dict[str, Any]:
        since = self._acquired_since
        elapsed_s = machine.monotonic_s() - since if since is not None else 0.0
        found = account([], 0.0, emulated=False)
        if self._session is not None:
            found = self._session.account(elapsed_s)
        if self._failure:
            found["aborts"] = [*found["aborts"], self._failure]
        elif not found["blocks"] and not found["aborts"]:
            found["aborts"] = self._why_no_block()
        return found

    def _why_no_block(self) -> list[str]:
        missing = {} if self._presence.met else {PEER_ABSENT: self._presence.absent}
        alarms = missing | self._alarms
        reasons = [f"{alarm.code}: {alarm.text}" for alarm in alarms.values()]
        return reasons or ["no_block: the run ended before there were bits enough for one"]

    async def _serve_key_check(self) -> None:
        """A parent compares both nodes' keys without seeing them: it sends a nonce, once."""
        with contextlib.suppress(TimeoutError, ValueError, KeyError, PhotonlinkError):
            async with asyncio.timeout(CONTROL_S):
                line = await self._commands.get()
            nonce = bytes.fromhex(json.loads(line)["key_check"])
            self._report.event("key_check", hmac=self._open_session.key_check(nonce).hex())

    async def _obey(self, emission: Emission) -> None:
        """``light on`` and ``light off`` while the node runs: a laser that was lost returns dark
        and stays dark until light is requested.
        """
        while True:
            words = (await self._commands.get()).split()
            if words[:1] != ["light"] or words[1:] not in (["on"], ["off"]):
                self._report.event("unknown_command", known="light on, light off")
            else:
                self._report.light(await emission.switch(on=words[1] == "on"))

    async def _listen(self) -> None:
        """Lines of standard input become commands, at most a few waiting."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        try:
            while line := await reader.readline():
                await self._commands.put(line.decode(errors="replace").strip())
        finally:
            transport.close()

    async def _close(self, account: dict[str, Any]) -> None:
        await asyncio.gather(*(stream.close() for stream in self._streams.values()))
        if self._session is not None:
            await asyncio.get_running_loop().run_in_executor(self._worker, self._session.close)
        self._worker.shutdown(wait=True)
        if self._store is not None:
            self._store.close()
        if self._recorder is not None:
            self._recorder.close({**account, "key_check": self._recorded_check()})

    def _recorded_check(self) -> dict[str, str] | None:
        return self._session.recorded_check if self._session is not None else None
