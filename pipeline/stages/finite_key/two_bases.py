"""Key from both bases of a block of pairs: two strings, two hashes, two lengths.

Z and X are the two bases; each makes key, and the errors of either, which error correction finds,
bound the phase errors of the other. No bit is disclosed for a test.

Statement. Let both ends have corrected and verified both strings, and let the block be accepted
only if errors_Z <= floor(q_z n_Z) and errors_X <= floor(q_x n_X), thresholds agreed before. Then
K_Z is 2 eps_pe + eps_pa close to uniform and independent of Eve *and of both strings X*; K_X
likewise, given both strings Z. K_X is a function of the strings X and public seeds, so by the
triangle inequality (K_Z, K_X) together are within the sum of the two of a perfect pair of keys. No
chain rule between the keys is used.

* Phase errors of the n_Z bits: errors that measuring X would have shown on these pairs. Whether a
  pair falls to Z or X is decided by each end's splitter, so the X pairs are a random sample
  ("sampling", equal detectors), or ``mismatch.PhaseErrorTest`` holds (detectors within a ratio).
* Error correction of Z reveals information about the string Z, and is charged to K_Z alone; its
* information about K_X is covered by "given both strings Z". Positions of errors that it reveals
* are parities Z_A + Z_B, which commute with X_A + X_B: they cost nothing where both ends are
* squashed to qubits
  and filters are diagonal in the basis (assumption SINGLE_PHOTONS).
* Errors are counted after verification. It fails with eps_cor for each string, and then the count
  is wrong: 2 eps_cor is added to secrecy (``TwoBasisLength.eps_sec``).
* A basis that misses its threshold gives no key *in either basis*: acceptance is one event, and
  each bound holds for the sub-normalised state of that event.

Sources: entropic uncertainty with a test sample, Tomamichel, Lim, Gisin, Renner, Nat. Commun. 3,
634 (2012); sampling by the exact tail, Mannalath, Zapatero, Curty, arXiv:2410.04095 (abstract
read). The composition of the two keys is ours, above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.bbm92 import KeyLength, make_account, tag_bits
from photonlink.pipeline.stages.finite_key.charges import VERIFICATION_OUTCOME_BITS
from photonlink.pipeline.stages.finite_key.mismatch import PhaseErrorTest
from photonlink.pipeline.stages.finite_key.tails import max_errors_unseen_log

# of one basis' part of eps_sec: 2 eps_pe = 2/3, eps_pa = 1/3; see ``agreed_share``
DEFAULT_SHARE = 2 / 3


def _checked_share(name: str, value: float) -> float:
    share = inputs.number(name, value)
    if not 0.001 <= share <= 0.999:
        raise inputs.ParameterError(name, "must lie in [0.001, 0.999]", value)
    return share


@dataclass(frozen=True, slots=True)
class BasisString:
    """One basis of a block after correction and verification.

    bits: sifted bits. errors: that correction found. leak_bits: disclosed about this string, with
    the cost of sent numbers (``charges.leak_bits``). verification_bits: tag sent for it.
    other_bits: further charges (multi-clicks of both stations, ``charges.multi_click_bits``).
    """

    bits: int
    errors: int
    leak_bits: float
    verification_bits: int = 0
    other_bits: float = 0.0

    def __post_init__(self) -> None:
        bits = inputs.count("bits", self.bits)
        checked: dict[str, object] = {
            "bits": bits,
            "errors": inputs.count("errors", self.errors, at_most=bits),
            "leak_bits": inputs.not_negative("leak_bits", self.leak_bits),
            "verification_bits": inputs.count("verification_bits", self.verification_bits),
            "other_bits": inputs.not_negative("other_bits", self.other_bits),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class TwoBasisThresholds:
    """Agreed before a block. q_z, q_x: largest error rates; n_z, n_x: fewest sifted bits.

    share: of each basis' part of eps_sec that parameter estimation may take, 2 eps_pe.
    test_z, test_x: where detectors differ, the tests for the phase errors of K_Z (from errors in X)
    and of K_X; None: equal detectors, plain sampling.
    """

    q_z: float
    q_x: float
    n_z: int = 1
    n_x: int = 1
    share: float = DEFAULT_SHARE
    test_z: PhaseErrorTest | None = None
    test_x: PhaseErrorTest | None = None

    def __post_init__(self) -> None:
        for name in ("q_z", "q_x"):
            value = inputs.rate(f"thresholds.{name}", getattr(self, name), at_most=0.5)
            object.__setattr__(self, name, value)
        for name in ("n_z", "n_x"):
            value = inputs.count(f"thresholds.{name}", getattr(self, name))
            object.__setattr__(self, name, value)
        object.__setattr__(self, "share", _checked_share("thresholds.share", self.share))
        tests = (self.test_z, self.test_x)
        if not all(t is None or isinstance(t, PhaseErrorTest) for t in tests):
            raise inputs.ParameterError("thresholds.test_z", "must be a PhaseErrorTest", tests)
        if (self.test_z is None) != (self.test_x is None):
            raise inputs.ParameterError(
                "thresholds.test_x", "is needed in both bases or none", tests
            )

    def refusal(self, z: BasisString, x: BasisString) -> str | None:
        """The first threshold that a block misses; None when it meets all. One basis fails both."""
        for name, string, q, fewest in (
            ("z", z, self.q_z, self.n_z),
            ("x", x, self.q_x, self.n_x),
        ):
            if string.bits == 0:
                return "no_bits_in_one_basis"
            if string.bits < fewest:
                return f"bits_below_threshold_{name}"
            if string.errors > math.floor(q * string.bits):
                return f"error_rate_above_threshold_{name}"
        return None


@dataclass(frozen=True, slots=True)
class TwoBasisLength:
    """z, x: the account of each basis. eps_sec: of both keys together, with 2 eps_cor for errors
    counted wrongly. reason: why there is no key at all."""

    z: KeyLength
    x: KeyLength
    eps_sec: float
    reason: str | None

    @property
    def length(self) -> int:
        return self.z.length + self.x.length

    def __str__(self) -> str:
        parts = [f"Z: {self.z}", f"X: {self.x}", f"both: {self.length:,} secret bits"]
        return "\n".join(parts)


def two_basis_key_length(
    z: BasisString,
    x: BasisString,
    thresholds: TwoBasisThresholds,
    eps_sec: float,
    eps_cor: float,
) -> TwoBasisLength:
    """Secret bits of both bases; each has half of eps_sec. See the module for the statement.

    Charged at the thresholds: phi_Z from floor(q_x n_X) errors, whatever was observed. For each
    basis: l = floor(n [1 - h(phi)] - leak - others - max(tag sent, t) - 1 + 2 log2(2 eps_pa)),
    t = ceil(log2 1/eps_cor), 1 bit for the public outcome of verification.
    """
    for name, value, kind in (
        ("z", z, BasisString), ("x", x, BasisString),
        ("thresholds", thresholds, TwoBasisThresholds),
    ):  # fmt: skip
        if not isinstance(value, kind):
            raise inputs.ParameterError(name, f"must be a {kind.__name__}", value)
    eps_sec = inputs.epsilon("eps_sec", eps_sec, parts=1e4)
    eps_cor = inputs.epsilon("eps_cor", eps_cor)
    refused = thresholds.refusal(z, x)
    t = thresholds
    z_key = _one(z, x.bits, t.q_x, t.test_z, t.share, eps_sec / 2, eps_cor, refused)
    x_key = _one(x, z.bits, t.q_z, t.test_x, t.share, eps_sec / 2, eps_cor, refused)
    reason = refused
    if z_key.length + x_key.length == 0:
        reason = refused or z_key.reason
    return TwoBasisLength(z_key, x_key, min(1.0, eps_sec + 2 * eps_cor), reason)


def phase_error_rate(
    n: int, k: int, q: float, test: PhaseErrorTest | None, log_failure: float
) -> float:
    """Bound on the phase error rate of n bits, k bits of the other basis erring at most with q."""
    if n == 0 or k == 0:
        return 0.5
    errors = math.floor(q * k)
    if test is None:
        return min(0.5, max_errors_unseen_log(errors, k, n, log_failure) / n)
    return min(0.5, test.max_phase_errors(n, errors, log_failure) / n)


def _one(
    string: BasisString,
    k: int,
    q: float,
    test: PhaseErrorTest | None,
    share: float,
    eps_sec: float,
    eps_cor: float,
    refused: str | None,
) -> KeyLength:
    eps_pe, eps_pa = share * eps_sec / 2, (1 - share) * eps_sec
    phi = phase_error_rate(string.bits, k, q, test, 2 * math.log(eps_pe))
    penalty = max(string.verification_bits, tag_bits(eps_cor)) + VERIFICATION_OUTCOME_BITS
    penalty_bits = penalty - 2 * (1 + math.log2(eps_pa)) + string.other_bits
    name = "two bases, sampling" if test is None else f"two bases, ratio {test.ratio:.4g}"
    return make_account(name, string.bits, k, phi, string.leak_bits, penalty_bits, refused)


def agreed_tests(
    n_z: int, n_x: int, q_z: float, q_x: float, eps_sec: float, ratio: float,
    *, basis_ratio: float = 1.0, share: float = DEFAULT_SHARE,
) -> tuple[PhaseErrorTest, PhaseErrorTest]:  # fmt: skip
    """test_z and test_x for blocks of about n_z and n_x bits. basis_ratio: nominal probability of a
    pair in Z over that in X. Both ends compute the same from what was agreed."""
    eps_pe = _checked_share("share", share) * inputs.epsilon("eps_sec", eps_sec, parts=1e4) / 4
    log_failure = 2 * math.log(eps_pe)
    rho = inputs.positive("basis_ratio", basis_ratio)
    errors_z = math.floor(inputs.rate("q_z", q_z, at_most=0.5) * inputs.count("n_z", n_z))
    errors_x = math.floor(inputs.rate("q_x", q_x, at_most=0.5) * inputs.count("n_x", n_x))
    return (
        PhaseErrorTest.agreed(n_z, errors_x, log_failure, ratio=ratio, basis_ratio=rho),
        PhaseErrorTest.agreed(n_x, errors_z, log_failure, ratio=ratio, basis_ratio=1 / rho),
    )


def agreed_share(n: int, k: int, q: float, eps_sec: float) -> float:
    """Split of eps_sec that gives most key to a block of n key bits and k bits of the other basis
    at threshold q, from sizes agreed before the block. Among 31 shares, sampling bound.
    """
    n, k = inputs.count("n", n), inputs.count("k", k)
    q, eps_sec = inputs.rate("q", q, at_most=0.5), inputs.epsilon("eps_sec", eps_sec, parts=1e4)
    if n == 0 or k == 0:
        return DEFAULT_SHARE

    def gain(share: float) -> float:
        string = BasisString(n, 0, 0.0)
        return _one(string, k, q, None, share, eps_sec, 0.5, None).length_real

    shares = [1 / (1 + math.exp(-x / 4)) for x in range(-15, 16)]
    return max(shares, key=gain)
