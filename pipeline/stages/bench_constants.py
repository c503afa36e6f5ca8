"""The constants of the bench that define a coincidence: the same at both ends, never estimated from
key data.

They come from the calibration file (or, for recordings of others, from the recording itself; then
nothing is claimed against Eve). The protocol only compares the light with them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from photonlink.pipeline.stages.window import LETTERS


@dataclass(frozen=True, slots=True)
class DetectorConstants:
    """delay_ps: to subtract from its times, with its uncertainty. efficiency_low, _high: bounds
    on the efficiency relative to the mean of the station's four."""

    delay_ps: int = 0
    delay_uncertainty_ps: float = 50.0
    efficiency_low: float = 0.8
    efficiency_high: float = 1.25


@dataclass(frozen=True, slots=True)
class BenchConstants:
    """Both stations' detectors by letter. digest: compared in the handshake. claimed: measured with
    trusted light; False: learned from the data, and nothing is claimed against Eve. ticks_ps:
    resolution of Alice's and Bob's tagger. quiet_time_ps: time after a click until all detectors of
    a station have their calibrated efficiency again. ratio: the largest between two detectors'
    acceptances, product of both stations, with the agreed noise."""

    alice: Mapping[str, DetectorConstants]
    bob: Mapping[str, DetectorConstants]
    digest: str
    claimed: bool = True
    ticks_ps: tuple[float, float] = (1.0, 1.0)
    quiet_time_ps: int = 0
    ratio: float = 1.0

    def station(self, role: str) -> Mapping[str, DetectorConstants]:
        return {"alice": self.alice, "bob": self.bob}[role]

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`as_dict`; KeyError or TypeError for anything else."""
        sides = [
            {letter: DetectorConstants(**found[side][letter]) for letter in LETTERS}
            for side in ("alice", "bob")
        ]
        alice_ps, bob_ps = (float(tick) for tick in found["ticks_ps"])
        return cls(
            sides[0],
            sides[1],
            str(found["digest"]),
            bool(found["claimed"]),
            (alice_ps, bob_ps),
            int(found["quiet_time_ps"]),
            float(found["ratio"]),
        )

    def delays_ps(self, role: str) -> dict[str, int]:
        return {letter: d.delay_ps for letter, d in self.station(role).items()}


def constants_of(
    alice: Mapping[str, DetectorConstants],
    bob: Mapping[str, DetectorConstants],
    *,
    claimed: bool,
    ticks_ps: tuple[float, float] = (1.0, 1.0),
    quiet_time_ps: int = 0,
) -> BenchConstants:
    """The constants with the digest of their values."""
    values = [[dataclasses.asdict(side[c]) for c in LETTERS] for side in (alice, bob)]
    text = json.dumps([values, claimed, ticks_ps, quiet_time_ps], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return BenchConstants(alice, bob, digest, claimed, ticks_ps, quiet_time_ps)


def ideal(*, claimed: bool = True, ticks_ps: tuple[float, float] = (1.0, 1.0)) -> BenchConstants:
    """No delays, equal detectors: for simulations."""
    same = {letter: DetectorConstants() for letter in LETTERS}
    return constants_of(same, same, claimed=claimed, ticks_ps=ticks_ps)
