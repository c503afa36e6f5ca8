"""``/metrics``: the newest figures of every node in Prometheus' text format, base units."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CollectorRegistry, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from photonlink.pipeline.watch.board import live
from photonlink.pipeline.watch.intake import number
from photonlink.pipeline.watch.service import Watch

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


class _Collector:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        now, nodes = self._watch.clock(), list(self._watch.board.nodes.values())
        rows = [(n, [n.site, n.node, n.link, n.role, str(n.emulated).lower()]) for n in nodes]
        up = GaugeMetricFamily("photonlink_up_ratio", "1 when the node publishes", labels=LABELS)
        alarms = GaugeMetricFamily(
            "photonlink_alarm_ratio", "1 while an alarm holds", labels=(*LABELS, "code", "severity")
        )
        for node, labels in rows:
            up.add_metric(labels, float(live(node, now)))
            for code, body in node.holding.items():
                alarms.add_metric([*labels, code, str(body.get("severity", ""))], 1.0)
        yield up
        yield alarms
        for name, (metric, help_text, scale) in FIGURES.items():
            family = GaugeMetricFamily(f"photonlink_{metric}", help_text, labels=LABELS)
            for node, labels in rows:
                value = number(node.state, name)
                if value is not None and live(node, now):
                    family.add_metric(labels, scale * value)
            yield family
        counted = GaugeMetricFamily(
            "photonlink_watch_refused_messages", "Messages of the broker that were not accepted"
        )
        counted.add_metric([], float(self._watch.board.refused))
        yield counted


def exposition(watch: Watch) -> bytes:
    """The page that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(_Collector(watch))
    return generate_latest(registry)
