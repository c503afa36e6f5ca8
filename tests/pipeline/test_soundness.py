"""Bounds against simulated truth: they fail no more often than their epsilons allow."""

from __future__ import annotations

import numpy as np
import pytest

from photonlink.pipeline.claim import blocks, pulses, soundness
from photonlink.pipeline.stages.finite_key import counts


@pytest.fixture(scope="module")
def verdicts() -> list[soundness.SoundnessVerdict]:
    return soundness.check_all(runs=300, seed=20)


def test_no_bound_is_violated_more_often_than_allowed(
    verdicts: list[soundness.SoundnessVerdict],
) -> None:
    wrong = [v for v in verdicts if v.claimed and not v.sound]
    assert not wrong, wrong
    assert len([v for v in verdicts if v.claimed]) > 100


def test_gamma_as_printed_is_caught_at_few_errors(
    verdicts: list[soundness.SoundnessVerdict],
) -> None:
    """The simulation detects an unsound bound: the papers' gamma without its guard."""
    gamma = [v for v in verdicts if v.formula == "gamma as printed"]
    assert not gamma[0].sound
    assert gamma[0].violations > 10 * gamma[0].allowed * gamma[0].runs
    assert gamma[-1].sound


def test_a_bound_without_its_fluctuation_is_caught() -> None:
    rng = np.random.default_rng(7)
    source = counts.Source.of((0.6, 0.15, 0.001), (0.6, 0.25, 0.15))
    tally = soundness.Tally("", "")
    for draw in blocks.draws(blocks.SCENARIOS[0], source, 300_000, 100, rng):
        soundness.check_terms(tally, source, draw.n_key, "hoeffding", "n", eps=0.999)
    assert not any(v.sound for v in tally.verdicts() if v.bound.endswith("_1"))


def test_chernoff_is_the_tightest(verdicts: list[soundness.SoundnessVerdict]) -> None:
    """Lim-Chernoff is tighter than Rusca, and that than Lim-Hoeffding; all stay below the truth."""
    tight = {
        v.formula: v.tightness
        for v in verdicts
        if (v.scenario, v.bound) == ("beam splitter", "s_key_1")
    }
    assert tight["hoeffding"] < tight["rusca2018"] < tight["chernoff"] < 1
    assert tight["hoeffding"] > 0.3


def test_splitting_shows_in_the_single_photons(verdicts: list[soundness.SoundnessVerdict]) -> None:
    proved = {v.scenario: v.tightness for v in verdicts
              if (v.formula, v.bound) == ("chernoff", "s_key_1")}  # fmt: skip
    assert proved["photon-number splitting"] < proved["beam splitter"]


def test_the_same_seed_gives_the_same_verdicts() -> None:
    one, two = (
        soundness.check_scenario(
            blocks.SCENARIOS[0], "chernoff", 100_000, 3, np.random.default_rng(3)
        )
        for _ in range(2)
    )
    assert str(one) == str(two)


def test_detectors_with_memory_are_dead_and_ring() -> None:
    rng = np.random.default_rng(1)
    light = np.ones(1000, bool)
    never = np.zeros(1000, bool)
    silent, _ = pulses._clicks(pulses.Detectors(dead=9, afterpulse=0.0), light, never, rng)
    assert silent.tolist() == list(range(0, 1000, 10))
    light[100:] = False
    ringing, by_light = pulses._clicks(
        pulses.Detectors(dead=9, afterpulse=0.99, delay=3.0), light, never, rng
    )
    assert np.all(np.diff(ringing) >= 10)
    assert not by_light.all()
