"""The present value of a sweep of a wavelength, a current or a voltage."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sweep:
    """From ``start`` to ``stop`` with ``speed`` (units per second), again after ``delay_s``.

    step: in steps of this size, each of which takes ``dwell_s`` longer; 0: continuous.
    both_ways: a cycle ends where it began. cycles: how many; 0: no end.
    """

    start: float
    stop: float
    speed: float
    step: float = 0.0
    dwell_s: float = 0.0
    both_ways: bool = False
    delay_s: float = 0.0
    cycles: int = 1

    def at(self, gone_s: float) -> tuple[float, int, bool]:
        """(value, completed cycles, whether the sweep has ended) after ``gone_s``."""
        span = abs(self.stop - self.start)
        leg_s = span / max(self.speed, 1e-15) + 1e-6
        if self.step:
            leg_s += self.dwell_s * span / self.step
        cycle_s = leg_s * (2 if self.both_ways else 1) + self.delay_s
        ended, at_s = int(gone_s // cycle_s), math.fmod(gone_s, cycle_s)
        if self.cycles and ended >= self.cycles:
            return (self.start if self.both_ways else self.stop), self.cycles, True
        legs = at_s / leg_s
        share = min(legs, 1.0) if legs <= 1.0 or not self.both_ways else max(2.0 - legs, 0.0)
        value = self.start + (self.stop - self.start) * share
        if self.step:
            value = self.start + round((value - self.start) / self.step) * self.step
        return value, ended, False
