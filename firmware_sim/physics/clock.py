"""A tagger's oscillator against bench time.

``x' = y``; per step of dt: ``y += D dt + N(0, q3 dt)``, ``x += y dt + N(0, s1² dt)``, where s1
is the Allan deviation of the white frequency noise at 1 s and ``q3 = 3 sigma_y²(T) / T`` follows
from that of the random walk (the two-state model of Zucca & Tavella, IEEE UFFC 52, 289 (2005)).
Within a step the clock runs evenly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PS_PER_S = 1e12


@dataclass(frozen=True, slots=True)
class Segment:
    """From bench time ``origin_ps`` on the clock shows ``own_ps + own_fraction`` and runs
    ``1 + rate`` times as fast."""

    origin_ps: int
    own_ps: int
    own_fraction: float
    rate: float


class EmulatedClock:
    """Seeded clock: call :meth:`step` for consecutive stretches of bench time."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._wander = 0.0  # random-walk frequency, relative
        self._drifted = 0.0
        self._own_ps, self._own_fraction = 0, 0.0

    def step(
        self,
        start_ps: int,
        end_ps: int,
        *,
        frequency: float,
        drift_per_s: float,
        white_fm: float,
        random_walk_fm: float,
        jump_ps: int = 0,
    ) -> Segment:
        """The segment of [start_ps, end_ps). Frequencies are relative (1e-6 is 1 ppm)."""
        dt = (end_ps - start_ps) / PS_PER_S
        noise = self._rng.normal(size=2)
        x = white_fm * np.sqrt(dt) * noise[0]
        rate = frequency + self._drifted + self._wander + x / dt
        segment = Segment(start_ps, self._own_ps + jump_ps, self._own_fraction, float(rate))
        self._drifted += drift_per_s * dt
        self._wander += float(np.sqrt(3.0 * dt) * random_walk_fm * noise[1])
        advance = self._own_fraction + (end_ps - start_ps) * segment.rate
        whole = int(np.floor(advance))
        self._own_ps = segment.own_ps + (end_ps - start_ps) + whole
        self._own_fraction = advance - whole
        return segment

    def now_ps(self) -> int:
        """What the clock shows at the end of the last step, from the program's start."""
        return self._own_ps
