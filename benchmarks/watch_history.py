"""A history file after a year of watching: a day of states, a month of minutes, then hours."""

from __future__ import annotations

import math
import random
import sqlite3
import time
from array import array
from pathlib import Path

from photonlink.pipeline.watch.figures import DAY_S, FIGURES, MONTH_S, STEP_S
from photonlink.pipeline.watch.history import History

YEAR_S = 366 * 86_400


def year_of_history(path: Path, links: int) -> None:
    """Write one year of both ends of ``links`` links, thinned by age as watch thins it."""
    now = time.time()
    store = History(path)
    ids = [
        store.node_id("old", f"link-{i}-{role}", f"link-{i}")
        for i in range(links)
        for role in ("alice", "bob")
    ]
    store.close(now)
    rng = random.Random(1)  # noqa: S311 - figures to look at
    packed = [_thinned(rng) for _ in range(97)]
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous=OFF")
        for level, keep in (("minute", MONTH_S), ("hour", YEAR_S)):
            step = STEP_S[level]
            start = now - keep
            start -= start % step
            for node in ids:
                rows = (
                    (node, start + i * step, packed[i % len(packed)])
                    for i in range(int(keep / step))
                )
                db.executemany(f"INSERT OR REPLACE INTO {level} VALUES (?, ?, ?)", rows)  # noqa: S608 - our own names
        for node in ids[::2]:
            for t in range(int(now - DAY_S), int(now), 2):
                db.execute("INSERT OR REPLACE INTO raw VALUES (?, ?, ?)", (node, t, _raw(rng)))


def _thinned(rng: random.Random) -> bytes:
    out = array("f")
    for _ in FIGURES:
        mean = rng.random()
        out.extend((mean, mean - 0.1, mean + 0.1))
    return out.tobytes()


def _raw(rng: random.Random, count: int = 4) -> bytes:
    """One flush, of two seconds: four states."""
    times = array("f", (i * 0.5 for i in range(count)))
    figures = array("f", (rng.random() if i % 9 else math.nan for i in range(count * len(FIGURES))))
    return count.to_bytes(4, "little") + times.tobytes() + figures.tobytes()
