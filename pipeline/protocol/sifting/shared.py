"""What Alice's and Bob's sifting share: own tags, both acquisitions, the row of sifted bits."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from photonlink.hal.tags import TagBlock
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.protocol.messages import Acquisition
from photonlink.pipeline.protocol.sifting.blockrule import BlockRule
from photonlink.pipeline.protocol.sifting.peer_taggers import (
    AcquisitionOrigin,
    announce,
    sift_parameters,
)
from photonlink.pipeline.protocol.sifting.sifted import SiftedRow
from photonlink.pipeline.stages.events import EventBuffer
from photonlink.pipeline.stages.sift import SiftParameters
from photonlink.pipeline.stages.window import Interval, merge_intervals

MULTI_CLICK_WINDOW_PS = 3_000  # clicks of several detectors this near are one event
MAX_LOST_INTERVALS = 1_000  # in one announcement; more are sent as their hull
IDLE_KEEP_PS = 5 * 10**12  # of own tags while no session runs
_PAIR = struct.Struct("<qq")


class Sifting:
    """Base of both roles. Lives as long as the Session; ``reset`` at every connection's end."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.row = SiftedRow()
        self.rule = BlockRule(ctx.parameters)
        self.own: Acquisition | None = None
        self.peer: Acquisition | None = None
        self.sift: SiftParameters | None = None
        self.ended = False  # no more tags on this side
        self.peer_end_ps: int | None = None
        self.running = False  # a session is up: slots may be asked for and answered
        self._started: AcquisitionOrigin | None = None
        self._buffer: EventBuffer | None = None
        self._first_ps: int | None = None

    # ---- own tags ----

    def acquisition_started(self, started: AcquisitionOrigin) -> None:
        """Time zero has moved: nothing of what was recorded before fits any more."""
        if self.own is not None:
            self.reset()
        if self._buffer is not None:
            self._buffer.close()
        resolution = max(started.resolution_ps, 1.0)
        self._buffer = EventBuffer(
            self.ctx.setup.detector_map,
            multi_click_window_ps=max(MULTI_CLICK_WINDOW_PS, round(2 * resolution)),
            randomness=self.ctx.randomness,
            resolution_ps=0 if self.ctx.is_alice else None,  # only Bob announces times
        )
        self._started, self._first_ps, self.own, self.ended = started, None, None, False

    @property
    def buffer(self) -> EventBuffer:
        if self._buffer is None:
            raise ProtocolError("unexpected_message", "no acquisition is running here")
        return self._buffer

    def add(self, block: TagBlock) -> None:
        """Take a block of own tags (it is wiped)."""
        if self._started is None:
            raise ValueError("tags before acquisition_started")
        if self._first_ps is None:
            self._first_ps = block.start_ps
        self.ctx.mark(block.provenance)
        self.buffer.add(block)
        self.ctx.show["rate_hz"] = self.buffer.rates_hz()
        self.ctx.show["multi_click_fraction"] = self.buffer.multi_click_fraction()
        if not self.running:
            self.buffer.discard_before(self.buffer.horizon_ps - IDLE_KEEP_PS)

    def maybe_announce(self) -> None:
        """Tell the peer about the acquisition once there is one and a session is up."""
        if self.own is None and self.running and self._started and self._first_ps is not None:
            start = max(self._first_ps, self.forgotten_ps)
            self.own = announce(self._started, start, self.ctx.provenance)
            self.ctx.send(self.own)
            self._both_known()

    @property
    def forgotten_ps(self) -> int:
        """Before this time nothing is left of the own tags."""
        lost = self.buffer.lost(-(1 << 61), -(1 << 61) + 1)
        return lost[0][1] if lost else -(1 << 61)

    def on_acquisition(self, message: Acquisition) -> None:
        self.peer = message
        self._both_known()

    def _both_known(self) -> None:
        if self.own is not None and self.peer is not None:
            pair = (self.own, self.peer) if self.ctx.is_alice else (self.peer, self.own)
            self.sift = sift_parameters(self.ctx.parameters, *pair)
            self.start(*pair)

    def start(self, alice: Acquisition, bob: Acquisition) -> None:
        """Both acquisitions are known."""

    def pump(self) -> None:
        """Ask or answer as far as the recorded time allows."""

    def reset(self) -> None:
        """The connection is gone: what was announced in it must never be announced again."""
        self.running = False
        self.row.clear()
        self.rule.reset()
        self.own = self.peer = self.sift = None
        self.peer_end_ps = None
        if self._buffer is not None and self._first_ps is not None:
            self._buffer.discard_before(self._buffer.horizon_ps)

    def close(self) -> None:
        self.reset()
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None


def pack_intervals(intervals: Sequence[Interval], start_ps: int, end_ps: int) -> tuple[int, bytes]:
    """Lost intervals cut to a neighbourhood of the slot: number and bytes."""
    margin = 10**9
    cut = merge_intervals(
        (max(low, start_ps - margin), min(high, end_ps + margin)) for low, high in intervals
    )
    if len(cut) > MAX_LOST_INTERVALS:
        cut = ((cut[0][0], cut[-1][1]),)
    return len(cut), b"".join(_PAIR.pack(*pair) for pair in cut)


def unpack_intervals(n: int, body: bytes) -> tuple[tuple[Interval, ...], bytes]:
    """Intervals and what follows them. Raises ProtocolError."""
    if n > MAX_LOST_INTERVALS or len(body) < n * _PAIR.size:
        raise ProtocolError("malformed_message", f"{n} lost intervals in {len(body)} bytes")
    pairs = tuple(_PAIR.iter_unpack(body[: n * _PAIR.size]))
    if any(low > high or abs(low) > 1 << 62 or abs(high) > 1 << 62 for low, high in pairs):
        raise ProtocolError("malformed_message", "a lost interval ends before it starts")
    return merge_intervals(pairs), body[n * _PAIR.size :]
