"""The parameters that both nodes must agree on before a session: one frozen record.

The handshake compares it field by field; a difference is refused, named, with both values.
No value in it may depend on the block it is used for.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.stages.finite_key import binary_entropy

Bases = Literal["both", "one"]


class ParametersError(PhotonlinkError, ValueError):
    """A parameter no link can have; ``parameter`` names it."""

    def __init__(self, parameter: str, what: str, value: object) -> None:
        self.parameter = parameter
        super().__init__(f"{parameter} {what}", where=parameter, seen=repr(value))


@dataclass(frozen=True, slots=True)
class AgreedParameters:
    """Agreed parameters of a link, with the defaults of the project.

    block_sifted_bits: of the largest blocks, expected over both bases; a block closes at twice as
    many pairs, which times alone count.
    first_block_sifted_bits: of the first block; each later one is twice as large, up to the
    largest, and after a failed check the first size comes again.
    block_max_s: length of a block in Bob's time after which it closes with the pairs so far.
    bases: "both": each basis makes key and its errors test the other; "one": HV makes key, DA is
    disclosed for the test, which biased benches need.
    q_tol: largest acceptance threshold of an error rate, and that of the first block of a
    connection; the length is charged as if the threshold were reached.
    abort_probability: with which the thresholds of later blocks, which follow the errors of earlier
    ones, refuse a block of a steady link; 0: all blocks have q_tol.
    eps_sec, eps_cor, eps_auth: failure probabilities per block.
    clock_frequency_ppm: how much faster one tagger's clock may run than the other's.
    clock_drift_ppb_per_s: how fast that may change.   fibre_ps_per_s: how fast the fibres' delays
    (38 ps/(km K) times length and K/s) and the clocks' wander may move the offset beside it.
    slot_s: length of one requested interval.   jitter_ps: detector jitter of one side, FWHM.
    window_ps: full coincidence window; 0: the best one for jitter, resolutions and noise
    (``window_choice``).
    noise_ps: scale of the Laplace noise that each station adds to its times; 0: none, and no bound
    on what arrival times tell holds.
    hardware_hold_off: 0: no event within the calibrated quiet time of another, so that all
    detectors of a station are alive; 1: events only as far apart as pairing needs, all detectors
    of a station are assumed to be dead together (HOLD_OFF).
    charge_mismatch: 1: the length pays for the largest ratio between detectors that the calibration
    and the noise leave; 0: equal detectors are assumed (EQUAL_DETECTORS).
    multi_click_limit: largest accepted share of a side's paired events with a further click in the
    quiet time; judged privately, like the balance of its key bits, and charged at this share.
    bias_limit: how far the fraction of ones among a side's key bits may lie beyond what the
    calibrated efficiencies allow.
    leak_factor: cap on the leak of a block in units of n h(q_tol).
    max_rounds: most Cascade rounds Alice answers in one block.
    """

    block_sifted_bits: int = 2_000_000
    first_block_sifted_bits: int = 25_000
    block_max_s: float = 600.0
    bases: Bases = "both"
    q_tol: float = 0.08
    abort_probability: float = 0.001
    eps_sec: float = 1e-10
    eps_cor: float = 1e-15
    eps_auth: float = 1e-12
    slot_s: float = 0.1
    jitter_ps: float = 300.0
    window_ps: float = 0.0
    noise_ps: int = 500
    hardware_hold_off: int = 0
    charge_mismatch: int = 1
    multi_click_limit: float = 0.005
    bias_limit: float = 0.1
    leak_factor: float = 1.3
    max_rounds: int = 5_000
    clock_frequency_ppm: float = 10.0
    clock_drift_ppb_per_s: float = 5.0
    fibre_ps_per_s: float = 500.0

    def __post_init__(self) -> None:
        if self.bases not in get_args(Bases):
            raise ParametersError("bases", 'must be "both" or "one"', self.bases)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "bases":
                continue
            whole = field.type == "int"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ParametersError(field.name, f"must be a number ({field.type})", value)
            if not math.isfinite(value):
                raise ParametersError(field.name, "must be finite", value)
            if not whole:
                object.__setattr__(self, field.name, float(value))
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ParametersError(name, f"must lie between {low:g} and {high:g}", value)
        self._require_limits()

    def _require_limits(self) -> None:
        """Refuse limits of clocks and fibre that exclude each other."""
        fastest = 1e6 * self.clock_frequency_ppm  # ps per s
        if self.fibre_ps_per_s >= fastest:
            what = f"exceeds what the clocks' frequency may differ by ({fastest:g} ps/s)"
            raise ParametersError("fibre_ps_per_s", what, self.fibre_ps_per_s)
        if self.clock_drift_ppb_per_s > 1e3 * self.clock_frequency_ppm:
            what = "would leave the limit of the frequency within a second"
            raise ParametersError("clock_drift_ppb_per_s", what, self.clock_drift_ppb_per_s)

    @property
    def both_bases(self) -> bool:
        return self.bases == "both"

    @property
    def eps_cor_string(self) -> float:
        """Failure probability of one string's verification; that of the block is eps_cor."""
        return self.eps_cor / 2 if self.both_bases else self.eps_cor

    @property
    def epsilon(self) -> float:
        """Epsilon of one attempt. With key from both bases, errors are counted after verification:
        where that fails the count is wrong, so eps_cor adds to secrecy as well.
        """
        secrecy = self.eps_sec + (self.eps_cor if self.both_bases else 0.0)
        return secrecy + self.eps_cor + self.eps_auth

    def block_pairs(self, rung: int = 0) -> int:
        """Pairs at which a block closes, ``rung`` blocks after the first: half of them share a
        basis."""
        first = self.first_block_sifted_bits << min(rung, 24)
        return 2 * min(first, self.block_sifted_bits)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Assumptions of these parameters beside those of every link, by their names in
        docs/claim.md.
        """
        named = {
            "HOLD_OFF": self.hardware_hold_off,
            "EQUAL_DETECTORS": not self.charge_mismatch,
            "EQUAL_TIMES": not self.noise_ps,
        }
        return tuple(name for name, assumed in named.items() if assumed)

    def as_dict(self) -> dict[str, int | float | str]:
        return dataclasses.asdict(self)

    def leak_cap_bits(self, n: int) -> int:
        """Most parity bits Alice sends about a block of ``n`` key bits."""
        return math.ceil(self.leak_factor * n * binary_entropy(self.q_tol)) + 256


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("block_sifted_bits", 100, 10_000_000),
    ("first_block_sifted_bits", 100, 10_000_000),
    ("block_max_s", 0.1, 1e6),
    ("q_tol", 1e-4, 0.15),
    ("abort_probability", 0.0, 0.5),
    ("eps_sec", 1e-30, 0.1),
    ("eps_cor", 2.0**-120, 0.1),
    ("eps_auth", 1e-30, 0.1),
    ("slot_s", 0.01, 2.0),
    ("jitter_ps", 0.0, 1e5),
    ("window_ps", 0.0, 1e6),
    ("noise_ps", 0, 50_000),
    ("hardware_hold_off", 0, 1),
    ("charge_mismatch", 0, 1),
    ("multi_click_limit", 0.0, 1.0),
    ("bias_limit", 0.0, 0.5),
    ("leak_factor", 1.0, 3.0),
    ("max_rounds", 1, 1_000_000),
    ("clock_frequency_ppm", 1e-3, 100.0),
    ("clock_drift_ppb_per_s", 1e-3, 1e3),
    ("fibre_ps_per_s", 1.0, 1e6),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One parameter on which the nodes disagree."""

    name: str
    own: Any
    peer: Any

    def __str__(self) -> str:
        return f"{self.name} is {self.own!r} here and {self.peer!r} at the peer"


def differences(own: dict[str, Any], peer: dict[str, Any]) -> list[Difference]:
    """Every parameter that differs or exists on one side only, in order of name."""
    missing = "(absent)"
    return [
        Difference(name, own.get(name, missing), peer.get(name, missing))
        for name in sorted(own.keys() | peer.keys())
        if own.get(name, missing) != peer.get(name, missing)
    ]
