"""Privacy amplification: how long the key may be, and the Toeplitz hash that makes it so."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from photonlink.pipeline.native.hashing import toeplitz_modified
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages import verify
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.finite_key import (
    KeyLength,
    PhaseErrorTest,
    bbm92_key_length,
    charges,
    tlgr2012,
)
from photonlink.pipeline.stages.finite_key.mismatch import MAX_RATIO


@dataclass(frozen=True, slots=True)
class Lengths:
    """charged: the exact hypergeometric bound at q_tol. beside: Tomamichel et al. 2012."""

    charged: KeyLength
    beside: KeyLength
    verification_bits: int


def secret_length(
    parameters: AgreedParameters, n: int, k: int, leak_bits: int, ratio: float = 1.0
) -> Lengths:
    """Both bounds for a block of ``n`` key and ``k`` test bits.

    leak_bits: parities sent. ratio: largest between two detectors' acceptances, both stations
    (``BenchConstants.ratio``). Beside the leak are charged: its number and the public outcome of
    verification, and what later clicks may tell at both stations.
    """
    p = parameters
    tag = verify.tag_bits(n, p.eps_cor)
    told = charges.leak_bits(leak_bits, max(p.leak_cap_bits(n), leak_bits))
    other = charges.VERIFICATION_OUTCOME_BITS + echo_bits(p, n)
    test = agreed_test(p, ratio) if ratio > 1 else None
    return Lengths(
        bbm92_key_length(
            n, k, p.q_tol, told, tag, p.eps_sec, p.eps_cor, test=test, other_bits=other
        ),
        tlgr2012(n, k, p.q_tol, told + other, p.eps_sec, p.eps_cor),
        tag,
    )


def echo_bits(parameters: AgreedParameters, n: int) -> float:
    """For events with a further click in the quiet time, at the agreed share and both stations;
    none where all detectors of a station are held off together."""
    p = parameters
    return 0.0 if p.hardware_hold_off else 2 * charges.multi_click_bits(n, p.multi_click_limit)


@functools.lru_cache(maxsize=16)
def agreed_test(parameters: AgreedParameters, ratio: float) -> PhaseErrorTest:
    """The test of phase errors, from agreed numbers alone: known before any block."""
    n = parameters.block_sifted_bits // 2
    errors = math.floor(parameters.q_tol * n)
    log_failure = 2 * math.log(parameters.eps_sec / 3)
    return PhaseErrorTest.agreed(n, errors, log_failure, ratio=min(ratio, MAX_RATIO))


def seed_bytes(n: int) -> int:
    """Bytes of the public seed for a block of ``n`` bits (modified form: n - 1 bits)."""
    return (n - 1 + 7) // 8


def amplify(key: SecretBits, seed: bytes, n_out: int) -> SecretBits:
    """The secret: ``n_out`` bits of the whole block (security facts, 1.6)."""
    return toeplitz_modified(key, seed, n_out)
