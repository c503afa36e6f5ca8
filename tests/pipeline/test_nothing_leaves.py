"""Row C4: no output of a node depends on key bits before they are spent.

Sparse light is measured twice with the same times, bases and errors; for each pair, a random bit
decides whether the key outcomes of both ends are inverted. All output of both nodes must be
identical, byte for byte: MQTT, the node's web page, its output (which also carries the replies of
its control channel), the system's log, Python's log, block reports, the run summary, readings of
the detectors, and every frame to the peer. Of frames whose content is charged as leak, only the
size is compared. Then a correlation is planted in each output; the comparison must detect it.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from eve_light import Pairs, entangled, tags
from link import SMALL, Wire, message_of, narrow_clock_search, pair
from sabotage import live_rates, rates_of_before

from photonlink.hal import machine
from photonlink.hal.driver import Driver
from photonlink.hal.facets import CountsPhotons
from photonlink.hal.params import Param, expand
from photonlink.hal.registry import load_driver, registry
from photonlink.hal.supervisor import Supervisor
from photonlink.hal.tags import TagBlock
from photonlink.pipeline.demo.files import write_demo_files
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.node import report as reporting
from photonlink.pipeline.node.node import Node as ProductNode
from photonlink.pipeline.node.node import NodeOptions
from photonlink.pipeline.node.report import Reporter
from photonlink.pipeline.node.station import load_node_station
from photonlink.pipeline.protocol.block_account import BlockAccount
from photonlink.pipeline.protocol.distilling.alice import AliceDistilling
from photonlink.pipeline.protocol.distilling.shared import Distilling
from photonlink.pipeline.protocol.distilling.sifted import SiftedBlock
from photonlink.pipeline.protocol.messages import Amplify, CascadeReply, Prepared, Verify
from photonlink.pipeline.protocol.setup import Limits, Publish, Role
from photonlink.pipeline.protocol.sifting.figures import CoincidenceFigures
from photonlink.pipeline.status import mqtt as mqtt_status
from photonlink.pipeline.status import run_summary
from photonlink.pipeline.status import web as page_status
from photonlink.pipeline.status.connection import BrokerAddress
from photonlink.pipeline.status.model import InstrumentState
from photonlink.pipeline.status.mqtt import MqttAddress, MqttPublisher
from photonlink.pipeline.status.system_log import SystemLog
from photonlink.pipeline.status.topics import Speaker

CHARGED = (CascadeReply, Verify, Amplify, Prepared)  # their content is charged; their size is not
SPARSE_HZ, SECONDS, PIECE_PS = 6_000.0, 1.6, 2 * 10**10
SILENT = 0.2  # seconds without light after the cut: rates would show earlier clicks
AGREED = replace(SMALL, block_sifted_bits=2_500, first_block_sifted_bits=2_500)
Said = dict[str, list[object]]
"""All output, by outlet."""


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def truth(coins: int) -> tuple[list[TagBlock], list[TagBlock]]:
    """Sparse pairs; in equal bases, random bits decide whether both outcomes are inverted."""
    rng = np.random.default_rng(11)
    found = entangled(rng, SPARSE_HZ, 0, SECONDS)
    same = found.alice >> 1 == found.bob >> 1
    turn = (same & (np.random.default_rng(coins).random(len(same)) < 0.5)).astype(np.int64)
    turned = Pairs(found.time_ps, found.shift_ps, found.alice ^ turn, found.bob ^ turn)
    return tags(rng, turned, SECONDS + SILENT)


def pieces(side: list[TagBlock]) -> Iterator[TagBlock]:
    for block in side:
        for start in range(block.start_ps, block.end_ps, PIECE_PS):
            low, high = np.searchsorted(block.time_ps, (start, start + PIECE_PS))
            yield replace(
                block, time_ps=block.time_ps[low:high].copy(), start_ps=start,
                channel=block.channel[low:high].copy(), end_ps=start + PIECE_PS,
            )  # fmt: skip


class Detector(Driver, CountsPhotons):
    """Counts its own clicks, as some detectors do."""

    PARAMS = (
        Param("temperature_c", float, "of the diode", "T?", unit="°C"),
        Param("counts", int, "clicks since it was switched on", "N?", of_clicks=True),
    )

    def __init__(self) -> None:
        self.params = SimpleNamespace(table={p.name: p for p in self.PARAMS})  # type: ignore[assignment]

    async def count(self, gate_s: float) -> Any:
        raise NotImplementedError


class Broker:
    """Replaces the MQTT client and keeps what is published."""

    def __init__(self, said: list[object]) -> None:
        self.said = said

    async def publish(self, topic: str, payload: bytes, **more: Any) -> None:
        self.said.append((topic, payload))


class Pace:
    async def wait(self) -> None:
        return


class Outlets:
    """All output of one node, through the product's own reporter, publisher, page and log."""

    def __init__(self, side: str, folder: Path, said: Said) -> None:
        self.side, self.said = side, said
        folder.mkdir()
        files = write_demo_files(folder, 1883, 7101, seed=None, block_bits=None)
        self.lines, self.plain = io.StringIO(), io.StringIO()
        speaker = Speaker("lab", f"node-{side}", "demo", side)
        log = folder / "journal"
        self.journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.journal.bind(str(log))
        self.report = Reporter(side, json_lines=True, out=self.lines)
        self.report.system_log = SystemLog(log, log)
        address = BrokerAddress.parse("mqtt://127.0.0.1:1")
        self.mqtt = MqttPublisher(MqttAddress(address, "lab", side, "demo"))
        self.report.mqtt = self.mqtt
        self.report.page = page_status.StatusPage(speaker, "photonlink")
        self.report.page._say = lambda *a, **k: said["page"].append((side, *a))  # type: ignore[method-assign]
        self.text = Reporter(side, json_lines=False, out=self.plain)
        station = load_node_station(files.stations[side])
        self.node = ProductNode(station, NodeOptions(), self.report)
        self.node._session = SimpleNamespace(peer_node="other")  # type: ignore[assignment]
        self.supervisor = Supervisor(SimpleNamespace(instruments={}, missing={}), lambda e: None)  # type: ignore[arg-type]
        self.detector, self.clicks = Detector(), [0, 0, 0, 0]
        self.reports: list[Any] = []

    def hear(self, block: TagBlock) -> None:
        """Update the detectors' counters and pass the supervisor's readings on to the reporter."""
        for k in range(4):
            self.clicks[k] += int((block.channel == k + 1).sum())
            readings = {"temperature_c": -40.0, "counts": self.clicks[k]}
            self.supervisor.keep(f"spd-{k}", self.detector, readings)
        for name, known in self.supervisor.readings.items():
            state = InstrumentState(name, "d", "1", "real", "ok", "", dict(known))
            self.said["instruments"].append((self.side, repr(state)))
            self.report.instrument(state)

    def take(self, record: Any) -> None:
        self.node._record(record)
        if type(record).__name__ == "BlockReport":
            self.reports.append(record)
            self.said["reports"].append((self.side, asdict(record)))
        self.text.record(record)
        with contextlib.suppress(StopIteration):  # it never suspends: one step runs it to the end
            self._publish().send(None)

    async def _publish(self) -> None:
        client: Any = Broker(self.said["MQTT"])
        pace: Any = Pace()
        self.mqtt._announce = False  # the announcement of the node is published once
        await self.mqtt._publish_due(client, pace)
        if (state := self.mqtt._state) is not None:
            await self.mqtt._publish(client, "state", state, pace)

    def end(self) -> None:
        self.report.event("summary", **run_summary.account(self.reports, 1.0, emulated=True))
        self.said["summary"] += self.lines.getvalue().splitlines()[-1:]
        self.said["output"] += self.lines.getvalue().splitlines()[:-1]
        self.said["text"] += self.plain.getvalue().splitlines()
        while True:
            try:
                self.said["system log"].append(self.journal.recv(1 << 16))
            except BlockingIOError:
                break
        assert self.report.system_log is not None
        self.report.system_log.close()
        self.journal.close()
        self.node._worker.shutdown()


class Log(logging.Handler):
    def __init__(self, said: list[object]) -> None:
        super().__init__(logging.DEBUG)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


OUTLETS = (
    "MQTT", "page", "output", "text", "summary", "system log", "log", "reports", "instruments",
    "frames",
)  # fmt: skip


def everything(folder: Path, coins: int) -> Said:
    """Run both nodes on one truth; returns all output."""
    said: Said = {name: [] for name in OUTLETS}
    handler, root = Log(said["log"]), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    folder.mkdir()
    outlets = {role: Outlets(str(role), folder / str(role), said) for role in Role}
    try:
        _run(outlets, said, coins)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for each in outlets.values():
            each.end()
    return said


def _run(outlets: dict[Role, Outlets], said: Said, coins: int) -> None:
    psk = PreSharedKey("0" * 32, SecretBits.take(bytearray(range(256)) * 16))
    wire = Wire(*pair(psk, parameters=AGREED, limits=Limits(status_period_s=0.02)))
    plain = wire._take

    def take(role: Role, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Publish):
                outlets[role].take(effect.record)
        plain(role, effects)

    wire._take = take  # type: ignore[method-assign]
    wire.connect()
    for both in zip(*map(pieces, truth(coins)), strict=True):
        for role, block in zip(Role, both, strict=True):
            outlets[role].hear(block)
            wire.input(role, lambda s, b=block: s.tags(b, wire.now_s))  # type: ignore[misc]
        if wire.now_s < SECONDS <= wire.now_s + 1e-12 * PIECE_PS:
            wire.cut()
        wire.tick(1e-12 * PIECE_PS)
    assert [r.abort for r in outlets[Role.ALICE].reports].count(None) >= 1
    for sender, data in wire.log:
        message = message_of(data)
        content = len(data) if isinstance(message, CHARGED) else repr(message)
        said["frames"].append((str(sender), type(message).__name__, content))


def told_apart(folder: Path) -> set[str]:
    """The outlets whose output differs between two truths."""
    first, second = (everything(folder / str(coins), coins) for coins in (1, 2))
    return {name for name in OUTLETS if first[name] != second[name]}


ONES = {"n": 0}  # number of ones in the last sifted string: the planted value


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the host's clocks from the output; record the number of ones for the plants."""
    monkeypatch.setattr(machine, "wall_s", lambda: 1e9)
    monkeypatch.setattr(machine, "monotonic_s", lambda: 0.0)
    for module in (mqtt_status, page_status):
        monkeypatch.setattr(module.time, "time", lambda: 1e9)
    monkeypatch.setattr(mqtt_status, "INSTRUMENT_INTERVAL_S", 0.0)
    monkeypatch.setattr(page_status, "STATE_S", 0.0)
    of = SiftedBlock.of.__func__  # type: ignore[attr-defined]

    def counting(cls: type, *arguments: Any) -> SiftedBlock:
        found: SiftedBlock = of(cls, *arguments)
        ONES["n"] = found.hv.ones()
        return found

    ONES["n"] = 0
    monkeypatch.setattr(SiftedBlock, "of", classmethod(counting))


def test_c4_nothing_that_leaves_depends_on_key_outcomes(tmp_path: Path) -> None:
    first = everything(tmp_path / "one", 1)
    second = everything(tmp_path / "two", 2)
    for name in OUTLETS:
        assert first[name] == second[name], name
    for name in set(OUTLETS) - {"log"}:
        assert first[name], f"nothing left by {name}: it was not looked at"
    assert "rate_h_hz" in json.loads(str(first["output"][-3])), "states say rates, of the disclosed"


def _encode(module: Any) -> Callable[[pytest.MonkeyPatch], None]:
    plain = module.encode

    def planted(*a: Any, **k: Any) -> bytes:
        found: bytes = plain(*a, **k)
        return found + str(ONES["n"]).encode()

    return lambda patch: patch.setattr(module, "encode", planted)


def _output(patch: pytest.MonkeyPatch) -> None:
    plain = Reporter.event
    patch.setattr(
        Reporter, "event", lambda self, kind, **f: plain(self, kind, **f, planted=ONES["n"])
    )


def _text(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reporting, "_pairs", lambda fields: str(ONES["n"]))


def _system_log(patch: pytest.MonkeyPatch) -> None:
    plain = SystemLog.alarm
    patch.setattr(SystemLog, "alarm", lambda self, node, a: plain(self, f"{ONES['n']}", a))


def _python_log(patch: pytest.MonkeyPatch) -> None:
    plain = Distilling._private_verdict

    def verdict(self: Distilling) -> str | None:
        logging.getLogger("photonlink.any").debug("%d ones", self.strings[0].ones())
        return plain(self)

    patch.setattr(Distilling, "_private_verdict", verdict)


def _report(patch: pytest.MonkeyPatch) -> None:
    plain = BlockAccount.report

    def report(self: BlockAccount, *a: Any, **k: Any) -> Any:
        return replace(plain(self, *a, **k), rounds=ONES["n"])

    patch.setattr(BlockAccount, "report", report)


def _summary(patch: pytest.MonkeyPatch) -> None:
    plain = run_summary.account
    patch.setattr(run_summary, "account", lambda *a, **k: plain(*a, **k) | {"n": ONES["n"]})


def _instruments(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Detector, "of_clicks", frozenset())


def _figures(patch: pytest.MonkeyPatch) -> None:
    plain = CoincidenceFigures.show
    patch.setattr(CoincidenceFigures, "show", lambda self: plain(self) | {"sifted_bps": ONES["n"]})


def _hint(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AliceDistilling, "_start_rate", lambda self, basis: 1e-5 * ONES["n"])


EDGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "MQTT": _encode(mqtt_status), "page": _encode(page_status), "output": _output, "text": _text,
    "system log": _system_log, "log": _python_log, "summary": _summary,
}  # fmt: skip
"""Plants: each adds a correlation to one outlet alone."""


def _edges(patch: pytest.MonkeyPatch) -> None:
    for plant in EDGES.values():
        plant(patch)


PLANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], set[str]]] = {
    "where it is said": (_edges, set(EDGES)),
    "live rates in states": (live_rates, {"MQTT", "page", "output"}),
    "rates after a cut": (rates_of_before, {"MQTT", "page", "output"}),
    "a report": (_report, {"reports", "MQTT", "page", "output", "text"}),
    "counters of detectors": (_instruments, {"instruments", "MQTT", "page"}),
    "figures to the peer": (_figures, {"frames", "MQTT"}),
    "where correction begins": (_hint, {"frames"}),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_c4_a_correlation_planted_in_any_outlet_is_seen_there(
    plant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted, where = PLANTS[plant]
    planted(monkeypatch)
    found = told_apart(tmp_path)
    assert where <= found
    assert plant != "where it is said" or found == where


def test_every_outlet_has_a_plant() -> None:
    assert set().union(*(where for _, where in PLANTS.values())) == set(OUTLETS)


CLICK_WORDS = ("click", "count of", "across channel", "across the nanowire")


def test_every_reading_that_tells_of_clicks_is_declared_so() -> None:
    """A node publishes the readings of its detectors' supervisor, except click counts."""
    told = []
    for name, entry in registry().drivers.items():
        if "CountsPhotons" not in entry.facets and "Biased" not in entry.facets:
            continue
        for param in expand(getattr(load_driver(name), "PARAMS", ())):
            if not param.set and any(word in param.doc for word in CLICK_WORDS):
                told.append((name, param.name, param.of_clicks))  # noqa: PERF401
    assert {"counts", "rate_hz", "voltage_1_v"} <= {param for _, param, _ in told}
    assert [row for row in told if not row[2]] == []
