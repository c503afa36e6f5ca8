"""The model of a polarization controller: found in a few moves, held against drift."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from photonlink.firmware_sim.config import BenchConfig
from photonlink.firmware_sim.optical_table import OpticalTable
from photonlink.firmware_sim.physics import polarization
from photonlink.hal.facets import Retarder
from photonlink.pipeline.stages.alignment import model
from photonlink.pipeline.stages.alignment.align import Alignment, AlignmentError
from photonlink.pipeline.stages.alignment.fit import LinkModel, measured
from photonlink.pipeline.stages.alignment.hold import BlockRates, Hold

SQUEEZERS = tuple(Retarder(None, axis, -450.0, 450.0) for axis in (45.0, 0.0, 45.0, 0.0))
PADDLES = tuple(Retarder(loop, 0.0, 0.0, 170.0) for loop in (90.0, 180.0, 90.0))
FLOOR = 0.0169
Floats = npt.NDArray[np.float64]


class Link:
    """The optical table's own light, a controller that is not quite what its data sheet says."""

    def __init__(self, retarders: tuple[Retarder, ...], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.retarders = retarders
        self.table = OpticalTable(BenchConfig())
        self.place = self.table.stand("bob.waveplates")
        behind = self.table.stand("bob.polarization")
        for axis in ("da", "rl", "hv"):
            behind.put(f"{axis}_deg", self.rng.uniform(-180, 180))
        self.turn(self.rng.uniform(-110, 110, 3))
        self.off = self.rng.normal(0, 1, (2, len(retarders)))

    def turn(self, rotation_deg: Floats) -> None:
        self.table.set({"bob.rotation_deg": tuple(rotation_deg)})

    def move(self, setting_deg: Floats) -> None:
        for n, (r, angle) in enumerate(zip(self.retarders, setting_deg, strict=True)):
            scale, offset = 1 + 0.02 * self.off[0, n], 2.0 * self.off[1, n]
            if r.retardance_deg is None:
                turn, axis = angle * scale + offset, r.axis_deg
            else:
                turn, axis = r.retardance_deg * scale, angle + offset
            self.place.put(f"angle{n + 1}_deg", axis)
            self.place.put(f"retardance{n + 1}_deg", turn)

    @property
    def correlation(self) -> Floats:
        return self.table.source_params().correlation

    @property
    def qber(self) -> float:
        return float(model.error_rate(self.correlation))

    def counts(self, pairs: int = 20_000) -> Floats:
        found = np.zeros((4, 4))
        for a in range(2):
            for b in range(2):
                same = (1 + self.correlation[a, b]) / 4
                p = np.clip([same, 0.5 - same, 0.5 - same, same], 0, 1)
                drawn = self.rng.multinomial(pairs // 4, p / p.sum()).reshape(2, 2)
                found[2 * a : 2 * a + 2, 2 * b : 2 * b + 2] = drawn
        return found

    def align(self) -> Alignment:
        start = [self.rng.uniform(r.low_deg, r.high_deg) for r in self.retarders]
        search = Alignment(self.retarders, start)
        while not search.done:
            self.move(search.setting_deg)
            search.counted(self.counts())
        return search


def test_the_model_is_the_emulators_physics_written_anew() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(5, 3))
    for vector, found in zip(vectors, model.turned(vectors), strict=True):
        assert np.allclose(found, polarization.rotation(vector))
    link = Link(PADDLES, 3)
    link.off[:] = 0
    controller = model.Controller(PADDLES)
    setting = np.array([20.0, 130.0, 75.0])
    link.move(setting)
    assert np.allclose(controller.rotations(setting, np.zeros(6)), link.place.rotation("bob"))


@pytest.mark.parametrize("retarders", [SQUEEZERS, PADDLES], ids=["squeezers", "paddles"])
def test_it_is_found_in_a_few_moves(retarders: tuple[Retarder, ...]) -> None:
    link = Link(retarders, 11)
    search = link.align()
    assert search.moves <= 10
    assert link.qber < FLOOR + 0.003
    assert search.model is not None
    assert abs(search.model.floor - FLOOR) < 0.003
    again = LinkModel.from_dict(search.controller, search.model.as_dict())
    assert np.allclose(again.predict(search.setting_deg), search.model.predict(search.setting_deg))


def test_it_is_held_while_the_fibre_turns_by_a_radian_per_hour() -> None:
    link = Link(SQUEEZERS, 12)
    search = link.align()
    assert search.model is not None
    hold = Hold(search.controller, search.model, search.setting_deg)
    start, n = np.array(link.table.get("bob.rotation_deg")), 50_000
    axis = start / np.linalg.norm(start)
    seen = []
    for block in range(60):  # of 60 s: an hour
        link.turn(start + axis * np.degrees(1.0) * block / 60)
        link.move(hold.setting_deg)
        rates = 0.5 * (1 - np.diag(link.correlation))
        seen.append(rates)
        hv, da = link.rng.binomial(n, rates) / n
        hold.block(BlockRates(hv, n, da, n, 60.0, [(hold.setting_deg, 1.0)]))
    assert np.max(seen) < FLOOR + 0.012
    assert np.mean(seen) < FLOOR + 0.003
    unheld = 0.5 * (1 - np.cos(1.0)) / 2
    assert unheld > 0.1, "a link that nobody holds would have lost its key"


def test_what_cannot_be_found_is_an_error() -> None:
    with pytest.raises(AlignmentError, match="2 axes cannot"):
        Alignment(PADDLES[:2], [0.0, 0.0])
    search = Alignment(PADDLES, [0.0, 0.0, 0.0])
    with pytest.raises(AlignmentError, match="pairs in one combination"):
        search.counted(np.full((4, 4), 5.0))
    stuck = Alignment(PADDLES, [10.0, 20.0, 30.0], max_moves=5)
    link = Link(PADDLES, 13)
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
