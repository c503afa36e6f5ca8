"""Local detection events: what one node's detectors saw, merged, sorted, with hidden bits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.tags import TagBlock
from photonlink.pipeline.native.events import DELAY_LIMIT_PS, EventCounts, NativeEvents
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages.window import (
    LETTERS,
    EventWindow,
    Int64s,
    Interval,
    LabelledWindow,
    merge_intervals,
)

_NO_DELAYS: Mapping[str, int] = dict.fromkeys(LETTERS, 0)
_RATE_SPAN_PS = 2 * 10**12  # rates are averages over about this much


class EventBufferError(PhotonlinkError, ValueError):
    """An impossible detector map, delay or interval."""


class Basis(IntEnum):
    """Measurement bases: HV is the key basis, DA the test basis."""

    HV = 0
    DA = 1


@dataclass(frozen=True, slots=True)
class DetectorMap:
    """Which input of the tagger each detector is on: ``{"H": 1, "V": 2, "D": 3, "A": 4}``.

    H and D mean bit 0, V and A bit 1. Every letter once, no channel twice.
    """

    channels: Mapping[str, int]

    def __post_init__(self) -> None:
        channels = self.channels
        if sorted(channels) != sorted(LETTERS):
            raise EventBufferError(
                "a detector map names H, V, D and A, each once", seen=", ".join(channels)
            )
        if len(set(channels.values())) != 4 or not all(0 <= c <= 255 for c in channels.values()):
            raise EventBufferError(
                "four different channels from 0 to 255 are needed", seen=str(dict(channels))
            )


class _TickFinder:
    """The resolution of a tagger: the greatest common divisor of the distances of its tags."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._seen = 0
        self._divisor = 0

    @property
    def sure(self) -> bool:
        return self._seen >= 64

    def look(self, time_ps: Int64s) -> int:
        """The resolution (ps) found so far; 0: too few tags, or 1 ps."""
        if len(time_ps):
            self._first = int(time_ps[0]) if self._first is None else self._first
            some = time_ps[:4096] - self._first
            self._divisor = int(np.gcd.reduce(some, initial=self._divisor))
            self._seen += len(some)
        useful = self.sure and 1 < self._divisor <= DELAY_LIMIT_PS
        return self._divisor if useful else 0


class EventBuffer:
    """The events of one side over a sliding stretch of time, in this side's clock.

    Clicks within ``multi_click_window_ps`` of an event's first click are the same event: of
    several detectors in one basis -> a random bit; in both bases -> a random basis and bit
    (squashing; they are kept and counted). ``randomness(n)`` returns n bytes and is asked for
    exactly one byte per multi-click event, in time order, whatever the blocks' borders.
    A second click of the same detector changes nothing.

    ``resolution_ps``: every time is spread evenly over the tagger's resolution (one more random
    byte per tag). Without it a delay of a fraction of a tick would move all ticks of one detector
    into another bin of the announced grid, and Bob's times would reveal his bits. None: the
    resolution is found in the first tags. 0: off, right for the side that announces no times.

    ``delay_ps``: constants of the bench, subtracted from the times of each detector, at most
    +-10 us each; they never change while the buffer lives.

    At most ``max_events`` are kept; what does not fit is lost, as an explicit lost interval.
    Bits are returned only by :meth:`take_bits` (hidden) and :meth:`labelled` (disclosed, and then
    spent): no event gives its bit twice.
    """

    def __init__(
        self,
        detectors: DetectorMap,
        *,
        multi_click_window_ps: int,
        randomness: Callable[[int], bytes],
        delay_ps: Mapping[str, int] = _NO_DELAYS,
        resolution_ps: int | None = None,
        max_events: int = 1 << 23,
    ) -> None:
        numbers = np.full(256, 255, np.uint8)
        for number, letter in enumerate(LETTERS):
            numbers[detectors.channels[letter]] = number
        self.detectors = detectors
        self._randomness = randomness
        self._window_ps = multi_click_window_ps
        self._native = NativeEvents(numbers, multi_click_window_ps, max_events)
        self._native.spread_ps = resolution_ps or 0
        self._ticks = None if resolution_ps is not None else _TickFinder()
        self._delays = _checked_delays(delay_ps)
        self._native.set_delays(np.array([self._delays[c] for c in LETTERS], np.int64))
        self._lost: list[Interval] = []
        self._history: deque[tuple[int, tuple[int, ...]]] = deque()
        self._end_ps: int | None = None  # end of the last block

    # ---- input ----

    def add(self, block: TagBlock) -> None:
        """Take over a block's clicks and wipe the block. Blocks come in the order of time.

        Clicks on channels outside the map are ignored (counted). Lost intervals widen by the
        delays and the window.
        """
        spread = self._delays.values()
        for lost in block.lost:
            self._lose(
                lost.start_ps - max(spread) - self._window_ps,
                lost.end_ps - min(spread) + self._window_ps,
            )
        if self._ticks is not None:
            self._native.spread_ps = self._ticks.look(block.time_ps)
            self._ticks = None if self._ticks.sure else self._ticks
        lost_from = self._native.add(block.time_ps, block.channel, block.end_ps, self._randomness)
        if lost_from is not None:
            self._lose(lost_from, self.horizon_ps)
        self._end_ps = block.end_ps
        if block.time_ps.flags.writeable:
            block.wipe()
        self._history.append((block.end_ps, self._native.counts().clicks))
        while len(self._history) > 2 and block.end_ps - self._history[1][0] >= _RATE_SPAN_PS:
            self._history.popleft()

    def _lose(self, start_ps: int, end_ps: int) -> None:
        self._lost = list(merge_intervals([*self._lost, (start_ps, end_ps)]))

    # ---- state ----

    @property
    def horizon_ps(self) -> int:
        """Events are complete before this time; a large negative number before the first block."""
        return self._native.horizon_ps

    @property
    def counts(self) -> EventCounts:
        return self._native.counts()

    def rates_hz(self) -> dict[str, float]:
        """Clicks per second of every detector, over about the last two seconds of data."""
        if len(self._history) < 2:
            return {}
        (start, before), (end, now) = self._history[0], self._history[-1]
        seconds = max(end - start, 1) * 1e-12
        return {
            letter: (b - a) / seconds for letter, a, b in zip(LETTERS, before, now, strict=True)
        }

    def multi_click_fraction(self) -> float:
        """Multi-click events among all events so far (0 without events)."""
        counts = self.counts
        return (counts.multi_same + counts.multi_cross) / max(counts.events, 1)

    # ---- output ----

    def window(self, start_ps: int, end_ps: int) -> EventWindow:
        """Times and bases of the events in ``[start_ps, end_ps)``; no bits. Never spends.

        EventBufferError when the interval reaches beyond the horizon. What was already discarded
        counts as a lost interval.
        """
        first, n = self._range(start_ps, end_ps)
        time_ps, basis, multi = self._native.read(first, n)
        lost = self.lost(start_ps, end_ps)
        return EventWindow(start_ps, end_ps, time_ps, basis, first, lost, multi)

    def labelled(self, start_ps: int, end_ps: int) -> LabelledWindow:
        """The same with the detector of every event: for calibration. Spends the events.

        NativeStateError, and nothing is disclosed, when one of them was spent before.
        """
        first, n = self._range(start_ps, end_ps)
        time_ps, basis, multi = self._native.read(first, n)
        detector = self._native.label(first, n)
        lost = self.lost(start_ps, end_ps)
        return LabelledWindow(start_ps, end_ps, time_ps, basis, first, lost, multi, detector)

    def _range(self, start_ps: int, end_ps: int) -> tuple[int, int]:
        if end_ps < start_ps or end_ps > self.horizon_ps:
            raise EventBufferError(
                "the interval must end after its start and not beyond the recorded horizon",
                seen=f"{start_ps}..{end_ps}, horizon {self.horizon_ps}",
            )
        first = self._native.find(start_ps)
        return first, self._native.find(end_ps) - first

    def lost(self, start_ps: int, end_ps: int) -> tuple[Interval, ...]:
        """The lost intervals that overlap ``[start_ps, end_ps)``, uncut."""
        return tuple(i for i in self._lost if i[0] < end_ps and i[1] > start_ps)

    def take_bits(self, indices: Int64s) -> SecretBits:
        """Sifted bits of these events (strictly increasing indices), most significant bit first.

        Spends the events. NativeStateError when one was spent before, NativeArgumentError for an
        index that is not kept; then nothing is taken.
        """
        return self._native.take_bits(indices)

    def discard_before(self, time_ps: int) -> None:
        """Wipe the events before this time and forget their lost intervals."""
        self._native.discard_before(time_ps)
        gone = -(1 << 62)
        self._lost = [(gone, time_ps), *(i for i in self._lost if i[1] > time_ps)]
        self._lost = list(merge_intervals(self._lost))

    def close(self) -> None:
        self._native.close()


def _checked_delays(delay_ps: Mapping[str, int]) -> dict[str, int]:
    found = {letter: int(delay_ps.get(letter, 0)) for letter in LETTERS}
    if set(delay_ps) - set(LETTERS) or any(abs(d) > DELAY_LIMIT_PS for d in found.values()):
        raise EventBufferError(
            f"delays are given for H, V, D, A and within +-{DELAY_LIMIT_PS} ps",
            seen=str(dict(delay_ps)),
        )
    return found
