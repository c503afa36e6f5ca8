"""Announced times: size, hostile bytes, and pairs against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photonlink.hal.tags import TagBlock
from photonlink.pipeline.native.base import NativeDataError
from photonlink.pipeline.native.quiet import (
    COUNTED,
    Slot,
    SlotClock,
    announced_events,
    announced_times,
)
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.stages.quiet import QuietBuffer, TimeRule

MAP = DetectorMap({"H": 1, "V": 2, "D": 3, "A": 4})
RULE = TimeRule(400, 16_000, 70_000, window_ps=3000, grid_bits=8)
SECOND = 10**12


def station(times: np.ndarray, seed: int, rule: TimeRule = RULE) -> QuietBuffer:
    events = QuietBuffer(MAP, rule, delay_ps=dict.fromkeys("HVDA", 0), seed=bytes([seed] * 32))
    channels = np.random.default_rng(seed).integers(1, 5, len(times)).astype(np.uint8)
    events.add(TagBlock(times.copy(), channels, int(times[0]) - 1, int(times[-1]) + 10**6))
    return events


def poisson(seed: int, rate_hz: float, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.exponential(SECOND / rate_hz, n)).astype(np.int64)


def events_of(events: QuietBuffer, slot: Slot) -> np.ndarray:
    return events.times_ps(*events.indices(slot.start_ps, slot.end_ps))


@pytest.mark.parametrize(("rate_hz", "limit"), [(5e4, 2.5), (1e5, 2.2), (1e6, 1.75), (3e6, 1.5)])
def test_bytes_per_announced_event(rate_hz: float, limit: float) -> None:
    times = poisson(1, rate_hz, 30_000)
    events = station(times, 1)
    slot = RULE.slot(0, events.horizon_ps)
    data = events.announce(slot.start_ps, slot.end_ps)
    own = events_of(events, slot)
    assert len(data) / len(own) < limit
    assert (announced_times(data, slot) == own // 256 * 256 + 128).all()


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_almost_nothing_to_announce(n: int) -> None:
    events = station(np.arange(1, 9) * 10**6, 2)
    first = events.times_ps(0, 7)
    slot = RULE.slot(int(first[0]), int(first[n]) if n else int(first[0]) + 1)
    data = events.announce(slot.start_ps, slot.end_ps)
    assert announced_events(data, slot) == max(n, 1)
    empty = RULE.slot(int(first[0]) + 1, int(first[1]))
    assert announced_times(events.announce(empty.start_ps, empty.end_ps), empty).size == 0


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.binary(max_size=60), small=st.booleans())
def test_hostile_bytes_are_a_named_error(data: bytes, small: bool) -> None:
    """Hostile bytes give a named error, or times that an honest station could announce."""
    slot = Slot(-5000, 10**9, 1000, 4)
    if small and len(data) > 4:
        data = bytes(3) + data[3:]
    try:
        times = announced_times(data, slot)
    except NativeDataError:
        return
    assert ((times >= slot.start_ps) & (times <= slot.end_ps + 8)).all()
    assert (np.diff(times) >= 1000 // 16 * 16).all()


def test_any_change_of_length_is_noticed() -> None:
    events = station(poisson(3, 1e6, 300), 3)
    slot = RULE.slot(0, events.horizon_ps)
    data = events.announce(slot.start_ps, slot.end_ps)
    own = events.times_ps(*events.indices(slot.start_ps, slot.end_ps))
    clock = SlotClock(0)
    for wrong in [data[:k] for k in range(len(data))] + [data + b"\0", data + b"\xff"]:
        with pytest.raises(NativeDataError):
            announced_times(wrong, slot)
        with pytest.raises(NativeDataError):
            events.pairs(wrong, slot, clock, track_ps=20_000)
    assert len(own) == announced_events(data, slot)


def test_pairs_are_those_of_a_slow_reference() -> None:
    """The clock runs 7 ppm fast; half of the events have partners."""
    rng = np.random.default_rng(4)
    true = poisson(4, 3e5, 20_000)
    rate, offset = 7e-6, 123_456_789_012
    mine = np.sort(np.concatenate([true, poisson(5, 3e5, 20_000)]))
    seen = true[rng.random(len(true)) < 0.5]
    seen = seen + rng.normal(0, 150, len(seen)).astype(np.int64)
    bob_times = np.sort(seen + np.rint(rate * seen).astype(np.int64) + offset)
    alice, bob = station(mine, 6), station(bob_times, 7)
    slot = RULE.slot(int(bob_times[0]) - 10, min(bob.horizon_ps, int(bob_times[-1])))
    data = bob.announce(slot.start_ps, slot.end_ps)
    # alice = b - offset - rate / (1 + rate) * (b - offset)
    slope = rate / (1 + rate)
    clock = SlotClock(offset + round(slope * (slot.start_ps - offset)), slope)
    found = alice.pairs(data, slot, clock, track_ps=20_000)
    b = announced_times(data, slot)
    here = b - clock.offset_ps - np.rint(slope * (b - slot.start_ps)).astype(np.int64)
    own = alice.times_ps(*alice.indices(-(1 << 60), alice.horizon_ps))
    first = alice.indices(-(1 << 60), alice.horizon_ps)[0]
    wanted = []
    counted = 0
    for k, t in enumerate(here.tolist()):
        low, high = np.searchsorted(own, (t - 3000, t + 3001))
        if k < COUNTED:
            counted += int(np.diff(np.searchsorted(own, (t - 20_000, t + 20_001)))[0])
        assert high - low <= 1
        if high > low:
            wanted.append((first + int(low), k, t - int(own[low])))
    got = list(
        zip(
            found.own_index.tolist(),
            found.announced_index.tolist(),
            found.residual_ps.tolist(),
            strict=True,
        )
    )
    assert got == wanted
    assert len(got) > 8000
    assert int(found.histogram.sum()) == counted
    assert abs(np.median(found.residual_ps)) < 100


def test_pairs_carry_equal_bits_in_equal_bases() -> None:
    """All steps of a slot: announce, pair, send bases, keep the bits of equal bases, disclose the
    rest."""
    rng = np.random.default_rng(9)
    true = poisson(9, 2e5, 20_000)
    basis, bit = rng.integers(0, 2, (2, len(true))), rng.integers(0, 2, len(true))
    sides = []
    for side in range(2):
        value = np.where(basis[0] == basis[1], bit, rng.integers(0, 2, len(true)))
        times = true + rng.normal(0, 100, len(true)).astype(np.int64)
        order = np.argsort(times, kind="stable")
        channels = (1 + 2 * basis[side] + value).astype(np.uint8)[order]
        events = QuietBuffer(MAP, RULE, delay_ps=dict.fromkeys("HVDA", 0), seed=bytes([side] * 32))
        events.add(TagBlock(times[order], channels, int(times.min()) - 1, int(times.max()) + 10**6))
        sides.append(events)
    alice, bob = sides
    slot = RULE.slot(0, min(alice.horizon_ps, bob.horizon_ps) - 10**6)
    found = alice.pairs(
        bob.announce(slot.start_ps, slot.end_ps), slot, SlotClock(0), track_ps=16_000
    )
    theirs = found.announced_index + bob.indices(slot.start_ps, slot.end_ps)[0]
    same = alice.bases(found.own_index) == bob.bases(theirs)
    assert len(found.own_index) > 17_000
    assert 0.47 < same.mean() < 0.53
    bits = [
        np.unpackbits(np.frombuffer(events.take_bits(index[same]).disclose(), np.uint8))
        for events, index in ((alice, found.own_index), (bob, theirs))
    ]
    followed = alice.followed(found.own_index) / len(found.own_index)
    assert (bits[0] != bits[1]).mean() < 0.02 + followed  # multi-click events are random
    detectors = alice.disclose(found.own_index[~same]), bob.disclose(theirs[~same])
    assert ((detectors[0] >> 1) != (detectors[1] >> 1)).all()
