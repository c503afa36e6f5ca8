"""What a node shows of its bench and under which names: the table of what was opened, MQTT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from photonlink.hal.opening import Bench
from photonlink.hal.supervisor import Supervisor
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.status.model import InstrumentState
from photonlink.pipeline.status.mqtt import MqttAddress


def mqtt_address(station: NodeStation) -> MqttAddress | None:
    """The broker and this node's names there; None when the station names no broker."""
    s, mqtt = station, station.mqtt
    if mqtt is None:
        return None
    return MqttAddress(
        mqtt.address(), s.site, s.node.role, s.node.link, s.node.name, mqtt.home_assistant
    )


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
