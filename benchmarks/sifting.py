"""Sifting from bitmaps."""

from __future__ import annotations

from benchmarks.measure import Effort, Row


def sifting(name: str, effort: Effort) -> Row:
    return Row(name, None, "G gates/s", "≥ 10 G gates/s", False, note="not built yet")
