"""Costs of a block beside the phase error: leak, verification, authentication."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from photonlink.pipeline.stages.finite_key import inputs

LONGEST_TAG_BITS = 4096


def binary_entropy(x: float) -> float:
    """h(x) in bits, of a probability; 0 at 0 and 1. ParameterError outside [0, 1]."""
    x = inputs.rate("x", x)
    if x in (0.0, 1.0):
        return 0.0
    return -(x * math.log(x) + (1.0 - x) * math.log1p(-x)) / math.log(2)


def entropy_of_bound(phi: float) -> float:
    """h of an upper bound on an error rate: 1 from one half on, where h itself falls again."""
    return 1.0 if phi >= 0.5 else binary_entropy(phi)


@dataclass(frozen=True, slots=True)
class SecondOrderLeak:
    """bits: the floor on any one-way leak; shannon: n h(e), its first order."""

    bits: float
    shannon: float


def second_order_leak(n: float, e: float, eps: float) -> SecondOrderLeak:
    """Least leak of error correction for ``n`` bits at error rate ``e``, failing with ``eps``.

    Tomamichel, Martinez-Mateo, Pacher, Elkouss, arXiv:1401.5194; all logarithms base 2. Where
    the expansion falls below zero (few bits, a large eps) no leak is asked for.
    """
    n_bits = inputs.count("n", n)
    e = inputs.rate("e", e, at_most=0.5)
    eps = inputs.epsilon("eps", eps)
    shannon = n_bits * binary_entropy(e)
    if n_bits == 0 or e == 0.0:
        return SecondOrderLeak(0.0, shannon)
    errors = _errors_at_most(n_bits, e, min(1.0, eps * (1 + 1 / math.sqrt(n_bits))))
    bits = (
        shannon
        + (errors - n_bits * e - 1) * (math.log2(1 - e) - math.log2(e))
        - 0.5 * math.log2(n_bits)
        + math.log2(eps)
    )
    return SecondOrderLeak(max(0.0, bits), shannon)


def _errors_at_most(n: int, e: float, probability: float) -> int:
    """n less the quantile of Bin(n, 1 - e): the most errors y with P[Y >= y] >= probability."""
    # imported late: it takes a quarter of a second, and a node does not need it
    from scipy.special import betainc

    low, high = 0, n + 1
    while high - low > 1:
        middle = (low + high) // 2
        # P[Y >= y] = I_e(y, n - y + 1)
        if float(betainc(middle, n - middle + 1, e)) >= probability:
            low = middle
        else:
            high = middle
    return low


def planned_leak(n: int, e: float, f: float) -> float:
    """f n h(e): for planning; a real block is charged what was sent."""
    return inputs.count("n", n) * inputs.not_negative("f", f) * binary_entropy(inputs.rate("e", e))


@dataclass(frozen=True, slots=True)
class VerificationTagBits:
    """toeplitz: length of a 2-universal tag; poly: of a polynomial hash over GF(2^t)."""

    toeplitz: int
    poly: int


def verification_tag_bits(n_bits: int, eps_cor: float) -> VerificationTagBits:
    """Shortest tags that leave two different keys undetected with at most ``eps_cor``.

    Toeplitz: t = ceil(log2 1/eps_cor). Polynomial over GF(2^t): ceil(n/t) 2^-t <= eps_cor.
    """
    n_bits = inputs.count("n_bits", n_bits)
    eps_cor = inputs.epsilon("eps_cor", eps_cor)
    toeplitz = math.ceil(-math.log2(eps_cor))
    poly = next(t for t in range(1, LONGEST_TAG_BITS) if -(-n_bits // t) * 2.0**-t <= eps_cor)
    return VerificationTagBits(toeplitz, poly)


@dataclass(frozen=True, slots=True)
class AuthenticationCost:
    """otp_bits: pads spent; eps_auth: probability that any forgery passes."""

    otp_bits: int
    eps_auth: float

    @property
    def log2_eps(self) -> float:
        return math.log2(self.eps_auth) if self.eps_auth > 0 else -math.inf


def authentication_cost(message_bits: Sequence[int], tag_bits: int) -> AuthenticationCost:
    """Wegman-Carter with a polynomial hash over GF(2^t) and one pad per message.

    eps per message <= (ceil(L/t) + 1) 2^-t, the +1 being the length block; they add up.
    """
    tag_bits = inputs.count("tag_bits", tag_bits, at_most=LONGEST_TAG_BITS)
    if tag_bits == 0:
        raise inputs.ParameterError("tag_bits", "must be at least 1", tag_bits)
    messages = [
        inputs.count("message_bits", m)
        for m in inputs.ordered("message_bits", message_bits, "length")
    ]
    blocks = sum(-(-m // tag_bits) + 1 for m in messages)
    return AuthenticationCost(tag_bits * len(messages), math.ldexp(blocks, -tag_bits))


def shortest_tag_bits(message_bits: Sequence[int], eps_auth: float) -> int:
    """Shortest tag for which these messages together stay below ``eps_auth``."""
    eps_auth = inputs.epsilon("eps_auth", eps_auth)
    for t in range(1, LONGEST_TAG_BITS):
        if authentication_cost(message_bits, t).eps_auth <= eps_auth:
            return t
    raise inputs.ParameterError(
        "eps_auth", f"cannot be reached with tags below {LONGEST_TAG_BITS} bits", eps_auth
    )
