"""The demo in virtual time: emulators, drivers, both nodes and the calibration in one process.

The same seed gives the same bytes on every wire at the same virtual times, and the same key, bit
for bit, however fast or loaded the machine is. Both taggers are TDC1: a vendor's library runs in
threads and sockets of its own and keeps real time. There is no broker.

This module alone imports both sides of the wire (decision 0014): it starts them on
one event loop; they still meet over the wire only. Its key comes from a seed and is marked so:
:data:`Provenance.SEEDED` is never delivered.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from photonlink.firmware_sim.config import BenchConfig
from photonlink.firmware_sim.virtual.bench import demo_bench, running
from photonlink.firmware_sim.virtual.loop import VirtualLoop, virtual_runner
from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.check.calibrate import CalibrateOptions, calibrate_stations
from photonlink.pipeline.demo.demo import CALIBRATE_S, NODES
from photonlink.pipeline.demo.files import write_virtual_files
from photonlink.pipeline.keys.psk import DEFAULT_BYTES, PreSharedKey
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.node.node import Node, NodeOptions
from photonlink.pipeline.node.report import Reporter
from photonlink.pipeline.node.station import NodeStation, load_node_station
from photonlink.pipeline.status.run_summary import account

DEFAULT_SEED = 1
NONCE_BYTES = 32


@dataclass
class VirtualOutcome:
    """The result of a virtual run. checks: node → HMAC over its key blocks under one nonce, from
    the seed. wire_digest: SHA-256 over all bytes of all wires, with their virtual times."""

    seed: int
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    lasers: dict[str, Any] = field(default_factory=dict)
    wires: dict[str, str] = field(default_factory=dict)
    wire_digest: str = ""
    wire_bytes: int = 0
    virtual_s: float = 0.0
    wall_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    interrupted: bool = False

    def result(self) -> dict[str, Any]:
        """The object of ``--json``."""
        found = self.summaries.get("alice") or self.summaries.get("bob")
        result = dict(found or account([], 0.0, emulated=True))
        for name in ("event", "node", "ts"):
            result.pop(name, None)
        result["aborts"] = [*result["aborts"], *self.failures]
        alike = len(self.checks) == len(NODES) and len(set(self.checks.values())) == 1
        return {
            **result,
            "keys_match": alike and bool(result.get("secret_bits")),
            "lasers_off": bool(self.lasers) and not any(
                laser.get("emission") for laser in self.lasers.values()
            ),
            "seed": self.seed,
            "key_check": self.checks.get("alice", ""),
            "wire_digest": self.wire_digest,
            "wire_bytes": self.wire_bytes,
            "virtual_s": round(self.virtual_s, 3),
            "wall_s": round(self.wall_s, 3),
        }  # fmt: skip


class _Report(Reporter):
    """A node's events go to the run instead of to a stream."""

    def __init__(self, node: str, take: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(node, json_lines=True)
        self._take = take

    def event(self, kind: str, **fields: Any) -> None:
        self._take({"event": kind, "node": self._node, **fields})


def virtual_demo(
    *,
    duration_s: float,
    seed: int | None = None,
    block_bits: int | None = None,
    folder: Path | None = None,
    bench: BenchConfig | None = None,
    show: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> VirtualOutcome:
    """Run the demo for ``duration_s`` virtual seconds of acquisition.

    folder: new, keeps the files of the run; none: a temporary one. bench: the optical table, its
    devices are replaced. show: called with every event of the nodes.
    """
    run = _Run(DEFAULT_SEED if seed is None else seed, duration_s, show)
    begin = time.perf_counter()  # the host's time, for the report only
    with virtual_runner(run.outcome.seed) as runner:
        loop = cast(VirtualLoop, runner.get_loop())
        start_s = loop.time()
        try:
            if folder is not None:
                folder.mkdir(parents=True)
                runner.run(run.inside(folder, loop, block_bits, bench))
            else:
                with tempfile.TemporaryDirectory(prefix="photonlink-virtual-") as name:
                    runner.run(run.inside(Path(name), loop, block_bits, bench))
        except PhotonlinkError as error:
            run.outcome.failures.append(str(error))
        except KeyboardInterrupt:
            run.outcome.interrupted = True
        run.outcome.virtual_s = loop.time() - start_s
        run.outcome.wires = loop.network.digests()
        run.outcome.wire_digest = loop.network.digest()
        run.outcome.wire_bytes = loop.network.bytes_total
    run.outcome.wall_s = time.perf_counter() - begin
    return run.outcome


class _Run:
    def __init__(
        self, seed: int, duration_s: float, show: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self.outcome = VirtualOutcome(seed)
        self._duration_s, self._show = duration_s, show
        self._nonce = hashlib.sha256(f"key check {seed}".encode()).hexdigest()[: 2 * NONCE_BYTES]

    async def inside(
        self, folder: Path, loop: VirtualLoop, block_bits: int | None, bench: BenchConfig | None
    ) -> None:
        """Everything, on the virtual loop."""
        files = write_virtual_files(folder, block_bits=block_bits, psk=_seeded_psk(loop))
        (folder / "run").mkdir()
        config = demo_bench(bench)
        async with running(config, folder / "run", loop, seed=self.outcome.seed) as program:
            stations = [load_node_station(path) for path in files.values()]
            self._take({"event": "calibrating", "node": "both", "seconds": CALIBRATE_S})
            await calibrate_stations(stations, CalibrateOptions("demo", CALIBRATE_S))
            async with asyncio.TaskGroup() as nodes:
                for station in stations:
                    nodes.create_task(self._node(station), name=station.name)
            self.outcome.lasers = program.lasers()

    async def _node(self, station: NodeStation) -> None:
        commands: asyncio.Queue[str] = asyncio.Queue(maxsize=4)

        def take(event: dict[str, Any]) -> None:
            if event["event"] == "summary" and event.get("emulated"):
                commands.put_nowait(json.dumps({"key_check": self._nonce}))
            self._take(event)

        options = NodeOptions(self._duration_s, control=True, commands=commands)
        try:
            await Node(station, options, _Report(station.name, take)).run()
        except PhotonlinkError as error:
            self.outcome.failures.append(str(error))

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "summary":
            self.outcome.summaries[event["node"]] = event
        elif event["event"] == "key_check":
            self.outcome.checks[event["node"]] = event["hmac"]
        self._show(event)


def _seeded_psk(loop: VirtualLoop) -> PreSharedKey:
    key_id = loop.seeded_bytes(16).hex()
    return PreSharedKey(key_id, SecretBits.take(bytearray(loop.seeded_bytes(DEFAULT_BYTES))))
