"""The whole distillation at one end, with a live peer on the other core."""

from __future__ import annotations

from benchmarks.measure import Effort, Row


def distil(name: str, effort: Effort) -> Row:
    return Row(name, None, "Mb/s", "≥ 150 Mb/s for 60 s", False, note="not built yet")


def memory(name: str, effort: Effort) -> Row:
    return Row(name, None, "MiB", "flat after warm-up", False, note="not built yet")
