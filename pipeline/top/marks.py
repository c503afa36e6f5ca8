"""Numbers with units, bars and sparklines as text. Every colour is accompanied by a sign."""

from __future__ import annotations

import math
from collections.abc import Iterable

SIGNS = {"ok": "●", "busy": "◐", "bad": "▲", "off": "○"}
STYLES = {"ok": "bold cyan", "busy": "yellow", "bad": "bold orange1", "off": "dim", "soft": "dim"}
NONE, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_EIGHTHS = "▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"


def quantity(value: float | None, unit: str) -> str:
    """Three digits, a prefix and the unit; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return NONE
    size, prefix = next((p for p in _PREFIXES if abs(value) >= p[0]), (1.0, ""))
    scaled = value / size
    digits = max(0, 2 - math.floor(math.log10(abs(scaled)))) if abs(scaled) >= 1e-9 else 0
    return f"{scaled:.{min(digits, 6)}f} {prefix}{unit}"


def percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f} %"


def span(seconds: float) -> str:
    """A time span in its largest unit that fits."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def bar(part: float | None, width: int) -> str:
    """0..1 as a bar of ``width`` cells."""
    eighths = round(8 * width * min(max(part or 0.0, 0.0), 1.0))
    full, rest = divmod(eighths, 8)
    cells = "█" * full + (_EIGHTHS[rest - 1] if rest else "")
    return cells.ljust(width, "·")


def spark(values: Iterable[float | None], width: int) -> str:
    """The newest ``width`` points from zero to the most; a gap is a space."""
    points = list(values)[-width:]
    most = max((v for v in points if v is not None), default=0.0)
    if most <= 0:
        return "".join(" " if v is None else _LEVELS[0] for v in points).rjust(width)
    cells = (" " if v is None else _LEVELS[min(7, int(8 * v / most))] for v in points)
    return "".join(cells).rjust(width)


def folded(values: Iterable[float]) -> str:
    """Readings of equal instruments as one: the value, or least to most."""
    found = sorted(values)
    low, high = f"{found[0]:.4g}", f"{found[-1]:.4g}"
    return low if low == high else f"{low} to {high}"
