"""The figures of docs/performance.md, from results: python -m benchmarks.node_page FILE.json …

The files are those of ``python benchmarks/run.py NAME … --json FILE``. The text between the two
marks of the page is replaced; rows that no file holds are left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: python -m benchmarks.node_page -->\n", "<!-- end of figures -->\n"
ROWS = (
    "node-bbm92", "tags-to-sifted", "node-stream", "node-links",
    "node-delay", "start", "classical", "engine",
    "toeplitz-2.6e8-0.5", "cascade-network", "ldpc", "quiet",
)  # fmt: skip


def figures(rows: list[dict[str, Any]]) -> str:
    """Two tables: rows with goals, core-nanoseconds per stage of the node."""
    known = {row["name"]: row for row in rows}
    lines = ["| benchmark | figure | goal | met |", "|---|---|---|---|"]
    for name in ROWS:
        row = known.get(name)
        if row is not None:
            met = "yes" if row["met"] else "**no**"
            lines.append(
                f"| `{name}` | {row['figure']:.4g} {row['unit']} | {row['goal']} | {met} |"
            )
    lines += ["", *(f"* `{n}`: {known[n]['note']}" for n in ROWS if known.get(n, {}).get("note"))]
    stages = known.get("node-bbm92", {}).get("stages_ns")
    if stages:
        lines += [
            "",
            "| core-ns per tag of that end, 4-byte records | Alice | Bob |",
            "|---|---|---|",
        ]
        lines += [f"| {stage} | {a:.2f} | {b:.2f} |" for stage, (a, b) in stages.items()]
        total = [sum(pair[k] for pair in stages.values()) for k in (0, 1)]
        lines.append(f"| all | {total[0]:.1f} | {total[1]:.1f} |")
    return "\n".join(lines) + "\n"


def main(paths: list[str]) -> int:
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    rows = [row for path in paths for row in json.loads(Path(path).read_text())]
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(head + BEGIN + "\n" + figures(rows) + "\n" + END + tail)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
