"""The history file: contents, thinning by age, bounded size; a bad disk loses nothing."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from watch import figures as f

from photonlink.pipeline.watch.figures import DAY_S, MONTH_S, HistoryError, coarser, level_for
from photonlink.pipeline.watch.history import MAX_PENDING, History


@pytest.fixture
def store(tmp_path: Path) -> Iterator[History]:
    opened = History(tmp_path / "h.sqlite")
    yield opened
    opened.close()


def fill(store: History, start: float, seconds: float, step: float = 0.5) -> None:
    t = start
    while t < start + seconds:
        store.state("lab", "l0-alice", "l0", t, f.state("lab", "l0", "alice", t, skr_bps=t % 100))
        t += step


def test_full_rate_comes_back_as_it_went_in(store: History) -> None:
    now = time.time()
    fill(store, now - 60, 60)
    store.flush(now)
    series = store.series("lab", "l0-alice", ["skr_bps", "qber_hv"], now - 61, now)
    assert len(series["t"]) == 120
    for t, value in zip(series["t"], series["skr_bps"], strict=True):
        assert t is not None
        assert value == pytest.approx(t % 100, abs=0.01)
    assert series["qber_hv"] == [pytest.approx(0.021)] * 120


def test_what_waits_is_seen_before_it_is_written(store: History) -> None:
    now = time.time()
    fill(store, now - 5, 5)
    assert len(store.series("lab", "l0-alice", ["skr_bps"], now - 6, now)["t"]) == 10


def test_minutes_keep_mean_least_and_most(store: History) -> None:
    now = time.time()
    start = now - 7 * 3600
    start -= start % 60
    fill(store, start, 300, step=1.0)
    store.flush(now, closing=True)
    series = store.series("lab", "l0-alice", ["skr_bps"], start, now)
    assert len(series["t"]) == 5
    values = [(start + i) % 100 for i in range(60)]
    assert series["skr_bps"][0] == pytest.approx(sum(values) / 60, rel=1e-3)
    assert series["skr_bps.min"][0] == pytest.approx(min(values), abs=0.01)
    assert series["skr_bps.max"][0] == pytest.approx(max(values), abs=0.01)


def test_old_points_go_and_coarser_ones_stay(store: History) -> None:
    now = time.time()
    fill(store, now - DAY_S - 7200, 3600, step=10.0)
    store.flush(now, closing=True)
    (raw,) = store._db.execute("SELECT count(*) FROM raw").fetchone()
    (minutes,) = store._db.execute("SELECT count(*) FROM minute").fetchone()
    assert raw == 0
    assert minutes >= 60
    store.flush(now + MONTH_S, closing=True)
    assert store._db.execute("SELECT count(*) FROM minute").fetchone() == (0,)
    assert store._db.execute("SELECT count(*) FROM hour").fetchone()[0] >= 1


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    now = time.time()
    first = History(tmp_path / "h.sqlite")
    fill(first, now - 10, 10)
    first.event("lab", "l0-alice", now, "raised", {"text": "x"}, code="no_key", severity="major")
    first.note("lab/l0-alice/no_key", "ann", "ack", now)
    first.close(now)
    again = History(tmp_path / "h.sqlite")
    assert len(again.series("lab", "l0-alice", ["skr_bps"], now - 11, now)["t"]) == 20
    assert [e["code"] for e in again.events(now - 1, now + 1)] == ["no_key"]
    assert again.notes()["lab/l0-alice/no_key"]["who"] == "ann"
    assert again.nodes() == [("lab", "l0-alice", "l0")]
    again.close()


def test_a_damaged_file_is_named_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    path.write_bytes(b"not a database, but somebody's text" * 100)
    before = path.read_bytes()
    with pytest.raises(HistoryError, match=r"h\.sqlite"):
        History(path)
    assert path.read_bytes() == before


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    History(path).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET version = 99")
    with pytest.raises(HistoryError, match="version 99"):
        History(path)


def test_a_full_disk_loses_nothing_that_fits_in_memory(store: History) -> None:
    now = time.time()
    fill(store, now - 5, 5)
    store._db.execute("PRAGMA query_only = ON")  # every write fails, as on a full disk
    store.flush(now)
    assert store.failure
    store._db.execute("PRAGMA query_only = OFF")
    store.flush(now)
    assert not store.failure
    assert len(store.series("lab", "l0-alice", ["skr_bps"], now - 6, now)["t"]) == 10


def test_what_waits_is_bounded_and_counted(store: History) -> None:
    body = f.state("lab", "l0", "alice", 0.0)
    for i in range(MAX_PENDING + 10):
        store.state("lab", "l0-alice", "l0", 1e9 + i, body)
    assert store.dropped == 10


def test_unknown_figures_are_named(store: History) -> None:
    with pytest.raises(HistoryError, match="pressure"):
        store.series("lab", "n", ["pressure"], 0, 1)


def test_figures_that_are_missing_are_gaps(store: History) -> None:
    now = time.time()
    store.state("lab", "n", "l0", now, {"skr_bps": None, "qber_hv": math.inf})
    store.flush(now)
    assert store.series("lab", "n", ["skr_bps", "qber_hv"], now - 1, now + 1)["qber_hv"] == [None]


def test_a_year_is_thinned_to_what_a_screen_shows() -> None:
    values = np.array([1.0, 3.0, np.nan, 5.0, np.nan, np.nan, 7.0])
    assert coarser(values, 4, "mean").tolist()[:2] == [2.0, 5.0]
    assert np.isnan(coarser(values, 4, "mean")[2])
    assert coarser(values, 4, "max").tolist()[:2] == [3.0, 5.0]
    assert coarser(values, 4, "min")[3] == 7.0
    assert coarser(values, 4, "first")[1] != coarser(values, 4, "first")[1]
    assert coarser(values, 7, "mean") is values


def test_levels() -> None:
    now = 1e9
    assert level_for(now - 3600, now, now, 2000) == "raw"
    assert level_for(now - 20 * 3600, now, now, 2000) == "minute"
    assert level_for(now - 300 * 86_400, now, now, 2000) == "hour"


def test_a_file_that_is_damaged_while_we_run_ends_nothing(tmp_path: Path) -> None:
    now = time.time()
    store = History(tmp_path / "h.sqlite")
    fill(store, now - 10, 10)
    store.flush(now)
    store._db.close()
    (tmp_path / "junk.sqlite").write_bytes(b"overwritten by somebody " * 4000)
    store._db = sqlite3.connect(tmp_path / "junk.sqlite", isolation_level=None)
    assert store.last_hour("lab", "l1-alice", "skr_bps", now) == {}
    assert store.events(0, now + 1) == []
    assert store.notes() == {}
    store.state("lab", "l2-alice", "l2", now, f.state("lab", "l2", "alice", now))
    store.flush(now)
    assert store.failure == "file is not a database"
    store.close(now)
