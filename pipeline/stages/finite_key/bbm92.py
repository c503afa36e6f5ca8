"""Secret key length of an entangled-pair (or single-photon) block: BBM92, BB84.

n bits of the key basis are kept, k bits of the test basis are all disclosed. The threshold
``q_tol`` is agreed *before* the block; a block above it is refused, and an accepted one is
charged as if it had reached it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.costs import entropy_of_bound
from photonlink.pipeline.stages.finite_key.mismatch import PhaseErrorTest
from photonlink.pipeline.stages.finite_key.tails import max_errors_unseen_log


@dataclass(frozen=True, slots=True)
class KeyLength:
    """Where the bits of a block went; prints as an account.

    length: secret bits, 0 with a ``reason``. length_real: before the floor (may be negative).
    phi: bound on the phase error rate of the n kept bits. penalty_bits: privacy amplification
    and correctness terms together.
    """

    bound: str
    n: int
    k: int
    length: int
    length_real: float
    phi: float
    phase_error_bits: float
    leak_bits: float
    penalty_bits: float
    reason: str | None

    def __str__(self) -> str:
        rows = [
            ("bits kept", float(self.n)),
            (f"phase error of at most {self.phi:.4%}", -self.phase_error_bits),
            ("leaked by error correction", -self.leak_bits),
            ("epsilon and verification terms", -self.penalty_bits),
        ]
        lines = [f"{self.bound}, tested on {self.k:,} bits of the other basis"]
        lines += [f"  {what:<42}{bits:>18,.1f}" for what, bits in rows]
        lines.append(f"  {'secret':<42}{self.length:>16,}")
        if self.reason:
            lines.append(f"  no key: {self.reason}")
        return "\n".join(lines)


def make_account(
    bound: str,
    n: int,
    k: int,
    phi: float,
    leak_bits: float,
    penalty_bits: float,
    refused: str | None = None,
) -> KeyLength:
    """l = floor(n [1 - h(phi)] - leak - penalties), or 0 with the reason it was refused for.

    A bound on the phase error above one half is treated as one half.
    """
    phi = min(0.5, phi)
    phase = n * entropy_of_bound(phi)
    real = n - phase - leak_bits - penalty_bits
    length = max(0, math.floor(real))
    reason = None
    if length == 0:
        reason = "block_too_small" if n - phase - leak_bits > 0 else "error_rate_too_high"
        if n == 0 or k == 0:
            reason = "no_bits_in_one_basis"
    reason = refused or reason
    length = 0 if refused else min(length, n)
    return KeyLength(bound, n, k, length, real, phi, phase, leak_bits, penalty_bits, reason)


def checked_block(
    n: float, k: float, leak_ec: float, eps_sec: float, eps_cor: float
) -> tuple[int, int, float, float, float]:
    """The five inputs as plain numbers, or ParameterError."""
    return (
        inputs.count("n", n),
        inputs.count("k", k),
        inputs.not_negative("leak_ec", leak_ec),
        inputs.epsilon("eps_sec", eps_sec, parts=4),
        inputs.epsilon("eps_cor", eps_cor),
    )


def tag_bits(eps_cor: float) -> int:
    """t of the formulas: a 2-universal verification tag."""
    return math.ceil(-math.log2(eps_cor))


def tlgr2012(
    n: int, k: int, q_tol: float, leak_ec: float, eps_sec: float, eps_cor: float
) -> KeyLength:
    """Tomamichel, Lim, Gisin, Renner, Nat. Commun. 3, 634 (2012), Eqs. 1 and 2."""
    n, k, leak_ec, eps_sec, eps_cor = checked_block(n, k, leak_ec, eps_sec, eps_cor)
    q_tol = inputs.rate("q_tol", q_tol)
    phi = q_tol + tlgr2012_mu(n, k, eps_sec) if n and k else 0.5
    penalty = 1 - 2 * math.log2(eps_sec) - math.log2(eps_cor)
    return make_account("tlgr2012", n, k, phi, leak_ec, penalty)


def tlgr2012_mu(n: int, k: int, eps_sec: float) -> float:
    """mu of Eq. 2: by how much the error rate of the n kept bits may exceed that of the k disclosed
    ones.
    """
    return math.sqrt((n + k) / (n * k) * (k + 1) / k * (math.log(4) - math.log(eps_sec)))


def bbm92_exact(
    n: int, k: int, observed: int, leak_ec: float, eps_sec: float, eps_cor: float
) -> KeyLength:
    """Exact hypergeometric bound with ``observed`` errors in the k disclosed bits.

    eps_pe = eps_pa = eps_sec / 3; the sample may mislead with eps_pe^2 (smoothing in purified
    distance); l = floor(n [1 - h(E_max / n)] - leak - t + 2 log2(2 eps_pa)) with a verification
    tag of t = ceil(log2 1/eps_cor) bits.
    """
    n, k, leak_ec, eps_sec, eps_cor = checked_block(n, k, leak_ec, eps_sec, eps_cor)
    observed = inputs.count("observed", observed, at_most=k)
    share = eps_sec / 3
    phi = max_errors_unseen_log(observed, k, n, 2 * math.log(share)) / n if n and k else 0.5
    penalty = tag_bits(eps_cor) - 2 * math.log2(2 * share)
    return make_account("hypergeometric", n, k, phi, leak_ec, penalty)


def bbm92_key_length(
    n: int,
    k: int,
    q_tol: float,
    leak_bits: float,
    verification_bits: int,
    eps_sec: float,
    eps_cor: float,
    *,
    test: PhaseErrorTest | None = None,
    other_bits: float = 0.0,
) -> KeyLength:
    """Key from one basis, computed at the agreed threshold, never at the observed count.

    errors = floor(q_tol k). ``verification_bits`` is the length of the tag really sent: it is
    charged when longer than the t of the formula. test: where detectors differ, agreed before the
    block (log_failure: 2 ln(eps_sec / 3)); None: equal detectors, exact tail. other_bits: charged
    beside (``charges``: multi-clicks, the outcome of verification, numbers told).
    """
    q_tol = inputs.rate("q_tol", q_tol, at_most=0.5)
    n, k, leak_bits, eps_sec, eps_cor = checked_block(n, k, leak_bits, eps_sec, eps_cor)
    tag = inputs.count("verification_bits", verification_bits)
    extra = max(0, tag - tag_bits(eps_cor)) + inputs.not_negative("other_bits", other_bits)
    if test is not None and not isinstance(test, PhaseErrorTest):
        raise inputs.ParameterError("test", "must be a PhaseErrorTest", test)
    errors = math.floor(q_tol * k)
    result = bbm92_exact(n, k, errors, leak_bits, eps_sec, eps_cor)
    name, phi = "hypergeometric", result.phi
    if test is not None:
        log_failure = 2 * math.log(eps_sec / 3)
        name = f"ratio {test.ratio:.4g}"
        phi = test.max_phase_errors(n, errors, log_failure) / n if n and k else 0.5
    return make_account(name, n, k, phi, leak_bits, result.penalty_bits + extra)
