"""Estimation of detector delays from labelled clicks."""

from __future__ import annotations

import numpy as np
import pytest
from clicks import Bench, Clicks, generate

from photonlink.pipeline.stages.delays import DelayEstimator
from photonlink.pipeline.stages.sift import SiftParameters, coincidence_parameters
from photonlink.pipeline.stages.window import LabelledWindow

PS = 10**12


def labelled(clicks: Clicks) -> tuple[LabelledWindow, LabelledWindow]:
    alice, bob = (
        LabelledWindow(
            0, tags.end_ps, tags.time_ps, (tags.channel - 1) >> 1, detector=tags.channel - 1
        )
        for tags in (clicks.alice, clicks.bob)
    )
    return alice, bob


def estimate(bench: Bench) -> tuple[DelayEstimator, SiftParameters]:
    """Uses the true clock, so that only the delays are unknown."""
    sift = coincidence_parameters(
        bench.resolution_a_ps, bench.resolution_b_ps, bench.jitter_fwhm_ps, bench.jitter_fwhm_ps
    )
    alice, bob = labelled(generate(bench))
    estimator = DelayEstimator(sigma_ps=sift.sigma_ps, window_ps=sift.window_ps)
    estimator.add(alice, bob.time_ps, bob.detector)
    return estimator, sift


STILL = Bench(offset_s=0.0, frequency_ppm=0.0, duration_s=2.0)
DELAY_A, DELAY_B = (0, 8000, -5000, 3000), (900, -7000, 0, 11_000)


@pytest.mark.parametrize("resolution_ps", [1, 2000])
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 0.4, 0.7, 0.25)])
def test_delays_of_every_detector_are_found(
    resolution_ps: int, weights: tuple[float, float, float, float]
) -> None:
    bench = Bench(
        seed=3, offset_s=0.0, frequency_ppm=0.0, duration_s=2.0, delay_a_ps=DELAY_A,
        delay_b_ps=DELAY_B, weights_b=weights, resolution_b_ps=resolution_ps,
    )  # fmt: skip
    estimator, _ = estimate(bench)
    delays = estimator.solve()
    assert delays is not None
    assert delays.unresolved == ()
    for found, true in ((delays.alice_ps, DELAY_A), (delays.bob_ps, DELAY_B)):
        centred = np.array(true) - np.mean(true)
        assert np.abs(np.array(list(found.values())) - centred).max() < 30 + resolution_ps / 25
        assert list(found) == ["H", "V", "D", "A"]
    common = np.mean(DELAY_B) - np.mean(DELAY_A) - (resolution_ps - 1) / 2
    assert abs(delays.common_ps - common) < 30 + resolution_ps / 25
    assert delays.sigma_ps < 30


def test_visibility_and_matrix() -> None:
    bench = Bench(seed=4, visibility=0.9, offset_s=0.0, frequency_ppm=0.0, delay_a_ps=DELAY_A)
    estimator, _ = estimate(bench)
    for visibility in estimator.visibility():
        assert visibility is not None
        assert abs(visibility - 0.9) < 0.02
    for rate in estimator.qber():
        assert rate is not None
        assert abs(rate - 0.05) < 0.01
    counts, accidentals = estimator.coincidence_matrix()
    total = bench.pairs_hz * bench.duration_s
    assert 0.96 < counts.sum() / total < 1.01
    assert accidentals.sum() < 0.01 * total
    assert (counts[:2, 2:] > 0.04 * total).all()  # different bases: no correlation
    assert counts[0, 1] < counts[0, 0] / 10


def test_nothing_known_is_said_to_be_so() -> None:
    estimator = DelayEstimator(sigma_ps=200, window_ps=600)
    assert estimator.solve() is None
    assert estimator.visibility() == (None, None)
    estimator, _ = estimate(Bench(seed=5, pairs_hz=0, offset_s=0.0, frequency_ppm=0.0))
    assert estimator.solve() is None
    dark_v = Bench(
        seed=6, weights_b=(1, 0, 1, 1), offset_s=0.0, frequency_ppm=0.0, delay_b_ps=DELAY_B
    )
    delays = estimate(dark_v)[0].solve()
    assert delays is not None
    assert delays.unresolved == ("bob V",)
    assert delays.bob_ps["V"] == 0
    assert abs(delays.bob_ps["A"] - delays.bob_ps["H"] - 10_100) < 50
