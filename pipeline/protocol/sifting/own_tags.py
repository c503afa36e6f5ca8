"""A node's own tags, kept over any number of connections; nothing here comes from the peer.

Sifting reads public times and consumes events; delays, noise and the quiet rule are fixed from the
start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from photonlink.hal.tags import Provenance, TagBlock
from photonlink.pipeline.native.quiet import SEED_BYTES, QuietCounts
from photonlink.pipeline.protocol.setup import SessionSetup
from photonlink.pipeline.protocol.sifting.peer_taggers import AcquisitionOrigin
from photonlink.pipeline.stages.agreed_times import agreed_times
from photonlink.pipeline.stages.events import EventBufferError
from photonlink.pipeline.stages.quiet import QuietBuffer
from photonlink.pipeline.stages.window import LETTERS

IDLE_KEEP_PS = 5 * 10**12  # seconds of own tags kept while no session runs
_RATE_SPAN_PS = 2 * 10**12  # averaging time of the rates, s


class OwnTags:
    """``started`` None: no acquisition runs. ``ended``: no more tags will come."""

    def __init__(self, setup: SessionSetup, randomness: Callable[[int], bytes]) -> None:
        self._setup, self._randomness = setup, randomness
        self.times = agreed_times(setup.parameters, setup.bench)
        self.started: AcquisitionOrigin | None = None
        self.first_ps: int | None = None
        self.ended = False
        self.provenance = Provenance.REAL
        self._buffer: QuietBuffer | None = None
        self._forgotten_ps = -(1 << 61)
        self._history: deque[tuple[int, QuietCounts]] = deque()  # since the last session

    def start(self, started: AcquisitionOrigin) -> None:
        """The tagger's time zero has changed: drop everything recorded before."""
        self.close()
        setup = self._setup
        self._buffer = QuietBuffer(
            setup.detector_map,
            self.times.rule,
            delay_ps=setup.bench.delays_ps(str(setup.role)),
            seed=self._randomness(SEED_BYTES),
        )
        self.started, self.first_ps, self.ended = started, None, False
        self._forgotten_ps = -(1 << 61)
        self._history.clear()

    def add(self, block: TagBlock, *, idle: bool) -> None:
        """Take a block of own tags and wipe it. ``idle``: no session runs that could use it."""
        if self.started is None:
            raise ValueError("tags before acquisition_started")
        if self.first_ps is None:
            self.first_ps = block.start_ps
        self.provenance = block.provenance
        self.buffer.add(block)
        self._history.append((block.end_ps, self.buffer.counts))
        while len(self._history) > 2 and block.end_ps - self._history[1][0] >= _RATE_SPAN_PS:
            self._history.popleft()
        if idle:
            self.discard_before(self.buffer.horizon_ps - IDLE_KEEP_PS)

    @property
    def buffer(self) -> QuietBuffer:
        if self._buffer is None:
            raise EventBufferError("no acquisition is running here")
        return self._buffer

    @property
    def filled(self) -> float:
        """Share of the room for events that waits to be announced or paired."""
        return self._buffer.filled if self._buffer is not None else 0.0

    @property
    def from_ps(self) -> int | None:
        """Events from here on may still be announced; None before the first tag."""
        return None if self.first_ps is None else max(self.first_ps, self._forgotten_ps)

    def discard_before(self, time_ps: int) -> None:
        """Drop events that are used up or will never be announced."""
        if time_ps > self._forgotten_ps:
            self._forgotten_ps = time_ps
            self.buffer.discard_before(time_ps)

    def forget(self) -> None:
        """Exclude all recorded events from announcement: they were announced, or their rates were
        published. No rate counts them from now on either: they may be in key.
        """
        self._history.clear()
        if self._buffer is not None and self.first_ps is not None:
            self.discard_before(self._buffer.horizon_ps)

    # ---- for displays while no session runs ----
    def rates_hz(self) -> dict[str, float]:
        """Clicks per second of every detector, over about the last two seconds."""
        if len(self._history) < 2:
            return {}
        (start, before), (end, now) = self._history[0], self._history[-1]
        seconds = max(end - start, 1) * 1e-12
        pairs = zip(LETTERS, before.clicks, now.clicks, strict=True)
        return {letter: (b - a) / seconds for letter, a, b in pairs}

    def multi_click_fraction(self) -> float | None:
        """Events of several detectors among all, over the same time; None: there was no event."""
        if len(self._history) < 2:
            return None
        before, now = self._history[0][1], self._history[-1][1]
        several = now.multi_same + now.multi_cross - before.multi_same - before.multi_cross
        events = now.events - before.events
        return several / events if events else None

    def close(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None
        self.first_ps = None
