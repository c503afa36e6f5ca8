"""Key rate of the last hour of every link, a point a minute: kept in memory, read once."""

from __future__ import annotations

from dataclasses import dataclass, field

from photonlink.pipeline.watch.history import History

MINUTES = 60


@dataclass
class Spark:
    """Mean per minute. ``sent``: the minute up to which viewers have it."""

    means: dict[int, float] = field(default_factory=dict)
    minute: int = 0
    total: float = 0.0
    count: int = 0
    sent: int = 0

    def add(self, now_s: float, value: float) -> None:
        minute = int(now_s // 60)
        if minute != self.minute:
            self.minute, self.total, self.count = minute, 0.0, 0
            for old in [m for m in self.means if m <= minute - MINUTES]:
                del self.means[old]
        self.total += value
        self.count += 1
        self.means[minute] = self.total / self.count

    def points(self, now_s: float) -> list[float | None]:
        """Oldest first; a minute without a figure is None. Empty where there is none at all."""
        if not self.means:
            return []
        last = int(now_s // 60)
        return [
            None if (v := self.means.get(m)) is None else float(f"{v:.4g}")
            for m in range(last - MINUTES + 1, last + 1)
        ]


class Sparks:
    """One for each node that represents a link."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._of: dict[tuple[str, str], Spark] = {}

    def of(self, site: str, node: str, now_s: float) -> Spark:
        """The spark of a node; at first use read from the history file."""
        found = self._of.get((site, node))
        if found is None:
            means = self._history.last_hour(site, node, "skr_bps", now_s)
            found = self._of[site, node] = Spark(means)
        return found
