"""PicoQuant's 32-bit records and histograms, from events that are sorted in time.

A recorder takes ``(tick, channel, until)``: times since the start in units of the base resolution,
the input of each (sync has a number of its own), and the time before which all is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ticks = npt.NDArray[np.int64]
Channels = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]
SPECIAL = 1 << 31
MAX_HISTOGRAM = 65_536


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """One family's words. wrap: units until the time field starts again; overflow: the word that
    says so, with the number of wraps in its low bits if ``counted``.  channel_bit, dtime_bit: where
    these fields begin; dtimes: values of the second.  sync_head: of a sync event in T2.
    first_input: number of the first input in the records."""

    wrap: int
    overflow: int
    counted: bool
    channel_bit: int
    sync_head: int
    dtime_bit: int = 0
    dtimes: int = 0
    first_input: int = 0


GENERIC_T2 = RecordLayout(1 << 25, SPECIAL | 63 << 25, True, 25, SPECIAL)
GENERIC_T3 = RecordLayout(1 << 10, SPECIAL | 63 << 25, True, 25, SPECIAL, 10, 1 << 15)
PH300_T2 = RecordLayout(210_698_240, 15 << 28, False, 28, 0, first_input=1)
PH300_T3 = RecordLayout(1 << 16, 15 << 28, False, 28, 0, 16, 1 << 12, first_input=1)


class Wraps:
    """Inserts the overflow words between events.

    start: reading of the counter when the measurement begins.
    """

    def __init__(self, layout: RecordLayout, start: int = 0) -> None:
        self._layout = layout
        self._origin = start % layout.wrap
        self._wraps = 0

    def encode(self, tick: Ticks, head: Ticks, until: int) -> Words:
        """tick: units since the start, sorted, all before ``until``; head: the other fields."""
        layout = self._layout
        if self._origin:
            tick = tick + self._origin
        last = (until + self._origin) // layout.wrap
        edges = np.arange(self._wraps + 1, last + 1, dtype=np.int64) * layout.wrap
        self._wraps = max(self._wraps, last)
        records = (head | tick % layout.wrap).astype("<u4")
        if not len(edges):
            return records
        at = np.searchsorted(tick, edges)
        if not layout.counted:
            return np.insert(records, at, np.uint32(layout.overflow))
        at, steps = np.unique(at, return_counts=True)
        return np.insert(records, at, (layout.overflow | steps).astype("<u4"))


class T2:
    """Every event with its time."""

    def __init__(self, layout: RecordLayout, sync: int, start: int = 0) -> None:
        self._wraps = Wraps(layout, start)
        self._heads = np.arange(sync + 1, dtype=np.int64) + layout.first_input
        self._heads <<= layout.channel_bit
        self._heads[sync] = layout.sync_head

    def take(self, tick: Ticks, channel: Channels, until: int) -> Words:
        return self._wraps.encode(tick, self._heads[channel], until)


class Synced:
    """Each event's place after the sync before it: what T3 and histograms are made of."""

    def __init__(self, sync: int) -> None:
        self._sync, self.syncs, self._last = sync, 0, -1

    def locate(self, tick: Ticks, channel: Channels) -> tuple[Channels, Ticks, Ticks]:
        """(channel, number of its sync, ticks since it) of the events after the first sync."""
        is_sync = channel == self._sync
        number = self.syncs + np.cumsum(is_sync)
        last = np.maximum.accumulate(np.where(is_sync, tick, self._last))
        if len(tick):
            self.syncs, self._last = int(number[-1]), int(last[-1])
        keep = ~is_sync & (number > 0)
        return channel[keep], number[keep] - 1, (tick - last)[keep]


class T3:
    """Every event with the number of its sync and the time since it, in bins of 2^binning units;
    an event beyond the field's range is not recorded."""

    def __init__(self, layout: RecordLayout, sync: int, binning: int, start: int = 0) -> None:
        self._layout, self._binning = layout, binning
        self._synced, self._wraps = Synced(sync), Wraps(layout, start)

    def take(self, tick: Ticks, channel: Channels, _: int) -> Words:
        channel, number, since = self._synced.locate(tick, channel)
        dtime = since >> self._binning
        keep = dtime < self._layout.dtimes
        head = channel[keep].astype(np.int64) + self._layout.first_input
        head = head << self._layout.channel_bit | dtime[keep] << self._layout.dtime_bit
        return self._wraps.encode(number[keep], head, max(self._synced.syncs - 1, 0))


class HistogramMemory:
    """Counts per input and bin. stop_at: a bin that has so many ends the measurement."""

    def __init__(self, sync: int) -> None:
        self.counts = np.zeros((sync, MAX_HISTOGRAM), np.uint32)
        self.overflow = False
        self.bins, self.binning, self.offset, self.stop_at = MAX_HISTOGRAM, 0, 0, 0
        self.restart()

    def restart(self) -> None:
        """A new measurement continues in the same memory."""
        self._synced = Synced(len(self.counts))
        self.overflow = False

    def clear(self) -> None:
        self.counts[:] = 0

    def take(self, tick: Ticks, channel: Channels, _: int) -> Words:
        channel, _number, since = self._synced.locate(tick, channel)
        at = (since - self.offset) >> self.binning
        keep = (at >= 0) & (at < self.bins)
        np.add.at(self.counts, (channel[keep], at[keep]), 1)
        if self.stop_at and len(at):
            self.overflow = self.overflow or bool((self.counts >= self.stop_at).any())
        return np.empty(0, np.uint32)
