"""Every figure that the README claims: python benchmarks/run.py [NAME …] [--json FILE]

One core, CPU time, medians; the named peer is measured in the same run on the same data and the
results are compared. ``--list`` names the benchmarks; a peer that is not installed is reported as
missing (``pip install photonlink[bench]``). The exit status is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a script: make the modules beside it importable by full name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.measure import Effort, Row, machine


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a benchmark lives: ``function(name, effort)`` of a module beside this file."""

    module: str
    function: str


BENCHMARKS: dict[str, Entry] = {
    "decode-t2": Entry("decode", "t2"),
    "decode-other": Entry("decode", "other"),
    "driver-time-controller": Entry("tagger_drivers", "time_controller"),
    "driver-ttm8000": Entry("tagger_drivers", "ttm8000"),
    "driver-time-tagger": Entry("tagger_drivers", "time_tagger"),
    "merge": Entry("decode", "merging"),
    "coincidence": Entry("matching", "coincidence"),
    "correlation": Entry("matching", "correlation"),
    "delay": Entry("matching", "delay"),
    "quiet": Entry("times", "quiet"),
    "sifting": Entry("sifting", "sifting"),
    "cascade-1": Entry("reconcile", "cascade"),
    "cascade-2": Entry("reconcile", "cascade"),
    "cascade-5": Entry("reconcile", "cascade"),
    "cascade-8": Entry("reconcile", "cascade"),
    "cascade-network": Entry("cascade_network", "network"),
    "ldpc": Entry("ldpc", "ldpc"),
    "toeplitz-20": Entry("hashing", "toeplitz_20"),
    "toeplitz-1e8-0.1": Entry("hashing", "toeplitz_large"),
    "toeplitz-1e8-0.39": Entry("hashing", "toeplitz_large"),
    "toeplitz-1e8-0.5": Entry("hashing", "toeplitz_large"),
    "toeplitz-2.6e8-0.5": Entry("hashing", "toeplitz_large"),
    "toeplitz-1e9-0.5": Entry("hashing", "toeplitz_large"),
    "hash": Entry("hashing", "hashes"),
    "sealing": Entry("sealing", "sealing"),
    "distil": Entry("distil", "distil"),
    "memory": Entry("distil", "memory"),
    "yield": Entry("yield_share", "share"),
    "node-bbm92": Entry("node_link", "node_bbm92"),
    "tags-to-sifted": Entry("tags_to_sifted", "row"),
    "node-stream": Entry("node_rows", "node_stream"),
    "node-links": Entry("node_rows", "node_links"),
    "node-delay": Entry("node_delay", "node_delay"),
    "start": Entry("node_rows", "start_up"),
    "classical": Entry("node_rows", "classical"),
}
HEADER = ("ratio", "benchmark", "figure", "baseline", "goal", "met")


def run(name: str, effort: Effort) -> Row:
    entry = BENCHMARKS[name]
    module = importlib.import_module(f"benchmarks.{entry.module}")
    row: Row = getattr(module, entry.function)(name, effort)
    return row


def chosen(names: Sequence[str]) -> list[str]:
    """Benchmarks by name or by the beginning of names ("cascade", "toeplitz-1e8"); default: all.

    Raises ValueError for an unknown name.
    """
    found: list[str] = []
    for wanted in names:
        group = [name for name in BENCHMARKS if name == wanted or name.startswith(wanted + "-")]
        if not group:
            raise ValueError(
                f"no benchmark is called {wanted!r}; there are {', '.join(BENCHMARKS)}"
            )
        found += [name for name in group if name not in found]
    return found or list(BENCHMARKS)


def number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{float(f'{value:.3g}'):,.10g} {unit}".rstrip()


def cells(row: Row) -> tuple[str, ...]:
    ratio = "-" if row.ratio is None else f"{float(f'{row.ratio:.3g}'):g}x"
    told = [(key, row.details[key]) for key in ("f", "fer", "rounds") if key in row.details]
    details = [f"{key} {value:.5g}" for key, value in told]
    figure = ", ".join([number(row.figure, row.unit), *details])
    baseline = "-" if row.baseline is None else row.baseline
    if row.baseline_figure is not None:
        baseline += f": {number(row.baseline_figure, row.unit)}"
    return ratio, row.name, figure, baseline, row.goal, "yes" if row.met else "**no**"


def as_markdown(rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    lines += ["", f"Measured on {machine()}."]
    return "\n".join([*lines, *notes(rows)])


def as_text(rows: Sequence[Row]) -> str:
    table = [HEADER, *(cells(row) for row in rows)]
    widths = [max(len(line[k]) for line in table) for k in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    return "\n".join([*lines, "", machine(), *notes(rows)]).replace("**", "")


def notes(rows: Sequence[Row]) -> list[str]:
    return [f"* `{row.name}`: {row.note}" for row in rows if row.note]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="all when none is given")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", action="store_true", help="print the table for the README")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--size", type=float, default=1.0, help="of the data (tests: 0.01)")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(BENCHMARKS))
        return 0
    try:
        names = chosen(options.names)
    except ValueError as error:
        parser.error(str(error))
    rows = []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows.append(run(name, Effort(options.size, options.repeats)))
    print(as_markdown(rows) if options.markdown else as_text(rows))
    if options.json:
        text = json.dumps([row.fields() for row in rows], indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
