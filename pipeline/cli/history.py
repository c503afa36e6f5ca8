"""``photonlink history``: the history that ``watch`` keeps of a station."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photonlink.hal.errors import PhotonlinkError

if TYPE_CHECKING:
    from photonlink.pipeline.watch.figures import Series
    from photonlink.pipeline.watch.history import History as Store

History = Annotated[
    str, typer.Option("--history", help="History file (SQLite); ':memory:' keeps none.")
]
DEFAULT_HISTORY = "photonlink-history.sqlite"
ROWS, CSV_ROWS = 40, 100_000


def history(
    station: Annotated[
        str, typer.Argument(help="SITE/NODE, a node or a link; without one, all are listed.")
    ] = "",
    since: Annotated[str, typer.Option(help="How far back: 90m, 24h, 30d.")] = "24h",
    figures: Annotated[str, typer.Option(help="Figures, separated by commas.")] = (
        "skr_bps,qber_hv,qber_da"
    ),
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Every point, with times in UNIX seconds.")
    ] = False,
    file: History = DEFAULT_HISTORY,
) -> None:
    """Print what ``watch`` has kept of a station: figures over time, as a table or CSV."""
    from photonlink.pipeline.watch.history import History as Store

    if not Path(file).is_file():
        raise PhotonlinkError(f"no history file {file!r}", hint="`photonlink watch` makes one")
    store = Store(file)
    try:
        if not station:
            for site, name, link in store.nodes():
                print(f"{site}/{name}\tlink {link}")
            return
        site, name = _find(store, station)
        now, span = time.time(), _span(since)
        rows = CSV_ROWS if as_csv else ROWS
        series = store.series(site, name, figures.split(","), now - span, now, points=rows)
    finally:
        store.close()
    if as_csv:
        _csv(series)
    else:
        _table(f"{site}/{name}, {since}", series)


def _find(store: "Store", station: str) -> tuple[str, str]:
    """The node of that name; of a link, Alice's."""
    nodes = store.nodes()
    found = [(s, n) for s, n, link in nodes if station in (f"{s}/{n}", n, link)]
    found.sort(key=lambda node: (not node[1].endswith("alice"), node))
    sites = {site for site, _ in found}
    if not found or (len(sites) > 1 and "/" not in station):
        known = ", ".join(f"{s}/{n}" for s, n, _ in nodes) or "none"
        why = "is at several sites" if found else "is not in this history"
        raise PhotonlinkError(f"{station!r} {why}", hint=f"known: {known}")
    return found[0]


def _csv(series: "Series") -> None:
    import csv
    import sys

    writer = csv.writer(sys.stdout)
    writer.writerow(series)
    writer.writerows(zip(*series.values(), strict=True))


def _table(title: str, series: "Series") -> None:
    from rich.table import Table

    from photonlink.pipeline.cli.terminal import console, readable

    table = Table("time", title=title, box=None)
    names = [name for name in series if name != "t" and not name.endswith((".min", ".max"))]
    for name in names:
        table.add_column(name, justify="right")
    for i, t in enumerate(series["t"]):
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(t or 0.0))
        values = [series[name][i] for name in names]
        table.add_row(when, *("–" if v is None else readable(v) for v in values))
    console().print(table)


def _span(text: str) -> float:
    """``90m``, ``24h`` or ``30d`` in seconds."""
    units = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
    try:
        found = float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        raise PhotonlinkError(f"--since {text!r} is no time such as 90m, 24h or 30d") from None
    if not 0 < found < 1e9:
        raise PhotonlinkError(f"--since {text!r} is beyond what is kept (ten years)")
    return found
