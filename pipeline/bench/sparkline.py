"""A row of numbers as one short text."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", ".:-=+*#@"


def sparkline(values: Sequence[float], width: int = 24, *, plain: bool = False) -> str:
    """The last ``width`` values between their lowest and highest; what is no number is a gap."""
    levels = PLAIN if plain else BLOCKS
    last = list(values)[-width:]
    known = [v for v in last if math.isfinite(v)]
    if not known:
        return " " * len(last)
    low, high = min(known), max(known)
    step = (high - low) or 1.0
    top = len(levels) - 1
    return "".join(levels[round((v - low) / step * top)] if math.isfinite(v) else " " for v in last)
