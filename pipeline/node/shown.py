"""What a node shows of its bench and under which names: the table of what was opened, MQTT."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from importlib import metadata
from typing import Any

from photonlink.hal.errors import StationError
from photonlink.hal.opening import Bench
from photonlink.hal.supervisor import Supervisor
from photonlink.pipeline.node.report import Reporter
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.node.transport import PeerAddress
from photonlink.pipeline.status.model import InstrumentState
from photonlink.pipeline.status.mqtt import MqttAddress
from photonlink.pipeline.status.system_log import SystemLog
from photonlink.pipeline.status.topics import Speaker, default_node


def mqtt_address(station: NodeStation) -> MqttAddress | None:
    """The broker and this node's names there; None when the station names no broker."""
    s, mqtt = station, station.mqtt
    if mqtt is None:
        return None
    return MqttAddress(
        mqtt.address(), s.site, s.node.role, s.node.link, s.node.name, mqtt.home_assistant
    )


@contextlib.asynccontextmanager
async def telling(station: NodeStation, report: Reporter) -> AsyncIterator[None]:
    """The node's own page and the system's log, for as long as the node runs."""
    if station.node.system_log:
        report.system_log = SystemLog()
    async with contextlib.AsyncExitStack() as stack:
        if station.status is not None:
            from photonlink.pipeline.status.web import StatusPage

            node = station.node
            name = node.name or default_node(node.link, node.role)
            speaker = Speaker(station.site, name, node.link, node.role)
            report.page = StatusPage(speaker, f"photonlink {metadata.version('photonlink')}")
            where = PeerAddress.parse(station.status.listen)
            try:
                await stack.enter_async_context(report.page.serving(where.host, where.port))
            except OSError as error:
                raise StationError(
                    f"[status] cannot listen: {error.strerror or error}",
                    where=station.status.listen,
                ) from error
        try:
            yield
        finally:
            if report.system_log is not None:
                report.system_log.close()


def instrument_states(bench: Bench, supervisor: Supervisor) -> Iterator[InstrumentState]:
    """Every instrument as the supervisor last saw it."""
    for name, r in bench.resolutions.items():
        lost = supervisor.lost.get(name)
        yield InstrumentState(
            name,
            r.driver,
            r.identity.serial,
            r.provenance.value,
            "ok" if lost is None else "lost",
            lost or "",
            dict(supervisor.readings.get(name, {})),
        )


def opened(bench: Bench, station: NodeStation) -> list[dict[str, Any]]:
    """The table of what was opened, whether it is real, and why."""
    rows = []
    for name, r in bench.resolutions.items():
        refused = [a for a in r.attempts if a.outcome != "opened"]
        rows.append(
            {
                "name": name,
                "driver": r.driver,
                "provenance": r.provenance.value,
                "backend": station.instruments[name].backend,
                "identity": f"{r.identity.vendor} {r.identity.model} {r.identity.serial}".strip(),
                "address": r.address,
                "reason": "; ".join(f"{a.address}: {a.outcome}" for a in refused),
            }
        )
    return rows
