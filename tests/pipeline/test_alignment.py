"""Alignment of a modelled polarization controller: found in a few moves, held against drift."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photonlink.firmware_sim.physics import polarization
from photonlink.pipeline.stages.alignment import model
from photonlink.pipeline.stages.alignment.align import Alignment, AlignmentError
from photonlink.pipeline.stages.alignment.fit import LinkModel, measured


@pytest.fixture(scope="module")
def bench() -> Any:
    """The benchmark module with the links that it measures."""
    root = str(Path(__file__).resolve().parents[2])
    sys.path.insert(0, root)
    try:
        return importlib.import_module("benchmarks.polarization")
    finally:
        sys.path.remove(root)


def test_the_model_is_the_emulators_physics_written_anew(bench: Any) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(5, 3))
    for vector, found in zip(vectors, model.turned(vectors), strict=True):
        assert np.allclose(found, polarization.rotation(vector))
    link = bench.TurnedLink(bench.PADDLES, 3)
    link.scale[:], link.zero_deg[:] = 1.0, 0.0
    controller = model.Controller(bench.PADDLES)
    setting = np.array([20.0, 130.0, 75.0])
    link.move(setting)
    assert np.allclose(controller.rotations(setting, np.zeros(6)), link.place.rotation("bob"))


@pytest.mark.parametrize("controller", ["ozoptics.epc", "thorlabs.mpc320"])
def test_it_is_found_in_a_few_moves(bench: Any, controller: str) -> None:
    link = bench.TurnedLink(bench.CONTROLLERS[controller], 11)
    search = link.align()
    assert search.moves <= 10
    assert link.qber < bench.FLOOR + 0.003
    assert abs(search.model.floor - bench.FLOOR) < 0.003
    again = LinkModel.from_dict(search.controller, search.model.as_dict())
    assert np.allclose(again.predict(search.setting_deg), search.model.predict(search.setting_deg))
    with pytest.raises(ValueError, match="another controller"):
        LinkModel.from_dict(model.Controller(link.retarders[:2]), search.model.as_dict())


def test_it_is_held_while_the_fibre_turns_by_a_radian_per_hour(bench: Any) -> None:
    link = bench.TurnedLink(bench.SQUEEZERS, 12)
    seen = link.hold(link.align(), 60, rad_per_h=1.5)  # one radian in 60 blocks
    assert seen.max() < bench.FLOOR + 0.012
    assert seen.mean() < bench.FLOOR + 0.003
    assert 0.5 * (1 - np.cos(1.0)) / 2 > 0.1, "a link that nobody holds would have lost its key"


def test_what_cannot_be_found_is_an_error(bench: Any) -> None:
    with pytest.raises(AlignmentError, match="2 axes cannot"):
        Alignment(bench.PADDLES[:2], [0.0, 0.0])
    search = Alignment(bench.PADDLES, [0.0, 0.0, 0.0])
    with pytest.raises(AlignmentError, match="pairs in one combination"):
        search.counted(np.full((4, 4), 5.0))
    stuck = Alignment(bench.PADDLES, [10.0, 20.0, 30.0], max_moves=5)
    link = bench.TurnedLink(bench.PADDLES, 13)
    link.move(stuck.setting_deg)

    def go_on() -> None:
        while not stuck.done:  # its controller never moves
            stuck.counted(link.counts())

    with pytest.raises(AlignmentError, match="Does the controller follow"):
        go_on()


def test_counts_become_correlations() -> None:
    counts = np.zeros((4, 4))
    counts[0, 0] = counts[1, 1] = 90
    counts[0, 1] = counts[1, 0] = 10
    counts[2:, 2:] = 50
    counts[:2, 2:] = counts[2:, :2] = 25
    found = measured(np.zeros(3), counts)
    assert np.allclose(found.correlation, [[0.8, 0.0], [0.0, 0.0]])
    assert np.allclose(found.pairs, [[200, 100], [100, 200]])
