"""Checks from disclosed events that the bench is still as calibrated. Pure functions.

Pairs in different bases are half of all, never become key, and both ends disclose their times and
detectors. In each block they must show that every detector works, with its calibrated share of the
events and its calibrated delay. A block is cut into halves, quarters, …, so that a change is seen
in the block in which it happens. This guards against faults and drift; it is no proof against Eve,
who can send light that satisfies it (docs/calibration.md).

A share is judged by Chernoff's bound on the binomial tail, which holds for every number of events;
a difference of means by its Gaussian limit. All tests of a block together raise a false alarm with
at most the stated probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from photonlink.pipeline.native.sifting import pair_table
from photonlink.pipeline.stages.bench_constants import BenchConstants, DetectorConstants
from photonlink.pipeline.stages.window import LETTERS, Int64s, Uint8s

FALSE_ALARM = 1e-9
"""Per block, all its tests together."""
LEAST_PAIRS = 240
"""Disclosed pairs in different bases below which a block cannot be judged."""
LEAST_PER_INTERVAL = 128
DEAD_SHARE = 0.1  # share of the expected events below which a detector is called dead
_TESTS_PER_INTERVAL = 10  # delays: 4 within a basis, 1 between; shares: the same
_BASES = ((0, 1), (2, 3))
_SIDES = ("alice", "bob")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class DisclosedPairs:
    """Pairs in different bases, in the order of time; arrays (n,).

    alice, bob: detectors 0..3 = H, V, D, A.   residual_ps: Bob's time minus Alice's in Alice's
    clock, both with their calibrated delays taken off.
    """

    alice: Uint8s
    bob: Uint8s
    residual_ps: Int64s

    def __len__(self) -> int:
        return len(self.residual_ps)


@dataclass(frozen=True, slots=True)
class Drift:
    """One detector (``"bob V"``) outside its calibration, or a quantity that could not be judged.

    code: that of the alarm, ``detector_delay`` or ``detector_efficiency``; or
    ``detectors_not_judged``.   value and limit: ps for a delay, a share of events otherwise.
    """

    code: str
    where: str
    value: float
    limit: float
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.where} {self.text}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Judgement of one block. ``ok``: everything is within the calibration. faults: the most
    significant first.
    """

    ok: bool
    pairs: int
    faults: tuple[Drift, ...]

    def __str__(self) -> str:
        return str(self.faults[0]) if self.faults else "within the calibration"


def judge(
    bench: BenchConstants, disclosed: DisclosedPairs, false_alarm: float = FALSE_ALARM
) -> Judgement:
    """Judge a block. With too few pairs it is not ok, because nothing was judged."""
    n = len(disclosed)
    if n < LEAST_PAIRS:
        text = f"{n} disclosed pairs in different bases, {LEAST_PAIRS} are needed to judge"
        return Judgement(False, n, (Drift("detectors_not_judged", "pairs", n, LEAST_PAIRS, text),))
    levels = max(int(math.log2(n / LEAST_PER_INTERVAL)), 0) + 1
    per_test = false_alarm / (_TESTS_PER_INTERVAL * (2**levels - 1))
    found: list[tuple[float, Drift]] = []
    parts = 1 << (levels - 1)  # the shortest intervals; two of them make one of the next level
    counts, times, squares = pair_table(
        disclosed.alice, disclosed.bob, disclosed.residual_ps, parts
    )
    mean = float(times.sum()) / n
    sigma = max(math.sqrt(max(squares / n - mean * mean, 0.0)), 1.0)
    sums = times.astype(np.float64)
    for _ in range(levels):
        found += _shares(bench, counts, per_test)
        found += _delays(bench, counts, sums, sigma, per_test)
        counts, sums = (
            a[: len(a) // 2 * 2].reshape(-1, 2, 4, 4).sum(axis=1) for a in (counts, sums)
        )
    found.sort(key=lambda pair: -pair[0])
    once: dict[tuple[str, str], Drift] = {}
    for _, drift in found:
        once.setdefault((drift.code, drift.where), drift)
    return Judgement(not once, n, tuple(once.values()))


def _share(mine: DetectorConstants, other: DetectorConstants) -> tuple[float, float]:
    """Bounds of mine / (mine + other)."""
    return (
        mine.efficiency_low / (mine.efficiency_low + other.efficiency_high),
        mine.efficiency_high / (mine.efficiency_high + other.efficiency_low),
    )


def _divergence(q: Floats, p: Floats) -> Floats:
    """Kullback and Leibler's divergence (nats) of a coin that falls q of one that falls p."""
    with np.errstate(divide="ignore"):
        parts = [
            np.where(x > 0, x * np.log(np.where(x > 0, x, 1.0) / y), 0.0)
            for x, y in ((q, p), (1 - q, 1 - p))
        ]
    return parts[0] + parts[1]


def _exponent(k: float, n: float, share: tuple[float, float]) -> float:
    """-ln of Chernoff's bound on seeing k of n when the share lies in the interval; 0 inside."""
    if n <= 0:
        return 0.0
    q = k / n
    p = min(max(q, share[0]), share[1])
    return n * float(_divergence(np.array([q]), np.array([p]))[0])


def _shares(
    bench: BenchConstants, counts: npt.NDArray[np.int64], per_test: float
) -> Iterator[tuple[float, Drift]]:
    """Events of a detector among those of its basis; then of one basis among all."""
    limit = math.log(2 / per_test)
    for axis, side in enumerate(_SIDES):
        detectors = bench.station(side)
        each = counts.sum(axis=2 - axis)  # (parts, 4): axis 1 is Alice's, axis 2 Bob's
        for pair in _BASES:
            low, high = (detectors[LETTERS[k]] for k in pair)
            for k, share in ((pair[0], _share(low, high)), (pair[1], _share(high, low))):
                total = each[:, list(pair)].sum(axis=1)
                worst = _worst(each[:, k], total, share)
                if worst is None or worst[0] <= limit:
                    continue
                exponent, seen, n = worst
                if seen / n > share[1]:
                    continue  # the other detector of the basis has too few, and is reported instead
                dead = seen < DEAD_SHARE * n * share[0]
                yield exponent, _too_few_of(side, k, seen, n, share, dead=dead)
    yield from _between_bases(bench, counts, limit)


def _worst(
    k: npt.NDArray[np.int64], n: npt.NDArray[np.int64], share: tuple[float, float]
) -> tuple[float, int, int] | None:
    q = k / np.maximum(n, 1)
    p = np.clip(q, *share)
    exponent = n * _divergence(q, p)
    at = int(exponent.argmax())
    return None if n[at] == 0 else (float(exponent[at]), int(k[at]), int(n[at]))


def _too_few_of(
    side: str, k: int, seen: int, n: int, share: tuple[float, float], *, dead: bool
) -> Drift:
    text = f"has {seen:,} of {n:,} events of its basis, {share[0]:.1%} to {share[1]:.1%} expected"
    text = f"is dead: {text}" if dead else text
    return Drift("detector_efficiency", f"{side} {LETTERS[k]}", seen / n, share[0], text)


def _between_bases(
    bench: BenchConstants, counts: npt.NDArray[np.int64], limit: float
) -> Iterator[tuple[float, Drift]]:
    """Pairs (HV, DA) among all in different bases: the splitters and both bases' efficiencies."""
    one = _basis_product(bench, 0, 1)
    two = _basis_product(bench, 1, 0)
    share = one[0] / (one[0] + two[1]), one[1] / (one[1] + two[0])
    first = counts[:, :2, 2:].sum(axis=(1, 2))
    total = first + counts[:, 2:, :2].sum(axis=(1, 2))
    worst = _worst(first, total, share)
    if worst is not None and worst[0] > limit:
        exponent, seen, n = worst
        text = f"has {seen:,} of {n:,} pairs, {share[0]:.1%} to {share[1]:.1%} expected"
        yield (
            exponent,
            Drift("detector_efficiency", "alice HV with bob DA", seen / n, share[0], text),
        )


def _basis_product(bench: BenchConstants, alice: int, bob: int) -> tuple[float, float]:
    low = high = 1.0
    for side, basis in (("alice", alice), ("bob", bob)):
        found = [bench.station(side)[LETTERS[k]] for k in _BASES[basis]]
        low *= sum(d.efficiency_low for d in found)
        high *= sum(d.efficiency_high for d in found)
    return low, high


def _delays(
    bench: BenchConstants,
    counts: npt.NDArray[np.int64],
    sums: Floats,
    sigma: float,
    per_test: float,
) -> Iterator[tuple[float, Drift]]:
    """Differences of mean times that cancel the common clock."""
    z = -NormalDist().inv_cdf(per_test / 2)
    for axis, side in enumerate(_SIDES):
        n, total = counts.sum(axis=2 - axis), sums.sum(axis=2 - axis)
        sign = -1.0 if side == "alice" else 1.0  # Alice's delay enters with a minus
        for first, second in _BASES:
            tolerance = sum(_d(bench, side, k) for k in (first, second))
            found = _largest(
                sign, (n[:, second], total[:, second]), (n[:, first], total[:, first]),
                sigma, z, tolerance,
            )  # fmt: skip
            if found is not None:
                excess, value, at = found
                k = _mover(side, (first, second), value, counts[at], sums[at])
                moved = value if k == second else -value
                limit = _d(bench, side, k)
                text = f"delay {moved:+.0f} ps beyond ±{limit:.0f} ps"
                yield excess, Drift("detector_delay", f"{side} {LETTERS[k]}", moved, limit, text)
    yield from _delay_between_bases(bench, counts, sums, sigma, z)


def _d(bench: BenchConstants, side: str, k: int) -> float:
    return bench.station(side)[LETTERS[k]].delay_uncertainty_ps


def _largest(
    sign: float,
    one: tuple[npt.NDArray[np.int64], Floats],
    two: tuple[npt.NDArray[np.int64], Floats],
    sigma: float,
    z: float,
    tolerance: float,
) -> tuple[float, float, int] | None:
    """(excess in standard deviations, difference, interval) of the worst interval beyond limit."""
    enough = (one[0] >= 16) & (two[0] >= 16)
    if not enough.any():
        return None
    n1, n2 = np.maximum(one[0], 1), np.maximum(two[0], 1)
    difference = sign * (one[1] / n1 - two[1] / n2)
    deviation = sigma * np.sqrt(1 / n1 + 1 / n2)
    excess = np.where(enough, (np.abs(difference) - tolerance) / deviation, -np.inf)
    at = int(excess.argmax())
    return (float(excess[at]), float(difference[at]), at) if excess[at] > z else None


def _mover(
    side: str, pair: tuple[int, int], value: float, counts: npt.NDArray[np.int64], sums: Floats
) -> int:
    """Which of the two detectors has moved: the one whose mean is farther from that of the pairs in
    the other bases, which neither of them belongs to.
    """
    ours = counts if side == "alice" else counts.T
    times = sums if side == "alice" else sums.T
    others = [k for k in range(4) if k not in pair]
    rest = float(times[others].sum()) / max(int(ours[others].sum()), 1)
    apart = [abs(float(times[k].sum()) / max(int(ours[k].sum()), 1) - rest) for k in pair]
    return pair[0] if apart[0] > apart[1] else pair[1]


def _delay_between_bases(
    bench: BenchConstants,
    counts: npt.NDArray[np.int64],
    sums: Floats,
    sigma: float,
    z: float,
) -> Iterator[tuple[float, Drift]]:
    tolerance = sum(_d(bench, side, k) for side in _SIDES for k in range(4)) / 2
    blocks = [(slice(2, 4), slice(0, 2)), (slice(0, 2), slice(2, 4))]
    one, two = (
        (counts[:, a, b].sum(axis=(1, 2)), sums[:, a, b].sum(axis=(1, 2))) for a, b in blocks
    )
    found = _largest(1.0, one, two, sigma, z, tolerance)
    if found is not None:
        excess, value, _ = found
        text = f"delays apart by {value:+.0f} ps, beyond ±{tolerance:.0f} ps"
        where = "alice DA with bob HV, against alice HV with bob DA,"
        # a single detector explains more than a basis: it is named first
        yield excess / 4, Drift("detector_delay", where, value, tolerance, text)
