"""The bench's part of a time tagger: front end in C, its own clock, a bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.config import LETTERS, ClockTable, Tagger
from photonlink.firmware_sim.physics.clock import EmulatedClock, Segment
from photonlink.firmware_sim.physics.engine import (
    NOT_CONNECTED,
    Engine,
    TaggerParams,
    component_seed,
)
from photonlink.firmware_sim.places import TagRead

RATE_METER_PS = 100_000_000_000
_PPM, _PPB = 1e-6, 1e-9


@dataclass(slots=True)
class _Lost:
    start_ps: int
    end_ps: int
    count: int


@dataclass(slots=True)
class _Chunk:
    time_ps: npt.NDArray[np.int64]
    channel: npt.NDArray[np.uint8]


class TagMemory:
    """FIFO of tags, bounded in events. Events that do not fit are lost, and the interval is
    kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.overflow = False
        self.until_ps = 0
        self.lost_total = 0
        self._items: deque[_Chunk | _Lost] = deque()
        self._stored = 0

    def __len__(self) -> int:
        return self._stored

    def put(
        self, time_ps: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8], until_ps: int
    ) -> None:
        """Store what fits; ``until_ps``: the stream is complete up to here."""
        fits = min(len(time_ps), max(self.capacity - self._stored, 0))
        if fits:
            self._items.append(_Chunk(time_ps[:fits], channel[:fits]))
            self._stored += fits
        if fits < len(time_ps):
            self.lose(int(time_ps[fits]), int(time_ps[-1]) + 1, len(time_ps) - fits)
        self.until_ps = max(self.until_ps, until_ps)

    def lose(self, start_ps: int, end_ps: int, count: int) -> None:
        """Record that ``count`` events of [start, end) are missing."""
        self.overflow = True
        self.lost_total += count
        last = self._items[-1] if self._items else None
        if isinstance(last, _Lost):
            last.end_ps = max(last.end_ps, end_ps)
            last.count += count
        else:
            self._items.append(_Lost(start_ps, end_ps, count))
        self.until_ps = max(self.until_ps, end_ps)

    def take(self, limit: int | None) -> TagRead:
        """Up to ``limit`` events, ending after the first loss."""
        room = self._stored if limit is None else max(limit, 0)
        times, channels = [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
        lost: _Lost | None = None
        while self._items:
            item = self._items[0]
            if isinstance(item, _Lost):
                lost = item
                self._items.popleft()
                break
            n = min(room, len(item.time_ps))
            if n == 0:
                break
            times.append(item.time_ps[:n])
            channels.append(item.channel[:n])
            room -= n
            self._stored -= n
            if n < len(item.time_ps):
                self._items[0] = _Chunk(item.time_ps[n:], item.channel[n:])
                break
            self._items.popleft()
        until = self._next_ps()
        return TagRead(
            np.concatenate(times),
            np.concatenate(channels),
            until,
            lost.count if lost else 0,
            lost.start_ps if lost else until,
            lost.end_ps if lost else until,
            self.overflow,
        )

    def _next_ps(self) -> int:
        if not self._items:
            return self.until_ps
        first = self._items[0]
        return first.start_ps if isinstance(first, _Lost) else int(first.time_ps[0])


class TaggerUnit:
    """The port a tagger device is plugged into (``places.TaggerPlace``), driven by the bench."""

    def __init__(
        self, side: int, name: str, engine: Engine, seed: int, now_ps: Callable[[], int]
    ) -> None:
        self._side, self._name, self._engine, self._now_ps = side, name, engine, now_ps
        self._clock = EmulatedClock(component_seed(seed, f"{name}.clock"))
        self._start_rng = np.random.default_rng(component_seed(seed, f"{name}.start"))
        self._config, self._clock_config = Tagger(), ClockTable()
        self._inputs, self._resolution_ps = 4, 1.0
        self._dead_ps, self._jitter_ps, self._fifo_tags = 0.0, 0.0, 1 << 20
        self._enabled: set[int] = set(range(self._inputs))
        self._memory = TagMemory(self._fifo_tags)
        self._running = False
        self._start_ps: int | None = None  # commanded, its slice has not come yet
        self._offset_ps = 0
        self._zero_ps: int | None = None  # own clock at the acquisition's zero
        self._meter: deque[tuple[int, list[int]]] = deque()

    # ---- the device's side ------------------------------------------------------------------

    @property
    def resolution_ps(self) -> float:
        return self._config.resolution_ps or self._resolution_ps

    @property
    def inputs(self) -> int:
        return self._inputs

    @property
    def running(self) -> bool:
        return self._running

    def configure(
        self,
        *,
        inputs: int,
        resolution_ps: float,
        dead_time_ps: float = 0.0,
        fifo_tags: int = 1 << 20,
        jitter_ps: float = 0.0,
    ) -> None:
        """See ``places.TaggerPlace``. ValueError for a cable into an input that is not there."""
        for letter, number in self._config.inputs.items():
            if number >= inputs:
                raise ValueError(
                    f"{self._name}: detector {letter} is cabled to input {number}, "
                    f"the tagger has {inputs}"
                )
        self._inputs, self._resolution_ps = inputs, resolution_ps
        self._dead_ps, self._jitter_ps, self._fifo_tags = dead_time_ps, jitter_ps, fifo_tags
        self._enabled = set(range(inputs))
        self._apply()

    def set_enabled(self, channel: int, enabled: bool) -> None:
        """See ``places.TaggerPlace``. ValueError outside the inputs."""
        if not 0 <= channel < self._inputs:
            raise ValueError(f"{self._name}: no input {channel}, it has {self._inputs}")
        (self._enabled.add if enabled else self._enabled.discard)(channel)
        self._apply()

    def start(self) -> None:
        """See ``places.TaggerPlace``."""
        c = self._clock_config
        offset_s = c.start_offset_s + c.start_jitter_s * self._start_rng.uniform(-1.0, 1.0)
        self._offset_ps = round(offset_s * 1e12)
        self._start_ps, self._zero_ps = self._now_ps(), None
        self._memory = TagMemory(self._config.fifo_tags or self._fifo_tags)
        self._running = True
        self._engine.restart_tagger(self._side)
        self._apply()

    def stop(self) -> None:
        """See ``places.TaggerPlace``; the recording ends with the last finished slice."""
        self._running = False

    def read(self, max_tags: int | None = None) -> TagRead:
        """See ``places.TaggerPlace``."""
        return self._memory.take(max_tags)

    def rates_hz(self) -> tuple[float, ...]:
        """See ``places.TaggerPlace``."""
        rates = [0.0] * self._inputs
        span = sum(span for span, _ in self._meter)
        if span:
            for i, letter in enumerate(LETTERS):
                number = self._config.inputs.get(letter)
                if number is not None and number in self._enabled:
                    rates[number] = sum(n[i] for _, n in self._meter) / (span * 1e-12)
        return tuple(rates)

    # ---- the bench's side -------------------------------------------------------------------

    def set_config(self, tagger: Tagger, clock: ClockTable) -> None:
        """Cables, overrides and clock figures from the next slice on."""
        self._config, self._clock_config = tagger, clock
        self._memory.capacity = tagger.fifo_tags or self._fifo_tags
        self._apply()

    def _apply(self) -> None:
        c = self._config
        inputs = [c.inputs.get(letter, NOT_CONNECTED) for letter in LETTERS]
        h, v, d, a = (n if n in self._enabled else NOT_CONNECTED for n in inputs)
        self._engine.set_tagger(
            self._side,
            TaggerParams(
                self.resolution_ps,
                self._dead_ps if c.dead_time_ps is None else c.dead_time_ps,
                self._jitter_ps if c.jitter_ps is None else c.jitter_ps,
                self._begin_ps,
                (h, v, d, a),
            ),
        )

    @property
    def _begin_ps(self) -> int:
        return self._start_ps if self._start_ps is not None else 0

    def step(self, start_ps: int, end_ps: int, clicks: list[int] | None, jump_ps: int) -> None:
        """Record the engine's last clicks, of bench time [start, end); None: they were dropped."""
        c = self._clock_config
        segment = self._clock.step(
            start_ps,
            end_ps,
            frequency=c.frequency_ppm * _PPM,
            drift_per_s=c.drift_ppb_per_s * _PPB,
            white_fm=c.white_fm,
            random_walk_fm=c.random_walk_fm,
            jump_ps=jump_ps,
        )
        if self._running and self._start_ps is not None and self._start_ps < end_ps:
            if self._zero_ps is None:
                self._zero_ps = self._own(segment, self._start_ps) + self._offset_ps
            self._record(segment, self._zero_ps, clicks is None)
        self._measure(end_ps - start_ps, clicks or [0, 0, 0, 0])

    @staticmethod
    def _own(segment: Segment, at_ps: int) -> int:
        since = at_ps - segment.origin_ps
        return segment.own_ps + since + round(since * segment.rate)

    def _record(self, segment: Segment, zero_ps: int, dropped: bool) -> None:
        time_ps, channel, until = self._engine.tag(self._side, segment, zero_ps)
        if dropped:
            begin = min(self._memory.until_ps, until)
            count = round(sum(self.rates_hz()) * (until - begin) * 1e-12)
            self._memory.lose(begin, until, count)
            return
        gone = min(self._config.drop_tags, len(time_ps))
        if gone:
            self._config.drop_tags -= gone
        self._memory.put(time_ps[gone:], channel[gone:], until)

    def _measure(self, span_ps: int, clicks: list[int]) -> None:
        self._meter.append((span_ps, clicks))
        while len(self._meter) > 1 and sum(s for s, _ in self._meter) > RATE_METER_PS:
            self._meter.popleft()

    def status(self) -> dict[str, object]:
        """JSON-able."""
        return {
            "running": self._running,
            "stored_tags": len(self._memory),
            "lost_tags": self._memory.lost_total,
            "overflow": self._memory.overflow,
            "rates_hz": [round(r, 1) for r in self.rates_hz()],
            "own_clock_s": self._clock.now_ps() * 1e-12,
        }
