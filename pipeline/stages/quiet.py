"""One station's events in protocol version 2: constant delays, noise on every click, quiet rule.

Each click's time less its detector's calibrated delay gets discrete Laplace noise once, before
sorting, slots, pairing or the clock. A click that belongs to no earlier event begins an event, and
all clicks of the next ``quiet_ps`` belong to it; they do not prolong it. Except for disclosed
events, all public values are functions of noised times alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.tags import TagBlock
from photonlink.pipeline.native.quiet import (
    DELAY_LIMIT_PS,
    MAX_GRID_BITS,
    MAX_QUIET_PS,
    MAX_SCALE_PS,
    MAX_TAILS,
    AnnouncedPairs,
    KeptEvents,
    NativeQuiet,
    QuietCounts,
    Slot,
    SlotClock,
)
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.stages.window import LETTERS, Int64s, Interval, Uint8s

_CLOCK_MARGIN = 1e-4  # share of the quiet time, for the clocks' difference in rate


class TimeRuleError(PhotonlinkError, ValueError):
    """Times, delays or limits that contradict each other."""


def noise_bound_ps(scale_ps: int, events: float, delta: float) -> int:
    """Where the noise of scale b is cut: b ln(N / delta).

    The law beyond is exp(-bound / b) of the whole, so over ``events`` clicks the cut shows with a
    probability of at most ``delta``, to be charged.
    """
    _positive(events, delta)
    return math.ceil(scale_ps * math.log(events / delta))


def quiet_length_ps(veto_ps: int, scale_ps: int, events: float, delta: float) -> int:
    """Length of the quiet rule on noised times, for ``veto_ps`` between true times.

    The smallest margin x with N P(n1 - n2 >= x) <= delta for the noise n1, n2 of two clicks: with
    probability ``delta``, to be charged, one of ``events`` events is closer to its predecessor than
    ``veto_ps``. P(n1 - n2 >= x) = c^2 p^x ((x + A) / (1 - p) + p / (1 - p)^2) with p = exp(-1/b), c
    = (1 - p) / (1 + p), A = 1 + 2 p^2 / (1 - p^2) (convolution of two discrete Laplace laws; for
    large b it is exp(-x/b) (1/2 + x/4b)).
    """
    _positive(events, delta)
    if scale_ps == 0:
        return veto_ps
    low, high = 0, scale_ps * MAX_TAILS * 16
    while low < high:
        middle = (low + high) // 2
        if math.log(events) + _log_tail(middle, scale_ps) <= math.log(delta):
            high = middle
        else:
            low = middle + 1
    return veto_ps + low


def _log_tail(margin_ps: int, scale_ps: int) -> float:
    """Natural logarithm of P(n1 - n2 >= margin)."""
    p, rest = math.exp(-1 / scale_ps), -math.expm1(-1 / scale_ps)
    more = 1 + 2 * p * p / ((1 + p) * rest)
    return (
        2 * math.log(rest / (1 + p))
        - margin_ps / scale_ps
        + math.log((margin_ps + more) / rest + p / rest**2)
    )


def _positive(events: float, delta: float) -> None:
    if not (events >= 1 and 0 < delta < 1):
        raise TimeRuleError(
            "the number of events must be 1 or more, delta between 0 and 1",
            seen=f"{events}, {delta}",
        )


@dataclass(frozen=True, slots=True)
class TimeRule:
    """The agreed treatment of times; every number is public.

    scale_ps: of the noise (0: none, and nothing is claimed then). bound_ps: where it is cut
    (:func:`noise_bound_ps`). quiet_ps: of the rule (:func:`quiet_length_ps`). window_ps: a pair
    lies within +-window_ps of noised times. grid_bits: times are announced in steps of 2^grid_bits
    ps. TimeRuleError: an event could have two candidates, or a number is out of range.
    """

    scale_ps: int
    bound_ps: int
    quiet_ps: int
    window_ps: int
    grid_bits: int

    def __post_init__(self) -> None:
        if not 0 <= self.scale_ps <= MAX_SCALE_PS:
            raise TimeRuleError(f"the noise has a scale of 0 to {MAX_SCALE_PS} ps", seen=repr(self))
        if not self.scale_ps <= self.bound_ps <= MAX_TAILS * self.scale_ps:
            raise TimeRuleError(
                f"the noise is cut between 1 and {MAX_TAILS} times its scale", seen=repr(self)
            )
        if not 0 <= self.grid_bits <= MAX_GRID_BITS or self.window_ps < 1:
            raise TimeRuleError(
                f"the grid has 0 to {MAX_GRID_BITS} bits, the window 1 ps or more", seen=repr(self)
            )
        if not self.shortest_quiet_ps <= self.quiet_ps <= MAX_QUIET_PS:
            raise TimeRuleError(
                f"the quiet time must be {self.shortest_quiet_ps} ps or more, so that no event has "
                f"two candidates, and {MAX_QUIET_PS} ps or less",
                seen=repr(self),
            )

    @property
    def shortest_quiet_ps(self) -> int:
        """Twice the window, one step of the grid, and the clocks' divergence meanwhile."""
        apart = (2 * self.window_ps + (1 << self.grid_bits)) * (1 + _CLOCK_MARGIN)
        return math.ceil(apart) + 1

    def slot(self, start_ps: int, end_ps: int) -> Slot:
        return Slot(start_ps, end_ps, self.quiet_ps, self.grid_bits)


class QuietBuffer:
    """The events of one station over a sliding stretch of its noised time.

    delay_ps: by detector letter, from the calibration; constant, at most +-10 us. seed: secret,
    from the node's randomness, for this run only; noise and the random bits of multi-click events
    come from it. At most ``max_events`` are kept; what does not fit is lost, as an explicit
    interval. Bits leave only through :meth:`take_bits` (hidden) and :meth:`disclose` (then spent):
    no event gives its bit twice.
    """

    def __init__(
        self,
        detectors: DetectorMap,
        rule: TimeRule,
        *,
        delay_ps: Mapping[str, int],
        seed: bytes,
        max_events: int = 1 << 23,
    ) -> None:
        if sorted(delay_ps) != sorted(LETTERS):
            raise TimeRuleError("a delay is needed for each of H, V, D and A", seen=str(delay_ps))
        if any(abs(delay) > DELAY_LIMIT_PS for delay in delay_ps.values()):
            raise TimeRuleError(f"delays lie within +-{DELAY_LIMIT_PS} ps", seen=str(delay_ps))
        numbers = np.full(256, 255, np.uint8)
        for number, letter in enumerate(LETTERS):
            numbers[detectors.channels[letter]] = number
        self.rule, self._max_events = rule, max_events
        self._native = NativeQuiet(
            numbers,
            delay_ps=(delay_ps["H"], delay_ps["V"], delay_ps["D"], delay_ps["A"]),
            scale_ps=rule.scale_ps,
            bound_ps=rule.bound_ps,
            quiet_ps=rule.quiet_ps,
            seed=seed,
            max_events=max_events,
        )
        self._end_ps: int | None = None  # end of the last block

    # ---- input ----

    def add(self, block: TagBlock) -> None:
        """Take over a block's clicks and wipe the block. Blocks come in the order of time.

        Lost intervals, and gaps between two blocks, invalidate the events that they overlap.
        """
        before = block.start_ps - 1 if self._end_ps is None else self._end_ps
        if before < block.start_ps:
            self._native.lose(before, block.start_ps)
        for lost in block.lost:
            self._native.lose(lost.start_ps, max(lost.end_ps, lost.start_ps))
        self._native.add(block.time_ps, block.channel, block.end_ps)
        self._end_ps = block.end_ps
        if block.time_ps.flags.writeable:
            block.wipe()

    # ---- public: functions of noised times ----

    @property
    def horizon_ps(self) -> int:
        """Events are complete before this noised time; very negative before the first block."""
        return self._native.horizon_ps

    @property
    def filled(self) -> float:
        """Share of the room for events that is taken: at 1 they are lost, as an interval."""
        return self._native.kept / self._max_events

    def lost(self, start_ps: int, end_ps: int) -> tuple[Interval, ...]:
        """Where no event was kept, in noised time, as far as it overlaps the interval."""
        return self._native.lost(start_ps, end_ps)

    def announce(self, start_ps: int, end_ps: int) -> bytes:
        """The noised times of [start_ps, end_ps), coded. NativeStateError beyond the horizon."""
        return self._native.announce(self.rule.slot(start_ps, end_ps))

    def indices(self, start_ps: int, end_ps: int) -> tuple[int, int]:
        """First index and number of the kept events of [start_ps, end_ps). Event k of an
        announcement has index first + k."""
        first = self._native.find(start_ps)
        return first, max(0, self._native.find(end_ps) - first)

    def times_ps(self, first: int, n: int) -> Int64s:
        """Noised times of events ``first`` to ``first + n - 1``: int64 (n,)."""
        return self._native.times(first, n)

    def pairs(
        self, data: bytes, slot: Slot, clock: SlotClock, *, track_ps: int, bin_bits: int = 8
    ) -> AnnouncedPairs:
        """Pairs of an announcement with own events, within the window of the rule.

        clock: from earlier slots only (stages/clock/follower.py). track_ps: how far residuals are
        counted for the clock, in bins of 2^bin_bits ps. NativeDataError for data that no honest
        station announces.
        """
        window = self.rule.window_ps
        track = max(track_ps, window)
        return self._native.pairs(
            data, slot, clock, window_ps=window, track_ps=track, bin_bits=bin_bits
        )

    # ---- after a block is closed ----

    def bases(self, index: Int64s) -> Uint8s:
        """0 = HV, 1 = DA, of events by strictly increasing index: a closed block's pairs only."""
        return self._native.bases(index)

    def disclose(self, index: Int64s) -> Uint8s:
        """Detector numbers 0..3 of events by strictly increasing index: pairs in different bases.
        They are spent. NativeStateError, and nothing is disclosed, when one was spent before."""
        return self._native.disclose(index)

    def take_bits(self, index: Int64s) -> SecretBits:
        """Sifted bits by strictly increasing index, most significant bit first; spent.
        NativeStateError when one was spent before: then nothing is taken."""
        return self._native.take_bits(index)

    def keep(self, index: Int64s, offset_ps: Int64s | None, step_ps: int) -> KeptEvents:
        """What pairs take along, by strictly increasing index: the events are spent. offset_ps:
        own times less the announced ones, which are told in steps of ``step_ps`` if at all; None:
        they were announced as they are."""
        return self._native.keep(index, offset_ps, step_ps)

    # ---- private ----
    def followed_of(self, first: int, n: int) -> int:
        """As :meth:`followed`, of events ``first`` to ``first + n - 1``."""
        return self._native.followed_of(first, n)

    def followed(self, index: Int64s) -> int:
        """How many of these events had any further click within the quiet time: compared with the
        agreed share f. Only the verdict may leave the station.
        """
        return self._native.followed(index)

    def marks(self, index: Int64s) -> Uint8s:
        """Of each event: bit 0 as :meth:`followed`; bit 1 when it began within the quiet time after
        a click of the event before, whether that one was paired or not, so that a detector may have
        been dead. Both are charged, since an attacker's light may follow events that never pair."""
        return self._native.marks(index)

    @property
    def counts(self) -> QuietCounts:
        """Private, but for ``events``."""
        return self._native.counts()

    def discard_before(self, time_ps: int) -> None:
        """Wipe the events before this noised time and forget their lost intervals."""
        self._native.discard_before(time_ps)

    def close(self) -> None:
        self._native.close()
