"""One real node of a benchmark, fed from memory: a process that ``benchmarks.node_link`` starts.

python -m benchmarks.node_end '{"role": "alice", …}'   (one JSON object: see :class:`Orders`)

Shell, session, sealed store and socket are the node's own. Its time tagger is an object of this
process that yields the same wire bytes again and again, as fast as the node takes them, but at
most ``LEAD_PS`` ahead of the peer's. Prints one JSON object at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import resource
import struct
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmarks.node_stages import StageClock
from benchmarks.node_streams import CHUNK_PS, RESOLUTION_PS, Light, Loop
from photonlink.hal.facets import StreamsTags
from photonlink.hal.opening import Bench
from photonlink.hal.supervisor import Supervisor
from photonlink.hal.tags import (
    AcquisitionStart,
    Provenance,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)
from photonlink.pipeline.node.node import Node, NodeOptions
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.recorded_session import NodeSession
from photonlink.pipeline.node.report import Reporter
from photonlink.pipeline.node.station import load_node_station
from photonlink.pipeline.protocol.setup import Role, SessionSetup
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import ideal
from photonlink.pipeline.stages.events import DetectorMap

LEAD_PS = 10**12
START_S = 120.0
WAIT_S = 0.01
SAMPLE_S = 0.5
_FED = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Orders:
    """Parameters of the end. ``fed``: a file of 16 bytes that both ends share. ``pace``: seconds of
    the stream per second; 0: as fast as the node takes it. ``links``: the first of a process."""

    role: str
    station: str
    fed: str
    seconds: float
    form: str = "t2"
    loop_s: float = 2.0
    light: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    pace: float = 0.0
    stages: bool = True

    @classmethod
    def of(cls, text: str) -> Orders:
        found = json.loads(text)
        return cls(**{f.name: found[f.name] for f in fields(cls) if f.name in found})

    def told(self) -> str:
        return json.dumps(asdict(self))


class LoopTagger(StreamsTags):
    """A tagger that yields wire bytes from memory."""

    name = "tagger"

    def __init__(self, loop: Loop, fed: mmap.mmap, place: int, pace: float) -> None:
        self._loop, self._fed, self._place, self._pace = loop, fed, place, pace
        self._sent_ps, self.tags, self.ending = 0, 0, False
        self.waited_s = 0.0

    @property
    def capabilities(self) -> TaggerCapabilities:
        return TaggerCapabilities((1, 2, 3, 4), RESOLUTION_PS, 1e9)

    @property
    def wire_format(self) -> WireFormat:
        return self._loop.wire

    async def start(self) -> AcquisitionStart:
        return AcquisitionStart(1e9, 0.01)

    async def stop(self) -> None:
        return None

    async def chunks(self) -> AsyncIterator[WireChunk]:
        begin = time.monotonic()
        per_byte = self._loop.tags / self._loop.bytes
        for chunk in self._loop.chunks():
            while self._ahead(begin):
                self.waited_s += WAIT_S
                await asyncio.sleep(WAIT_S)
            if self.ending:
                return
            yield WireChunk(chunk)
            self.tags += round(len(chunk) * per_byte)
            self._sent_ps += CHUNK_PS
            _FED.pack_into(self._fed, self._place, self._sent_ps)

    def _ahead(self, begin: float) -> bool:
        (peer,) = _FED.unpack_from(self._fed, 8 - self._place)
        early = self._pace and self._sent_ps > (time.monotonic() - begin) * self._pace * 1e12
        return not self.ending and bool(self._sent_ps - peer > LEAD_PS or early)


@dataclass(slots=True)
class Moment:
    """Resources that a node has used, and its output, up to a time."""

    time_s: float
    cpu_s: float
    tags: int
    sifted_bits: int
    secret_bits: int
    blocks: int
    channel_bytes: int
    rss_mib: float
    faults: int
    stages: dict[str, float]


class Counting(Reporter):
    """Sums of the node's reports."""

    def __init__(self, name: str) -> None:
        super().__init__(name, json_lines=False, show=self._hear)
        self.sifted_bits = self.secret_bits = self.blocks = self.errors = 0
        self.aborts: list[str] = []
        self.alarms: list[str] = []

    def _hear(self, event: Any) -> None:
        if event["event"] == "block":
            self.blocks += 1
            self.sifted_bits += event.get("sifted_bits") or 0
            self.secret_bits += max(event.get("net_bits") or 0, 0)
            if event.get("abort"):
                self.aborts.append(event["abort"])
        elif event["event"] == "alarm" and event.get("active"):
            self.alarms.append(f"{event.get('code')}: {event.get('text')}")


class End:
    """The node, its tagger, and the measurement of both."""

    def __init__(self, orders: Orders) -> None:
        self._orders, self._clock = orders, StageClock()
        if orders.stages:
            self._clock.watch()
        self._file = open(orders.fed, "r+b")  # noqa: SIM115 - open as long as the process runs
        shared = mmap.mmap(self._file.fileno(), 16)
        alice = orders.role == "alice"
        loop = Loop(Light(**orders.light), 0 if alice else 1, orders.loop_s, orders.form)
        self._tagger = LoopTagger(loop, shared, 0 if alice else 8, orders.pace)
        self._said = Counting(orders.role)
        self._moments: list[Moment] = []
        self._node: Node
        self._session: NodeSession

    def _moment(self) -> Moment:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        status = Path("/proc/self/status").read_text()
        streams = self._node._streams.values()
        return Moment(
            time.monotonic(), usage.ru_utime + usage.ru_stime, self._tagger.tags,
            self._said.sifted_bits, self._said.secret_bits, self._said.blocks,
            sum(stream.sent_bytes for stream in streams),
            int(status.partition("VmRSS:")[2].split()[0]) / 1024, usage.ru_minflt,
            dict(self._clock.spent),
        )  # fmt: skip

    async def run(self) -> dict[str, Any]:
        orders = self._orders
        station = load_node_station(Path(orders.station))
        with open_store(station) as store:
            setup = SessionSetup(
                Role(orders.role), store.psk(station.node.psk),
                DetectorMap({"H": 1, "V": 2, "D": 3, "A": 4}), ideal(ticks_ps=(4.0, 4.0)),
                AgreedParameters(**orders.parameters),
            )  # fmt: skip
            self._session = NodeSession(setup, store, None, Provenance.EMULATED)
            self._node = Node(station, NodeOptions(), self._said)
            self._node._session = self._session
            bench = Bench({"tagger": self._tagger}, {})
            supervisor = Supervisor(bench, lambda event: None)
            loops = (
                self._node._peer_loop(), self._node._tagger_loop(bench, supervisor),
                self._node._tick_loop(),
            )  # fmt: skip
            tasks = [asyncio.create_task(work) for work in loops]
            try:
                await self._measure(tasks)
            finally:
                self._tagger.ending = True
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.gather(*(s.close() for s in self._node._streams.values()))
                self._node._worker.shutdown(wait=True)
                self._session.close()
        return self._account()

    async def _measure(self, tasks: list[asyncio.Task[None]]) -> None:
        """Measure from the third block on, for the requested time."""
        begin = time.monotonic()
        while self._said.blocks < 3:
            self._look(tasks)
            if time.monotonic() - begin > START_S:
                raise TimeoutError(f"no key within {START_S:g} s: {self._said.alarms[-3:]}")
            await asyncio.sleep(0.02)
        begin = time.monotonic()
        self._moments.append(self._moment())
        while time.monotonic() - begin < self._orders.seconds:
            self._look(tasks)
            await asyncio.sleep(SAMPLE_S)
            self._moments.append(self._moment())

    @staticmethod
    def _look(tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            if task.done():
                task.result()
                raise RuntimeError("the node ended")

    def _account(self) -> dict[str, Any]:
        return {
            "role": self._orders.role,
            "moments": [asdict(moment) for moment in self._moments],
            "aborts": self._said.aborts,
            "alarms": self._said.alarms[-8:],
            "waited_s": self._tagger.waited_s,
            "loop_mib": self._tagger._loop.mebibytes,
        }


def main() -> None:
    end = End(Orders.of(sys.argv[1]))
    with contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(asyncio.run(end.run())), flush=True)


if __name__ == "__main__":
    main()
