"""One measurement: from the port's clicks to a recorder, with the unit's input settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.kit.clicks import FAR_PAST, Sorter, dead_time
from photonlink.firmware_sim.kit.clock import Clock
from photonlink.firmware_sim.places import TaggerPlace, TagRead

LAG_S = 1.0  # longest wait at the end of a measurement for a slow bench


@dataclass
class InputSettings:
    """One input. shift_ps: what is added to its times (offset, and pulse width if it triggers on
    the pulse's end)."""

    level_mv: int = -50
    edge: int = 0
    offset_ps: int = 0
    dead_time_ps: int = 0
    enabled: bool = True
    shift_ps: int = 0


class Recorder(Protocol):
    """Turns events into records or histograms (``records``)."""

    def take(
        self, tick: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8], until: int
    ) -> npt.NDArray[np.uint32]: ...


class HarpAcquisition:
    """Start, read, stop; handles a full memory and lost events."""

    def __init__(self, place: TaggerPlace, clock: Clock) -> None:
        self._place, self._clock = place, clock
        self.resolution_ps = float(place.resolution_ps)
        if self.resolution_ps != int(self.resolution_ps) or self.resolution_ps < 1:
            raise ValueError(f"resolution must be whole picoseconds, not {self.resolution_ps}")
        self.events_sent = self.events_lost = 0
        self.started_at_ns = 0
        self.started = self.fifo_full = self.dropped = False
        self._running = self._ended = False
        self._end_ps = 0
        self._started_s = self._stopped_s = 0.0
        self._lose = 0
        self._sorter = Sorter()
        self._clear((), 1)

    def _clear(self, inputs: Sequence[InputSettings], sync_div: int) -> None:
        self._inputs = [replace(i) for i in inputs]
        self._sync_div, self._sync_seen = sync_div, 0
        self._last = [FAR_PAST] * len(self._inputs)
        self._ready = 0
        self._sorter.clear()

    def start(
        self, tacq_ms: int, inputs: Sequence[InputSettings], sync_div: int, recorder: Recorder
    ) -> None:
        """inputs: the last one is sync."""
        self._clear(inputs, sync_div)
        self._recorder = recorder
        self._end_ps = tacq_ms * 10**9
        self.fifo_full = self.dropped = self._ended = False
        self.started = self._running = True
        self.started_at_ns = round(self._clock.utc().timestamp() * 1e9)
        self._started_s = self._clock.now_s()
        self._place.start()

    def stop(self) -> None:
        """End of measurement; stored records can still be read."""
        if self._running:
            self.halt()
        self.started = False

    def reset(self) -> None:
        """As after power-on: nothing measured, no flag raised."""
        self.stop()
        self._clear((), 1)
        self.fifo_full = self.dropped = False

    def halt(self) -> None:
        """The measurement ends by itself."""
        self._running = False
        self._stopped_s = self._clock.now_s()
        self._place.stop()

    @property
    def active(self) -> bool:
        """Measuring: neither stopped nor expired nor ended by a full memory."""
        late_s = self._clock.now_s() - self._started_s - self._end_ps * 1e-12
        if self._running and late_s >= 0:
            read = self._place.read(0)
            self._judge(read)
            if self._running and (read.until_ps >= self._end_ps or late_s > LAG_S):
                self.halt()
        return self._running

    @property
    def elapsed_ms(self) -> float:
        end = self._clock.now_s() if self.active else self._stopped_s
        return min((end - self._started_s) * 1e3, self._end_ps * 1e-9)

    def watch(self) -> None:
        """Check for a full memory without reading from it."""
        if self._running and not self.fifo_full:
            self._judge(self._place.read(0))

    def _judge(self, read: TagRead) -> None:
        """Data after a gap are not valid: the measurement ends there."""
        if read.overflow or read.lost:
            if self._running:
                self.halt()
            self.fifo_full = True
            self._ended = self._ended or read.lost > 0
            self.events_lost += read.lost

    def overrun(self) -> None:
        """Injected: the memory is full now."""
        if self._running:
            self.halt()
            self.fifo_full = self._ended = True

    def lose(self, events: int, *, flagged: bool) -> None:
        """Injected: the next ``events`` clicks vanish; ``flagged``: counts-dropped is raised."""
        self._lose += events
        self.dropped = self.dropped or flagged

    def read(self, records: int) -> npt.NDArray[np.uint32]:
        """Records that are ready, about so many at most: each may need an overflow before it."""
        if self._ended or not self._inputs:
            return np.empty(0, np.uint32)
        read = self._place.read(max(records // 2 - 1 - self._sorter.held, 0))
        self._judge(read)
        until_ps = min(read.until_ps, self._end_ps)
        if read.lost:
            until_ps = min(until_ps, read.lost_from_ps)
        keep = (read.time_ps >= 0) & (read.time_ps < self._end_ps)
        time_ps, channel = self._swallow(read.time_ps[keep], read.channel[keep])
        shifts = np.array([i.shift_ps for i in self._inputs], np.int64)
        unit = int(self.resolution_ps)
        tick = (time_ps + shifts[channel]) // unit
        ready = (until_ps + int(shifts.min())) // unit
        if not self._running and len(read.time_ps) == 0:  # the rest: nothing can overtake it
            ready = (until_ps + int(shifts.max())) // unit + 1
        self._ready = max(self._ready, ready)
        return self._encode(tick, channel, self._ready)

    def _swallow(
        self, time_ps: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        gone = min(self._lose, len(time_ps))
        self._lose -= gone
        self.events_lost += gone
        return time_ps[gone:], channel[gone:]

    def _encode(
        self, tick: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8], ready: int
    ) -> npt.NDArray[np.uint32]:
        """Sort events that the shifts have put out of order, hold back those that a later event may
        precede, then filter.
        """
        tick, channel = self._sorter.sort(tick, channel, ready)
        first = int(np.searchsorted(tick, 0))  # an offset cannot reach before the start
        tick, channel = tick[first:], channel[first:]
        keep = self._survivors(tick, channel)
        if not keep.all():
            tick, channel = tick[keep], channel[keep]
        self.events_sent += len(tick)
        return self._recorder.take(tick, channel, ready)

    def _survivors(
        self, tick: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.bool_]:
        """Programmable dead times and the sync divider."""
        keep = np.ones(len(tick), np.bool_)
        for number, own in enumerate(self._inputs):
            if own.dead_time_ps:
                mine = np.flatnonzero(channel == number)
                length = -(-own.dead_time_ps // int(self.resolution_ps))
                keep[mine], self._last[number] = dead_time(tick[mine], length, self._last[number])
        if self._sync_div > 1:
            mine = np.flatnonzero((channel == len(self._inputs) - 1) & keep)
            count = self._sync_seen + np.arange(len(mine))
            keep[mine] = count % self._sync_div == 0
            self._sync_seen += len(mine)
        return keep
