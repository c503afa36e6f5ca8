"""Two real nodes over TCP on this machine, from a tagger's bytes to the committed key.

python -m benchmarks.node_link [--form t2] [--seconds 60] [--json]

Each end is a process of its own (see node_end.py) with a sealed store on disk. Wire bytes are
prepared in memory and looped; both are fed as fast as they take them, within a second of each
other. Figures are taken from the third block on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a script: make the modules beside it importable by full name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.measure import Effort, Row
from benchmarks.node_end import START_S, Moment, Orders
from photonlink.pipeline.demo.files import write_demo_files
from photonlink.pipeline.status.broker import free_port

ROLES = ("alice", "bob")
# one hold-off for all detectors: at 2 M clicks/s the quiet time of single diodes holds a tenth
PARAMETERS: dict[str, Any] = {
    "hardware_hold_off": 1, "multi_click_limit": 0.05, "first_block_sifted_bits": 500_000,
}  # fmt: skip
GOAL_TAGS_MHZ, GOAL_SIFTED_MBPS = 40.0, 4.0


@dataclass(frozen=True, slots=True)
class Ran:
    """Both ends of one link, from their third block to the end."""

    ends: tuple[dict[str, Any], ...]

    def part(self, end: int) -> tuple[Moment, Moment]:
        moments = self.ends[end]["moments"]
        return Moment(**moments[0]), Moment(**moments[-1])

    @property
    def wall_s(self) -> float:
        return statistics.mean(b.time_s - a.time_s for a, b in map(self.part, (0, 1)))

    @property
    def tags(self) -> int:
        return sum(b.tags - a.tags for a, b in map(self.part, (0, 1)))

    @property
    def cpu_s(self) -> float:
        return sum(b.cpu_s - a.cpu_s for a, b in map(self.part, (0, 1)))

    def rate(self, field: str) -> float:
        """A count of Alice's per second."""
        a, b = self.part(0)
        return float((getattr(b, field) - getattr(a, field)) / (b.time_s - a.time_s))

    @property
    def tags_per_core_s(self) -> float:
        return self.tags / self.cpu_s

    @property
    def channel_bytes(self) -> int:
        return sum(b.channel_bytes - a.channel_bytes for a, b in map(self.part, (0, 1)))

    def stages(self) -> dict[str, tuple[float, float]]:
        """Core-nanoseconds per tag of that end, in the order of processing; the rest is last."""
        found: dict[str, list[float]] = {}
        for end in (0, 1):
            a, b = self.part(end)
            n = max(b.tags - a.tags, 1)
            spent = {name: b.stages[name] - a.stages[name] for name in b.stages}
            spent["all else"] = b.cpu_s - a.cpu_s - sum(spent.values())
            for name, seconds in spent.items():
                found.setdefault(name, []).append(1e9 * seconds / n)
        return {name: (pair[0], pair[1]) for name, pair in found.items()}

    def growth_mib_per_minute(self) -> float:
        """Of resident memory, over the second half of the run."""
        worst = 0.0
        for end in self.ends:
            late = end["moments"][len(end["moments"]) // 2 :]
            if len(late) > 2:
                seconds = late[-1]["time_s"] - late[0]["time_s"]
                worst = max(worst, 60 * (late[-1]["rss_mib"] - late[0]["rss_mib"]) / seconds)
        return worst


@contextlib.contextmanager
def stations(count: int = 1) -> Iterator[list[dict[str, Path]]]:
    """Station files, keys and empty stores of ``count`` links, without broker and instruments."""
    folder = Path(tempfile.mkdtemp(prefix="photonlink-node-", dir=os.environ.get("TMPDIR")))
    try:
        made = []
        for k in range(count):
            place = folder / str(k)
            place.mkdir()
            files = write_demo_files(place, 1, free_port(), seed=1, block_bits=None)
            for path in files.stations.values():
                head, _, rest = path.read_text().partition("[mqtt]")
                path.write_text(head + rest[rest.index("[sim]") :])
            (place / "fed").write_bytes(bytes(16))
            made.append(dict(files.stations) | {"fed": place / "fed"})
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(files: dict[str, Path], role: str, **orders: Any) -> subprocess.Popen[str]:
    told = Orders(role, str(files[role]), str(files["fed"]), **orders)
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.node_end", told.told()],
        cwd=Path(__file__).resolve().parents[1], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def gather(ends: list[subprocess.Popen[str]], seconds: float) -> list[dict[str, Any]]:
    """Each end's output; RuntimeError when one failed."""
    try:
        said = [end.communicate(timeout=seconds + START_S + 60)[0] for end in ends]
    finally:
        for end in ends:
            end.kill()
    if any(end.returncode for end in ends):
        raise RuntimeError("an end of the link failed: its error is above")
    return [json.loads(text.strip().splitlines()[-1]) for text in said]


def run(seconds: float, form: str = "t2", **orders: Any) -> Ran:
    """Run one link. ``orders``: fields of node_end.Orders."""
    orders = {"parameters": PARAMETERS, **orders}
    with stations() as made:
        ends = [start(made[0], role, seconds=seconds, form=form, **orders) for role in ROLES]
        return Ran(tuple(gather(ends, seconds)))


def limit_of(ran: Ran) -> str:
    """The end and the stage that take the most CPU."""
    table = ran.stages()
    end = max((0, 1), key=lambda k: sum(pair[k] for pair in table.values()))
    name, pair = max(table.items(), key=lambda item: item[1][end])
    return f"{ROLES[end]}: {name} ({pair[end]:.1f} ns a tag)"


def told(ran: Ran) -> str:
    table = ", ".join(f"{name} {a:.1f} + {b:.1f}" for name, (a, b) in ran.stages().items())
    return f"core-ns per tag (Alice + Bob): {table}; most: {limit_of(ran)}"


def node_bbm92(name: str, effort: Effort) -> Row:
    seconds = max(4.0, 60 * effort.size)
    runs = {form: run(seconds, form) for form in ("t2", "swabian16")}
    ran = runs["t2"]
    mhz = {form: each.tags / each.wall_s / 1e6 for form, each in runs.items()}
    sifted = {form: each.rate("sifted_bits") / 1e6 for form, each in runs.items()}
    growth = max(each.growth_mib_per_minute() for each in runs.values())
    met = min(mhz.values()) >= GOAL_TAGS_MHZ and min(sifted.values()) >= GOAL_SIFTED_MBPS
    return Row(
        name, mhz["t2"], "M tags/s",
        f"≥ {GOAL_TAGS_MHZ:g} M tags/s of both ends, ≥ {GOAL_SIFTED_MBPS:g} Mb/s sifted, "
        "memory flat",
        met and growth < 5,
        note=f"4-byte records: sifted {sifted['t2']:.2f} Mb/s, "
        f"{ran.tags_per_core_s / 1e6:.1f} M tags a core-second; 16-byte records: "
        f"{mhz['swabian16']:.1f} M tags/s, {sifted['swabian16']:.2f} Mb/s; resident memory "
        f"{growth:+.1f} MiB a minute; {told(ran)}",
        details={
            "sifted_mbps": sifted["t2"], "secret_mbps": ran.rate("secret_bits") / 1e6,
            "tags_per_core_s": ran.tags_per_core_s, "swabian16_mhz": mhz["swabian16"],
            "growth_mib_per_minute": growth, "load": list(os.getloadavg()),
            "stages_ns": {stage: list(pair) for stage, pair in ran.stages().items()},
        },
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--form", default="t2", choices=("t2", "swabian16"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs-hz", type=float, default=1e6)
    parser.add_argument("--singles-hz", type=float, default=2e6)
    parser.add_argument("--json", action="store_true", help="all that both ends said")
    options = parser.parse_args()
    light = {"pairs_hz": options.pairs_hz, "singles_hz": options.singles_hz}
    ran = run(options.seconds, options.form, light=light)
    if options.json:
        print(json.dumps(ran.ends))
    print(f"{ran.tags / ran.wall_s / 1e6:.2f} M tags/s, {ran.tags_per_core_s / 1e6:.2f} M a "
          f"core-second, sifted {ran.rate('sifted_bits') / 1e6:.3f} Mb/s, secret "
          f"{ran.rate('secret_bits') / 1e6:.3f} Mb/s, {ran.part(0)[1].blocks} blocks, load "
          f"{os.getloadavg()[0]:.1f}")  # fmt: skip
    for stage, (a, b) in ran.stages().items():
        print(f"  {stage:20s} {a:7.2f} {b:7.2f}")
    for end in ran.ends:
        print(end["role"], [round(m["rss_mib"]) for m in end["moments"][:: 8]], "faults",
              end["moments"][-1]["faults"] - end["moments"][0]["faults"], "waited",
              round(end["waited_s"], 1), end["aborts"][:4], end["alarms"][-3:])  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
