"""The link that the node benchmarks run: its clicks, as the bytes of a time tagger's wire, looped.

Singles of 2 M/s a side, 1 M pairs/s, 2 % errors, 130 ps of jitter at each side, unless said
otherwise. A loop of T2 records holds whole turns of the record's counter, so that the same bytes
serve again; records that carry the whole time (swabian16) are moved on by one loop, in place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.streams import Int64s, Uint8s, with_overflows
from photonlink.hal.decoders import swabian16_records
from photonlink.hal.tags import WireFormat

JITTER_PS, ERRORS = 130.0, 0.02
RESOLUTION_PS = 4
TURN_PS = RESOLUTION_PS << 25  # of the counter of a T2 record
CHUNK_PS = 50_000_000_000  # as a live tagger hands out its bytes
FORMATS = ("t2", "swabian16")


@dataclass(frozen=True, slots=True)
class Light:
    """Of one link. singles: of all detectors of one side, the partners of pairs among them."""

    pairs_hz: float = 1e6
    singles_hz: float = 2e6
    errors: float = ERRORS

    def clicks(self, seconds: float, seed: int = 1) -> tuple[tuple[Int64s, Uint8s], ...]:
        """Times (ps, sorted, within ``seconds``) and detectors 0..3 of both sides."""
        rng = np.random.default_rng(seed)
        span = seconds * 1e12
        made = rng.uniform(0, span, rng.poisson(self.pairs_hz * seconds))
        basis = rng.integers(0, 2, (2, len(made)))
        bit = rng.integers(0, 2, (2, len(made)))
        same = basis[0] == basis[1]
        bit[1, same] = bit[0, same] ^ (rng.random(int(same.sum())) < self.errors)
        sides = []
        for k in range(2):
            alone = rng.uniform(0, span, rng.poisson((self.singles_hz - self.pairs_hz) * seconds))
            time = np.concatenate([made + rng.normal(0, JITTER_PS, len(made)), alone])
            detector = np.concatenate([basis[k] * 2 + bit[k], rng.integers(0, 4, len(alone))])
            order = np.argsort(time)
            inside = np.clip(time[order], 0, span - RESOLUTION_PS).astype(np.int64)
            sides.append((inside, detector[order].astype(np.uint8)))
        return tuple(sides)


class Loop:
    """One side's wire bytes over ``turns`` turns of the counter; ``chunks`` repeats them."""

    def __init__(self, light: Light, side: int, seconds: float, name: str, seed: int = 1) -> None:
        self.turns = max(1, round(seconds * 1e12 / TURN_PS))
        self.span_ps = self.turns * TURN_PS
        time_ps, detector = light.clicks(self.span_ps * 1e-12, seed)[side]
        self.tags = len(time_ps)
        self._name = name
        edges = np.arange(0, self.span_ps + CHUNK_PS, CHUNK_PS).clip(max=self.span_ps)
        make = self._t2 if name == "t2" else self._swabian
        self._data, cuts = make(time_ps // RESOLUTION_PS, detector + 1, edges)
        self._cuts = [(int(a), int(b)) for a, b in itertools.pairwise(cuts) if b > a]

    @property
    def wire(self) -> WireFormat:
        parameters = {"resolution_ps": RESOLUTION_PS} if self._name == "t2" else {}
        return WireFormat(self._name, parameters)

    @property
    def bytes(self) -> int:
        return self._data.nbytes

    @property
    def mebibytes(self) -> float:
        return self._data.nbytes / 2**20

    def _t2(self, ticks: Int64s, channel: Uint8s, edges: Int64s) -> tuple[Uint8s, Int64s]:
        words = (channel.astype(np.uint32) << 25) | (ticks & 0x1FFFFFF).astype(np.uint32)
        wraps = ticks >> 25
        words = with_overflows(words, wraps)
        missing = self.turns - int(wraps[-1])  # the loop ends where the next one begins
        end = np.full(missing, 0x80000000 | 63 << 25 | 1, np.uint32)
        words = np.concatenate([words, end]).astype("<u4")
        before = np.searchsorted(ticks * RESOLUTION_PS, edges)
        inserted = np.searchsorted(np.flatnonzero(np.diff(wraps, prepend=0)), before)
        cuts = 4 * (before + inserted)
        cuts[-1] = words.nbytes
        return words.view(np.uint8), cuts

    def _swabian(self, ticks: Int64s, channel: Uint8s, edges: Int64s) -> tuple[Uint8s, Int64s]:
        n = len(ticks)
        plain = np.zeros(n, np.uint8), np.zeros(n, np.uint16)
        records = swabian16_records(ticks * RESOLUTION_PS, channel.astype(np.int32), *plain)
        data = np.frombuffer(records, np.uint8).copy()
        return data, 16 * np.searchsorted(ticks * RESOLUTION_PS, edges)

    def chunks(self) -> Iterator[memoryview]:
        """Chunks without end. Each is valid until the next one is taken."""
        times = self._data.view(np.int64)[1::2] if self._name == "swabian16" else None
        view = self._data.data
        while True:
            for low, high in self._cuts:
                yield view[low:high]
                if times is not None:
                    times[low // 16 : high // 16] += self.span_ps
