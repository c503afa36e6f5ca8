"""One attack as data: its effect on light or line, the claim about it, and how it is played."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from photonlink.pipeline.attacks.forger import Alter
from photonlink.pipeline.attacks.light import Light
from photonlink.pipeline.attacks.link import Hook, Line
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import (
    BenchConstants,
    DetectorConstants,
    constants_of,
)
from photonlink.pipeline.stages.window import LETTERS

Parameters = dict[str, Any]
Draw = np.random.Generator

AGREED = AgreedParameters(block_sifted_bits=5000, q_tol=0.05, eps_sec=1e-6, eps_cor=1e-9)
_OF_THE_LINK = ("duration_s", "pairs_hz", "lone_hz", "visibility", "dark_hz")
# of the echo after the quiet time: it lies between its pulses at 5 and 12 ns
PROBE_BEHIND_PS = 8_500
UNCERTAINTY_PS = 20.0
EFFICIENCY = (0.98, 1.02)


def calibrated(
    alice_ps: tuple[float, ...] = (0, 0, 0, 0),
    bob_ps: tuple[float, ...] = (0, 0, 0, 0),
    quiet_time_ps: float = 0,
    uncertainty_ps: float = UNCERTAINTY_PS,
) -> BenchConstants:
    """The constants of these receivers: delays of H, V, D, A, and the longest dead time of a
    detector.
    """
    sides = [
        {
            letter: DetectorConstants(round(delay), uncertainty_ps, *EFFICIENCY)
            for letter, delay in zip(LETTERS, delays, strict=True)
        }
        for delays in (alice_ps, bob_ps)
    ]
    return constants_of(sides[0], sides[1], claimed=True, quiet_time_ps=round(quiet_time_ps))


class Knowing:
    """How Eve gets bits: ``RECORD`` from the light that she sent; ``PROBES`` from the probes that
    Bob announced; ``FIGURES`` from the rates that Bob publishes; ``AFTERWARDS`` from those that he
    publishes once the session has ended; ``ZERO`` takes every bit of HV for 0 from start_s on (a
    dead detector).
    """

    RECORD = "record"
    PROBES = "probes"
    FIGURES = "figures"
    AFTERWARDS = "afterwards"
    ZERO = "zero"


@dataclass(frozen=True, slots=True)
class AttackEntry:
    """rows: the rows of the list of attacks that it covers. in_model: Eve must know nothing,
    whatever she does; otherwise ``assumption`` names the assumption that the attack breaks, and
    ``watched`` the check that looks at it.

    light: parameters → request for her light (docs/emulated_bench.md); they hold ``window_ps``
    and ``quiet_ps`` of the agreed rule as well.   hook: changes frames. forge: changes messages,
    with right MACs.   clue: the probability with which she guesses each key bit.   draw: random
    parameters.   defaults: those of the table.   agreed: changes of the table's link. must_alarm:
    the row also fails without an alarm; names: or with another alarm than these; must_key: the row
    also fails without key or with an alarm; evades: the row also fails when she knows nothing.
    pads_may_repeat: the attack makes both ends forget which pads are spent.
    """

    name: str
    rows: tuple[str, ...]
    what: str
    in_model: bool = True
    assumption: str = ""
    watched: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    agreed: Mapping[str, Any] = field(default_factory=dict)
    draw: Callable[[Draw], Parameters] | None = None
    light: Callable[[Parameters], Parameters] | None = None
    edit: Callable[[Light, Parameters], Light] | None = None
    hook: Callable[[Parameters], Hook] | None = None
    forge: Callable[[Parameters], Alter] | None = None
    step: Callable[[Parameters], Callable[[Line], None]] | None = None
    bench: Callable[[Parameters], BenchConstants] | None = None
    randomness: Callable[[Parameters, str], Callable[[int], bytes] | None] | None = None
    clue: Callable[[Parameters, float], float] | None = None
    knowing: str = Knowing.RECORD
    must_alarm: bool = False
    names: str = ""
    must_key: bool = False
    evades: bool = False
    pads_may_repeat: bool = False

    def parameters(self, rng: Draw | None) -> Parameters:
        """The table's parameters, or random ones."""
        chosen = dict(self.defaults)
        if rng is not None and self.draw is not None:
            chosen |= self.draw(rng)
        return chosen

    def request(self, parameters: Parameters, seed: int) -> Parameters:
        """The request for her light; without an attack on light, for the honest link."""
        found: Parameters = {"seed": seed, "duration_s": 3.0}
        found |= {name: parameters[name] for name in _OF_THE_LINK if name in parameters}
        return found | (self.light(parameters) if self.light else {})


@dataclass(frozen=True, slots=True)
class AttackOutcome:
    """A row of the table. alarm_s: from the start of the attack to the first alarm."""

    name: str
    in_model: bool
    parameters: Parameters
    released_bits: int
    known_bits: int
    entropy_deficit: float
    alarm: str
    alarm_s: float | None
    ok: bool
    why: str = ""
    assumption: str = ""
    watched: str = ""

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
