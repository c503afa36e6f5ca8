"""Two recordings of one run, distilled in memory; the clicks come from an independent generator."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from clicks import MAP, Bench, generate

from photonlink.hal.errors import RecordingError
from photonlink.hal.tags import AcquisitionStart, LostInterval, Provenance, TagBlock
from photonlink.pipeline.recordings.replay import PS, ReplayResult, cut, replay_pair
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.events import DetectorMap

DETECTORS = DetectorMap(MAP)
RUN = Bench(
    seed=3, duration_s=4.0, pairs_hz=20_000, singles_a_hz=50_000, singles_b_hz=60_000,
    offset_s=-0.2, frequency_ppm=-6.5,
)  # fmt: skip


def recorded(whole: TagBlock, skip_s: float, shift_s: float) -> TagBlock:
    """A recording as other software writes it: from its first event to its last."""
    low = int(np.searchsorted(whole.time_ps, round(skip_s * 1e12)))
    times = whole.time_ps[low:] + round(shift_s * 1e12)
    return TagBlock(
        times, whole.channel[low:].copy(), int(times[0]), int(times[-1]) + 1, (),
        Provenance.REPLAYED,
    )  # fmt: skip


def distil(
    bench: Bench, *, skip_s: tuple[float, float] = (0, 0), shift_s: tuple[float, float] = (0, 0),
    **kwargs: Any,
) -> ReplayResult:  # fmt: skip
    made = generate(bench)
    return replay_pair(
        [recorded(made.alice, skip_s[0], shift_s[0])],
        [recorded(made.bob, skip_s[1], shift_s[1])],
        DETECTORS,
        DETECTORS,
        (float(bench.resolution_a_ps), float(bench.resolution_b_ps)),
        **kwargs,
    )


@pytest.mark.parametrize(
    ("skip_s", "shift_s"),
    [
        pytest.param((0, 0), (0, 0), id="together"),
        pytest.param((0, 0), (1e6, 1e6), id="clocks that count for days"),
        pytest.param((0, 0), (0, 5000.0), id="clocks of different origin"),
        pytest.param((0.7, 0), (0, 0), id="alice starts later"),
        pytest.param((0, 0.7), (0, 0), id="bob starts later"),
    ],
)
def test_recordings_without_host_time(
    skip_s: tuple[float, float], shift_s: tuple[float, float]
) -> None:
    result = distil(RUN, skip_s=skip_s, shift_s=shift_s)
    assert result.keys_match
    assert result.secret_bits > 500
    assert result.blocks >= 1
    assert result.aborts == []
    assert result.qber == pytest.approx(0.01, abs=0.005)
    expected = RUN.offset_s + RUN.frequency_ppm * 1e-6 * skip_s[0] + shift_s[1] - shift_s[0]
    assert result.clock_offset_s == pytest.approx(expected, abs=2e-9)
    assert result.clock_frequency_ppm == pytest.approx(RUN.frequency_ppm, abs=0.01)
    assert not result.emulated


def test_host_stamps_are_used_when_there_are_some() -> None:
    """Alice's tagger starts 3 s after Bob's; the hosts' clocks differ by 0.3 s."""
    starts = (AcquisitionStart(1_000_003.0, 0.1), AcquisitionStart(1_000_000.3, 0.1))
    bench = replace(RUN, offset_s=3.0 + RUN.offset_s - 0.0, duration_s=7.0)
    made = generate(bench)
    result = replay_pair([made.alice], [made.bob], DETECTORS, DETECTORS, (1.0, 1.0), starts=starts)
    assert result.keys_match
    assert result.clock_offset_s == pytest.approx(bench.offset_s, abs=2e-9)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        pytest.param({"visibility": 0.89, "pairs_hz": 40_000, "duration_s": 6.0}, True, id="0.89"),
        pytest.param({"visibility": 0.80}, False, id="V 0.80"),
        pytest.param({"weights_b": (1.0, 0.4, 0.8, 0.3)}, True, id="unequal detectors"),
        pytest.param({"resolution_b_ps": 2000, "resolution_a_ps": 80}, True, id="coarse ticks"),
        pytest.param({"pairs_hz": 1_000, "duration_s": 14.0}, True, id="1 k pairs/s"),
        pytest.param(
            {"pairs_hz": 100_000, "singles_a_hz": 250_000, "singles_b_hz": 250_000,
             "duration_s": 2.5}, True, id="100 k pairs/s"),
        pytest.param({"drift_ppb_per_s": 5.0, "wander": 1e-11, "frequency_ppm": 10.0}, True,
                     id="drifting"),
        pytest.param({"jump_at_s": 2.0, "jump_ps": 1e9, "duration_s": 6.0}, True,
                     id="lock lost and found"),
    ],
)  # fmt: skip
def test_links_of_all_kinds(changes: dict[str, Any], key: bool) -> None:
    result = distil(replace(RUN, **changes))
    assert bool(sum(r.secret_bits for r in result.reports)) is key
    assert result.keys_match is key
    if not key:
        assert result.secret_bits == 0
        assert result.aborts
        assert all(a.startswith("qber_above_threshold") for a in result.aborts)


def test_an_agreed_threshold_above_the_default_is_used() -> None:
    result = distil(RUN, parameters=AgreedParameters(q_tol=0.005))
    assert result.secret_bits == 0
    assert result.aborts
    assert all(a.startswith("qber_above_threshold") for a in result.aborts)


def test_recordings_that_have_nothing_in_common_say_so() -> None:
    first, second = generate(RUN), generate(replace(RUN, seed=77))
    result = replay_pair([first.alice], [second.bob], DETECTORS, DETECTORS, (1.0, 1.0))
    assert result.secret_bits == 0
    assert not result.keys_match
    assert any("clock_not_found" in a for a in result.aborts)


def test_an_empty_recording_gives_nothing_and_ends() -> None:
    made = generate(RUN)
    for alice, bob in (([], [made.bob]), ([made.alice], []), ([], [])):
        result = replay_pair(alice, bob, DETECTORS, DETECTORS, (1.0, 1.0))
        assert result.secret_bits == 0
        assert not result.keys_match
        assert result.aborts, "no key without a reason"


def test_a_damaged_recording_passes_its_error_on() -> None:
    made = generate(RUN)

    def damaged() -> Any:
        yield made.alice
        raise RecordingError("broken here", position=77)

    with pytest.raises(RecordingError):
        replay_pair(damaged(), [made.bob], DETECTORS, DETECTORS, (1.0, 1.0))


def test_the_same_randomness_gives_the_same_run() -> None:
    from link import seeded

    bench = replace(RUN, duration_s=2.5)
    results = [distil(bench, randomness=seeded("again")) for _ in range(2)]
    assert results[0].reports == results[1].reports
    assert results[0].reports != distil(bench, randomness=seeded("other")).reports


def test_blocks_are_cut_without_losing_an_event_or_a_gap() -> None:
    made = generate(replace(RUN, duration_s=1.05)).alice
    lost = (LostInterval(5, 10, 3, "overflow"),)
    whole = replace(made, lost=lost)
    pieces = list(cut([whole]))
    assert len(pieces) == 11
    assert np.array_equal(np.concatenate([p.time_ps for p in pieces]), whole.time_ps)
    assert np.array_equal(np.concatenate([p.channel for p in pieces]), whole.channel)
    assert [p.lost for p in pieces if p.lost] == [lost]
    assert pieces[0].start_ps == whole.start_ps
    assert pieces[-1].end_ps == whole.end_ps
    assert all(a.end_ps == b.start_ps for a, b in itertools.pairwise(pieces))
    empty = TagBlock(np.empty(0, np.int64), np.empty(0, np.uint8), 0, 0, lost)
    assert [p.lost for p in cut([empty])] == [lost], "a gap without events still counts"


def test_a_long_time_without_clicks_is_one_piece() -> None:
    """A damaged file may jump by hours: the gap costs no work per tenth of a second."""
    hour = 3600 * PS
    times = np.array([0, 5, hour, hour + 7], np.int64)
    whole = TagBlock(times, np.ones(4, np.uint8), 0, 2 * hour)
    pieces = list(cut([whole]))
    assert len(pieces) <= 5
    assert np.array_equal(np.concatenate([p.time_ps for p in pieces]), times)
    assert all(p.start_ps <= t < p.end_ps for p in pieces for t in p.time_ps.tolist())
    assert all(a.end_ps == b.start_ps for a, b in itertools.pairwise(pieces))
    assert pieces[-1].end_ps == whole.end_ps


def test_a_run_too_short_for_a_key_says_so() -> None:
    result = distil(replace(RUN, duration_s=1.3))
    assert result.secret_bits == 0
    assert result.aborts, "no key without a reason"
