"""The measurement against benches with known parameters (clicks.py shares no code with it)."""

from __future__ import annotations

import numpy as np
import pytest
from calibrated import calibration_of, measured
from clicks import Bench

from photonlink.pipeline.calibration.measure import MeasurementError
from photonlink.pipeline.calibration.model import (
    CalibrationOtherInstruments,
    DetectorCalibration,
)
from photonlink.pipeline.check.calibrate import with_one_replaced

DELAY_A, DELAY_B = (0, 640, 1480, 310), (820, 0, 1130, 1960)
STILL = Bench(
    seed=1, duration_s=2.0, offset_s=0.0, frequency_ppm=0.0, pairs_hz=20_000,
    delay_a_ps=DELAY_A, delay_b_ps=DELAY_B,
)  # fmt: skip
Side = dict[str, DetectorCalibration]


def assert_delays(side: Side, truth: tuple[int, ...]) -> None:
    for letter, true in zip("HVDA", np.array(truth) - np.mean(truth), strict=True):
        d = side[letter]
        assert abs(d.delay_ps - true) < d.delay_uncertainty_ps, (letter, d.delay_ps, true)


@pytest.mark.parametrize("resolutions", [(1, 1), (2000, 80)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_delays_and_efficiencies_lie_within_their_bounds(
    resolutions: tuple[int, int], seed: int
) -> None:
    weights = (1.0, 0.9, 0.95, 0.8)
    bench = Bench(
        **{**STILL.__dict__, "seed": seed, "weights_b": weights, "dead_time_ps": 1_000_000,
           "resolution_a_ps": resolutions[0], "resolution_b_ps": resolutions[1]}
    )  # fmt: skip
    alice, bob = measured(bench)
    assert_delays(alice, DELAY_A)
    assert_delays(bob, DELAY_B)
    assert max(d.delay_uncertainty_ps for d in bob.values()) < 60
    for letter, true in zip("HVDA", np.array(weights) / np.mean(weights), strict=True):
        e = bob[letter].efficiency
        assert e.low < true < e.high
        assert e.high / e.low < 1.12
    for d in (*alice.values(), *bob.values()):
        assert 1_000_000 - 2000 <= d.dead_time_ps <= 1_010_000
        assert d.quiet_time_ps <= 2_000_000


def test_jitter_is_the_distribution_of_the_pairs_times() -> None:
    alice, bob = measured(STILL)
    for d in (*alice.values(), *bob.values()):
        j = d.jitter
        counts = np.array(j.counts) - j.background
        x = np.array(j.centres_ps)
        mean = (counts * x).sum() / counts.sum()
        sigma = np.sqrt((counts * (x - mean) ** 2).sum() / counts.sum())
        assert abs(mean) < 20
        assert sigma == pytest.approx(300 / 2.3548 * np.sqrt(2), rel=0.15)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"weights_b": (1, 0, 1, 1)}, "bob V"),
        ({"pairs_hz": 1.0}, ""),
        ({"dark_a": True}, "alice H"),
        ({"pairs_hz": 500.0, "duration_s": 1.0}, ""),
    ],
)
def test_light_that_is_not_enough_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        measured(Bench(**{**STILL.__dict__, **changes}))
    assert named in (caught.value.where or "")


def test_polarised_light_is_not_taken_for_efficiencies() -> None:
    """Half as many extra singles in V, with unchanged pairs, come from background light."""
    from clicks import MAP, generate

    from photonlink.pipeline.calibration.measure import Clicks, measure

    made = generate(STILL)
    extra = np.sort(np.random.default_rng(1).integers(0, 2 * 10**12, 60_000))
    times = np.concatenate([made.bob.time_ps, extra])
    detector = np.concatenate([made.bob.channel - 1, np.ones(len(extra), np.uint8)])
    order = np.argsort(times, kind="stable")
    bob = Clicks(times[order], detector[order].astype(np.uint8), 2.0, MAP, {})
    alice = Clicks(made.alice.time_ps, made.alice.channel - np.uint8(1), 2.0, MAP, {})
    with pytest.raises(MeasurementError, match="singles give") as caught:
        measure(alice, bob, 180.0)
    assert "bob" in (caught.value.where or "")


def test_one_detector_replaced_keeps_the_others() -> None:
    old = calibration_of(*measured(STILL))
    moved = (820, 700, 1130, 1960)
    bench = Bench(**{**STILL.__dict__, "seed": 9, "delay_b_ps": moved, "weights_b": (1, 0.8, 1, 1)})
    fresh = calibration_of(*measured(bench))
    new = with_one_replaced(old, fresh, "bob.V")
    assert new.alice == old.alice
    assert new.valid_until_s == old.valid_until_s
    for letter in "HDA":
        assert new.bob.detectors[letter] == old.bob.detectors[letter]
    v, before = new.bob.detectors["V"], old.bob.detectors["V"]
    assert v.delay_ps - before.delay_ps == pytest.approx(700, abs=v.delay_uncertainty_ps)
    assert v.efficiency.low < 0.8 * before.efficiency.value < v.efficiency.high
    with pytest.raises(CalibrationOtherInstruments, match="another detector"):
        with_one_replaced(old, fresh, "bob.H")
    with pytest.raises(CalibrationOtherInstruments, match="another detector"):
        with_one_replaced(old, fresh, "alice.H")
