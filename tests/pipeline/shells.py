"""Nodes on real sockets without a bench: the node's outer program, session and store; no tagger.

For tests of connecting, authentication and dead connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from clicks import MAP
from link import CAPABILITIES, SMALL, STARTED

from photonlink.hal.tags import Provenance
from photonlink.pipeline.demo.files import write_demo_files
from photonlink.pipeline.node.node import Node, NodeOptions
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.recorded_session import NodeSession
from photonlink.pipeline.node.report import Reporter
from photonlink.pipeline.node.station import load_node_station
from photonlink.pipeline.protocol.setup import Limits, Role, SessionSetup
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import ideal
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.status.broker import free_port


class Events(Reporter):
    """Collects the node's events."""

    def __init__(self, name: str) -> None:
        super().__init__(name, json_lines=True)
        self.events: list[dict[str, Any]] = []

    def event(self, kind: str, **fields: Any) -> None:
        self.events.append({"event": kind, **fields})

    def codes(self) -> set[str]:
        return {e["code"] for e in self.events if e["event"] == "alarm" and e["active"]}


class Shell:
    """One node; ``session.line`` is set while the peer is connected."""

    def __init__(self, node: Node, session: NodeSession, said: Events) -> None:
        self.node, self.session, self.said = node, session, said

    @property
    def up(self) -> bool:
        return self.session.line is not None

    async def until(self, up: bool, seconds: float) -> float:
        """Wait until "peer is connected" equals ``up``; returns the seconds; TimeoutError."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with asyncio.timeout(seconds):
            while self.up is not up:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)
        return loop.time() - begin


def write_files(folder: Path) -> tuple[dict[str, Path], int]:
    """Write station files of both nodes, without a broker; returns them and Alice's port."""
    port = free_port()
    files = write_demo_files(folder, 1, port, seed=1, block_bits=None)
    for path in files.stations.values():
        head, _, rest = path.read_text().partition("[mqtt]")
        path.write_text(head + rest[rest.index("[sim]") :])
    return files.stations, port


@contextlib.asynccontextmanager
async def shell(
    station: Path,
    *,
    limits: Limits | None = None,
    parameters: AgreedParameters = SMALL,
    connect: str | None = None,
) -> AsyncIterator[Shell]:
    """Run a node. ``connect``: the peer's address, if it differs from that in the file."""
    loaded = load_node_station(station)
    if connect is not None:
        loaded = loaded.model_copy(
            update={"peer": loaded.peer.model_copy(update={"connect": connect})}
        )
    said = Events(loaded.node.role)
    with open_store(loaded) as store:
        psk = store.psk(loaded.node.psk)
        setup = SessionSetup(
            Role(loaded.node.role), psk, DetectorMap(MAP), ideal(), parameters,
            limits=limits or Limits(),
        )  # fmt: skip
        session = NodeSession(setup, store, None, Provenance.REAL)
        session._session.acquisition_started(
            STARTED, CAPABILITIES, asyncio.get_running_loop().time()
        )
        node = Node(loaded, NodeOptions(), said)
        node._session = session
        tasks = [asyncio.create_task(work) for work in (node._peer_loop(), node._tick_loop())]
        try:
            yield Shell(node, session, said)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(stream.close() for stream in node._streams.values()))
            node._worker.shutdown(wait=True)
            session.close()
