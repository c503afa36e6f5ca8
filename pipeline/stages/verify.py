"""Verification: a universal hash of the reconciled key at a fresh public point."""

from __future__ import annotations

import hmac
import math

from photonlink.pipeline.native import sizes
from photonlink.pipeline.native.hashing import verification_hash
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages.finite_key import verification_tag_bits

POINT_BYTES: int = sizes.POINT_BYTES


def tag_bits(n: int, eps_cor: float) -> int:
    """Shortest tag that lets two different keys of ``n`` bits pass with at most ``eps_cor``.

    The hash is a polynomial over GF(2^128) cut to t bits: (ceil(n/128) + 1) 2^-t (hashing.py).
    Never shorter than the polynomial bound of ``verification_tag_bits``. Raises ValueError above
    128 bits.
    """
    own = math.ceil(math.log2((math.ceil(n / 128) + 1) / eps_cor))
    bits = max(own, verification_tag_bits(n, eps_cor).poly)
    if bits > 128:
        raise ValueError(f"a tag of {bits} bits is needed, the hash has 128")
    return bits


def digest(key: SecretBits, point: bytes, eps_cor: float) -> bytes:
    """The public tag of ``key``; charge ``tag_bits(len(key), eps_cor)``."""
    return verification_hash(key, point, tag_bits(len(key), eps_cor))


def matches(key: SecretBits, point: bytes, eps_cor: float, received: bytes) -> bool:
    return hmac.compare_digest(digest(key, point, eps_cor), received)
