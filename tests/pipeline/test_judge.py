"""The judge of a block: faults that it must find, and benches that it must accept."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from photonlink.pipeline.stages.bench_constants import (
    BenchConstants,
    DetectorConstants,
    constants_of,
)
from photonlink.pipeline.stages.judge import LEAST_PAIRS, DisclosedPairs, judge


def bench(uncertainty_ps: float) -> BenchConstants:
    four = {letter: DetectorConstants(0, uncertainty_ps, 0.98, 1.02) for letter in "HVDA"}
    return constants_of(four, four, claimed=True)


CALIBRATION = bench(30.0)
SIGMA_PS = 700.0  # a 2 ns tagger at one end
Weights = tuple[float, float, float, float]


def pairs(
    seed: int,
    n: int = 40_000,
    *,
    alice: Weights = (1, 1, 1, 1),
    bob: Weights = (1, 1, 1, 1),
    wander_ps: float = 100.0,
) -> DisclosedPairs:
    """Disclosed pairs of a sound bench, on a clock that is tracked to within wander_ps."""
    rng = np.random.default_rng(seed)
    basis = rng.integers(0, 2, n)
    found = []
    for weights, which in ((alice, basis), (bob, 1 - basis)):
        w = np.array(weights, np.float64)
        second = rng.random(n) < (w[[1, 3]] / (w[[0, 2]] + w[[1, 3]]))[which]
        found.append((2 * which + second).astype(np.uint8))
    clock = wander_ps * np.sin(np.arange(n) / n * 9)
    residual = np.rint(rng.normal(0, SIGMA_PS, n) + clock).astype(np.int64)
    return DisclosedPairs(found[0], found[1], residual)


def moved(
    d: DisclosedPairs, side: str, letter: str, by_ps: int, start: float = 0.0
) -> DisclosedPairs:
    """One detector's delay changes by ``by_ps`` from the fraction ``start`` of the block on."""
    k = "HVDA".index(letter)
    hit = (d.alice if side == "alice" else d.bob) == k
    hit &= np.arange(len(d)) >= start * len(d)
    shift = np.where(hit, -by_ps if side == "alice" else by_ps, 0)
    return dataclasses.replace(d, residual_ps=d.residual_ps + shift)


def without(d: DisclosedPairs, side: str, letter: str, start: float = 0.0) -> DisclosedPairs:
    k = "HVDA".index(letter)
    gone = (d.alice if side == "alice" else d.bob) == k
    gone &= np.arange(len(d)) >= start * len(d)
    keep: npt.NDArray[np.bool_] = ~gone
    return DisclosedPairs(d.alice[keep], d.bob[keep], d.residual_ps[keep])


def test_a_sound_bench_raises_no_alarm() -> None:
    """200 blocks: half an hour of the demo. Also at the edge of what the calibration allows."""
    edge = bench(30.0)
    for seed in range(200):
        sound = pairs(seed, 8000)
        if seed % 4 == 0:
            sound = moved(moved(sound, "bob", "V", 30), "bob", "H", -30)
        elif seed % 4 == 1:
            sound = pairs(seed, 8000, bob=(1.02, 0.98, 0.98, 1.02))
        found = judge(edge, sound)
        assert found.ok, str(found)


def test_the_false_alarm_probability_is_kept() -> None:
    """At a probability of 0.1 instead of 1e-9 the alarms are about as frequent as stated."""
    alarms = sum(not judge(CALIBRATION, pairs(seed, 3000), 0.1).ok for seed in range(300))
    assert alarms <= 0.1 * 300 + 3 * np.sqrt(30)


@pytest.mark.parametrize("start", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("side", "letter"), [("bob", "V"), ("bob", "D"), ("alice", "H")])
def test_h1_a_step_of_500_ps_is_named_in_its_block(side: str, letter: str, start: float) -> None:
    found = judge(CALIBRATION, moved(pairs(1), side, letter, 510, start))
    assert not found.ok
    first = found.faults[0]
    assert (first.code, first.where) == ("detector_delay", f"{side} {letter}"), str(found)
    assert first.value == pytest.approx(510, abs=200)
    assert first.limit == 30.0
    assert str(found).startswith(f"detector_delay: {side} {letter} delay +")
    assert "ps beyond ±30 ps" in str(found)


@pytest.mark.parametrize("start", [0.0, 0.7])
@pytest.mark.parametrize(("side", "letter"), [("bob", "V"), ("alice", "A")])
def test_c3_a_dead_detector_is_named(side: str, letter: str, start: float) -> None:
    found = judge(CALIBRATION, without(pairs(2), side, letter, start))
    assert not found.ok
    assert any(
        f.where == f"{side} {letter}" and f.text.startswith("is dead") for f in found.faults
    ), [str(f) for f in found.faults]


def test_an_efficiency_that_fell_is_named() -> None:
    found = judge(CALIBRATION, pairs(3, bob=(1, 0.8, 1, 1)))
    assert (found.faults[0].code, found.faults[0].where) == ("detector_efficiency", "bob V")


def test_a_basis_that_moved_as_a_whole_is_named() -> None:
    both = moved(moved(pairs(4), "bob", "H", 400), "bob", "V", 400)
    found = judge(CALIBRATION, both)
    assert not found.ok
    assert "apart by" in str(found)


def test_a_basis_that_lost_light_is_named() -> None:
    d = pairs(5)
    rng = np.random.default_rng(5)
    keep = (d.bob >= 2) | (rng.random(len(d)) < 0.8)
    found = judge(CALIBRATION, DisclosedPairs(d.alice[keep], d.bob[keep], d.residual_ps[keep]))
    assert [f.code for f in found.faults] == ["detector_efficiency"]


def test_too_few_pairs_are_not_taken_for_sound_ones() -> None:
    found = judge(CALIBRATION, pairs(6, LEAST_PAIRS - 1))
    assert not found.ok
    assert found.faults[0].code == "detectors_not_judged"
    assert judge(CALIBRATION, pairs(6, 0)).faults[0].code == "detectors_not_judged"


def test_a_wider_calibration_lets_more_pass() -> None:
    """The limit comes from the calibration and is no constant: a wider one accepts the step."""
    wide = bench(600.0)
    step = moved(pairs(7), "bob", "V", 510)
    assert judge(wide, step).ok
    assert not judge(CALIBRATION, step).ok
