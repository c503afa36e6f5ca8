"""Make grafana.json with Grafana's own SDK: ``python make_grafana.py > grafana.json``.

Needs ``pip install grafana-foundation-sdk``. The names are those of ``/metrics`` of a node or of
``photonlink watch`` as Prometheus reads them.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
CHOSEN = 'link=~"$link"'
# title, unit of Grafana, expressions with their legend; Prometheus counts in bytes, QKD in bits
CHARTS = (
    ("Secret key rate, net", "bps", (
        ("8 * photonlink_secret_key_bytes_per_second{}", "{{link}} {{role}}"),
    )),
    ("QBER", "percentunit", (
        ("photonlink_qber_hv_ratio{}", "{{link}} HV"),
        ("photonlink_qber_da_ratio{}", "{{link}} DA"),
    )),
    ("Coincidences", "cps", (
        ("photonlink_coincidences_per_second{}", "{{link}}"),
        ("photonlink_accidentals_per_second{}", "{{link}} accidental"),
    )),
    ("Key in store", "bits", (("8 * photonlink_key_stored_bytes{}", "{{link}} {{role}}"),)),
    ("Pads left", "bits", (("8 * photonlink_pads_left_bytes{}", "{{link}} {{role}}"),)),
    ("Clock of Bob minus Alice's", "s", (("photonlink_clock_offset_seconds{}", "{{link}}"),)),
)  # fmt: skip


def query(expression: str, legend: str) -> prometheus.Dataquery:
    chosen = expression.replace("{}", f"{{{CHOSEN}}}")
    return prometheus.Dataquery().expr(chosen).legend_format(legend)


def dashboard() -> Dashboard:
    made = (
        Dashboard("photonlink: links")
        .uid("photonlink-links")
        .tags(["qkd", "photonlink"])
        .refresh("10s")
        .time("now-6h", "now")
        .with_variable(DatasourceVariable("source").type("prometheus"))
        .with_variable(
            QueryVariable("link")
            .datasource(SOURCE)
            .query("label_values(photonlink_up_ratio, link)")
            .multi(True)
            .include_all(True)
        )
        .with_panel(
            stat.Panel()
            .title("Alarms that hold")
            .datasource(SOURCE)
            .height(4)
            .span(6)
            .with_target(
                prometheus.Dataquery().expr(f"sum(photonlink_alarm_ratio{{{CHOSEN}}}) or vector(0)")
            )
        )
        .with_panel(
            stat.Panel()
            .title("Nodes that publish")
            .datasource(SOURCE)
            .height(4)
            .span(6)
            .with_target(prometheus.Dataquery().expr(f"sum(photonlink_up_ratio{{{CHOSEN}}})"))
        )
    )
    for title, unit, expressions in CHARTS:
        panel = timeseries.Panel().title(title).unit(unit).datasource(SOURCE).height(8).span(12)
        for expression, legend in expressions:
            panel.with_target(query(expression, legend))
        made.with_panel(panel)
    return made


def text() -> str:
    """The dashboard as Grafana imports it."""
    return str(JSONEncoder(sort_keys=True, indent=1).encode(dashboard().build())) + "\n"


if __name__ == "__main__":
    print(text(), end="")
