"""Acceptance thresholds: what both sides agree on *before* a block.

A block that misses one is refused with a named reason; the length of one that meets all of them is
computed as if it had only just met them. So the length does not depend on the block's own counts,
as the fixed-length proofs require.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from photonlink.pipeline.stages.finite_key import inputs

# Evaluate a formula on the observed counts, as the papers' figures do. Lengths that depend on the
# counts belong to a variable-length protocol: no fixed-length claim is made with them.
OBSERVED: Final = "observed"
Observed = Literal["observed"]


@dataclass(frozen=True, slots=True)
class DecoyThresholds:
    """Agreed before a decoy-state block.

    s_key_1, s_key_0: single-photon and vacuum detections of the key basis that must be proved.
    phi: bound on their phase error rate that must be met. n_key, n_test: detections per
    intensity, brightest first, that must be reached (none: not required).
    """

    s_key_1: float
    phi: float
    s_key_0: float = 0.0
    n_key: tuple[int, ...] = ()
    n_test: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        agreed: dict[str, object] = {
            "s_key_1": inputs.not_negative("thresholds.s_key_1", self.s_key_1),
            "s_key_0": inputs.not_negative("thresholds.s_key_0", self.s_key_0),
            "phi": inputs.rate("thresholds.phi", self.phi, at_most=0.5),
        }
        for name, values in (("n_key", self.n_key), ("n_test", self.n_test)):
            where = f"thresholds.{name}"
            agreed[name] = tuple(
                inputs.count(where, value) for value in inputs.ordered(where, values, "count")
            )
        for name, value in agreed.items():
            object.__setattr__(self, name, value)

    def refusal(
        self,
        n_key: tuple[float, ...],
        n_test: tuple[float, ...],
        s_key_0: float,
        s_key_1: float,
        phi: float,
    ) -> str | None:
        """The first threshold this block misses, as a reason; None when it meets all."""
        for name, wanted, seen in (
            ("n_key", self.n_key, n_key),
            ("n_test", self.n_test, n_test),
        ):
            if wanted and len(wanted) != len(seen):
                raise inputs.ParameterError(
                    f"thresholds.{name}", f"needs one count per intensity ({len(seen)})", wanted
                )
            if any(s < w for s, w in zip(seen, wanted, strict=False)):
                return f"{name}_below_threshold"
        if s_key_0 < self.s_key_0:
            return "vacuum_below_threshold"
        if s_key_1 < self.s_key_1:
            return "single_photons_below_threshold"
        return "phase_error_above_threshold" if phi > self.phi else None


@dataclass(frozen=True, slots=True)
class PairThresholds:
    """Agreed before a block of pairs or single photons: at least n key and k test bits, at most
    a share q_tol of the test bits in error."""

    q_tol: float
    n: int = 1
    k: int = 1

    def __post_init__(self) -> None:
        q_tol = inputs.rate("thresholds.q_tol", self.q_tol, at_most=0.5)
        object.__setattr__(self, "q_tol", q_tol)
        object.__setattr__(self, "n", inputs.count("thresholds.n", self.n))
        object.__setattr__(self, "k", inputs.count("thresholds.k", self.k))

    def refusal(self, n: int, k: int, errors: int) -> str | None:
        """The first threshold this block misses, as a reason; None when it meets all."""
        if n < self.n:
            return "key_bits_below_threshold"
        if k < self.k:
            return "test_bits_below_threshold"
        return "error_rate_above_threshold" if errors > self.q_tol * k else None


def agreed(
    thresholds: DecoyThresholds | Observed | None,
) -> DecoyThresholds | None:
    """The thresholds, or None for OBSERVED. Refused when nothing was agreed."""
    if isinstance(thresholds, DecoyThresholds):
        return thresholds
    if isinstance(thresholds, str) and thresholds == OBSERVED:
        return None
    raise inputs.ParameterError(
        "thresholds",
        "must be agreed before the block (or be 'observed', which claims no fixed length)",
        thresholds,
    )
