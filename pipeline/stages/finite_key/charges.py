"""Charges for information on the public channel beside parities, tags and bases."""

from __future__ import annotations

import math

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.costs import entropy_of_bound

# pass or fail of error verification is public, and key follows one of the two: one bit
VERIFICATION_OUTCOME_BITS = 1


def multi_click_bits(n: int, share: float) -> float:
    """n (h(f) + f) for one station: which of the n events have a further click within the quiet
    time, and the bit of those that have.

    An announced later event reveals that the quiet time before it was kept, which depends on clicks
    that depend on the bit (the echo). At most a share ``share`` of the events has followers,
    counted privately against this agreed limit; the places of these cost at most n h(f) bits, their
    bits n f. Assumption: an event without followers reveals nothing about its detector; the
    step from this count to min-entropy is a chain rule over a register of n (h(f) + f) bits.
    """
    n, f = inputs.count("n", n), inputs.rate("share", share)
    return n * (entropy_of_bound(f) + f)


def told_bits(values: int) -> float:
    """log2 of the number of values that a sent number could have."""
    n = inputs.count("values", values)
    if n == 0:
        raise inputs.ParameterError("values", "must be at least 1", values)
    return math.log2(n)


def leak_bits(sent: int, cap: int) -> float:
    """Leak of one string's error correction when its length depends on the block: the parities
    sent, and log2(cap + 1) for their number.
    """
    cap = inputs.count("cap", cap)
    return inputs.count("sent", sent, at_most=cap) + told_bits(cap + 1)
