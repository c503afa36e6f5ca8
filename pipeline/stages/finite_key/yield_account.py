"""Where the asymptotic key of a block went: an account that adds up.

The asymptotic key is n (1 - h(e_x) - h(e_z)) of the same-basis coincidences within a wide window.
Two kinds of rows: coincidences that were lost before sifting, each at the asymptotic rate; and
charges on the length of the rest, step by step from Shannon's limit to the net key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.bbm92 import KeyLength
from photonlink.pipeline.stages.finite_key.costs import binary_entropy, entropy_of_bound
from photonlink.pipeline.stages.finite_key.tails import max_errors_unseen_log
from photonlink.pipeline.stages.finite_key.two_bases import (
    BasisString,
    TwoBasisLength,
    TwoBasisThresholds,
)


@dataclass(frozen=True, slots=True)
class YieldRow:
    """name: stable; bits: negative for what was lost."""

    name: str
    bits: float


@dataclass(frozen=True, slots=True)
class YieldBlock:
    """What a block's account is made from.

    z, x, thresholds, length: as given to and by ``two_basis_key_length``. coincidences: same-basis
    pairs in the wide window, both bases; rate_z, rate_x: their error rates. lost: pairs of these
    that did not become sifted bits, by cause (window, multi-clicks, dead time, ...), in the order
    of the steps; the remainder is shown as "other". authentication_bits: pads spent. eps_sec: of
    the block, to tell finite size from mismatch.
    """

    z: BasisString
    x: BasisString
    thresholds: TwoBasisThresholds
    length: TwoBasisLength
    coincidences: int
    rate_z: float
    rate_x: float
    lost: tuple[tuple[str, int], ...] = ()
    authentication_bits: int = 0
    eps_sec: float = 1e-10

    def __post_init__(self) -> None:
        for name, kind in (
            ("z", BasisString),
            ("x", BasisString),
            ("thresholds", TwoBasisThresholds),
            ("length", TwoBasisLength),
            ("lost", tuple),
        ):
            if not isinstance(getattr(self, name), kind):
                raise inputs.ParameterError(name, f"must be a {kind.__name__}", None)
        inputs.count("coincidences", self.coincidences)
        inputs.rate("rate_z", self.rate_z, at_most=0.5)
        inputs.rate("rate_x", self.rate_x, at_most=0.5)
        for entry in self.lost:
            if not isinstance(entry, tuple) or len(entry) != 2 or not isinstance(entry[0], str):
                raise inputs.ParameterError("lost", "needs pairs of a name and a count", entry)
            inputs.count("lost", entry[1])
        inputs.count("authentication_bits", self.authentication_bits)
        inputs.epsilon("eps_sec", self.eps_sec, parts=1e4)


@dataclass(frozen=True, slots=True)
class YieldAccount:
    """rows add up from asymptotic_bits to net_bits."""

    asymptotic_bits: float
    rows: tuple[YieldRow, ...]
    net_bits: float

    @property
    def share(self) -> float:
        """Net over asymptotic; 0 where there is no asymptotic key."""
        return self.net_bits / self.asymptotic_bits if self.asymptotic_bits > 0 else 0.0

    def __str__(self) -> str:
        lines = [f"  {'asymptotic key of the coincidences':<42}{self.asymptotic_bits:>16,.0f}"]
        for row in self.rows:
            part = row.bits / self.asymptotic_bits if self.asymptotic_bits > 0 else 0.0
            lines.append(f"  {row.name:<42}{row.bits:>16,.0f}{part:>9.1%}")
        lines.append(f"  {'net':<42}{self.net_bits:>16,.0f}{self.share:>9.1%}")
        return "\n".join(lines)


def yield_account(block: YieldBlock) -> YieldAccount:
    """Rows: each loss; errors beyond those of the wide window; threshold above the errors seen;
    finite size; mismatch; correction above n h(e); multi-clicks and other charges; verification and
    epsilon; the loss of a refused block, or rounding; authentication.
    """
    if not isinstance(block, YieldBlock):
        raise inputs.ParameterError("block", "must be a YieldBlock", block)
    total = block.coincidences
    per_pair = max(0.0, 1 - binary_entropy(block.rate_z) - binary_entropy(block.rate_x))
    missing = total - block.z.bits - block.x.bits - sum(pairs for _, pairs in block.lost)
    rows = [YieldRow(name, -per_pair * pairs) for name, pairs in block.lost]
    rows.append(YieldRow("other coincidences not used", -per_pair * missing))
    before = per_pair * (block.z.bits + block.x.bits)
    for name, bits in _charged(block):
        rows.append(YieldRow(name, bits - before))
        before = bits
    rows.append(YieldRow("refused or rounded", block.length.length - before))
    pads = block.authentication_bits
    rows.append(YieldRow("authentication", -float(pads)))
    return YieldAccount(per_pair * total, tuple(rows), block.length.length - pads)


def _charged(block: YieldBlock) -> list[tuple[str, float]]:
    """Sifted bits that remain after each charge, in order; both bases summed."""
    t, eps = block.thresholds, block.thresholds.share * block.eps_sec
    keys = (ChargedKey(block.z, block.x, t.q_x, eps), ChargedKey(block.x, block.z, t.q_z, eps))
    at_rates = 0.0
    for key in keys:
        e_own, e_other = (s.errors / s.bits if s.bits else 0.5 for s in (key.own, key.other))
        at_rates += key.own.bits * (1 - entropy_of_bound(e_other) - entropy_of_bound(e_own))
    steps = charged_steps(keys, (block.length.z, block.length.x))
    return [(_ROWS[0], at_rates), *zip(_ROWS[1:], (bits for _, bits in steps), strict=True)]


_ROWS = (
    "errors beyond those of the wide window", "threshold above the error rate", "finite size",
    "mismatch of detectors", "correction above Shannon's limit", "multi-clicks and others charged",
    "verification and epsilon",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChargedKey:
    """One string that makes key: own bits, those of the basis that tests it, its threshold, and
    4 eps_pe, to tell finite size from mismatch."""

    own: BasisString
    other: BasisString
    threshold: float
    eps: float


def charged_steps(
    keys: Sequence[ChargedKey], lengths: Sequence[KeyLength]
) -> list[tuple[str, float]]:
    """Bits that remain after each charge, in order, summed over the keys."""
    steps: dict[str, float] = {}
    for charged, key in zip(keys, lengths, strict=True):
        own, q = charged.own, charged.threshold
        n, k = own.bits, charged.other.bits
        shannon = n * entropy_of_bound(own.errors / n if n else 0.5)
        sampled = _sampled_rate(n, k, q, charged.eps, key.phi)
        tail = n * (1 - entropy_of_bound(key.phi))
        beside = key.penalty_bits - own.other_bits
        for name, bits in (
            ("threshold", n * (1 - entropy_of_bound(q)) - shannon),
            ("finite_size", n * (1 - entropy_of_bound(sampled)) - shannon),
            ("mismatch", tail - shannon),
            ("correction", tail - own.leak_bits),
            ("multi_clicks", tail - own.leak_bits - own.other_bits),
            ("verification", tail - own.leak_bits - own.other_bits - beside),
        ):
            steps[name] = steps.get(name, 0.0) + bits
    return list(steps.items())


def _sampled_rate(n: int, k: int, q: float, eps: float, charged: float) -> float:
    """The bound for equal detectors; ``charged`` where that is smaller."""
    if n == 0 or k == 0:
        return charged
    log_failure = 2 * math.log(eps / 4)
    equal = max_errors_unseen_log(math.floor(q * k), k, n, log_failure) / n
    return min(charged, equal)
