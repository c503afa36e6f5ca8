"""A node's own tags, over any number of connections: its own light, no word of the peer's.

Sifting reads windows and spends events; delays and detector map are fixed from the start.
"""

from __future__ import annotations

from collections.abc import Callable

from photonlink.hal.tags import Provenance, TagBlock
from photonlink.pipeline.protocol.setup import SessionSetup
from photonlink.pipeline.protocol.sifting.peer_taggers import AcquisitionOrigin
from photonlink.pipeline.stages.events import EventBuffer, EventBufferError

MULTI_CLICK_WINDOW_PS = 3_000  # clicks of several detectors this near are one event
IDLE_KEEP_PS = 5 * 10**12  # of own tags while no session runs


class OwnTags:
    """``started`` None: no acquisition runs. ``ended``: no more tags will come."""

    def __init__(self, setup: SessionSetup, randomness: Callable[[int], bytes]) -> None:
        self._setup, self._randomness = setup, randomness
        self.started: AcquisitionOrigin | None = None
        self.first_ps: int | None = None
        self.ended = False
        self.provenance = Provenance.REAL
        self._buffer: EventBuffer | None = None

    def start(self, started: AcquisitionOrigin) -> None:
        """Time zero has moved: nothing of what was recorded before fits any more."""
        self.close()
        setup, resolution = self._setup, max(started.resolution_ps, 1.0)
        self._buffer = EventBuffer(
            setup.detector_map,
            multi_click_window_ps=max(MULTI_CLICK_WINDOW_PS, round(2 * resolution)),
            randomness=self._randomness,
            delay_ps=setup.bench.delays_ps(str(setup.role)),
            resolution_ps=0 if setup.is_alice else None,  # only Bob announces times
        )
        self.started, self.first_ps, self.ended = started, None, False

    def add(self, block: TagBlock, *, idle: bool) -> None:
        """Take a block of own tags (it is wiped). ``idle``: no session runs that could use it."""
        if self.started is None:
            raise ValueError("tags before acquisition_started")
        if self.first_ps is None:
            self.first_ps = block.start_ps
        self.provenance = block.provenance
        self.buffer.add(block)
        if idle:
            self.buffer.discard_before(self.buffer.horizon_ps - IDLE_KEEP_PS)

    @property
    def buffer(self) -> EventBuffer:
        if self._buffer is None:
            raise EventBufferError("no acquisition is running here")
        return self._buffer

    @property
    def from_ps(self) -> int | None:
        """Events from here on may still be announced; None before the first tag."""
        if self.first_ps is None:
            return None
        lost = self.buffer.lost(-(1 << 61), -(1 << 61) + 1)
        return max(self.first_ps, lost[0][1] if lost else -(1 << 61))

    def forget(self) -> None:
        """All that is recorded is never announced: it was, or its rates were on show."""
        if self._buffer is not None and self.first_ps is not None:
            self._buffer.discard_before(self._buffer.horizon_ps)

    def close(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None
        self.first_ps = None
