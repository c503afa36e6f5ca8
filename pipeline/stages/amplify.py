"""Privacy amplification: how long the key may be, and the Toeplitz hash that makes it so."""

from __future__ import annotations

import math
from dataclasses import dataclass

from photonlink.pipeline.native.hashing import toeplitz_modified
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages import verify
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.finite_key import KeyLength, bbm92_key_length, tlgr2012


@dataclass(frozen=True, slots=True)
class Lengths:
    """charged: the exact hypergeometric bound at q_tol. beside: Tomamichel et al. 2012."""

    charged: KeyLength
    beside: KeyLength
    verification_bits: int


def secret_length(parameters: AgreedParameters, n: int, k: int, leak_bits: int) -> Lengths:
    """Both bounds for a block of ``n`` key and ``k`` test bits.

    leak_bits: parities sent. Beside them what was told about the block is charged: the number of
    parities, which followed its errors, and the public outcome of verification.
    """
    p = parameters
    tag = verify.tag_bits(n, p.eps_cor)
    told = leak_bits + told_bits(p, n)
    return Lengths(
        bbm92_key_length(n, k, p.q_tol, told, tag, p.eps_sec, p.eps_cor),
        tlgr2012(n, k, p.q_tol, told, p.eps_sec, p.eps_cor),
        tag,
    )


def told_bits(parameters: AgreedParameters, n: int) -> int:
    """A number that is told costs log2 of its range: the leak, at most its cap; equal or not."""
    return math.ceil(math.log2(parameters.leak_cap_bits(n) + 1)) + 1


def seed_bytes(n: int) -> int:
    """Bytes of the public seed for a block of ``n`` bits (modified form: n - 1 bits)."""
    return (n - 1 + 7) // 8


def amplify(key: SecretBits, seed: bytes, n_out: int) -> SecretBits:
    """The secret: ``n_out`` bits of the whole block (security facts, 1.6)."""
    return toeplitz_modified(key, seed, n_out)
