"""The pairs of one node, in the order both nodes agree on, until a block takes them.

Bits stay in locked memory; bases and times are not sent before the block closes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from photonlink.pipeline.native.quiet import MOST_STEPS
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages.quiet import TimeRule
from photonlink.pipeline.stages.window import Uint8s

Int8s = npt.NDArray[np.int8]
_T = TypeVar("_T", bound=np.generic)
_MAX_PARTS = 32  # each part takes whole pages of locked memory


def disclosure_step_ps(times: TimeRule) -> int:
    """Step of disclosed times: a signed byte of steps covers window and grid."""
    return max(1, -(-(times.window_ps + (1 << times.grid_bits)) // MOST_STEPS))


@dataclass(slots=True)
class RawBlock:
    """One node's share of a block: a bit, a basis, a time and marks for every pair.

    offset: own time minus the announced one, in steps of ``disclosure_step_ps``. marks: of
    ``QuietBuffer``. events: of the slots these pairs came from. multi_clicks: of them, with a
    further click in the quiet time. Marks and multi-clicks are never sent.
    """

    bits: SecretBits
    basis: Uint8s
    offset: Int8s
    marks: Uint8s
    events: int
    multi_clicks: int

    def __len__(self) -> int:
        return len(self.basis)

    def close(self) -> None:
        self.bits.close()


@dataclass(slots=True)
class PairRow:
    """Pairs in the order of time; blocks take from the front."""

    _bits: list[SecretBits] = field(default_factory=list)
    _bases: list[Uint8s] = field(default_factory=list)
    _offsets: list[Int8s] = field(default_factory=list)
    _marks: list[Uint8s] = field(default_factory=list)
    total: int = 0
    events: int = 0
    multi_clicks: int = 0

    def append(
        self,
        bits: SecretBits,
        basis: Uint8s,
        offset: Int8s,
        marks: Uint8s,
        events: int,
        multi_clicks: int,
    ) -> None:
        """Takes over ``bits`` (bit i was measured in ``basis[i]``)."""
        self._bits.append(bits)
        self._bases.append(basis)
        self._offsets.append(offset)
        self._marks.append(marks)
        self.total += len(bits)
        self.events += events
        self.multi_clicks += multi_clicks
        if len(self._bits) >= _MAX_PARTS:
            self._join()

    def _join(self) -> tuple[SecretBits, Uint8s, Int8s, Uint8s]:
        joined = SecretBits.concat(self._bits)
        for part in self._bits:
            part.close()
        basis, offset = _joined(self._bases, np.uint8), _joined(self._offsets, np.int8)
        marks = _joined(self._marks, np.uint8)
        self._bits, self._bases = [joined], [basis]
        self._offsets, self._marks = [offset], [marks]
        return joined, basis, offset, marks

    def take(self, n: int) -> RawBlock:
        """The first ``n`` pairs as a block; the rest stays. The event counts go with the block."""
        if not 0 <= n <= self.total:
            raise ValueError(f"{n} of {self.total} pairs")
        bits, basis, offset, marks = self._join()
        block = RawBlock(
            bits.slice(0, n), basis[:n], offset[:n], marks[:n], self.events, self.multi_clicks
        )
        self._bits, self._bases = [bits.slice(n, len(bits))], [basis[n:]]
        self._offsets, self._marks = [offset[n:]], [marks[n:]]
        bits.close()
        self.total -= n
        self.events = self.multi_clicks = 0
        return block

    def clear(self) -> None:
        for part in self._bits:
            part.close()
        self._bits, self._bases, self._offsets, self._marks = [], [], [], []
        self.total = self.events = self.multi_clicks = 0


def _joined(parts: list[npt.NDArray[_T]], kind: type[_T]) -> npt.NDArray[_T]:
    return np.concatenate(parts) if parts else np.empty(0, kind)
