"""Events by the quiet rule on noised times (pipeline/core/{noise,quiet,announce}.c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from photonlink.pipeline._core import ffi, lib
from photonlink.pipeline.native.base import (
    Handle,
    NativeArgumentError,
    NativeDataError,
    Uncopied,
    borrow,
    check,
)
from photonlink.pipeline.native.secret import SecretBits, held

if TYPE_CHECKING:
    from photonlink.pipeline._core import CData

Int64s = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]
Int8s = npt.NDArray[np.int8]
Uint32s = npt.NDArray[np.uint32]
SEED_BYTES: int = lib.PL_NOISE_SEED_BYTES
MAX_SCALE_PS: int = lib.PL_NOISE_MAX_SCALE_PS
MAX_TAILS: int = lib.PL_NOISE_MAX_TAILS  # the noise is cut at this many scales at most
DELAY_LIMIT_PS: int = lib.PL_QUIET_DELAY_LIMIT_PS
MAX_QUIET_PS: int = lib.PL_QUIET_MAX_PS
MAX_GRID_BITS: int = lib.PL_ANNOUNCE_MAX_GRID_BITS
HEAD_BYTES: int = lib.PL_ANNOUNCE_HEAD_BYTES
COUNTED: int = lib.PL_ANNOUNCE_COUNTED
EVENT_BYTES: int = lib.PL_ANNOUNCE_MAX_EVENT_BYTES
MOST_STEPS: int = lib.PL_QUIET_MOST_STEPS
_LOST = 1024
_NEVER_PS = 1 << 62


def _seed(seed: bytes) -> bytes:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"the seed has {len(seed)} bytes, {SEED_BYTES} are needed")
    return seed


class Noise(Uncopied):
    """A stream of discrete Laplace noise, P(n) ~ exp(-|n| / scale_ps), in whole ps.

    seed: SEED_BYTES secret random bytes. The law is cut to ``-bound_ps <= n < bound_ps`` and
    scaled up: pass the bound wanted, read the one in force. scale_ps 0: no noise.
    NativeArgumentError for a scale beyond MAX_SCALE_PS or a bound outside 1 to MAX_TAILS scales.
    """

    def __init__(self, seed: bytes, *, scale_ps: int, bound_ps: int, stream: int = 0) -> None:
        slot = ffi.new("pl_noise **")
        check(lib.pl_noise_new(slot, _seed(seed), stream, scale_ps, bound_ps))
        self._handle = Handle(slot[0], lib.pl_noise_free)

    @property
    def bound_ps(self) -> int:
        return self._handle.call(lib.pl_noise_bound)

    def add(self, time_ps: Int64s) -> None:
        """Add one draw to each time, in place: int64 (n,)."""
        times = borrow(time_ps, np.int64, writable=True)
        self._handle.call(lib.pl_noise_add, times, len(time_ps))

    def words(self, n: int) -> Uint32s:
        """The next n words of ChaCha20, as eight blocks beside each other; for tests."""
        out = np.empty(n, np.uint32)
        self._handle.call(lib.pl_noise_words, borrow(out, np.uint32, writable=True), n)
        return out

    def close(self) -> None:
        self._handle.close()


@dataclass(frozen=True, slots=True)
class QuietCounts:
    """Running totals. All but ``events`` are private: they depend on detectors."""

    clicks: tuple[int, int, int, int]  # per detector H V D A
    events: int
    followed: int  # events with any further click within the quiet time
    shadowed: int  # events within the quiet time after a click of the event before
    multi_same: int  # events of several detectors of one basis
    multi_cross: int  # events of detectors of both bases
    ignored: int  # clicks on channels that are no detector
    late: int  # clicks before the completed time, or without a usable time
    unsettled: int  # clicks beside a loss, which begin no event
    overflow: int  # events lost because the store was full


@dataclass(frozen=True, slots=True)
class Slot:
    """An interval of the announcing station's noised time, [start_ps, end_ps), and the agreed rule:
    two events are ``quiet_ps`` apart or more, times are announced in steps of 2^grid_bits ps.
    """

    start_ps: int
    end_ps: int
    quiet_ps: int
    grid_bits: int

    def native(self) -> CData:
        return ffi.new("pl_slot *", (self.start_ps, self.end_ps, self.quiet_ps, self.grid_bits))


@dataclass(frozen=True, slots=True)
class SlotClock:
    """own = t - offset_ps - rate * (t - start of the slot), t in the announcing clock."""

    offset_ps: int
    rate: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class AnnouncedPairs:
    """own_index: int64 (n,) event indices here. announced_index: int64 (n,) positions in the
    announcement of ``announced`` events. residual_ps: int64 (n,) announced minus own.
    histogram: uint32 residuals within +-track_ps in bins of 2^bin_bits ps, from -track_ps on, of
    the first COUNTED announced events."""

    own_index: Int64s
    announced_index: Int64s
    residual_ps: Int64s
    announced: int
    histogram: Uint32s


@dataclass(frozen=True, slots=True, eq=False)
class KeptEvents:
    """Events that a pair takes along: their hidden bits, bases (0 HV, 1 DA), times against the
    announced ones in steps (int8, at most +-MOST_STEPS), marks as ``NativeQuiet.marks``."""

    bits: SecretBits
    basis: Uint8s
    steps: Int8s
    marks: Uint8s


class NativeQuiet(Uncopied):
    """Clicks in, events out; see stages/quiet.py, which is what the protocol uses."""

    def __init__(
        self,
        channel_map: Uint8s,
        *,
        delay_ps: tuple[int, int, int, int],
        scale_ps: int,
        bound_ps: int,
        quiet_ps: int,
        seed: bytes,
        max_events: int,
    ) -> None:
        if len(channel_map) != 256:
            raise NativeArgumentError(lib.PL_E_ARGUMENT)
        slot = ffi.new("pl_quiet **")
        rule = ffi.new("pl_quiet_rule *", (list(delay_ps), scale_ps, bound_ps, quiet_ps))
        check(lib.pl_quiet_new(slot, borrow(channel_map, np.uint8), rule, _seed(seed), max_events))
        self._handle = Handle(slot[0], lib.pl_quiet_free)

    def add(self, time_ps: Int64s, channel: Uint8s, through_ps: int) -> None:
        """Clicks in the order of time, all up to (not including) ``through_ps``."""
        if len(time_ps) != len(channel):
            raise NativeArgumentError(lib.PL_E_ARGUMENT)
        times, channels = borrow(time_ps, np.int64), borrow(channel, np.uint8)
        self._handle.call(lib.pl_quiet_add, times, channels, len(time_ps), through_ps)

    def lose(self, start_ps: int, end_ps: int) -> None:
        """Clicks may be missing from this interval; call it before adding later clicks."""
        self._handle.call(lib.pl_quiet_lose, start_ps, end_ps)

    @property
    def horizon_ps(self) -> int:
        return int(lib.pl_quiet_horizon(self._handle.pointer))

    @property
    def first_index(self) -> int:
        return int(lib.pl_quiet_first(self._handle.pointer))

    @property
    def kept(self) -> int:
        """Events between the first and the last one."""
        return self.find(_NEVER_PS) - self.first_index

    def find(self, time_ps: int) -> int:
        """Index of the first kept event at or after this noised time."""
        return int(lib.pl_quiet_find(self._handle.pointer, time_ps))

    def counts(self) -> QuietCounts:
        raw = ffi.new("pl_quiet_counts *")
        self._handle.call(lib.pl_quiet_get_counts, raw)
        h, v, d, a = raw.clicks
        return QuietCounts(
            (h, v, d, a),
            raw.events,
            raw.followed,
            raw.shadowed,
            raw.multi_same,
            raw.multi_cross,
            raw.ignored,
            raw.late,
            raw.unsettled,
            raw.overflow,
        )

    def lost(self, start_ps: int, end_ps: int) -> tuple[tuple[int, int], ...]:
        """Lost intervals that overlap [start_ps, end_ps): no event was kept in them."""
        out = ffi.new("pl_quiet_lost[]", _LOST)
        n = self._handle.call(lib.pl_quiet_get_lost, start_ps, end_ps, out, _LOST)
        return tuple((out[k].start_ps, out[k].end_ps) for k in range(min(n, _LOST)))

    def times(self, first: int, n: int) -> Int64s:
        out = np.empty(max(n, 0), np.int64)
        self._handle.call(lib.pl_quiet_times, first, n, borrow(out, np.int64, writable=True))
        return out

    def bases(self, index: Int64s) -> Uint8s:
        """0 HV, 1 DA, of events by strictly increasing index."""
        out = np.empty(len(index), np.uint8)
        target = borrow(out, np.uint8, writable=True)
        self._handle.call(lib.pl_quiet_bases, borrow(index, np.int64), len(index), target)
        return out

    def followed(self, index: Int64s) -> int:
        """How many of these had a further click within the quiet time. Private."""
        return self._handle.call(lib.pl_quiet_followed, borrow(index, np.int64), len(index))

    def marks(self, index: Int64s) -> Uint8s:
        """Bit 0: a further click within the quiet time. Bit 1: a click of the event before within
        the quiet time before it. By strictly increasing index. Private."""
        out = np.empty(len(index), np.uint8)
        target = borrow(out, np.uint8, writable=True)
        self._handle.call(lib.pl_quiet_marks, borrow(index, np.int64), len(index), target)
        return out

    def disclose(self, index: Int64s) -> Uint8s:
        """Detectors 0..3 = H V D A; the events are spent. NativeStateError: one was before."""
        out = np.empty(len(index), np.uint8)
        target = borrow(out, np.uint8, writable=True)
        self._handle.call(lib.pl_quiet_disclose, borrow(index, np.int64), len(index), target)
        return out

    def take_bits(self, index: Int64s) -> SecretBits:
        """Bits of these events (strictly increasing), which are spent. NativeStateError: one was
        spent before; then nothing is taken."""
        out = SecretBits(len(index))
        with held(self._handle, out._handle):
            check(
                lib.pl_quiet_take_bits(
                    self._handle.pointer, borrow(index, np.int64), len(index), out.handle
                )
            )
        return out

    def followed_of(self, first: int, n: int) -> int:
        """How many of events ``first`` to ``first + n - 1`` had a further click. Private."""
        return self._handle.call(lib.pl_quiet_followed_of, first, n)

    def keep(self, index: Int64s, offset_ps: Int64s | None, step_ps: int) -> KeptEvents:
        """Of events by strictly increasing index, which are spent; see :class:`KeptEvents`.
        NativeStateError: one was spent before; then nothing is taken."""
        n = len(index)
        basis, steps, marks = np.empty(n, np.uint8), np.empty(n, np.int8), np.empty(n, np.uint8)
        fields = (
            borrow(basis, np.uint8, writable=True),
            borrow(steps, np.int8, writable=True),
            borrow(marks, np.uint8, writable=True),
        )
        raw = ffi.new("pl_kept *", fields)
        if offset_ps is not None and len(offset_ps) != n:
            raise NativeArgumentError(lib.PL_E_ARGUMENT)
        offsets = ffi.NULL if offset_ps is None else borrow(offset_ps, np.int64)
        out = SecretBits(n)
        with held(self._handle, out._handle):
            check(
                lib.pl_quiet_keep(
                    self._handle.pointer, borrow(index, np.int64), offsets, n, step_ps, raw,
                    out.handle,
                )
            )  # fmt: skip
        return KeptEvents(out, basis, steps, marks)

    def discard_before(self, time_ps: int) -> None:
        self._handle.call(lib.pl_quiet_discard_before, time_ps)

    def announce(self, slot: Slot) -> bytes:
        """Noised times of the slot's events, coded. NativeStateError: the slot is not complete."""
        n = self.find(slot.end_ps) - self.find(slot.start_ps)
        out = np.empty(HEAD_BYTES + EVENT_BYTES * max(n, 0), np.uint8)
        target = borrow(out, np.uint8, writable=True)
        size = self._handle.call(lib.pl_quiet_announce, slot.native(), target, len(out))
        return out[:size].tobytes()

    def pairs(
        self,
        data: bytes,
        slot: Slot,
        clock: SlotClock,
        *,
        window_ps: int,
        track_ps: int,
        bin_bits: int,
    ) -> AnnouncedPairs:
        """Pairs within +-window_ps of own events, and the residuals within +-track_ps.

        NativeDataError: no announcement of this slot. NativeArgumentError: an event could have two
        candidates.
        """
        if not 0 <= window_ps <= track_ps or not 0 <= bin_bits < 31:
            raise NativeArgumentError(lib.PL_E_ARGUMENT)
        announced = announced_events(data, slot)
        own, theirs, residual = (np.empty(announced, np.int64) for _ in range(3))
        histogram = np.zeros((2 * track_ps >> bin_bits) + 1, np.uint32)
        n = self._handle.call(
            lib.pl_quiet_pairs,
            data,
            len(data),
            slot.native(),
            ffi.new("pl_slot_clock *", (clock.offset_ps, clock.rate)),
            window_ps,
            track_ps,
            borrow(own, np.int64, writable=True),
            borrow(theirs, np.int64, writable=True),
            borrow(residual, np.int64, writable=True),
            announced,
            borrow(histogram, np.uint32, writable=True),
            bin_bits,
        )
        return AnnouncedPairs(own[:n], theirs[:n], residual[:n], announced, histogram)

    def close(self) -> None:
        self._handle.close()


def announced_events(data: bytes, slot: Slot) -> int:
    """How many events an announcement holds; NativeDataError when that many do not fit in it."""
    return check(lib.pl_announced_events(data, len(data), slot.native()))


def announced_times(data: bytes, slot: Slot) -> Int64s:
    """Their times, each the middle of its step, in the announcing clock. ``data`` may be hostile:
    NativeDataError for anything that an honest station would not write."""
    out = np.empty(announced_events(data, slot), np.int64)
    target = borrow(out, np.int64, writable=True)
    n = check(lib.pl_announced_times(data, len(data), slot.native(), target, len(out)))
    if n != len(out):
        raise NativeDataError(lib.PL_E_DATA)
    return out
