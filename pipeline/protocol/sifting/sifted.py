"""The sifted bits of one node, in the order both nodes agree on, until a block takes them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages.events import Basis

Uint8s = npt.NDArray[np.uint8]
_MAX_PARTS = 32  # each part takes whole pages of locked memory


@dataclass(slots=True)
class RawBlock:
    """One node's share of a block: bits of the key basis and of the test basis."""

    key: SecretBits
    test: SecretBits
    events: int
    multi_clicks: int

    def close(self) -> None:
        self.key.close()
        self.test.close()


@dataclass(slots=True)
class SiftedRow:
    """Bits in arrival order with their (public) bases; blocks take from the front."""

    _parts: list[SecretBits] = field(default_factory=list)
    _bases: list[Uint8s] = field(default_factory=list)
    total: int = 0
    events: int = 0  # announced or matched in the slots these bits came from
    multi_clicks: int = 0

    def append(self, bits: SecretBits, basis: Uint8s, events: int, multi_clicks: int) -> None:
        """Takes over ``bits`` (bit i was measured in ``basis[i]``)."""
        self._parts.append(bits)
        self._bases.append(basis)
        self.total += len(bits)
        self.events += events
        self.multi_clicks += multi_clicks
        if len(self._parts) >= _MAX_PARTS:
            self._join()

    def _join(self) -> None:
        joined = SecretBits.concat(self._parts)
        for part in self._parts:
            part.close()
        self._parts = [joined]
        self._bases = [np.concatenate(self._bases)] if self._bases else [np.empty(0, np.uint8)]

    def take(self, n: int) -> RawBlock:
        """The first ``n`` bits as a block; the rest stays. The event counts go with the block."""
        if not 0 <= n <= self.total:
            raise ValueError(f"{n} of {self.total} sifted bits")
        self._join()
        row, basis = self._parts[0], self._bases[0]
        block = RawBlock(
            key=row.select(np.flatnonzero(basis[:n] == Basis.HV)),
            test=row.select(np.flatnonzero(basis[:n] == Basis.DA)),
            events=self.events,
            multi_clicks=self.multi_clicks,
        )
        self._parts, self._bases = [row.slice(n, len(row))], [basis[n:]]
        row.close()
        self.total -= n
        self.events = self.multi_clicks = 0
        return block

    def counts(self, n: int) -> tuple[int, int]:
        """Key and test bits among the first ``n``."""
        basis = np.concatenate(self._bases)[:n] if self._bases else np.empty(0, np.uint8)
        test = int(np.count_nonzero(basis == Basis.DA))
        return len(basis) - test, test

    def clear(self) -> None:
        for part in self._parts:
            part.close()
        self._parts, self._bases = [], []
        self.total = self.events = self.multi_clicks = 0
