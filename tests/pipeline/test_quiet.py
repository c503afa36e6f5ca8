"""The quiet rule: against a simple reference; the echo attack, losses, and published data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from photonlink.hal.tags import LostInterval, TagBlock
from photonlink.pipeline.native.base import NativeError, NativeStateError
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.estimate import few_multi_clicks
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.stages.quiet import (
    QuietBuffer,
    TimeRule,
    TimeRuleError,
    noise_bound_ps,
    quiet_length_ps,
)

MAP = DetectorMap({"H": 1, "V": 2, "D": 3, "A": 4})
NONE = {"H": 0, "V": 0, "D": 0, "A": 0}
QUIET = 50_000
PLAIN = TimeRule(0, 0, QUIET, window_ps=1000, grid_bits=6)
NOISY = TimeRule(200, 8000, QUIET + 8000, window_ps=2000, grid_bits=6)
US = 1_000_000
Clicks = tuple[np.ndarray, np.ndarray]
Lost = list[tuple[int, int]]


def buffer(rule: TimeRule = PLAIN, delay_ps: dict[str, int] | None = None) -> QuietBuffer:
    return QuietBuffer(MAP, rule, delay_ps=delay_ps or NONE, seed=bytes(range(32)))


def block(clicks: Clicks, start: int, end: int, lost: Lost | None = None) -> TagBlock:
    times, channels = clicks
    gaps = tuple(LostInterval(*gap) for gap in lost or [])
    return TagBlock(times.copy(), channels.copy(), start, end, gaps)


def kept(events: QuietBuffer) -> np.ndarray:
    first, n = events.indices(-(1 << 60), events.horizon_ps)
    return events.times_ps(first, n)


def clicks(rng: np.random.Generator, n: int, mean_ps: float) -> Clicks:
    times = np.cumsum(rng.exponential(mean_ps, n)).astype(np.int64) + QUIET
    return times, rng.integers(1, 5, n).astype(np.uint8)


def by_hand(times: np.ndarray, channels: np.ndarray, lost: Lost) -> list[tuple[int, set[int], int]]:
    """(time, detectors, clicks) of every event: a simple reference without noise and delays."""
    out: list[tuple[int, set[int], int]] = []
    ahead, settled, last, k = sorted((s, e + 1) for s, e in lost), True, -(1 << 60), 0
    while k < len(times):
        t = int(times[k])
        while ahead and ahead[0][0] < t + QUIET:
            settled, last = False, max(last, ahead.pop(0)[1])
        if not settled and t - last < QUIET:
            last, k = max(last, t), k + 1
            continue
        settled = True
        inside = (times >= t) & (times < t + QUIET)
        out.append((t, set(channels[inside].tolist()), int(inside.sum())))
        k = int(np.searchsorted(times, t + QUIET))
    return out


@pytest.mark.parametrize("mean_ps", [20_000, 60_000, 500_000])
@pytest.mark.parametrize("seed", range(4))
def test_events_are_those_of_the_reference(mean_ps: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times, channels = clicks(rng, 3000, mean_ps)
    end = int(times[-1]) + 10 * QUIET
    lost = [(int(s), int(s) + int(rng.integers(0, 3 * QUIET))) for s in rng.integers(0, end, 12)]
    wanted = by_hand(times, channels, [(-1, 0), *lost])
    cuts = [0, *sorted(rng.integers(0, end, 5).tolist()), end]
    events = buffer()
    for start, stop in itertools.pairwise(cuts):
        inside = (times >= start) & (times < stop)
        # a loss across a border is reported by both blocks
        gaps = [(max(s, start), min(e, stop)) for s, e in lost if s < stop and e >= start]
        events.add(block((times[inside], channels[inside]), start, stop, gaps))
    complete = [event for event in wanted if event[0] < events.horizon_ps]
    assert len(complete) > 20
    assert kept(events).tolist() == [t for t, _, _ in complete]
    index = np.arange(len(complete))
    assert events.followed(index) == sum(n > 1 for _, _, n in complete)
    before = [int(times[np.searchsorted(times, t) - 1]) for t, _, _ in complete]
    shadows = [
        t - b < QUIET and t > times[0] for (t, _, _), b in zip(complete, before, strict=True)
    ]
    marks = events.marks(index)
    assert (marks & 1).sum() == events.followed(index)
    assert (marks >> 1).sum() == events.counts.shadowed == sum(shadows)
    bases = events.bases(index)
    for (_, detectors, _), basis in zip(complete, bases.tolist(), strict=True):
        assert basis in {(channel - 1) >> 1 for channel in detectors}
    single = np.array([k for k, (_, d, _) in enumerate(complete) if len(d) == 1])
    truth = [min(complete[k][1]) - 1 for k in single.tolist()]
    assert events.disclose(single).tolist() == truth
    for start, stop in events.lost(0, end):
        assert not any(start <= t < stop for t, _, _ in complete)


# ---- the echo (Weier's attack reversed: a veto that later clicks prolong reveals a bit) ----


def echo(rng: np.random.Generator, probe_ps: int, n: int = 400) -> tuple[Clicks, np.ndarray]:
    """Clicks of n trials and the key bit of each; dead time 30 ns.

    A key photon clicks in H or V. A bright H pulse 5 ns later puts H, D and A into dead time. A
    bright V pulse at 12 ns clicks in V if V is active, that is if the bit was H. A bright probe
    follows at probe_ps.
    """
    bits = rng.integers(0, 2, n)
    found: list[tuple[int, int]] = []
    for trial, bit in enumerate(bits.tolist()):
        at = (trial + 1) * US
        last = dict.fromkeys((1, 2, 3, 4), -US)
        pulses = [(0, (1 + bit,)), (5000, (1, 3, 4)), (12_000, (2, 3, 4)), (probe_ps, (1, 2, 3, 4))]
        for after, detectors in pulses:
            for detector in detectors:
                if at + after - last[detector] >= 30_000:
                    last[detector] = at + after
                    found.append((at + after, detector))
    found.sort()
    times, channels = zip(*found, strict=True)
    return (np.array(times, np.int64), np.array(channels, np.uint8)), bits


def prolonged(found: Clicks) -> np.ndarray:
    """A veto that every click prolongs: announces a click after QUIET without any click."""
    times = found[0]
    return times[np.diff(times, prepend=-US) >= QUIET]


def ours(found: Clicks) -> np.ndarray:
    events = buffer(NOISY)
    events.add(block(found, 0, int(found[0][-1]) + US))
    return kept(events)


def told(rule: Callable[[Clicks], np.ndarray]) -> float:
    """The share of announced probes by key bit: the largest difference over all probe times."""
    worst = 0.0
    for probe in range(30_000, 125_000, 1000):
        found, bits = echo(np.random.default_rng(probe), probe)
        trial, after = np.divmod(rule(found) + 10_000, US)
        seen = np.zeros(len(bits) + 2, bool)
        seen[trial[after > 30_000]] = True
        seen = seen[1 : len(bits) + 1]
        worst = max(worst, abs(seen[bits == 0].mean() - seen[bits == 1].mean()))
    return worst


def test_row_m7_the_echo_tells_nothing() -> None:
    assert told(prolonged) > 0.9, "the attack works against a veto that later clicks prolong"
    assert told(ours) < 0.25  # 95 probe times, 400 trials each: 5 sigma


def test_what_is_announced_does_not_depend_on_detectors() -> None:
    rng = np.random.default_rng(5)
    times, channels = clicks(rng, 4000, 70_000)
    said = []
    for shuffled in (channels, rng.permutation(channels), np.full(len(channels), 1, np.uint8)):
        events = buffer(NOISY)
        events.add(block((times, shuffled), 0, int(times[-1])))
        said.append(events.announce(0, events.horizon_ps))
    assert said[0] == said[1] == said[2]


# ---- delays, blocks, bits ----


def test_delays_are_taken_off_before_clicks_are_sorted() -> None:
    events = buffer(PLAIN, {"H": 0, "V": 9_000_000, "D": -9_000_000, "A": 20})
    channels = np.array([1, 3, 2, 4], np.uint8)
    events.add(block((np.array([31, 32, 48, 55]) * US, channels), 0, 100 * US))
    assert kept(events).tolist() == [31 * US, 39 * US, 41 * US, 55 * US - 20]
    assert events.disclose(np.arange(4)).tolist() == [0, 1, 2, 3]


def test_time_between_blocks_is_lost_and_clicks_are_wiped() -> None:
    events = buffer()
    data = block((np.array([US]), np.array([1], np.uint8)), 0, 2 * US)
    events.add(data)
    assert data.time_ps.tolist() == [0]
    events.add(block((np.array([4 * US]), np.array([1], np.uint8)), 3 * US, 5 * US))
    assert kept(events).tolist() == [US, 4 * US]
    gap = (2 * US - QUIET + 1, 3 * US + 1 + QUIET)
    assert events.lost(US, 5 * US) == (gap,)
    with pytest.raises(NativeStateError):
        events.announce(0, 5 * US)
    events.discard_before(3 * US)
    assert kept(events).tolist() == [4 * US]


def test_bits_are_hidden_until_taken_and_given_once() -> None:
    rng = np.random.default_rng(8)
    times, channels = np.arange(1, 2001) * US, rng.integers(1, 5, 2000).astype(np.uint8)
    events = buffer()
    events.add(block((times, channels), 0, 3000 * US))
    index = np.arange(0, 2000, 3)
    bits = np.unpackbits(np.frombuffer(events.take_bits(index).disclose(), np.uint8))[: len(index)]
    assert bits.tolist() == ((channels[index] - 1) & 1).tolist()
    for call in (events.take_bits, events.disclose):
        with pytest.raises(NativeStateError):
            call(index[5:6])


def test_what_pairs_take_along_is_what_each_call_tells() -> None:
    """``keep`` returns bits, bases, time steps and marks as the single calls do, and only once."""
    rng = np.random.default_rng(9)
    times = np.cumsum(rng.integers(QUIET // 3, 4 * QUIET, 3000))
    channels = rng.integers(1, 5, 3000).astype(np.uint8)
    one, other = buffer(), buffer()
    for events in (one, other):
        events.add(block((times.copy(), channels.copy()), 0, int(times[-1]) + 9 * QUIET))
    n = len(kept(one))
    index = np.flatnonzero(rng.random(n) < 0.6)
    offset_ps = rng.integers(-5000, 5000, len(index))
    found = one.keep(index, offset_ps, 20)
    assert found.basis.tolist() == other.bases(index).tolist()
    assert found.marks.tolist() == other.marks(index).tolist()
    assert one.followed_of(3, n - 5) == other.followed(np.arange(3, n - 2))
    steps = np.clip(np.round(offset_ps / 20), -127, 127)
    assert found.steps.tolist() == steps.astype(int).tolist()
    assert found.bits.disclose() == other.take_bits(index).disclose()
    assert other.keep(np.array([], np.int64), None, 20).steps.tolist() == []
    for again in (index[:1], index[::-1].copy()):
        with pytest.raises(NativeError):
            one.keep(again, None, 20)
    with pytest.raises(NativeError):
        one.keep(np.array([n]), None, 20)
    assert not other.keep(np.setdiff1d(np.arange(n), index), None, 20).steps.any()


def test_multi_clicks_get_a_random_bit_and_across_bases_a_random_basis() -> None:
    n = 4000
    at = np.repeat(np.arange(1, n + 1) * US, 2)
    for pair, bases in (((1, 2), {0}), ((1, 3), {0, 1})):
        events = buffer()
        events.add(block((at, np.tile(np.array(pair, np.uint8), n)), 0, (n + 9) * US))
        detector = events.disclose(np.arange(n))
        assert set((detector >> 1).tolist()) == bases
        shares = np.bincount(detector, minlength=4) / n
        assert np.allclose(shares[shares > 0], 0.5 / len(bases), atol=0.05)
        counts = events.counts
        assert (counts.multi_same, counts.multi_cross) == ((n, 0) if len(bases) == 1 else (0, n))
        assert counts.followed == n


# ---- agreed lengths ----


@pytest.mark.parametrize("scale_ps", [1, 20, 80])
def test_the_quiet_length_leaves_the_veto_but_for_delta(scale_ps: int) -> None:
    """Against the convolution of two noise laws, term by term."""
    p = math.exp(-1 / scale_ps)
    reach = 60 * scale_ps
    law = (1 - p) / (1 + p) * p ** np.abs(np.arange(-reach, reach + 1)).astype(float)
    difference = np.convolve(law, law)
    for events, delta in ((1e3, 1e-6), (1e6, 1e-4), (1, 1e-9)):
        margin = quiet_length_ps(QUIET, scale_ps, events, delta) - QUIET
        tail = np.cumsum(difference[::-1])[::-1][2 * reach :]
        assert events * tail[margin] <= delta * (1 + 1e-6)
        assert events * tail[margin - 1] > delta * (1 - 1e-6)
    assert noise_bound_ps(scale_ps, 1e10, 1e-12) == math.ceil(scale_ps * 22 * math.log(10))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((200, 8000, 4000, 2000, 6), "two candidates"),
        ((200, 8000, 4063, 2000, 6), "two candidates"),
        ((200, 100, 50_000, 2000, 6), "cut"),
        ((9999, 99_990, 500_000, 2000, 6), "scale"),
        ((200, 8000, 50_000, 0, 6), "window"),
        ((200, 8000, 50_000, 2000, 21), "grid"),
        ((200, 8000, 50_000_000, 2000, 6), "two candidates"),
    ],
)
def test_rules_that_contradict_each_other_are_named(
    numbers: tuple[int, int, int, int, int], words: str
) -> None:
    with pytest.raises(TimeRuleError, match=words):
        TimeRule(*numbers)
    with pytest.raises(TimeRuleError, match="delta"):
        quiet_length_ps(QUIET, 200, 0, 1e-9)
    with pytest.raises(TimeRuleError, match="10000000"):
        buffer(PLAIN, {**NONE, "A": 10_000_001})
    with pytest.raises(TimeRuleError, match="H, V, D and A"):
        buffer(PLAIN, {"H": 1})


def test_marks_that_are_gathered_in_one_string_are_too_many_for_it() -> None:
    """The limit is the agreed share of each string's own bits, not of all pairs."""
    parameters = AgreedParameters(multi_click_limit=0.005)
    assert few_multi_clicks(parameters, [(5, 1000), (5, 1000)], 20, 4000)
    assert not few_multi_clicks(parameters, [(10, 1000), (0, 1000)], 20, 4000)
    assert not few_multi_clicks(parameters, [(0, 1000), (0, 1000)], 201, 4000)
