"""Error correction: Cascade with both ends on one core (benchmarks/cascade.py)."""

from __future__ import annotations

from benchmarks.cascade import measure
from benchmarks.measure import Effort, Row

FRAMES = {2: 20_000, 5: 20_000}  # at which the frame error rate has a goal
MOST_FAILURES = 1e-4
PUBLISHED_MBPS = 570.0


def cascade(name: str, effort: Effort) -> Row:
    """Speed, leak and failures of one error rate; the key is compared block by block."""
    percent = int(name.rpartition("-")[2])
    result = measure(percent, effort.scaled(FRAMES.get(percent, 3200)))
    met = result.figure >= result.goal and result.f <= result.goal_f and result.fer <= MOST_FAILURES
    return Row(
        name,
        result.figure,
        result.unit,
        f"≥ {result.goal:g} {result.unit}, f ≤ {result.goal_f:g}, FER ≤ {MOST_FAILURES:g}",
        met,
        "published: Mao 2021, several threads",
        PUBLISHED_MBPS,
        result.figure / PUBLISHED_MBPS,
        details={
            "f": result.f,
            "fer": result.fer,
            "frames": result.frames,
            "rounds": result.rounds,
        },
    )
