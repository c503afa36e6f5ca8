"""Is the block acceptable? Every check that fails names itself, and the block gives no key.

Judged on what both ends disclosed: all pairs measured in different bases (half of them, at random
and free: with the quiet rule and the noise they tell nothing about their neighbours), and the whole
test basis. Thresholds are agreed before the block and never follow it. These checks guard against
faults and drift; a source that knows them can pass them (docs/protocol.md, "What is judged").
"""

from __future__ import annotations

import math

from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import BenchConstants
from photonlink.pipeline.stages.judge import DisclosedPairs, judge
from photonlink.pipeline.stages.window import LETTERS

SIGMAS = 6.0  # the balance fails beyond its bound and so many standard deviations


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
    """Life, efficiency and delay of all eight detectors, over the block and its parts: what has
    changed, or None. The text starts with a stable name."""
    found = judge(bench, disclosed)
    return None if found.ok else str(found)


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


def few_multi_clicks(
    parameters: AgreedParameters, followed: int, pairs: int, multi_clicks: int, events: int
) -> bool:
    """The private check of a side's events with a further click in the quiet time: of paired ones
    the share that the length pays for, of all ten times as much, which bright light exceeds."""
    limit = parameters.multi_click_limit
    return followed <= limit * pairs and multi_clicks <= 10 * limit * events
