"""Key rates of a link from its expected counts, for finite and infinitely long blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from photonlink.pipeline.planning.expected import (
    Expected,
    Hardware,
    Settings,
    expected,
    expected_pairs,
    hardware_of,
    settings_of,
)
from photonlink.pipeline.planning.model import LinkProtocolSection, PlannedLink, SecuritySection
from photonlink.pipeline.stages.finite_key import one_decoy, three_intensities
from photonlink.pipeline.stages.finite_key.bbm92 import KeyLength, bbm92_key_length
from photonlink.pipeline.stages.finite_key.costs import (
    binary_entropy,
    entropy_of_bound,
    verification_tag_bits,
)
from photonlink.pipeline.stages.finite_key.counts import Source
from photonlink.pipeline.stages.finite_key.decoy import Bounds, Charges, DecoyKeyLength, conclude
from photonlink.pipeline.stages.finite_key.two_bases import (
    BasisString,
    TwoBasisThresholds,
    two_basis_key_length,
)

Account = DecoyKeyLength | KeyLength
# asymptotic: the same bounds where no count fluctuates (ln 1/eps = 1e-16)
_NO_FLUCTUATION = math.nextafter(1.0, 0.0)


@dataclass(frozen=True, slots=True)
class KeyRate:
    """bits_per_s: secret bits per second of acquisition, block by block. length_real: before floor
    and clamp, for an optimiser. accounts: of one block, one or both bases."""

    bits_per_s: float
    asymptotic_bits_per_s: float
    block_s: float
    sifted_bits_per_s: float
    qber: float
    live: float
    length_real: float
    accounts: tuple[Account, ...]

    @property
    def length(self) -> int:
        return sum(a.length for a in self.accounts)

    @property
    def reason(self) -> str | None:
        return self.accounts[0].reason if self.length == 0 and self.accounts else None


@dataclass(frozen=True, slots=True)
class Planned:
    """A link in numbers: hardware, settings, and charges."""

    hardware: Hardware
    settings: Settings
    protocol: LinkProtocolSection
    security: SecuritySection

    @classmethod
    def of(cls, link: PlannedLink) -> Planned:
        return cls(hardware_of(link), settings_of(link), link.protocol, link.security)

    def expected(self) -> Expected:
        if self.protocol.kind == "bbm92":
            return expected_pairs(self.hardware, self.settings.key_basis)
        return expected(self.hardware, self.settings)

    def with_block_s(self, seconds: float) -> Planned:
        changed = self.security.model_copy(update={"block_s": seconds, "block_bits": None})
        return replace(self, security=changed)


def key_rate(link: Planned, *, quick: bool = False) -> KeyRate:
    """Rate with blocks as the link's security section says. quick: gamma without its guard, for
    an optimiser; never for a figure that is shown."""
    counts = link.expected()
    per_s = link.hardware.rate_hz
    key_per_s = sum(counts.n_key) * per_s
    block_s = link.security.block_s or (link.security.block_bits or 1e7) / max(key_per_s, 1e-30)
    pulses = block_s * per_s
    accounts = _accounts(link, counts, pulses, quick=quick)
    length = sum(a.length for a in accounts)
    return KeyRate(
        bits_per_s=length / block_s,
        asymptotic_bits_per_s=0.0 if quick else asymptotic_rate(link),
        block_s=block_s,
        sifted_bits_per_s=key_per_s,
        qber=counts.qber_key,
        live=counts.live,
        length_real=sum(a.length_real for a in accounts),
        accounts=accounts,
    )


def _accounts(
    link: Planned, counts: Expected, pulses: float, *, quick: bool
) -> tuple[Account, ...]:
    if link.protocol.kind == "bbm92" and link.protocol.both_bases:
        return _two_basis_accounts(link, counts, pulses)
    both = (counts, swapped(counts)) if link.protocol.both_bases else (counts,)
    return tuple(account(link, c, pulses, quick=quick) for c in both)


def _two_basis_accounts(link: Planned, c: Expected, pulses: float) -> tuple[Account, ...]:
    """Z is the basis called key basis, X the other; both make key from one block."""
    strings, rates = [], []
    for n, m in ((c.n_key[0], c.m_key[0]), (c.n_test[0], c.m_test[0])):
        bits = math.floor(pulses * n)
        errors = min(bits, math.floor(pulses * m))
        strings.append(basis_string(link, bits, errors))
        rates.append(_tolerated(pulses * m, pulses * n))
    s, (z, x) = link.security, strings
    agreed = TwoBasisThresholds(rates[0], rates[1])
    length = two_basis_key_length(z, x, agreed, s.eps_sec, s.eps_cor)
    return length.z, length.x


def basis_string(link: Planned, bits: int, errors: int) -> BasisString:
    """A string with the leak that follows from the link's f and its errors, and the tag it
    needs.
    """
    leak = link.protocol.f * bits * binary_entropy(errors / bits if bits else 0.0)
    tag = verification_tag_bits(bits, link.security.eps_cor).poly
    return BasisString(bits, errors, leak, tag)


def _tolerated(errors: float, bits: float) -> float:
    """The expected error rate and three standard deviations of its estimate."""
    q = errors / bits if bits else 0.5
    return min(0.5, q + 3 * math.sqrt(q * (1 - q) / max(bits, 1.0)))


def swapped(c: Expected) -> Expected:
    """The other basis as key basis."""
    return Expected(c.n_test, c.m_test, c.n_key, c.m_key, c.live)


def account(link: Planned, c: Expected, pulses: float, *, quick: bool = False) -> Account:
    """One block of that many pulses (pairs), charged as if the expectation had been observed."""
    n_key, m_key, n_test, m_test = (
        tuple(pulses * x for x in part) for part in (c.n_key, c.m_key, c.n_test, c.m_test)
    )
    leak = link.protocol.f * sum(n_key) * binary_entropy(c.qber_key)
    if link.protocol.kind == "bbm92":
        return _pair_account(link, n_key[0], n_test[0], m_test[0], leak)
    charges = charges_of(link, leak, quick=quick)
    source = Source.of(link.settings.mus, link.settings.ps)
    bounds = decoy_bounds(link, source, (n_key, m_key, n_test, m_test), charges.eps)
    return conclude(link.protocol.kind, source, bounds, charges, n_key, n_test, m_test)


def charges_of(link: Planned, leak: float, *, quick: bool = False) -> Charges:
    terms = (
        three_intensities.TERMS if link.protocol.kind == "three_intensities" else one_decoy.TERMS
    )
    security, protocol = link.security, link.protocol
    return Charges(
        leak, security.eps_sec, security.eps_cor, terms, terms,
        guard="printed" if quick else protocol.guard,
    )  # fmt: skip


def decoy_bounds(
    link: Planned,
    source: Source,
    counts: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]],
    eps: float,
) -> Bounds:
    """Bounds of the link's protocol. counts: n_key, m_key, n_test, m_test per intensity."""
    n_key, m_key, n_test, m_test = counts
    if link.protocol.kind == "three_intensities":
        return three_intensities.lim2014_bounds(
            source, n_key, n_test, m_test, eps, link.protocol.bound
        )
    return one_decoy.rusca2018_bounds(source, n_key, m_key, n_test, m_test, eps)


def _pair_account(link: Planned, n: float, k: float, errors: float, leak: float) -> KeyLength:
    s = link.security
    n_bits, k_bits, q_tol = math.floor(n), math.floor(k), _tolerated(errors, k)
    tag = verification_tag_bits(n_bits, s.eps_cor).poly
    return bbm92_key_length(n_bits, k_bits, q_tol, leak, tag, s.eps_sec, s.eps_cor)


def asymptotic_rate(link: Planned) -> float:
    """Bits per second of infinitely long blocks: the same bounds without fluctuations."""
    counts = link.expected()
    both = (counts, swapped(counts)) if link.protocol.both_bases else (counts,)
    return max(0.0, sum(_asymptotic_per_pulse(link, c) for c in both) * link.hardware.rate_hz)


def _asymptotic_per_pulse(link: Planned, c: Expected) -> float:
    leak = link.protocol.f * sum(c.n_key) * binary_entropy(c.qber_key)
    if link.protocol.kind == "bbm92":
        q = sum(c.m_test) / sum(c.n_test) if sum(c.n_test) else 0.5
        return max(0.0, sum(c.n_key) * (1 - entropy_of_bound(q)) - leak)
    source = Source.of(link.settings.mus, link.settings.ps)
    scale = 1e30  # so many pulses that the fluctuations vanish by rounding
    n_key, m_key, n_test, m_test = (
        tuple(scale * x for x in part) for part in (c.n_key, c.m_key, c.n_test, c.m_test)
    )
    b = decoy_bounds(link, source, (n_key, m_key, n_test, m_test), _NO_FLUCTUATION)
    if b.s_test_1 <= 0 or b.s_key_1 <= 0:
        return 0.0
    phi = min(0.5, min(b.v_raw, sum(m_test)) / b.s_test_1)
    return max(0.0, (b.s_key_0 + b.s_key_1 * (1 - binary_entropy(phi))) / scale - leak)
