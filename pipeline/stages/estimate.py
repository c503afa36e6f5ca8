"""Checks whether a block is acceptable. A failed check gives a named reason, and the block gives no
key.

The checks use what both ends disclosed: all pairs measured in different bases (a random half, which
costs no key: with the quiet rule and the noise they reveal nothing about neighbouring events).
Errors are those that correction found and verification confirmed, or those of a test basis.
Thresholds are agreed before the block and never follow it. These checks guard against faults and
drift; a source built to pass them can pass them (docs/protocol.md, "What is judged").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import BenchConstants
from photonlink.pipeline.stages.block_thresholds import BlockThresholds
from photonlink.pipeline.stages.judge import DisclosedPairs, judge
from photonlink.pipeline.stages.window import LETTERS

SIGMAS = 6.0  # standard deviations beyond its bound at which the balance fails


def count_errors(alice: bytes, bob: bytes) -> int:
    """Differing bits of two disclosed strings of equal length."""
    if len(alice) != len(bob):
        raise ValueError("strings of different length")
    return (int.from_bytes(alice, "big") ^ int.from_bytes(bob, "big")).bit_count()


def judge_errors(
    parameters: AgreedParameters,
    thresholds: BlockThresholds,
    hv_bits: int,
    hv_errors: int | None,
    da_bits: int,
    da_errors: int | None,
) -> str | None:
    """Why the block gives no key, or None. The text starts with a stable name.

    errors: None where they are not counted (yet). Where both bases make key, one above its
    threshold fails both; else only DA, the test, has a threshold.
    """
    if hv_bits == 0 or da_bits == 0:
        return f"no_bits_in_one_basis: {hv_bits} bits in HV, {da_bits} in DA"
    judged = [("DA", da_bits, da_errors, thresholds.da)]
    if parameters.both_bases:
        judged.insert(0, ("HV", hv_bits, hv_errors, thresholds.hv))
    for name, bits, errors, most in judged:
        if errors is not None and errors > math.floor(most * bits):
            return f"qber_above_threshold: {errors / bits:.2%} in {name}, {most:.2%} agreed"
    return None


def why_beyond_cap(parameters: AgreedParameters, name: str, bits: int, seen: int) -> str:
    """Why correction of a string ends at the cap on its parities. seen: lower bound on its errors.
    The text starts with a stable name.
    """
    most = parameters.q_tol
    if seen > math.floor(most * bits):
        return f"qber_above_threshold: at least {seen / bits:.2%} in {name}, {most:.2%} agreed"
    return f"leak_cap_reached: {name} takes more than {parameters.leak_cap_bits(bits)} parities"


def judge_detectors(bench: BenchConstants, disclosed: DisclosedPairs) -> str | None:
    """Check function, efficiency and delay of all eight detectors over the block and its parts:
    what has changed, or None. The text starts with a stable name.
    """
    found = judge(bench, disclosed)
    return None if found.ok else str(found)


def key_balanced(
    parameters: AgreedParameters, bench: BenchConstants, basis: int, ones: int, n: int
) -> bool:
    """The private check of a side's own key bits in a basis (0: HV, 1: DA): only the answer, yes or
    no, leaves the station. Zeros and ones share the key as both stations' efficiencies, the limit
    and chance allow."""
    if n == 0:
        return False
    most = least = 1.0  # ratio of ones to zeros
    for station in (bench.alice, bench.bob):
        zero, one = (station[LETTERS[2 * basis + bit]] for bit in (0, 1))
        most *= one.efficiency_high / zero.efficiency_low
        least *= one.efficiency_low / zero.efficiency_high
    slack = parameters.bias_limit + SIGMAS / (2 * math.sqrt(n))
    return least / (1 + least) - slack <= ones / n <= most / (1 + most) + slack


def few_multi_clicks(
    parameters: AgreedParameters,
    marked: Sequence[tuple[int, int]],
    multi_clicks: int,
    events: int,
) -> bool:
    """The private check of a side's events with a further click in the quiet time. marked: marks
    and bits of each string, whose share is what the string's length pays for. Of all events ten
    times that share, which bright light exceeds."""
    limit = parameters.multi_click_limit
    return all(m <= limit * n for m, n in marked) and multi_clicks <= 10 * limit * events
