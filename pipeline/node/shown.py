"""How a node presents its bench: the table of opened instruments, and its names on MQTT."""

from __future__ import annotations

import asyncio
import contextlib
import errno
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
from photonlink.pipeline.status.mqtt import MqttAddress, MqttPublisher
from photonlink.pipeline.status.system_log import SystemLog
from photonlink.pipeline.status.topics import Speaker, default_node

MQTT_FAREWELL_S = 3.0


def mqtt_address(station: NodeStation) -> MqttAddress | None:
    """The broker and this node's names there; None when the station names no broker."""
    s, mqtt = station, station.mqtt
    if mqtt is None:
        return None
    return MqttAddress(
        mqtt.address(), s.site, s.node.role, s.node.link, s.node.name, mqtt.home_assistant,
        s.node.position,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def telling(station: NodeStation, report: Reporter) -> AsyncIterator[None]:
    """Broker, own page and the system's log, for as long as the node runs."""
    async with contextlib.AsyncExitStack() as stack:
        if station.node.system_log:
            report.system_log = SystemLog()
            stack.callback(report.system_log.close)
        if station.status is not None:
            await stack.enter_async_context(_own_page(station, report, station.status.listen))
        if (address := mqtt_address(station)) is not None:
            report.mqtt = MqttPublisher(address)
            await stack.enter_async_context(_publishing(report.mqtt))
        yield


@contextlib.asynccontextmanager
async def _publishing(mqtt: MqttPublisher) -> AsyncIterator[None]:
    task = asyncio.create_task(mqtt.run())
    try:
        yield
    finally:
        await mqtt.close()
        await asyncio.wait({task}, timeout=MQTT_FAREWELL_S if mqtt.connected else 0)
        task.cancel()
        # a vendor library that hangs must not hold the node
        await asyncio.wait({task}, timeout=MQTT_FAREWELL_S)


@contextlib.asynccontextmanager
async def _own_page(station: NodeStation, report: Reporter, listen: str) -> AsyncIterator[None]:
    from photonlink.pipeline.status.web import StatusPage

    node, where = station.node, PeerAddress.parse(listen)
    name = node.name or default_node(node.link, node.role)
    speaker = Speaker(station.site, name, node.link, node.role, node.position)
    report.page = StatusPage(speaker, f"photonlink {metadata.version('photonlink')}")
    try:
        async with report.page.serving(where.host, where.port):
            yield
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            raise
        raise StationError(
            f"[status] cannot listen: {error.strerror or error}", where=listen
        ) from error


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
    """The table of opened instruments: real or emulated, and why."""
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
