"""Parameter estimation: is the block acceptable? Every check that fails names itself.

The test basis is disclosed completely; nothing of it remains key. Thresholds are agreed before
the block and never follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

from photonlink.pipeline.stages.agreed import AgreedParameters


@dataclass(frozen=True, slots=True)
class SideFigures:
    """Public counts of one side over a block: events announced or matched, multi-clicks among
    them, disclosed bits and ones among those."""

    events: int
    multi_clicks: int
    test_bits: int
    test_ones: int

    @property
    def multi_click_fraction(self) -> float:
        return self.multi_clicks / self.events if self.events else 0.0

    @property
    def bias(self) -> float:
        """|fraction of ones - 1/2| of the disclosed bits."""
        return abs(self.test_ones / self.test_bits - 0.5) if self.test_bits else 0.0


def count_errors(alice: bytes, bob: bytes) -> int:
    """Differing bits of two disclosed strings of equal length."""
    if len(alice) != len(bob):
        raise ValueError("strings of different length")
    return (int.from_bytes(alice, "big") ^ int.from_bytes(bob, "big")).bit_count()


def judge(
    parameters: AgreedParameters,
    *,
    key_bits: int,
    errors: int,
    alice: SideFigures,
    bob: SideFigures,
) -> str | None:
    """Why the block gives no key, or None. The text starts with a stable name."""
    k = alice.test_bits
    if key_bits == 0 or k == 0:
        return f"no_bits_in_one_basis: {key_bits} key bits, {k} test bits"
    if errors > parameters.q_tol * k:
        return (
            f"qber_above_threshold: {errors / k:.2%} in the test basis, "
            f"{parameters.q_tol:.2%} agreed"
        )
    for name, side in (("alice", alice), ("bob", bob)):
        if side.multi_click_fraction > parameters.multi_click_limit:
            return (
                f"multi_clicks_above_limit: {side.multi_click_fraction:.2%} of {name}'s events, "
                f"{parameters.multi_click_limit:.2%} agreed"
            )
        if side.bias > parameters.bias_limit:
            return (
                f"detector_imbalance: {side.test_ones} of {side.test_bits} disclosed bits of "
                f"{name} are 1"
            )
    return None
