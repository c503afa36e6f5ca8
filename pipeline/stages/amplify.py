"""Privacy amplification: the lengths of the keys, and the Toeplitz hashes that make them.

Key from both bases is two keys, each with a hash and a seed of its own; the block's key is the one
of HV followed by the one of DA.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from photonlink.pipeline.native.hashing import toeplitz_modified
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages import estimate, verify
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.block_thresholds import BlockThresholds
from photonlink.pipeline.stages.finite_key import (
    BasisString,
    KeyLength,
    PhaseErrorTest,
    TwoBasisThresholds,
    agreed_share,
    agreed_tests,
    bbm92_key_length,
    charges,
    tlgr2012,
    two_basis_key_length,
)
from photonlink.pipeline.stages.finite_key.mismatch import MAX_RATIO


@dataclass(slots=True)
class StringAccount:
    """One basis of a block. errors: None until counted. leak_bits: parities sent."""

    bits: int = 0
    errors: int | None = None
    leak_bits: int = 0


@dataclass(frozen=True, slots=True)
class Lengths:
    """hv, da: the account of each key; da None: its bits were the test. beside: Tomamichel et al.
    2012 for the same block. verification_bits: of all tags. reason: why there is no key.
    """

    hv: KeyLength
    da: KeyLength | None
    beside: int
    verification_bits: int
    reason: str | None

    @property
    def length(self) -> int:
        return sum(self.lengths)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Secret bits of each string, in their order."""
        found = (self.hv.length, self.da.length if self.da else 0)
        if self.reason is not None:
            found = (0, 0)
        return found if self.da else found[:1]

    @property
    def seed_bytes(self) -> int:
        """Bytes of the public seeds of all keys that are not empty."""
        strings = (self.hv, self.da)[: len(self.lengths)]
        pairs = zip(strings, self.lengths, strict=True)
        return sum(seed_bytes(s.n) for s, length in pairs if s is not None and length)


def block_lengths(
    parameters: AgreedParameters,
    thresholds: BlockThresholds,
    hv: StringAccount,
    da: StringAccount,
    ratio: float = 1.0,
) -> Lengths:
    """The lengths for a block whose strings were verified, or (errors None) are expected to be
    accepted.

    ratio: largest between two detectors' acceptances, both stations (``BenchConstants.ratio``).
    Beside the leak of each string are charged: its number, the public outcome of verification, and
    the information in later clicks at both stations.
    """
    lengths = _both if parameters.both_bases else _one
    return lengths(parameters, thresholds, hv, da, ratio)


def basis_string(parameters: AgreedParameters, string: StringAccount) -> BasisString:
    """The numbers that the key length of one basis depends on."""
    p, n = parameters, string.bits
    told = charges.leak_bits(string.leak_bits, max(p.leak_cap_bits(n), string.leak_bits))
    tag = verify.tag_bits(n, p.eps_cor_string)
    return BasisString(n, string.errors or 0, told, tag, echo_bits(p, n))


def agreed_strings(
    parameters: AgreedParameters, thresholds: BlockThresholds, ratio: float = 1.0
) -> TwoBasisThresholds:
    """The inputs of both key lengths, from numbers agreed before the bases were announced."""
    p, t = parameters, thresholds
    share, tests = _agreed_for_both(t, p.eps_sec, min(ratio, MAX_RATIO))
    return TwoBasisThresholds(t.hv, t.da, share=share, test_z=tests[0], test_x=tests[1])


def _both(
    parameters: AgreedParameters,
    thresholds: BlockThresholds,
    hv: StringAccount,
    da: StringAccount,
    ratio: float,
) -> Lengths:
    p, t = parameters, thresholds
    z, x = basis_string(p, hv), basis_string(p, da)
    agreed = agreed_strings(p, t, ratio)
    found = two_basis_key_length(z, x, agreed, p.eps_sec, p.eps_cor_string)
    beside = sum(
        tlgr2012(
            own.bits, other.bits, q, own.leak_bits + 1 + own.other_bits,
            p.eps_sec / 2, p.eps_cor_string,
        ).length
        for own, other, q in ((z, x, t.da), (x, z, t.hv))
    )  # fmt: skip
    reason = estimate.judge_errors(p, t, hv.bits, hv.errors, da.bits, da.errors)
    return Lengths(
        found.z,
        found.x,
        beside,
        z.verification_bits + x.verification_bits,
        reason or found.reason,
    )


def _one(
    parameters: AgreedParameters,
    thresholds: BlockThresholds,
    hv: StringAccount,
    da: StringAccount,
    ratio: float,
) -> Lengths:
    p, t, k = parameters, thresholds, da.bits
    z = basis_string(p, hv)
    other = charges.VERIFICATION_OUTCOME_BITS + z.other_bits
    test = _agreed_for_one(t, p.eps_sec, min(ratio, MAX_RATIO)) if ratio > 1 else None
    found = bbm92_key_length(
        z.bits, k, t.da, z.leak_bits, z.verification_bits, p.eps_sec, p.eps_cor,
        test=test, other_bits=other,
    )  # fmt: skip
    beside = tlgr2012(z.bits, k, t.da, z.leak_bits + other, p.eps_sec, p.eps_cor)
    reason = estimate.judge_errors(p, t, hv.bits, hv.errors, da.bits, da.errors)
    return Lengths(found, None, beside.length, z.verification_bits, reason or found.reason)


def echo_bits(parameters: AgreedParameters, n: int) -> float:
    """For events with a further click in the quiet time, at the agreed share and both stations;
    none where all detectors of a station are held off together."""
    p = parameters
    return 0.0 if p.hardware_hold_off else 2 * charges.multi_click_bits(n, p.multi_click_limit)


@functools.lru_cache(maxsize=64)
def _agreed_for_both(
    thresholds: BlockThresholds, eps_sec: float, ratio: float
) -> tuple[float, tuple[PhaseErrorTest, PhaseErrorTest] | tuple[None, None]]:
    """The share of parameter estimation, and the tests of phase errors where detectors differ."""
    t, n = thresholds, thresholds.expected_bits
    share = agreed_share(n, n, max(t.hv, t.da), eps_sec / 2)
    if ratio <= 1:
        return share, (None, None)
    return share, agreed_tests(n, n, t.hv, t.da, eps_sec, ratio, share=share)


@functools.lru_cache(maxsize=64)
def _agreed_for_one(thresholds: BlockThresholds, eps_sec: float, ratio: float) -> PhaseErrorTest:
    n = thresholds.expected_bits
    errors, log_failure = math.floor(thresholds.da * n), 2 * math.log(eps_sec / 3)
    return PhaseErrorTest.agreed(n, errors, log_failure, ratio=ratio)


def seed_bytes(n: int) -> int:
    """Bytes of the public seed for a string of ``n`` bits (modified form: n - 1 bits)."""
    return (n - 1 + 7) // 8


def amplify(strings: Sequence[SecretBits], seeds: bytes, lengths: Sequence[int]) -> SecretBits:
    """The secret: the hash of each string, one after the other.

    seeds: of each string whose length is not 0, joined (``Lengths.seed_bytes``).
    """
    parts: list[SecretBits] = []
    try:
        for string, length in zip(strings, lengths, strict=True):
            if length:
                own = seed_bytes(len(string))
                parts.append(toeplitz_modified(string, seeds[:own], length))
                seeds = seeds[own:]
        return SecretBits.concat(parts)
    finally:
        for part in parts:
            part.close()
