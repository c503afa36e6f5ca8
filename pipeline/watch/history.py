"""History of all links in one SQLite file: bounded, thinned by age, written in batches.

Full rate for a day, one point a minute for a month, one an hour for ten years; each thinned point
keeps mean, least and most. Points of a node are packed: one row holds the float32 figures of one
flush (full rate) or of one minute or hour. Events (alarms, blocks) are rows of text.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import time
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photonlink.pipeline.watch.figures import (
    FIGURES,
    KEEP_S,
    STEP_S,
    HistoryError,
    Series,
    minutes,
    read_series,
)
from photonlink.pipeline.watch.intake import Flat, number

MAX_PENDING = 50_000
MAX_EVENTS = 200_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (version INTEGER, figures TEXT);
CREATE TABLE IF NOT EXISTS nodes (id INTEGER PRIMARY KEY, site TEXT, node TEXT, link TEXT,
    UNIQUE (site, node));
CREATE TABLE IF NOT EXISTS raw (node INTEGER, t REAL, points BLOB, PRIMARY KEY (node, t))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS minute (node INTEGER, t REAL, points BLOB, PRIMARY KEY (node, t))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hour (node INTEGER, t REAL, points BLOB, PRIMARY KEY (node, t))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, t REAL, node INTEGER, kind TEXT,
    code TEXT, severity TEXT, body TEXT);
CREATE INDEX IF NOT EXISTS events_by_time ON events (t);
CREATE TABLE IF NOT EXISTS notes (alarm TEXT PRIMARY KEY, t REAL, who TEXT, what TEXT, until REAL);
"""
_VERSION = 1


@dataclass
class _Bucket:
    """Mean, least and most of each figure over one minute or hour."""

    start: float
    count: list[int] = field(default_factory=lambda: [0] * len(FIGURES))
    total: list[float] = field(default_factory=lambda: [0.0] * len(FIGURES))
    least: list[float] = field(default_factory=lambda: [math.inf] * len(FIGURES))
    most: list[float] = field(default_factory=lambda: [-math.inf] * len(FIGURES))

    def add(self, row: Iterable[float]) -> None:
        for i, value in enumerate(row):
            if value == value:
                self.count[i] += 1
                self.total[i] += value
                self.least[i] = min(self.least[i], value)
                self.most[i] = max(self.most[i], value)

    def packed(self) -> bytes:
        """(mean, least, most) per figure, NaN where there was none."""
        out = array("f")
        for n, total, least, most in zip(
            self.count, self.total, self.least, self.most, strict=True
        ):
            out.extend((total / n, least, most) if n else (math.nan,) * 3)
        return out.tobytes()


class History:
    """One open history file. Not thread-safe: one thread writes and reads.

    Raises HistoryError when the file is damaged, is of a newer version or cannot be written at
    the start; later failures of the disk are kept in ``failure`` and the points that could not be
    written wait (up to a bound) until the disk takes them.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self.on_disk = self.path != ":memory:"
        self.failure = ""
        self.damaged = ""  # why another file is not used
        self.dropped = 0
        self._ids: dict[tuple[str, str], int] = {}
        self._pending: dict[int, list[tuple[float, array[float]]]] = {}
        self._pending_points = 0
        self._events: list[tuple[float, int, str, str, str, str]] = []
        self._buckets: dict[tuple[int, str], _Bucket] = {}
        self._closed_buckets: list[tuple[str, int, float, bytes]] = []
        self._thinned_s = 0.0
        try:
            self._db = sqlite3.connect(self.path, timeout=5.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._check_version()
        except sqlite3.Error as error:
            raise HistoryError(
                f"history file {self.path!r}: {error}",
                hint="Move it aside and start again, or name another with --history",
            ) from error

    def _check_version(self) -> None:
        row = self._db.execute("SELECT version, figures FROM meta").fetchone()
        if row is None:
            self._db.execute("INSERT INTO meta VALUES (?, ?)", (_VERSION, json.dumps(FIGURES)))
        elif row[0] != _VERSION or json.loads(row[1]) != list(FIGURES[: len(json.loads(row[1]))]):
            raise HistoryError(
                f"history file {self.path!r} is of version {row[0]}, this program reads {_VERSION}",
                hint="It was made by another version of photonlink: name another file",
            )

    # ---- writing ----

    def node_id(self, site: str, node: str, link: str = "") -> int:
        """The number of a node in this file; made on first sight."""
        found = self._ids.get((site, node))
        if found is None:
            self._db.execute(
                "INSERT OR IGNORE INTO nodes (site, node, link) VALUES (?, ?, ?)",
                (site, node, link),
            )
            row = self._db.execute(
                "SELECT id FROM nodes WHERE site = ? AND node = ?", (site, node)
            ).fetchone()
            found = self._ids[site, node] = int(row[0])
            if link:
                self._db.execute("UPDATE nodes SET link = ? WHERE id = ?", (link, found))
        return found

    def state(self, site: str, node: str, link: str, t: float, body: Flat) -> None:
        """One state of a node. Never waits for the disk, never raises for it."""
        if self._pending_points >= MAX_PENDING:
            self.dropped += 1
            return
        try:
            number_of = self.node_id(site, node, link)
        except sqlite3.Error as error:
            self.failure = str(error)
            self.dropped += 1
            return
        values = (number(body, name) for name in FIGURES)
        row = array("f", (math.nan if v is None else v for v in values))
        self._pending.setdefault(number_of, []).append((t, row))
        self._pending_points += 1
        for level, step in STEP_S.items():
            start = t - t % step
            bucket = self._buckets.get((number_of, level))
            if bucket is None or bucket.start != start:
                if bucket is not None:
                    self._closed_buckets.append((level, number_of, bucket.start, bucket.packed()))
                bucket = self._buckets[number_of, level] = _Bucket(start)
            bucket.add(row)

    def event(self, site: str, node: str, t: float, kind: str, body: Flat, *,
              code: str = "", severity: str = "") -> None:  # fmt: skip
        """An alarm that was raised or cleared, a block, a node that went online or offline."""
        if len(self._events) >= MAX_PENDING:
            self.dropped += 1
            return
        try:
            number_of = self.node_id(site, node)
        except sqlite3.Error as error:
            self.failure = str(error)
            return
        self._events.append((t, number_of, kind, code, severity, json.dumps(body)))

    def flush(self, now_s: float, *, closing: bool = False) -> None:
        """Write queued data in one transaction; thin once a minute. After a failure the data stay
        queued.
        """
        if closing:
            for (number_of, level), bucket in self._buckets.items():
                self._closed_buckets.append((level, number_of, bucket.start, bucket.packed()))
            self._buckets.clear()
        try:
            self._db.execute("BEGIN")
            try:
                self._db.executemany(
                    "INSERT OR REPLACE INTO raw VALUES (?, ?, ?)", list(self._packed())
                )
                for level in STEP_S:
                    rows = [(n, t, p) for lv, n, t, p in self._closed_buckets if lv == level]
                    self._db.executemany(f"INSERT OR REPLACE INTO {level} VALUES (?, ?, ?)", rows)  # noqa: S608 - a name of ours
                self._db.executemany(
                    "INSERT INTO events (t, node, kind, code, severity, body) VALUES (?,?,?,?,?,?)",
                    self._events,
                )
                if now_s - self._thinned_s > 60.0:
                    self._thin(now_s)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back by itself
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            self.failure = str(error)
            return
        self.failure = ""
        self._pending.clear()
        self._pending_points = 0
        self._events.clear()
        self._closed_buckets.clear()

    def _packed(self) -> Iterator[tuple[int, float, bytes]]:
        """One row a node: the count, times relative to the first (float32 s), then the figures."""
        for number_of, points in self._pending.items():
            first = points[0][0]
            times = array("f", (t - first for t, _ in points))
            figures = b"".join(row.tobytes() for _, row in points)
            yield number_of, first, len(points).to_bytes(4, "little") + times.tobytes() + figures

    def _thin(self, now_s: float) -> None:
        nodes = [row[0] for row in self._db.execute("SELECT id FROM nodes")]
        for level, keep in KEEP_S.items():
            # by node: the tables' key begins with it, so only deleted rows are touched
            self._db.executemany(
                f"DELETE FROM {level} WHERE node = ? AND t < ?",  # noqa: S608 - a name of ours
                [(node, now_s - keep) for node in nodes],
            )
        self._db.execute(
            "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (MAX_EVENTS,)
        )
        self._thinned_s = now_s

    def close(self, now_s: float | None = None) -> None:
        self.flush(time.time() if now_s is None else now_s, closing=True)
        self._db.close()

    # ---- reading ----

    def nodes(self) -> list[tuple[str, str, str]]:
        """(site, node, link) of every node that was ever seen."""
        return list(self._db.execute("SELECT site, node, link FROM nodes ORDER BY site, node"))

    def series(self, site: str, node: str, names: list[str], since: float, until: float,
               points: int = 2_000) -> Series:  # fmt: skip
        """Figures of a node over a time, at the finest level that gives at most ``points``.

        Returns ``t`` (UNIX s) and per name its means; where the level is thinned, also
        ``NAME.min`` and ``NAME.max``. Unknown names give HistoryError.
        """
        return read_series(
            self._db, self.waiting(site, node), site, node, names, since, until, points
        )

    def last_hour(self, site: str, node: str, name: str, now_s: float) -> dict[int, float]:
        """Minute (UNIX time / 60) → mean, of the written data; empty where it cannot be read."""
        with self._told():
            return minutes(self._db, site, node, name, now_s - 3600.0)
        return {}

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """A file that cannot be read during a run is a failure to show; watching goes on."""
        try:
            yield
        except sqlite3.Error as error:
            self.failure = str(error)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Another connection, for any thread; without a file this one's own, for its thread."""
        if not self.on_disk:
            yield self._db
            return
        with contextlib.closing(
            sqlite3.connect(self.path, timeout=5.0, isolation_level=None)
        ) as db:
            yield db

    def waiting(self, site: str, node: str) -> list[tuple[float, array[float]]]:
        """Points of a node that are not written yet."""
        return list(self._pending.get(self._ids.get((site, node), -1), []))

    def events(self, since: float, until: float, most: int = 500) -> list[dict[str, Any]]:
        """Events in a time, newest first."""
        rows: list[tuple[Any, ...]] = []
        with self._told():
            rows = self._db.execute(
                "SELECT t, site, nodes.node, link, kind, code, severity, body FROM events "
                "JOIN nodes ON nodes.id = events.node WHERE t >= ? AND t <= ? "
                "ORDER BY t DESC LIMIT ?",
                (since, until, most),
            ).fetchall()
        names = ("t", "site", "node", "link", "kind", "code", "severity")
        return [
            {**dict(zip(names, row[:7], strict=True)), "body": json.loads(row[7])} for row in rows
        ]

    # ---- notes of operators ----

    def note(self, alarm: str, who: str, what: str, t: float, until: float = 0.0) -> None:
        """``ack`` an alarm ``site/node/code``, or ``shelve`` it ``until`` a time."""
        self._db.execute(
            "INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?, ?)", (alarm, t, who, what, until)
        )

    def unnote(self, alarm: str) -> None:
        self._db.execute("DELETE FROM notes WHERE alarm = ?", (alarm,))

    def notes(self) -> dict[str, dict[str, Any]]:
        rows: list[tuple[Any, ...]] = []
        with self._told():
            rows = self._db.execute("SELECT alarm, t, who, what, until FROM notes").fetchall()
        return {a: {"t": t, "who": who, "what": what, "until": u} for a, t, who, what, u in rows}
