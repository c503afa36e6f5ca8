"""Event words of the TDC1 and the arithmetic of its coincidence counter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RESOLUTION_PS = 2000
COUNTER_BITS = 27
HALF = 1 << (COUNTER_BITS - 1)
DUMMY = 0b10001  # the sheet's example pattern of a dummy event


class WordPacker:
    """Turns event times (in 2 ns ticks since the start) into 32-bit words.

    Word: bits 31..5 time modulo 2^27, bit 4 dummy, bits 3..0 inputs that fired in that tick. A
    dummy comes at every half period of the counter, so two words are never a period apart.
    counter_start: reading of the counter at tick 0 (negative: so many ticks before its end).
    """

    def __init__(self, counter_start: int = 0) -> None:
        self._origin = counter_start % (2 * HALF)
        self._held_tick = -1  # tick whose pattern may still grow
        self._held_pattern = 0
        self._next_dummy = (self._origin // HALF + 1) * HALF

    def pack(
        self, tick: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8], until: int
    ) -> npt.NDArray[np.uint32]:
        """Words of all events before ``until``; those in its own tick wait for the next call."""
        tick = tick + self._origin
        until += self._origin
        pattern = np.left_shift(1, channel.astype(np.int64))
        if self._held_tick >= 0:
            tick = np.concatenate(([self._held_tick], tick))
            pattern = np.concatenate(([self._held_pattern], pattern))
        if len(tick):
            first = np.flatnonzero(np.concatenate(([True], tick[1:] != tick[:-1])))
            pattern = np.bitwise_or.reduceat(pattern, first)
            tick = tick[first]
        self._held_tick = -1
        if len(tick) and tick[-1] >= until:
            self._held_tick, self._held_pattern = int(tick[-1]), int(pattern[-1])
            tick, pattern = tick[:-1], pattern[:-1]
        dummies = np.arange(self._next_dummy, until, HALF, dtype=np.int64)
        if len(dummies):
            self._next_dummy = int(dummies[-1]) + HALF
            at = np.searchsorted(tick, dummies)
            tick, pattern = np.insert(tick, at, dummies), np.insert(pattern, at, DUMMY)
        return ((tick & (2 * HALF - 1)) << 5 | pattern).astype("<u4")


def coincidences(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], window_ps: int) -> int:
    """Pairs (one of ``a``, one of ``b``, both sorted) at most ``window_ps`` apart."""
    low = np.searchsorted(b, a - window_ps, "left")
    high = np.searchsorted(b, a + window_ps, "right")
    return int((high - low).sum())
