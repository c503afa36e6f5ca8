"""Figures of nodes in Prometheus' text format, base units: ``/metrics`` of a node and of watch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CollectorRegistry, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

LABELS = ("site", "node", "link", "role", "emulated")
BYTE = 1 / 8  # Prometheus counts data in bytes
FIGURES: dict[str, tuple[str, str, float]] = {
    "skr_bps": ("secret_key_bytes_per_second", "Secret key rate, net of authentication", BYTE),
    "sifted_bps": ("sifted_key_bytes_per_second", "Sifted key rate", BYTE),
    "qber_hv": ("qber_hv_ratio", "Error ratio of the HV basis", 1.0),
    "qber_da": ("qber_da_ratio", "Error ratio of the DA basis", 1.0),
    "coincidences_hz": ("coincidences_per_second", "Coincidences per second", 1.0),
    "accidentals_hz": ("accidentals_per_second", "Accidental coincidences per second", 1.0),
    "key_stored_bits": ("key_stored_bytes", "Secret key in the key store", BYTE),
    "pads_left_bits": ("pads_left_bytes", "One-time pads left for authentication", BYTE),
    "clock_offset_s": ("clock_offset_seconds", "Bob's clock minus Alice's", 1.0),
    "channel_bps": (
        "classical_channel_bytes_per_second", "Classical channel, both directions", BYTE,
    ),
    "epsilon": ("epsilon_ratio", "Failure probability, summed over attempts", 1.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """The figures of one node. labels: values of ``LABELS``. severities: code → severity."""

    labels: tuple[str, str, str, str, str]
    up: bool
    state: Mapping[str, Any]
    severities: Mapping[str, str]


class _Collector:
    def __init__(self, nodes: Iterable[NodeFigures], refused: int | None) -> None:
        self._nodes, self._refused = list(nodes), refused

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("photonlink_up_ratio", "1 when the node publishes", labels=LABELS)
        alarms = GaugeMetricFamily(
            "photonlink_alarm_ratio", "1 while an alarm holds", labels=(*LABELS, "code", "severity")
        )
        for node in self._nodes:
            up.add_metric(node.labels, float(node.up))
            for code, severity in node.severities.items():
                alarms.add_metric([*node.labels, code, severity], 1.0)
        yield up
        yield alarms
        for name, (metric, help_text, scale) in FIGURES.items():
            family = GaugeMetricFamily(f"photonlink_{metric}", help_text, labels=LABELS)
            for node in self._nodes:
                value = node.state.get(name)
                if node.up and isinstance(value, (int, float)) and not isinstance(value, bool):
                    family.add_metric(node.labels, scale * value)
            yield family
        if self._refused is not None:
            counted = GaugeMetricFamily(
                "photonlink_watch_refused_messages", "Messages that were not accepted"
            )
            counted.add_metric([], float(self._refused))
            yield counted


def exposition(nodes: Iterable[NodeFigures], refused: int | None = None) -> bytes:
    """The page that Prometheus reads. refused: messages that a watcher did not accept."""
    registry = CollectorRegistry()
    registry.register(_Collector(nodes, refused))
    return generate_latest(registry)
