"""Is the block acceptable? Every check that fails names itself, and the block gives no key.

Judged on what both ends disclosed: all pairs measured in different bases (half of them, at random
and free: with the quiet rule and the noise they tell nothing about their neighbours), and the whole
test basis. Thresholds are agreed before the block and never follow it. These checks guard against
faults and drift; a source that knows them can pass them (docs/protocol.md, "What is judged").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import BenchConstants, DetectorConstants
from photonlink.pipeline.stages.window import LETTERS, Int64s, Uint8s

Station = Mapping[str, DetectorConstants]
SIGMAS = 6.0  # a check fails beyond the calibrated bound and so many standard deviations
MIN_DISCLOSED = 240  # pairs; fewer cannot show that every detector lives
PARTS = 4  # of the block's time, each judged by itself as well


@dataclass(frozen=True, slots=True, eq=False)
class DisclosedPairs:
    """Pairs in different bases, in the order of time. Detectors 0..3 = H, V, D, A: uint8 (n,).
    residual_ps: int64 (n,), Bob's full time minus Alice's, in her clock."""

    alice: Uint8s
    bob: Uint8s
    residual_ps: Int64s

    def __len__(self) -> int:
        return len(self.alice)

    def parts(self) -> Iterator[tuple[str, DisclosedPairs]]:
        """The whole and, where they are large enough, its parts in time."""
        yield "the block", self
        n = len(self)
        if n < PARTS * MIN_DISCLOSED:
            return
        edges = [n * k // PARTS for k in range(PARTS + 1)]
        for k in range(PARTS):
            low, high = edges[k], edges[k + 1]
            part = DisclosedPairs(
                self.alice[low:high], self.bob[low:high], self.residual_ps[low:high]
            )
            yield f"part {k + 1} of {PARTS} of the block", part


def count_errors(alice: bytes, bob: bytes) -> int:
    """Differing bits of two disclosed strings of equal length."""
    if len(alice) != len(bob):
        raise ValueError("strings of different length")
    return (int.from_bytes(alice, "big") ^ int.from_bytes(bob, "big")).bit_count()


def judge_errors(
    parameters: AgreedParameters, *, key_bits: int, test_bits: int, errors: int
) -> str | None:
    """Why the block gives no key, or None. The text starts with a stable name."""
    if key_bits == 0 or test_bits == 0:
        return f"no_bits_in_one_basis: {key_bits} key bits, {test_bits} test bits"
    if errors > parameters.q_tol * test_bits:
        return (
            f"qber_above_threshold: {errors / test_bits:.2%} in the test basis, "
            f"{parameters.q_tol:.2%} agreed"
        )
    return None


def judge_detectors(bench: BenchConstants, disclosed: DisclosedPairs) -> str | None:
    """Life, efficiency and delay of all eight detectors, over the block and its parts."""
    if len(disclosed) < MIN_DISCLOSED:
        return (
            f"detectors_not_judged: {len(disclosed)} pairs in different bases cannot show that "
            f"every detector works, {MIN_DISCLOSED} can"
        )
    for where, part in disclosed.parts():
        for side, detector in (("alice", part.alice), ("bob", part.bob)):
            station = bench.station(side)
            reason = _judge_efficiency(side, where, detector, station) or _judge_delay(
                side, where, detector, part.residual_ps, station
            )
            if reason is not None:
                return reason
    return None


def _judge_efficiency(side: str, where: str, detector: Uint8s, station: Station) -> str | None:
    """Both detectors of each basis share its pairs as their calibrated efficiencies allow."""
    counts = np.bincount(detector, minlength=4)
    for first, second in ((0, 1), (2, 3)):
        pair = LETTERS[first], LETTERS[second]
        n = int(counts[first] + counts[second])
        one, other = (station[letter] for letter in pair)
        high = one.efficiency_high / (one.efficiency_high + other.efficiency_low)
        low = one.efficiency_low / (one.efficiency_low + other.efficiency_high)
        for bound, sign in ((high, 1), (low, -1)):
            allowed = n * bound + sign * (SIGMAS * math.sqrt(n * bound * (1 - bound)) + SIGMAS)
            if sign * (counts[first] - allowed) > 0 or 0 in counts[[first, second]]:
                worst = pair[int(counts[first] > counts[second])]
                return (
                    f"detector_efficiency: in {where} {side}'s {pair[0]} and {pair[1]} made "
                    f"{counts[first]} and {counts[second]} of the disclosed pairs; {worst} is "
                    f"dead, or less efficient than calibrated"
                )
    return None


def _judge_delay(
    side: str, where: str, detector: Uint8s, residual_ps: Int64s, station: Station
) -> str | None:
    """No detector's pairs come earlier or later than its calibration allows."""
    n = np.bincount(detector, minlength=4)
    if not n.all():
        return None
    sums = np.bincount(detector, weights=residual_ps, minlength=4)
    sign = 1 if side == "bob" else -1  # the residual is Bob minus Alice
    means = sign * sums / n
    deviation = float(residual_ps.std())
    centre = float(means.mean())  # the common offset belongs to the clock
    for k, letter in enumerate(LETTERS):
        late = float(means[k]) - centre
        known = station[letter]
        allowed = known.delay_uncertainty_ps + SIGMAS * deviation / math.sqrt(int(n.min()))
        if abs(late) > allowed:
            return (
                f"detector_delay: in {where} {side}'s {letter} clicks {late:+.0f} ps from where "
                f"the calibration puts it, {allowed:.0f} ps are allowed"
            )
    return None


def key_balanced(parameters: AgreedParameters, bench: BenchConstants, ones: int, n: int) -> bool:
    """The private check of a side's own key bits: only the answer leaves, and only as on or off.
    Zeros and ones share the key as both stations' efficiencies, the limit and chance allow."""
    if n == 0:
        return False
    most = least = 1.0  # ones to zeros
    for station in (bench.alice, bench.bob):
        zero, one = station[LETTERS[0]], station[LETTERS[1]]
        most *= one.efficiency_high / zero.efficiency_low
        least *= one.efficiency_low / zero.efficiency_high
    slack = parameters.bias_limit + SIGMAS / (2 * math.sqrt(n))
    return least / (1 + least) - slack <= ones / n <= most / (1 + most) + slack


def few_multi_clicks(parameters: AgreedParameters, multi_clicks: int, events: int) -> bool:
    """The private check of a side's own multi-click events."""
    return multi_clicks <= parameters.multi_click_limit * events
