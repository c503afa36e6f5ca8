"""Polarization aligned and held: ``python benchmarks/polarization.py [STARTS] [HOURS]``.

STARTS (100) links per controller, each with its fibre at a random point of all rotations, a fibre
of random rotation behind the controller, and a controller whose retardances, axes and zeros differ
at random from its data sheet. 20,000 pairs are counted at each setting. Then HOURS (6) of key on
five links per controller whose fibre turns by 1 rad/h about an axis that itself wanders, in blocks
of 40 s with 50,000 bits a basis. The light is that of the emulated optical table; counts are drawn
from its correlations. Prints one JSON object; status 1 when a goal is missed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from photonlink.firmware_sim.config import BenchConfig
from photonlink.firmware_sim.optical_table import OpticalTable
from photonlink.firmware_sim.physics import polarization
from photonlink.hal.facets import Retarder
from photonlink.pipeline.stages.alignment import model
from photonlink.pipeline.stages.alignment.align import Alignment, AlignmentError
from photonlink.pipeline.stages.alignment.hold import BlockRates, Hold

SQUEEZERS = tuple(Retarder(None, axis, -450.0, 450.0) for axis in (45.0, 0.0, 45.0, 0.0))
PADDLES = tuple(Retarder(loop, 0.0, 0.0, 170.0) for loop in (90.0, 180.0, 90.0))
CONTROLLERS = {"ozoptics.epc": SQUEEZERS, "thorlabs.mpc320": PADDLES}
FLOOR = 0.5 * (1.0 - 0.97 * polarization.contrast(30.0) ** 2)
"""QBER of the table's source behind its analysers, perfectly aligned."""
TOLERANCE, MOVES, WANTED = 0.003, 10, 0.95
Q_TOL = 0.05
BLOCK_S, BLOCK_BITS = 40.0, 50_000
Floats = npt.NDArray[np.float64]


class TurnedLink:
    """The optical table's own light, and a controller that deviates from its data sheet."""

    def __init__(self, retarders: tuple[Retarder, ...], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.retarders = retarders
        self.table = OpticalTable(BenchConfig())
        self.place = self.table.stand("bob.waveplates")
        behind = self.table.stand("bob.polarization")
        for axis in ("da", "rl", "hv"):
            behind.put(f"{axis}_deg", float(self.rng.uniform(-180, 180)))
        self.fibre = Rotation.random(random_state=self.rng)
        self.turn(Rotation.identity())
        self.scale = 1.0 + 0.03 * self.rng.normal(size=len(retarders))
        self.zero_deg = 2.0 * self.rng.normal(size=len(retarders))

    def turn(self, by: Rotation) -> None:
        """Turn the fibre."""
        self.fibre = by * self.fibre
        vector = np.degrees(self.fibre.as_rotvec())
        self.table.set({"bob.rotation_deg": tuple(float(x) for x in vector)})

    def move(self, setting_deg: Floats) -> None:
        """Set the controller."""
        for n, (r, angle) in enumerate(zip(self.retarders, setting_deg, strict=True)):
            if r.retardance_deg is None:
                turn, axis = angle * self.scale[n] + 2.0 * self.zero_deg[n], r.axis_deg
            else:
                turn, axis = r.retardance_deg * self.scale[n], angle + self.zero_deg[n]
            self.place.put(f"angle{n + 1}_deg", float(axis))
            self.place.put(f"retardance{n + 1}_deg", float(turn))

    @property
    def correlation(self) -> Floats:
        """True correlations (2, 2)."""
        return self.table.source_params().correlation

    @property
    def qber(self) -> float:
        """True mean QBER of both bases."""
        return float(model.error_rate(self.correlation))

    def counts(self, pairs: int = 20_000) -> Floats:
        """Coincidences (4, 4)."""
        found = np.zeros((4, 4))
        for a in range(2):
            for b in range(2):
                same = (1 + self.correlation[a, b]) / 4
                p = np.clip([same, 0.5 - same, 0.5 - same, same], 0, 1)
                drawn = self.rng.multinomial(pairs // 4, p / p.sum()).reshape(2, 2)
                found[2 * a : 2 * a + 2, 2 * b : 2 * b + 2] = drawn
        return found

    def align(self) -> Alignment:
        """Align from a random setting; AlignmentError when it fails."""
        start = [float(self.rng.uniform(r.low_deg, r.high_deg)) for r in self.retarders]
        search = Alignment(self.retarders, start)
        while not search.done:
            self.move(search.setting_deg)
            search.counted(self.counts())
        return search

    def hold(self, search: Alignment, blocks: int, rad_per_h: float = 1.0) -> Floats:
        """True error rates (blocks, 2) of a run while the fibre turns."""
        assert search.model is not None
        hold = Hold(search.controller, search.model, search.setting_deg)
        axis, seen = self.rng.normal(size=3), []
        for _ in range(blocks):
            axis = axis / np.linalg.norm(axis) + 0.02 * self.rng.normal(size=3)
            self.turn(Rotation.from_rotvec(axis * rad_per_h * BLOCK_S / 3600.0))
            self.move(hold.setting_deg)
            rates = 0.5 * (1 - np.diag(self.correlation))
            seen.append(rates)
            hv, da = (float(x) for x in self.rng.binomial(BLOCK_BITS, rates) / BLOCK_BITS)
            at = [(hold.setting_deg, 1.0)]
            hold.block(BlockRates(hv, BLOCK_BITS, da, BLOCK_BITS, BLOCK_S, at))
        return np.array(seen)


def starts(retarders: tuple[Retarder, ...], n: int) -> dict[str, Any]:
    """Alignments from n random points."""
    moves, excess, good = [], [], 0
    for seed in range(n):
        link = TurnedLink(retarders, seed)
        try:
            moves.append(link.align().moves)
        except AlignmentError:
            moves.append(MOVES + 1)
        excess.append(link.qber - FLOOR)
        good += moves[-1] <= MOVES and excess[-1] <= TOLERANCE
    return {
        "starts": n, "within_0.3_points_in_10_moves": good,
        "moves": dict(sorted(Counter(moves).items())),
        "median_excess_points": round(100 * float(np.median(excess)), 3),
        "worst_excess_points": round(100 * max(excess), 3),
    }  # fmt: skip


def runs(retarders: tuple[Retarder, ...], hours: float) -> dict[str, Any]:
    """Five links held for ``hours`` of drift at 1 rad/h."""
    blocks = round(hours * 3600 / BLOCK_S)
    seen = []
    for seed in range(1000, 1005):
        link = TurnedLink(retarders, seed)
        seen.append(link.hold(link.align(), blocks))
    rates = np.concatenate(seen)
    return {
        "blocks": len(rates), "without_key": int((rates > Q_TOL).any(axis=1).sum()),
        "mean_excess_points": round(100 * float(rates.mean() - FLOOR), 3),
        "worst_excess_points": round(100 * float(rates.max() - FLOOR), 3),
    }  # fmt: skip


def main(n: int = 100, hours: float = 6.0) -> int:
    """Measure both figures of both controllers."""
    found: dict[str, Any] = {"floor": round(FLOOR, 5)}
    good = True
    for name, retarders in CONTROLLERS.items():
        found[name] = {"align": starts(retarders, n), "hold": runs(retarders, hours)}
        good = good and found[name]["align"]["within_0.3_points_in_10_moves"] >= WANTED * n
        good = good and found[name]["hold"]["without_key"] == 0
    print(json.dumps(found))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*(float(x) if i else int(x) for i, x in enumerate(sys.argv[1:]))))
