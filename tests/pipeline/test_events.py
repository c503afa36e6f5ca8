"""Local detection events: merging, delays, lost intervals, hidden bits, bounds."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photonlink.hal.tags import LostInterval, TagBlock
from photonlink.pipeline.native.base import NativeArgumentError, NativeStateError
from photonlink.pipeline.stages.events import DetectorMap, EventBuffer, EventBufferError
from photonlink.pipeline.stages.window import LabelledWindow

MAP = DetectorMap({"H": 1, "V": 2, "D": 3, "A": 4})
PS = 10**12


def block(
    times: list[int], channels: list[int], end: int, lost: tuple[LostInterval, ...] = ()
) -> TagBlock:
    return TagBlock(np.array(times, np.int64), np.array(channels, np.uint8), 0, end, lost)


class Script:
    """A source of known random bytes that counts the requested bytes."""

    def __init__(self, data: bytes = b"") -> None:
        self.data, self.asked = data, 0

    def __call__(self, n: int) -> bytes:
        piece = (self.data + bytes(range(256)) * 64)[self.asked : self.asked + n]
        self.asked += n
        return piece


def buffer(script: Script | None = None, window_ps: int = 100, **more: Any) -> EventBuffer:
    more = {"resolution_ps": 0, **more}
    return EventBuffer(MAP, multi_click_window_ps=window_ps, randomness=script or Script(), **more)


def test_clicks_within_the_window_are_one_event_and_the_tags_are_wiped() -> None:
    script = Script(b"\x01\x02")
    events = buffer(script)
    tags = block([10, 60, 500, 550, 900, 901, 2000], [1, 1, 1, 2, 3, 2, 4], 5000)
    events.add(tags)
    assert not tags.time_ps.any()
    assert not tags.channel.any()
    assert events.horizon_ps == 4900
    window = events.window(0, 4900)
    assert window.time_ps.tolist() == [10, 500, 900, 2000]
    assert window.multi_clicks == 2
    assert window.basis.tolist() == [0, 0, 1, 1]  # the third: basis bit of the random byte 0x02
    labelled = events.labelled(0, 4900)
    assert labelled.detector.tolist() == [0, 1, 2, 3]
    assert script.asked == 2
    assert events.multi_click_fraction() == 0.5
    assert (events.counts.multi_same, events.counts.multi_cross) == (1, 1)


def reference(clicks: list[tuple[int, int]], window: int, random: Script) -> list[tuple[int, int]]:
    """Events (time, detector) of sorted clicks: a simple reference."""
    events = []
    rest = sorted(clicks, key=lambda click: click[0])
    while rest:
        start = rest[0][0]
        group = {detector for time, detector in rest if time <= start + window}
        rest = [click for click in rest if click[0] > start + window]
        if len(group) == 1:
            detector = group.pop()
        else:
            byte = random(1)[0]
            crossed = group & {0, 1} and group & {2, 3}
            detector = byte & 3 if crossed else (2 if group & {2, 3} else 0) | byte & 1
        events.append((start, detector))
    return events


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 3)), max_size=40),
    st.integers(0, 60),
    st.lists(st.integers(-50, 50), min_size=4, max_size=4),
    st.lists(st.integers(1, 2999), max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_events_do_not_depend_on_where_blocks_are_cut(
    clicks: list[tuple[int, int]], window: int, delay: list[int], cuts: list[int]
) -> None:
    clicks = sorted(clicks, key=lambda click: click[0])
    expected = reference([(t - delay[d], d) for t, d in clicks], window, Script())
    events = buffer(window_ps=window, delay_ps=dict(zip("HVDA", delay, strict=True)))
    for start, end in itertools.pairwise([0, *sorted(set(cuts)), 3000]):
        inside = [(t, d) for t, d in clicks if start <= t < end]
        events.add(
            TagBlock(
                np.array([t for t, _ in inside], np.int64),
                np.array([d + 1 for _, d in inside], np.uint8),
                start,
                end,
            )
        )
    seen = events.labelled(-1000, events.horizon_ps)
    assert list(zip(seen.time_ps.tolist(), seen.detector.tolist(), strict=True)) == expected


def test_multi_clicks_get_unbiased_bits() -> None:
    rng = np.random.default_rng(5)
    n = 20_000
    times = np.repeat(np.arange(n) * 1000, 2)
    channels = np.tile(np.array([1, 2], np.uint8), n)
    channels[n:] = np.tile(np.array([1, 4], np.uint8), n // 2)  # second half: both bases
    events = EventBuffer(MAP, multi_click_window_ps=100, randomness=rng.bytes, resolution_ps=0)
    events.add(TagBlock(times, channels, 0, n * 1000 + 1000))
    seen = events.labelled(0, events.horizon_ps)
    same, crossed = np.bincount(seen.detector[: n // 2]), np.bincount(seen.detector[n // 2 :])
    assert len(same) == 2  # H and V only: the basis was certain
    assert abs(same[0] - n / 4) < 5 * np.sqrt(n / 8)
    assert len(crossed) == 4
    assert (abs(crossed - n / 8) < 5 * np.sqrt(n / 2 * 3 / 16)).all()


def test_bits_agree_with_labels_and_leave_once() -> None:
    rng = np.random.default_rng(7)
    n = 10_000
    times = np.cumsum(rng.integers(200, 5000, n))
    channels = rng.integers(1, 5, n).astype(np.uint8)
    events, twin = buffer(), buffer()
    end = int(times[-1]) + 1000
    events.add(TagBlock(times.copy(), channels.copy(), 0, end))
    twin.add(TagBlock(times.copy(), channels.copy(), 0, end))
    picked = np.flatnonzero(rng.random(n) < 0.4)
    bits = events.take_bits(picked)
    labels = twin.labelled(0, end - 500).detector
    expected = np.packbits(labels[picked] & 1).tobytes()
    assert bytes(bits.export()) == expected
    with pytest.raises(NativeStateError):
        events.take_bits(picked[:1])
    with pytest.raises(NativeStateError):
        events.labelled(0, end - 500)
    rest = np.setdiff1d(np.arange(n), picked)
    assert len(events.take_bits(rest)) == len(rest)
    with pytest.raises(NativeArgumentError):
        twin.take_bits(np.array([n], np.int64))
    assert len(events.take_bits(np.empty(0, np.int64))) == 0


def test_lost_intervals_travel_and_widen() -> None:
    events = buffer(delay_ps={"V": 300})
    events.add(block([50], [1], 1000, (LostInterval(200, 400),)))
    assert events.lost(0, 1000) == ((200 - 300 - 100, 500),)
    assert events.window(0, 600).lost == ((-200, 500),)
    assert events.window(500, 600).lost == ()


def test_ticks_are_spread_so_that_delays_below_the_resolution_count() -> None:
    """Two detectors whose delays differ by half a tick: the announced times do not differ."""
    rng = np.random.default_rng(4)
    n, tick = 40_000, 2000
    true = np.sort(rng.integers(0, 10**12, n))
    which = rng.integers(0, 2, n)
    delay = np.array([0, 1000])
    times = (true + delay[which]) // tick * tick
    order = np.argsort(times, kind="stable")
    means = {}
    for resolution in (0, tick):
        events = EventBuffer(
            MAP, multi_click_window_ps=0, randomness=rng.bytes, resolution_ps=resolution,
            delay_ps={"H": -1, "V": 999},
        )  # fmt: skip
        channels = (which[order] + 1).astype(np.uint8)
        events.add(TagBlock(times[order], channels, 0, 10**12 + 10**6))
        seen = events.labelled(-(10**6), events.horizon_ps)
        assert len(seen) == n
        late = [grid_of(seen, d, tick) - np.sort(true[which == d]).mean() for d in (0, 1)]
        means[resolution] = abs(late[0] - late[1])
    assert means[tick] < 60
    assert means[0] > 300


def test_the_resolution_is_found_in_the_tags() -> None:
    rng = np.random.default_rng(6)
    for tick, asked in ((2000, 1000), (80, 1000), (1, 0)):
        script = Script()
        events = EventBuffer(MAP, multi_click_window_ps=0, randomness=script)
        for start in (0, PS):
            times = start + 37 + np.sort(rng.choice(10**7, 500, replace=False)) * tick
            events.add(TagBlock(times, np.ones(500, np.uint8), start, start + PS))
        assert script.asked == asked
        times = events.window(0, events.horizon_ps).time_ps
        assert len(set(times % max(tick, 2))) > min(tick, 100) // 2


def grid_of(seen: LabelledWindow, detector: int, tick: int) -> float:
    times = seen.time_ps[seen.detector == detector]
    return float((times // tick * tick + tick // 2).mean())


def test_rates_per_detector() -> None:
    events = buffer()
    assert events.rates_hz() == {}
    for second in range(5):
        t = second * PS + np.arange(1000) * (PS // 1000)
        channels = np.array([1] * 500 + [2] * 300 + [3] * 200, np.uint8)
        events.add(TagBlock(t, channels, second * PS, (second + 1) * PS))
    assert events.rates_hz() == {"H": 500.0, "V": 300.0, "D": 200.0, "A": 0.0}


def test_memory_is_bounded_and_what_does_not_fit_is_an_explicit_loss() -> None:
    events = buffer(max_events=1 << 16)
    n = 50_000
    for part in range(2):
        times = (np.arange(n) + part * n) * 1000
        channels = np.ones(n, np.uint8)
        events.add(TagBlock(times, channels, part * n * 1000, (part + 1) * n * 1000))
    first_lost = (1 << 16) * 1000
    assert events.lost(0, events.horizon_ps) == ((first_lost, events.horizon_ps),)
    assert len(events.window(0, events.horizon_ps)) == 1 << 16
    events.discard_before(60_000_000)
    assert len(events.window(0, events.horizon_ps)) == (1 << 16) - 60_000
    assert events.window(0, 60_000_001).lost[0][1] == 60_000_000  # discarded data count as lost
    for part in range(2, 40):  # recording can continue without end
        times = (np.arange(n) + part * n) * 1000
        events.add(TagBlock(times, np.ones(n, np.uint8), part * n * 1000, (part + 1) * n * 1000))
        events.discard_before(events.horizon_ps - 1_000_000)
    assert events.counts.events + events.counts.overflow == 40 * n


def test_a_burst_no_detector_makes_is_lost_not_fatal() -> None:
    events = buffer()
    events.add(TagBlock(np.zeros(200_000, np.int64), np.ones(200_000, np.uint8), 0, 1000))
    events.add(TagBlock(np.array([5000]), np.array([2], np.uint8), 1000, 9000))
    assert events.lost(-(10**6), 2000)
    assert events.window(2000, 8000).time_ps.tolist() == [5000]


@pytest.mark.parametrize(
    "channels",
    [
        {"H": 1, "V": 2, "D": 3},
        {"H": 1, "V": 2, "D": 3, "A": 3},
        {"H": 1, "V": 2, "D": 3, "A": 256},
        {"H": 1, "V": 2, "D": 3, "X": 4},
    ],
)
def test_impossible_maps_are_refused(channels: dict[str, int]) -> None:
    with pytest.raises(EventBufferError):
        DetectorMap(channels)


def test_impossible_requests_are_refused() -> None:
    events = buffer()
    with pytest.raises(EventBufferError):
        events.window(0, 1)  # nothing recorded yet
    events.add(block([5], [1], 1000))
    with pytest.raises(EventBufferError):
        events.window(0, 901)
    with pytest.raises(EventBufferError):
        events.window(10, 5)
    with pytest.raises(EventBufferError):
        buffer(delay_ps={"H": 20_000_000})
    with pytest.raises(EventBufferError):
        buffer(delay_ps={"X": 1})
    with pytest.raises(NativeArgumentError):
        buffer(window_ps=-1)


def test_nothing_prints_a_tag() -> None:
    events = buffer()
    events.add(block([123456789], [1], 10**9))
    shown = repr(events) + repr(events.window(0, 10**8)) + repr(events.labelled(0, 10**9 - 200))
    assert "123456789" not in shown
