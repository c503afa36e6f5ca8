"""Delays learned from recordings of others, which come without a calibration.

The source of the light determines these delays: nothing is claimed against Eve then, and the key is
marked. Nodes never do this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from photonlink.hal.tags import TagBlock
from photonlink.pipeline.protocol.messages import Acquisition
from photonlink.pipeline.protocol.sifting.peer_taggers import (
    hints_ps,
    sift_parameters,
    tolerance_s,
)
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import (
    BenchConstants,
    DetectorConstants,
    constants_of,
    ideal,
)
from photonlink.pipeline.stages.clock.recovery import ClockParameters, ClockRecovery
from photonlink.pipeline.stages.delays import DelayEstimator, DetectorDelays
from photonlink.pipeline.stages.events import DetectorMap, EventBuffer
from photonlink.pipeline.stages.window import LETTERS

PS = 10**12
_MULTI_CLICK_WINDOW_PS = 3_000
_SPAN_PS = 5 * PS  # of the latest data
_UNCERTAINTY_PS = 100.0  # added to the standard deviation of the learned delays


@dataclass(frozen=True, slots=True)
class Start:
    """The first seconds of one recording."""

    blocks: Sequence[TagBlock]
    detectors: DetectorMap
    acquisition: Acquisition


def learn(agreed: AgreedParameters, alice: Start, bob: Start) -> BenchConstants | None:
    """Delays of all eight detectors from the light; None when the clock is not found."""
    sift = sift_parameters(agreed, alice.acquisition, bob.acquisition)
    own, peer = _buffer(alice), _buffer(bob)
    try:
        for hint in hints_ps(alice.acquisition, bob.acquisition):
            reach_s = tolerance_s(alice.acquisition, bob.acquisition)
            parameters = ClockParameters(sift.sigma_ps, hint_tolerance_s=reach_s)
            clock = ClockRecovery(parameters, hint_offset_s=hint / PS, alice_start_ps=0)
            found = _with_clock(clock, own, peer, sift.sigma_ps, sift.window_ps)
            if found is not None:
                ticks = (alice.acquisition.resolution_ps, bob.acquisition.resolution_ps)
                return _constants(found, ticks)
    finally:
        own.close()
        peer.close()
    return None


def unknown(alice_tick_ps: float, bob_tick_ps: float) -> BenchConstants:
    """No delays are known."""
    return ideal(claimed=False, ticks_ps=(alice_tick_ps, bob_tick_ps))


def _buffer(start: Start) -> EventBuffer:
    buffer = EventBuffer(
        start.detectors,
        multi_click_window_ps=_MULTI_CLICK_WINDOW_PS,
        # for multi-clicks; these events are spent here, so no secret depends on it
        randomness=bytes,
        resolution_ps=0,
    )
    for block in start.blocks:
        buffer.add(
            TagBlock(
                block.time_ps.copy(), block.channel.copy(), block.start_ps, block.end_ps,
                block.lost, block.provenance,
            )
        )  # fmt: skip
    return buffer


def _with_clock(
    clock: ClockRecovery, own: EventBuffer, peer: EventBuffer, sigma_ps: float, window_ps: int
) -> DetectorDelays | None:
    high = peer.horizon_ps
    theirs = peer.window(high - _SPAN_PS, high)
    edges = clock.to_alice(np.array([theirs.start_ps, theirs.end_ps], np.int64))
    reach = round(clock.parameters.hint_tolerance_s * PS)
    low, end = int(edges[0]) - reach, min(int(edges[1]) + reach, own.horizon_ps)
    if end <= low:
        return None
    if not clock.acquire(own.window(low, end).time_ps, theirs.time_ps):
        return None
    estimator = DelayEstimator(sigma_ps=sigma_ps, window_ps=window_ps)
    labelled = peer.labelled(theirs.start_ps, theirs.end_ps)
    estimator.add(own.labelled(low, end), clock.to_alice(labelled.time_ps), labelled.detector)
    return estimator.solve()


def _constants(delays: DetectorDelays, ticks_ps: tuple[float, float]) -> BenchConstants:
    sides = [
        {
            letter: DetectorConstants(
                delay_ps=side[letter],
                delay_uncertainty_ps=_UNCERTAINTY_PS + 3 * delays.sigma_ps,
                efficiency_low=0.3,
                efficiency_high=3.0,
            )
            for letter in LETTERS
        }
        for side in (delays.alice_ps, delays.bob_ps)
    ]
    return constants_of(sides[0], sides[1], claimed=False, ticks_ps=ticks_ps)
