"""Reading the history: figures of a node over any time, a few thousand points at most."""

from __future__ import annotations

import sqlite3
import time
from array import array
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from photonlink.hal.errors import PhotonlinkError

FIGURES = (
    "skr_bps", "qber_hv", "qber_da", "sifted_bps", "coincidences_hz", "accidentals_hz",
    "rate_h_hz", "rate_v_hz", "rate_d_hz", "rate_a_hz", "clock_offset_s", "clock_frequency_ppm",
    "channel_bps", "key_stored_bits", "pads_left_bits", "epsilon", "multi_click_fraction",
)  # fmt: skip
"""Figures of a state that are kept, in the order of a packed row. Appending is allowed."""

DAY_S, MONTH_S, TEN_YEARS_S = 86_400, 31 * 86_400, 3_653 * 86_400
STEP_S = {"minute": 60, "hour": 3600}
KEEP_S = {"raw": DAY_S, "minute": MONTH_S, "hour": TEN_YEARS_S}
Level = Literal["raw", "minute", "hour"]
Series = dict[str, list[float | None]]
Floats = NDArray[np.float32]


class HistoryError(PhotonlinkError):
    """The history file cannot be used; its content was not changed."""


def read_series(
    db: sqlite3.Connection,
    waiting: list[tuple[float, array[float]]],
    site: str,
    node: str,
    names: list[str],
    since: float,
    until: float,
    points: int,
) -> Series:
    """See ``History.series``. waiting: points that are not in the file yet."""
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise HistoryError(f"no figure is called {unknown[0]!r}", hint=", ".join(FIGURES))
    level = level_for(since, until, time.time(), points)
    row = db.execute("SELECT id FROM nodes WHERE site = ? AND node = ?", (site, node)).fetchone()
    if row is None:
        return {"t": []}
    columns = [FIGURES.index(name) for name in names]
    if level == "raw":
        t, values = _full_rate(db, waiting, int(row[0]), since, until)
        step = max(1, -(-len(t) // points))
        return {"t": t[::step].tolist()} | {
            name: plain(values[::step, column]) for name, column in zip(names, columns, strict=True)
        }
    t, thinned = _thinned(db, int(row[0]), since, until, level)
    return {"t": coarser(t, points, "first").tolist()} | {
        name + suffix: plain(coarser(thinned[:, column, kind], points, how))
        for name, column in zip(names, columns, strict=True)
        for kind, (suffix, how) in enumerate((("", "mean"), (".min", "min"), (".max", "max")))
    }


def _full_rate(db: sqlite3.Connection, waiting: list[tuple[float, array[float]]], node: int,
               since: float, until: float) -> tuple[NDArray[np.float64], Floats]:  # fmt: skip
    """(UNIX s, points x figures)."""
    times: list[NDArray[np.float64]] = []
    rows: list[Floats] = []
    for first, blob in db.execute(
        "SELECT t, points FROM raw WHERE node = ? AND t >= ? AND t <= ? ORDER BY t",
        (node, since - 60.0, until),
    ):
        offsets, figures = unpack(blob)
        times.append(first + offsets.astype(np.float64))
        rows.append(figures)
    if waiting:
        times.append(np.array([t for t, _ in waiting]))
        rows.append(_width(np.array([row for _, row in waiting], dtype=np.float32)))
    if not times:
        return np.empty(0), np.empty((0, len(FIGURES)), np.float32)
    t, values = np.concatenate(times), np.concatenate(rows)
    inside = (t >= since) & (t <= until)
    return t[inside], values[inside]


def minutes(db: sqlite3.Connection, site: str, node: str, name: str,
            since: float) -> dict[int, float]:  # fmt: skip
    """Minute (UNIX time / 60) → mean of one figure; unknown values are left out."""
    at = 3 * FIGURES.index(name)
    rows = db.execute(
        "SELECT t, points FROM minute JOIN nodes ON nodes.id = minute.node "
        "WHERE site = ? AND nodes.node = ? AND t >= ?",
        (site, node, since),
    )
    found = {int(t // 60): float(np.frombuffer(p, np.float32)[at]) for t, p in rows}
    return {minute: value for minute, value in found.items() if value == value}


def unpack(blob: bytes) -> tuple[Floats, Floats]:
    """A packed full-rate row → (seconds after its first point, points x figures)."""
    count = int.from_bytes(blob[:4], "little")
    flat = np.frombuffer(blob, np.float32, offset=4)
    return flat[:count], _width(flat[count:].reshape(count, -1))


def _width(rows: Floats) -> Floats:
    """Figures that an older file does not have are NaN."""
    missing = len(FIGURES) - rows.shape[1]
    if missing <= 0:
        return rows[:, : len(FIGURES)]
    return np.pad(rows, ((0, 0), (0, missing)), constant_values=np.nan)


def _thinned(db: sqlite3.Connection, node: int, since: float, until: float,
             level: Level) -> tuple[NDArray[np.float64], NDArray[np.float32]]:  # fmt: skip
    """(UNIX s, points x figures x (mean, least, most))."""
    rows = db.execute(
        f"SELECT t, points FROM {level} WHERE node = ? AND t >= ? AND t <= ? ORDER BY t",  # noqa: S608 - a name of ours
        (node, since, until),
    ).fetchall()
    size = 12 * len(FIGURES)
    joined = b"".join(p if len(p) == size else _padded(p, size) for _, p in rows)
    values = np.frombuffer(joined, np.float32).reshape(len(rows), len(FIGURES), 3)
    return np.array([t for t, _ in rows], dtype=np.float64), values


def _padded(blob: bytes, size: int) -> bytes:
    fill = np.full(max(0, size - len(blob)) // 4, np.nan, np.float32).tobytes()
    return (blob + fill)[:size]


def coarser(values: NDArray[Any], points: int, how: str) -> NDArray[Any]:
    """At most ``points`` of them: first, mean, least or most of each run; NaN where all are."""
    run = -(-len(values) // points) if len(values) else 1
    if run == 1:
        return values
    starts = np.arange(0, len(values), run)
    if how == "first":
        return values[starts]
    known = ~np.isnan(values)
    if how == "mean":
        count = np.add.reduceat(known, starts, dtype=np.float64)
        total = np.add.reduceat(np.where(known, values, 0.0), starts, dtype=np.float64)
        means: NDArray[Any] = np.full(len(starts), np.nan)
        np.divide(total, count, out=means, where=count > 0)
        return means
    edge = np.fmin if how == "min" else np.fmax
    found: NDArray[Any] = edge.reduceat(values, starts)
    return found


def plain(values: NDArray[Any]) -> list[float | None]:
    """For JSON: seven digits, null for NaN."""
    return [None if v != v else float(f"{v:.7g}") for v in values.tolist()]


def level_for(since: float, until: float, now_s: float, points: int) -> Level:
    """The finest level that still covers ``since`` and is not much finer than requested."""
    span = until - since
    if since >= now_s - DAY_S and span <= 6 * 3600:
        return "raw"
    if since >= now_s - MONTH_S and span / 60 <= 20 * points:
        return "minute"
    return "hour"
