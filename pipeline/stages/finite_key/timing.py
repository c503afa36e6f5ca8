"""What Eve gains by choosing the arrival time of her light: the largest ratio between two
detectors.

Each event's time is delayed, quantised, put on a grid and given discrete Laplace noise of scale
``noise_ps`` before any public value is derived from it. So the probability g that an event is
accepted (paired, announced, kept), as a function of its time before the noise, obeys
|ln g(s) - ln g(t)| <= |s - t| / noise_ps, whatever the rule is. Two detectors differ in delay and
jitter; averaged over their jitter J the acceptances of light that arrives at the same time differ
by at most exp(Delta / noise) M, M = max over all such g of E g(J_i) / E g(J_j).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.stages.finite_key import inputs

_BINS = 1_000_000


@dataclass(frozen=True, slots=True)
class Jitter:
    """Response of one detector to a short pulse, about its calibrated delay.

    A histogram of coincidences is that response blurred by the partners' jitter; it understates
    the ratio of two detectors (a blurred g is a special g) and is no substitute.
    times_ps: rising; counts: of each time, not all 0 (a histogram as measured, or probabilities).
    uncertain: share of clicks that may lie elsewhere, but not further than ``reach_ps`` from the
    origin (tails below the background, statistics of the histogram: ``uncertain_share``); the
    histogram then lies within reach.
    """

    times_ps: tuple[float, ...]
    counts: tuple[float, ...]
    uncertain: float = 0.0
    reach_ps: float = 0.0

    def __post_init__(self) -> None:
        times = inputs.ordered("jitter.times_ps", self.times_ps, "time")
        counts = inputs.ordered("jitter.counts", self.counts, "count")
        times = tuple(inputs.number("jitter.times_ps", t) for t in times)
        counts = tuple(inputs.not_negative("jitter.counts", c) for c in counts)
        if not 0 < len(times) <= _BINS or len(times) != len(counts):
            raise inputs.ParameterError(
                "jitter.counts", "needs one entry for each of times_ps", (len(times), len(counts))
            )
        if any(a >= b for a, b in itertools.pairwise(times)):
            raise inputs.ParameterError("jitter.times_ps", "must rise", times[:8])
        if sum(counts) <= 0:
            raise inputs.ParameterError("jitter.counts", "has no click", sum(counts))
        uncertain = inputs.rate("jitter.uncertain", self.uncertain)
        reach = inputs.not_negative("jitter.reach_ps", self.reach_ps)
        if uncertain > 0 and reach < max(-times[0], times[-1]):
            raise inputs.ParameterError("jitter.reach_ps", "is less than the histogram's", reach)
        for name, value in (("times_ps", times), ("counts", counts), ("uncertain", uncertain),
                            ("reach_ps", reach)):  # fmt: skip
            object.__setattr__(self, name, value)


def uncertain_share(clicks: int, failure: float, tail: float = 0.0) -> float:
    """``Jitter.uncertain`` of a histogram of ``clicks``, except with probability ``failure``.

    2 sqrt(ln(2 / failure) / (2 clicks)) + tail. The distribution function is known within the root
    (Dvoretzky, Kiefer, Wolfowitz with Massart's constant, Ann. Probab. 18, 1269, 1990); integrated
    by parts against g, whose slope is at most g / noise, that is at most 2 root exp(reach / noise)
    g(0). tail: share of clicks that the background hides.
    """
    n = inputs.count("clicks", clicks)
    if n == 0:
        raise inputs.ParameterError("clicks", "must be at least 1", clicks)
    spread = math.sqrt((math.log(2) - math.log(inputs.epsilon("failure", failure))) / (2 * n))
    return min(1.0, 2 * spread + inputs.rate("tail", tail))


def jitter_ratio(numerator: Jitter, denominator: Jitter, noise_ps: float) -> float:
    """M: the largest E g(J_i) / E g(J_j) over all g > 0 with ln g 1/noise_ps-Lipschitz.

    Dinkelbach's iteration on the ratio; for a given ratio the best g is found from the last time
    to the first, g rising or falling as steeply as it may (a linear programme whose vertices are
    these zigzags, so nothing is approximated). A share u within reach counts at most
    u exp(reach / noise) g(0): added to the numerator, taken from the denominator.
    """
    b = inputs.positive("noise_ps", noise_ps)
    for name, jitter in (("numerator", numerator), ("denominator", denominator)):
        if not isinstance(jitter, Jitter):
            raise inputs.ParameterError(name, "must be a Jitter", jitter)
        if jitter.reach_ps > 300 * b:
            raise inputs.ParameterError(
                "jitter.reach_ps", "is beyond 300 times the noise: no bound", jitter.reach_ps
            )
    times = sorted({*numerator.times_ps, *denominator.times_ps, 0.0})
    index = {t: k for k, t in enumerate(times)}
    p, q = np.zeros(len(times)), np.zeros(len(times))
    for weights, jitter, sign in ((p, numerator, 1), (q, denominator, -1)):
        total = math.fsum(jitter.counts)
        for t, c in zip(jitter.times_ps, jitter.counts, strict=True):
            weights[index[t]] += c / total
        weights[index[0.0]] += sign * jitter.uncertain * math.exp(jitter.reach_ps / b)
    rises = np.diff(times) / b
    ratio = 1.0
    for _ in range(100):
        log_g = _best_shape(p - ratio * q, rises)
        g = np.exp(log_g - log_g.max())
        below = float(q @ g)
        if below <= 0:
            break
        better = float(p @ g) / below
        if better <= ratio * (1 + 1e-12):
            # the iteration approaches from below, so its result is rounded up
            return ratio * (1 + 1e-9)
        ratio = better
    raise inputs.ParameterError(
        "jitter.uncertain", "is too large at this noise: no bound", denominator.uncertain
    )


def _best_shape(weights: np.ndarray, rises: np.ndarray) -> np.ndarray:
    """ln g that maximises sum(weights g) / g[0], each step as steep as allowed."""
    n = weights.size
    steps = np.empty(n - 1)
    ahead = float(weights[-1])  # best sum from here on, over g here
    for k in range(n - 2, -1, -1):
        steps[k] = rises[k] if ahead > 0 else -rises[k]
        ahead = float(weights[k]) + math.exp(min(steps[k], 700.0)) * ahead
    return np.concatenate(([0.0], np.cumsum(steps)))


@dataclass(frozen=True, slots=True)
class StationRatio:
    """Largest ratios between two detectors of one station; their product is ``total``."""

    shift: float
    jitter: float
    efficiency: float
    total: float


@dataclass(frozen=True, slots=True)
class StationMismatch:
    """The differences between the detectors of one station, from its calibration.

    delay_uncertainty_ps: d, each detector's residual delay. tick_ps: of the tagger; grid_ps: of the
    noised times; noise_ps: Laplace scale b. jitter and efficiency: one entry per detector, all
    bases; efficiency: relative interval (low, high), with the splitter's share of the light.
    blur: factor on M - 1 where the histograms are of coincidences (1: each detector's own).
    """

    delay_uncertainty_ps: float
    tick_ps: float
    grid_ps: float
    noise_ps: float
    jitter: tuple[Jitter, ...]
    efficiency: tuple[tuple[float, float], ...]
    blur: float = 1.0

    def __post_init__(self) -> None:
        for name in ("delay_uncertainty_ps", "tick_ps", "grid_ps"):
            object.__setattr__(self, name, inputs.not_negative(name, getattr(self, name)))
        object.__setattr__(self, "noise_ps", inputs.positive("noise_ps", self.noise_ps))
        blur = inputs.positive("blur", self.blur)
        if blur < 1:
            raise inputs.ParameterError("blur", "must be at least 1", self.blur)
        jitter = self.jitter
        if not isinstance(jitter, tuple | list) or not all(isinstance(j, Jitter) for j in jitter):
            raise inputs.ParameterError("jitter", "needs one Jitter per detector", type(jitter))
        intervals = inputs.ordered("efficiency", self.efficiency, "interval")  # type: ignore[arg-type]
        if len(jitter) < 2 or len(intervals) != len(jitter):
            raise inputs.ParameterError(
                "efficiency", "needs one interval per detector, of at least two",
                (len(jitter), len(intervals)),
            )  # fmt: skip
        checked = []
        for interval in intervals:
            low, high = inputs.sequence("efficiency", interval, 2, "limit")  # type: ignore[arg-type]
            low, high = inputs.positive("efficiency", low), inputs.positive("efficiency", high)
            if low > high:
                raise inputs.ParameterError("efficiency", "must be (low, high)", interval)
            checked.append((low, high))
        object.__setattr__(self, "jitter", tuple(jitter))
        object.__setattr__(self, "efficiency", tuple(checked))

    @property
    def shift_ps(self) -> float:
        """Delta = 2 d + one tick + one grid step: quantisation comes before the noise, so a small
        residual delay may move an event by a whole step."""
        return 2 * self.delay_uncertainty_ps + self.tick_ps + self.grid_ps

    def ratio(self) -> StationRatio:
        """exp(Delta / b) M times the efficiencies, the worst pair of detectors of the station."""
        exponent = self.shift_ps / self.noise_ps
        if exponent > 300:
            raise inputs.ParameterError(
                "noise_ps", "is too small for delays, tick and grid: no bound", self.noise_ps
            )
        shift = math.exp(exponent)
        worst = StationRatio(shift, 1.0, 1.0, 0.0)
        for i, j in itertools.permutations(range(len(self.jitter)), 2):
            m = jitter_ratio(self.jitter[i], self.jitter[j], self.noise_ps)
            m = 1 + self.blur * (m - 1)
            efficiency = max(1.0, self.efficiency[i][1] / self.efficiency[j][0])
            if shift * m * efficiency > worst.total:
                worst = StationRatio(shift, m, efficiency, shift * m * efficiency)
        return worst


def link_ratio(stations: Sequence[StationMismatch]) -> float:
    """r: the product over both stations. The acceptance of a pair is Lipschitz in each time with
    the other held fixed, so the ratios multiply."""
    both = tuple(stations) if isinstance(stations, list | tuple) else ()
    if not both or not all(isinstance(s, StationMismatch) for s in both):
        raise inputs.ParameterError("stations", "must be a list of StationMismatch", stations)
    return float(math.prod(station.ratio().total for station in both))


def noise_reach_ps(noise_ps: float, grid_ps: float, failure: float) -> float:
    """Where discrete Laplace noise, P(k) ~ exp(-|k| grid / noise), is cut: beyond it lies at most
    ``failure`` (charged for each event). A multiple of the grid."""
    b, grid = inputs.positive("noise_ps", noise_ps), inputs.positive("grid_ps", grid_ps)
    # P(|k| > K) = 2 q^(K + 1) / (1 + q), q = exp(-grid / b)
    log_q = -grid / b
    wanted = math.log(inputs.epsilon("failure", failure)) - math.log(2 / (1 + math.exp(log_q)))
    return max(0, math.ceil(wanted / log_q) - 1) * grid


def quiet_time_ps(dead_ps: float, noise_ps: float, events: int, failure: float) -> float:
    """Quiet time on noised times: tau_v + b ln(events / failure). ``failure`` is the probability
    that noise alone lets any of the block's events through too early; it is charged."""
    n = max(1, inputs.count("events", events))
    spread = math.log(n) - math.log(inputs.epsilon("failure", failure))
    return inputs.not_negative("dead_ps", dead_ps) + inputs.positive("noise_ps", noise_ps) * spread
