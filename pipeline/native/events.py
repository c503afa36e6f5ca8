"""Handle on the C store of local detection events (pipeline/core/events.c)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from photonlink.pipeline._core import ffi, lib
from photonlink.pipeline.native.base import Handle, NativeArgumentError, Uncopied, borrow, check
from photonlink.pipeline.native.secret import SecretBits

if TYPE_CHECKING:
    from photonlink.pipeline._core import CData

Int64s = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]
DELAY_LIMIT_PS: int = lib.PL_EVENTS_DELAY_LIMIT_PS
_CHUNK = 32768  # tags per call: far fewer than the C store holds


def _draw(randomness: Callable[[int], bytes], n: int) -> bytes:
    data = randomness(n)
    if len(data) != n:  # C reads n bytes
        raise NativeArgumentError(lib.PL_E_ARGUMENT)
    return data


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Running totals since the start."""

    clicks: tuple[int, ...]  # per detector H V D A
    events: int  # after merging
    multi_same: int  # events of several detectors of one basis
    multi_cross: int  # events of detectors of both bases
    ignored: int  # clicks on channels that are no detector
    late: int  # clicks before the horizon: dropped
    overflow: int  # events or clicks lost because the store was full


class NativeEvents(Uncopied):
    """Events of one side. Detectors are numbered H, V, D, A = 0..3; bit = number & 1."""

    def __init__(self, channel_map: Uint8s, window_ps: int, max_events: int) -> None:
        if not 0 <= window_ps <= DELAY_LIMIT_PS or max_events < 1 << 16 or len(channel_map) != 256:
            raise NativeArgumentError(lib.PL_E_ARGUMENT)
        self.spread_ps = 0  # width over which every time is spread evenly
        slot = ffi.new("pl_events **")
        check(lib.pl_events_new(slot, borrow(channel_map, np.uint8), window_ps, max_events))
        self._handle = Handle(slot[0], lib.pl_events_free)

    def set_delays(self, delay_ps: Int64s) -> None:
        """int64 (4,), within +-DELAY_LIMIT_PS."""
        if len(delay_ps) != 4:
            raise NativeArgumentError(lib.PL_E_ARGUMENT)
        self._handle.call(lib.pl_events_set_delays, borrow(delay_ps, np.int64))

    def add(
        self, time_ps: Int64s, channel: Uint8s, end_ps: int, randomness: Callable[[int], bytes]
    ) -> int | None:
        """Take the tags; ``randomness(n)`` gives one byte per multi-click event and, when times
        are spread (``spread_ps``), before that one per tag.

        Returns the time from which events were lost because the store was full, else None.
        """
        if len(time_ps) != len(channel):
            raise NativeArgumentError(lib.PL_E_ARGUMENT)
        lost_from: int | None = None
        for at in range(0, max(len(time_ps), 1), _CHUNK):
            to = min(at + _CHUNK, len(time_ps))
            through = end_ps if to == len(time_ps) else int(time_ps[to - 1])
            lost = self._add_chunk(time_ps[at:to], channel[at:to], through, randomness)
            lost_from = lost if lost_from is None else lost_from
        return lost_from

    def _add_chunk(
        self, time_ps: Int64s, channel: Uint8s, through: int, randomness: Callable[[int], bytes]
    ) -> int | None:
        call = self._handle.call
        lost: int | None = None
        times, channels = borrow(time_ps, np.int64), borrow(channel, np.uint8)
        n = len(time_ps)
        spread = self.spread_ps
        where = _draw(randomness, n) if spread and n else ffi.NULL
        try:
            call(lib.pl_events_add, times, channels, n, through, spread, where)
        except NativeArgumentError as error:
            if error.status != lib.PL_E_CAPACITY:
                raise
            # more clicks within the window than the store holds: all of them are lost
            lost = self.horizon_ps
            call(lib.pl_events_drop_pending)
            call(lib.pl_events_add, times, channels, n, through, spread, where)
        n = call(lib.pl_events_multi_pending)
        call(lib.pl_events_emit, _draw(randomness, n) if n else b"", n)
        full_from = int(self._raw_counts().overflow_from_ps)
        if full_from != np.iinfo(np.int64).max and lost is None:
            lost = full_from
        return lost

    @property
    def horizon_ps(self) -> int:
        return int(lib.pl_events_horizon(self._handle.pointer))

    @property
    def first_index(self) -> int:
        return int(lib.pl_events_first(self._handle.pointer))

    def _raw_counts(self) -> CData:
        out = ffi.new("pl_events_counts *")
        self._handle.call(lib.pl_events_get_counts, out)
        return out

    def counts(self) -> EventCounts:
        raw = self._raw_counts()
        return EventCounts(
            clicks=tuple(raw.clicks),
            events=raw.events,
            multi_same=raw.multi_same,
            multi_cross=raw.multi_cross,
            ignored=raw.ignored,
            late=raw.late,
            overflow=raw.overflow,
        )

    def find(self, time_ps: int) -> int:
        """Index of the first kept event at or after ``time_ps``."""
        return int(lib.pl_events_find(self._handle.pointer, time_ps))

    def read(self, first: int, n: int) -> tuple[Int64s, Uint8s, int]:
        """Times, bases and the number of multi-click events among them."""
        time_ps, basis = np.empty(n, np.int64), np.empty(n, np.uint8)
        multi = self._handle.call(
            lib.pl_events_read, first, n, borrow(time_ps, np.int64), borrow(basis, np.uint8)
        )
        return time_ps, basis, multi

    def label(self, first: int, n: int) -> Uint8s:
        """Detector numbers; the events are spent. NativeStateError when one was already."""
        detector = np.empty(n, np.uint8)
        self._handle.call(lib.pl_events_label, first, n, borrow(detector, np.uint8))
        return detector

    def discard_before(self, time_ps: int) -> None:
        self._handle.call(lib.pl_events_discard_before, time_ps)

    def take_bits(self, index: Int64s) -> SecretBits:
        """The bits of these events, strictly increasing indices, none spent before."""
        bits = SecretBits(len(index))
        self._handle.call(lib.pl_events_take_bits, borrow(index, np.int64), len(index), bits.handle)
        return bits

    def close(self) -> None:
        self._handle.close()
