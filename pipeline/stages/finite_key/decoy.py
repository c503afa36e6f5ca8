"""The last step of the decoy-state formulas: from bounds on single photons to a length.

K is the key basis, T the test basis, all of it disclosed. Detections and errors have one entry
per intensity, the brightest first. Double clicks were given a random bit and kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.costs import entropy_of_bound
from photonlink.pipeline.stages.finite_key.counts import Guard, PhaseError, Source, phase_error
from photonlink.pipeline.stages.finite_key.thresholds import DecoyThresholds


@dataclass(frozen=True, slots=True)
class DecoyKeyLength:
    """Where the bits of a decoy-state block went; prints as an account.

    length: secret bits, 0 with a ``reason``. length_real: before the floor (may be negative).
    s_key_0, s_key_1: vacuum and single-photon detections of the key basis (lower bounds);
    s_test_1: single photons of the test basis; v_test_1: their errors (upper bound), raw before it
    is clipped at all errors of the basis; phase: the phase error of the key basis that follows.
    charged: the thresholds the length was computed from; None: from the counts themselves.
    """

    bound: str
    n_key: int
    length: int
    length_real: float
    s_key_0: float
    s_key_1: float
    s_test_1: float
    v_test_1: float
    v_test_1_raw: float
    phase: PhaseError
    leak_bits: float
    overhead_bits: float
    tau_0: float
    tau_1: float
    charged: DecoyThresholds | None
    reason: str | None
    details: dict[str, float] = field(default_factory=dict)

    @property
    def phi(self) -> float:
        """Phase error rate of the key's single photons that was charged."""
        return self.charged.phi if self.charged else self.phase.phi

    def __str__(self) -> str:
        s0 = self.charged.s_key_0 if self.charged else self.s_key_0
        s1 = self.charged.s_key_1 if self.charged else self.s_key_1
        phase = s1 * entropy_of_bound(self.phi)
        rows = [
            ("detections in the key basis", float(self.n_key)),
            ("of them neither vacuum nor single photon", -(self.n_key - s0 - s1)),
            (f"phase error of at most {self.phi:.4%}", -phase),
            ("leaked by error correction", -self.leak_bits),
            ("epsilon and verification terms", -self.overhead_bits),
        ]
        how = "agreed thresholds" if self.charged else "counts as observed"
        lines = [f"{self.bound}, {how}"]
        lines += [f"  {what:<42}{bits:>18,.1f}" for what, bits in rows]
        lines.append(f"  {'secret':<42}{self.length:>16,}")
        if self.reason:
            lines.append(f"  no key: {self.reason}")
        lines.append(
            f"  proved: vacuum {self.s_key_0:,.1f}, single photons {self.s_key_1:,.1f} (key) and "
            f"{self.s_test_1:,.1f} (test) with at most {self.v_test_1:,.1f} errors"
        )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds on a block before the last formula of either protocol."""

    s_key_0: float
    s_key_1: float
    s_test_1: float
    v_raw: float
    details: dict[str, float]


@dataclass(frozen=True, slots=True)
class Charges:
    """Charges of a block. terms: failure events in eps_sec; gconst: the constant inside gamma."""

    leak_ec: float
    eps_sec: float
    eps_cor: float
    terms: int
    gconst: float
    clip_v: bool = True
    guard: Guard = "exact"

    @classmethod
    def checked(
        cls,
        leak_ec: float,
        eps_sec: float,
        eps_cor: float,
        *,
        terms: int,
        gconst: float,
        clip_v: bool,
        guard: Guard,
    ) -> Charges:
        """ParameterError for a leak or an epsilon no block can have."""
        leak_ec, gconst = inputs.not_negative("leak_ec", leak_ec), inputs.number("gconst", gconst)
        if gconst < 1:
            raise inputs.ParameterError("gconst", "must be at least 1", gconst)
        eps_sec = inputs.epsilon("eps_sec", eps_sec, parts=max(terms, gconst))
        eps_cor = inputs.epsilon("eps_cor", eps_cor)
        clip_v = inputs.flag("clip_v", clip_v)
        inputs.choice("guard", guard, ("exact", "strict", "printed"))
        return cls(leak_ec, eps_sec, eps_cor, terms, gconst, clip_v, guard)

    @property
    def eps(self) -> float:
        """Failure probability of each term."""
        return self.eps_sec / self.terms

    @property
    def overhead_bits(self) -> float:
        """6 log2(terms / eps_sec) + log2(2 / eps_cor)."""
        secrecy = math.log2(self.terms) - math.log2(self.eps_sec)
        return 6 * secrecy + 1 - math.log2(self.eps_cor)


def conclude(
    bound: str,
    source: Source,
    bounds: Bounds,
    charges: Charges,
    n_key: Sequence[float],
    n_test: Sequence[float],
    m_test: Sequence[float],
    thresholds: DecoyThresholds | None = None,
) -> DecoyKeyLength:
    """l = floor(s_0 + s_1 [1 - h(phi)] - leak - 6 log2(terms/eps_sec) - log2(2/eps_cor)).

    s_0, s_1 and phi are those agreed, for a block that meets them, or those of the counts when
    nothing was agreed. Never more than the sifted bits.
    """
    s0, s1 = bounds.s_key_0, bounds.s_key_1
    v = max(0.0, min(bounds.v_raw, float(sum(m_test))) if charges.clip_v else bounds.v_raw)
    phase = phase_error(v, bounds.s_test_1, s1, charges.eps_sec, charges.gconst, charges.guard)
    phi = phase.phi
    refused = None
    if thresholds is not None:
        refused = thresholds.refusal(tuple(n_key), tuple(n_test), s0, s1, phi)
        s0, s1, phi = thresholds.s_key_0, thresholds.s_key_1, thresholds.phi
    total = int(sum(n_key))
    real = s0 + s1 * (1 - entropy_of_bound(phi)) - charges.leak_ec - charges.overhead_bits
    length = 0 if refused else max(0, min(math.floor(real), total))
    reason = refused
    if length == 0 and refused is None:
        reason = _why_nothing(total, s1, bounds.s_test_1, phi)
    return DecoyKeyLength(
        bound, total, length, real, bounds.s_key_0, bounds.s_key_1, bounds.s_test_1, v,
        bounds.v_raw, phase, charges.leak_ec, charges.overhead_bits, source.tau_0, source.tau_1,
        thresholds, reason, bounds.details,
    )  # fmt: skip


def _why_nothing(total: int, s_key_1: float, s_test_1: float, phi: float) -> str:
    if total == 0:
        return "no_detections"
    if s_key_1 <= 0 or s_test_1 <= 0:
        return "no_single_photons_proved"
    return "phase_error_too_high" if phi >= 0.5 else "leak_and_penalties_exceed_secrecy"


def clamp(x: float, highest: float) -> float:
    """x within [0, highest]; 0 for what is not a number."""
    return min(max(0.0, x), highest)
