"""Decides when a block closes: the same rule runs on both nodes over the same public slots.

It uses times alone: pairs and seconds. Bases are announced only after a block has closed, and no
pair is added after that: an attacker who stops a block early can base her choice on times only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.amplify import StringAccount, block_lengths
from photonlink.pipeline.stages.block_thresholds import BlockThresholds
from photonlink.pipeline.stages.finite_key import binary_entropy

_OPTIMIST_RATE = 0.005
_SMALL_BLOCK_F = 1.25  # Cascade's leak over the Shannon limit in blocks of some thousand bits


def rest_pays(
    parameters: AgreedParameters,
    thresholds: BlockThresholds,
    seen_rate: float | None,
    ratio: float = 1.0,
) -> bool:
    """Whether the rest at the end of input, a block with these thresholds, can still give key.

    seen_rate: error rate of an earlier block; the rest may be three sigma worse. None: there was
    none, and a low rate is assumed, so that only a hopeless rest is refused.
    """
    n = thresholds.expected_bits
    if n == 0:
        return False
    rate, f = _OPTIMIST_RATE, 1.0
    if seen_rate is not None:
        seen = max(seen_rate, _OPTIMIST_RATE)
        rate, f = min(seen + 3 * math.sqrt(seen * (1 - seen) / n), 0.5), _SMALL_BLOCK_F
    leak = math.ceil(f * n * binary_entropy(rate))
    hv, da = (StringAccount(n, None, leak) for _ in range(2))
    return block_lengths(parameters, thresholds, hv, da, ratio).length > 0


@dataclass(slots=True)
class BlockRule:
    """``closed_at``: how many pairs the block has, once it is known. ``rung``: blocks since the
    connection began or a check failed. Sizes double with it, so that the first key comes early, and
    a cut line loses at most about as many pairs as have become key before.
    """

    parameters: AgreedParameters
    closed_at: int | None = None
    start_ps: int | None = None
    end_ps: int = 0
    rung: int = 0
    _next_start_ps: int | None = None

    @property
    def pairs(self) -> int:
        """Number of pairs at which the next block closes."""
        return self.parameters.block_pairs(self.rung)

    def slot(self, start_ps: int, end_ps: int, total: int) -> None:
        """One key slot of Bob's time has been paired; ``total`` pairs wait now."""
        if self.closed_at is not None:
            if self._next_start_ps is None:
                self._next_start_ps = start_ps
            return
        if self.start_ps is None:
            self.start_ps = start_ps
        self.end_ps = end_ps
        if total >= self.pairs:
            self.closed_at = self.pairs
        elif end_ps - self.start_ps >= self.parameters.block_max_s * 1e12:
            if total:
                self.closed_at = total
            else:
                self.start_ps = None

    def taken(self, remaining: int) -> float:
        """The block has been taken: returns its duration in s and starts the next."""
        duration_s = (self.end_ps - (self.start_ps or self.end_ps)) * 1e-12
        self.start_ps, self._next_start_ps = self._next_start_ps, None
        if self.start_ps is None and remaining:
            self.start_ps = self.end_ps
        self.rung += 1
        self.closed_at = self.pairs if remaining >= self.pairs else None
        return duration_s

    def reset(self, *, climb: bool = False) -> None:
        """Drop the pairs so far. ``climb``: the block was too small, and the next is larger."""
        self.closed_at = self.start_ps = self._next_start_ps = None
        if not climb:
            self.rung = 0
