"""Thresholds of a block's error rates: agreed when it closes, before its bases are announced.

They follow the errors of earlier blocks of the connection, which both ends hold as one list, and
never the block itself. Security does not depend on the choice: any number fixed before the bases is
sound. The choice decides how often an honest block is refused.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.finite_key import EarlierBlock, threshold_from
from photonlink.pipeline.stages.finite_key.following import GRID, MEMORY


@dataclass(frozen=True, slots=True)
class BlockThresholds:
    """hv, da: largest accepted error rates, multiples of ``GRID``; hv is 0 and not used where HV
    alone makes key. pairs: of the block, known from times alone."""

    hv: float
    da: float
    pairs: int

    @property
    def expected_bits(self) -> int:
        """Of each basis, as even splitters share the pairs."""
        return self.pairs // 4

    @property
    def steps(self) -> tuple[int, int]:
        """The thresholds in units of ``GRID``, as they are sent."""
        return round(self.hv / GRID), round(self.da / GRID)


@dataclass(slots=True)
class EarlierErrors:
    """Errors and bits of each basis in earlier blocks, oldest first, kept or refused."""

    hv: deque[EarlierBlock] = field(default_factory=lambda: deque(maxlen=MEMORY))
    da: deque[EarlierBlock] = field(default_factory=lambda: deque(maxlen=MEMORY))

    def forget(self) -> None:
        """Drop the list: the next block has the first block's thresholds."""
        self.hv.clear()
        self.da.clear()

    def thresholds(self, parameters: AgreedParameters, pairs: int) -> BlockThresholds:
        """The thresholds for a block of ``pairs`` pairs, never above q_tol."""
        p, bits = parameters, pairs // 4
        both = p.both_bases
        da = _threshold(p, self.da, bits, p.abort_probability / (1 + both))
        hv = _threshold(p, self.hv, bits, p.abort_probability / 2) if both else 0.0
        return BlockThresholds(hv, da, pairs)


def _threshold(
    parameters: AgreedParameters, earlier: deque[EarlierBlock], bits: int, refused: float
) -> float:
    first = threshold_from([], 0, 0.5, first=parameters.q_tol)  # on the grid
    if not refused or not earlier:
        return first
    return min(first, threshold_from(list(earlier), bits, refused, first=first))
