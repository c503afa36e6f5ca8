"""Common behaviour of time taggers: comparators, delays that change the order of clicks, dead
times, a full memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.kit.faults import fault

FAR_PAST = -(1 << 62)


def sees(level: float, pulse: float) -> bool:
    """A comparator fires when its level lies between the base line and the top of the pulse."""
    return level * pulse > 0 and abs(level) < abs(pulse)


class LosesEvents:
    """A tagger whose memory can be made to overrun; each model reports that in its own way."""

    to_lose = 0

    @fault("lose", "so many events vanish", "events")
    def _fault_lose(self, order: Mapping[str, Any]) -> None:
        self.to_lose += int(order.get("events", 1000))

    @fault("overrun", "as lose", "events")
    def _fault_overrun(self, order: Mapping[str, Any]) -> None:
        self._fault_lose(order)

    def lost_of(self, events: int) -> int:
        """How many of the next ``events`` are lost now."""
        gone = min(self.to_lose, events)
        self.to_lose -= gone
        return gone


def dead_time(
    tick: npt.NDArray[np.int64], length: int, last: int
) -> tuple[npt.NDArray[np.bool_], int]:
    """Non-extendable dead time of one input: which of its sorted events survive.

    last: latest surviving event of earlier calls.  Returns the mask and the new ``last``.
    """
    keep = np.ones(len(tick), np.bool_)
    if len(tick) == 0:
        return keep, last
    if tick[0] - last >= length and (np.diff(tick) >= length).all():
        return keep, int(tick[-1])
    for i, t in enumerate(tick.tolist()):
        if t - last < length:
            keep[i] = False
        else:
            last = t
    return keep, last


class Sorter:
    """Sorts events that delays have put out of order; holds back those that a later event may
    precede.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._tick, self._channel = np.empty(0, np.int64), np.empty(0, np.uint8)

    @property
    def held(self) -> int:
        return len(self._tick)

    def sort(
        self, tick: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8], ready: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """New events in, events before ``ready`` out, in order."""
        if len(self._tick):
            tick = np.concatenate((self._tick, tick))
            channel = np.concatenate((self._channel, channel))
        if (np.diff(tick) < 0).any():
            order = np.argsort(tick, kind="stable")
            tick, channel = tick[order], channel[order]
        split = int(np.searchsorted(tick, ready))
        self._tick, self._channel = tick[split:], channel[split:]
        return tick[:split], channel[:split]
