"""Shared by all benchmarks: a row of the table, CPU time, medians, peers that may be missing."""

from __future__ import annotations

import importlib
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

SECONDS_PER_REPEAT, MOST_TURNS = 0.3, 201


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure. The figures of the README are made with the defaults."""

    size: float = 1.0  # factor on the amount of data; tests use less
    repeats: int = 7

    def scaled(self, n: int, least: int = 1) -> int:
        return max(least, round(n * self.size))


@dataclass(slots=True)
class Row:
    """One line of the table. ``figure`` and ``baseline_figure`` are in ``unit``.

    ratio: how many times better than the baseline; None without one. details: further results of
    this benchmark, as fields of the JSON.
    """

    name: str
    figure: float | None
    unit: str
    goal: str
    met: bool
    baseline: str | None = None
    baseline_figure: float | None = None
    ratio: float | None = None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        plain = asdict(self)
        details = plain.pop("details")
        return {**{key: rounded(value) for key, value in {**plain, **details}.items()}}


def rounded(value: Any) -> Any:
    """Rounded to four significant digits: more would be noise."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def peer(name: str) -> ModuleType | None:
    """An optional package, or None when it is not installed or does not load."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):
        return None


def cpu_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def medians(works: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median CPU seconds of each, after one run to warm up. They run in turns, so that a change of
    the machine's speed affects all of them. Short ones get more turns than ``repeats``, so that on
    a busy machine most turns are not interrupted by a task switch, which also costs the cache.
    """
    for work in works:
        work()
    turns: list[list[float]] = []
    spent, enough = 0.0, SECONDS_PER_REPEAT * (repeats - 1)
    while len(turns) < repeats or (len(turns) < MOST_TURNS and spent < enough):
        turns.append([cpu_seconds(work) for work in works])
        spent += sum(turns[-1])
    return [statistics.median(column) for column in zip(*turns, strict=True)]


def against(
    name: str,
    unit: str,
    amount: float,
    ours: Callable[[], object],
    theirs: Callable[[], object] | None,
    *,
    baseline: str,
    least: float,
    effort: Effort,
    times: int = 1,
) -> Row:
    """A row whose goal is a ratio. Both do ``amount`` (in ``unit`` times seconds) of work.
    ``ours`` is repeated ``times`` in its turn, because a single short run would spend much of its
    time on caches and predictors that still hold the peer's data."""

    def turn() -> None:
        for _ in range(times):
            ours()

    goal = f"≥ {least:g}x"
    if theirs is None:
        spent = medians([turn], effort.repeats)[0] / times
        missing = f"{baseline} (not installed)"
        return Row(name, amount / spent, unit, goal, False, missing, note="no peer to compare with")
    mine, other = medians([turn, theirs], effort.repeats)
    mine /= times
    ratio = other / mine
    return Row(name, amount / mine, unit, goal, ratio >= least, baseline, amount / other, ratio)


def machine() -> str:
    """Processor, cores, operating system and Python, in one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    cores = 0
    if info.exists():
        lines = [line.partition(":") for line in info.read_text().splitlines()]
        found = {key.strip(): value.strip() for key, _, value in lines if value.strip()}
        names = ("model name", "cpu family", "model")
        family = [found[key] for key in names if key in found]
        cpu = family[0] + (f" (family {family[1]}, model {family[2]})" if len(family) == 3 else "")
        cores = sum(key.strip() == "processor" for key, _, _ in lines)
    return f"{cpu}, {cores} cores, {platform.system()} {platform.release()}, Python " + (
        platform.python_version()
    )
