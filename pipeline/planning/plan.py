"""A plan for a link: settings, block length, limiting faults, and how often it will abort."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binomtest

from photonlink.pipeline.planning.expected import Expected, Settings, without
from photonlink.pipeline.planning.model import PlannedLink
from photonlink.pipeline.planning.optimise import optimised
from photonlink.pipeline.planning.rates import (
    Account,
    KeyRate,
    Planned,
    asymptotic_rate,
    basis_string,
    charges_of,
    decoy_bounds,
    key_rate,
)
from photonlink.pipeline.stages.finite_key import DecoyThresholds, PairThresholds
from photonlink.pipeline.stages.finite_key.bbm92 import bbm92_key_length
from photonlink.pipeline.stages.finite_key.costs import (
    binary_entropy,
    entropy_of_bound,
    verification_tag_bits,
)
from photonlink.pipeline.stages.finite_key.counts import Source, phase_error
from photonlink.pipeline.stages.finite_key.following import EarlierBlock, threshold_from
from photonlink.pipeline.stages.finite_key.two_bases import (
    BasisString,
    TwoBasisThresholds,
    two_basis_key_length,
)

FAULTS = (
    "dark counts and stray light", "afterpulses", "dead time and saturation", "misalignment",
)  # fmt: skip
_DRAWS = 1000
_LONGEST_S = 3.2e8  # ten years
Thresholds = DecoyThresholds | PairThresholds | TwoBasisThresholds
Counts = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Limit:
    """The gain in rate without this fault: a factor, infinite where there is no key yet."""

    name: str
    gain: float


@dataclass(frozen=True, slots=True)
class Bases:
    """Rates with key from one basis and from both, blocks of the same duration: as the link is
    described, and with the settings (of them key_basis) that suit each best."""

    one_bits_per_s: float
    two_bits_per_s: float
    best_one_bits_per_s: float
    best_one_key_basis: float
    best_two_bits_per_s: float
    best_two_key_basis: float

    @property
    def better(self) -> str:
        """As described: "one" or "both"."""
        return "both" if self.two_bits_per_s > self.one_bits_per_s else "one"


@dataclass(frozen=True, slots=True)
class Trade:
    """The yield of a steady link whose threshold follows it so that a block is refused with
    ``abort_probability``: for rarely refused blocks a higher error rate is charged.
    """

    abort_probability: float
    q_z: float
    q_x: float
    bits_per_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """present, proposed: rates with the settings of the file and with ``settings``. Where no
    settings make key in a block this long, ``settings`` suit the shortest block that makes some, or
    are the file's own where none does.
    positive_key_s, near_asymptotic_s: shortest block with key, and with 95 % of the asymptotic
    rate, at these settings; None: not within ten years. limits: largest gain first. thresholds:
    to be agreed; None where a block that meets them makes no key. length: what a block that meets
    them yields. abort_probability: share of simulated blocks that miss one (with its 95 %
    interval), counts and loss wandering as the link says. Where both bases of decoy states make key
    these three are those of the key basis: each has its own. accounts: of the key basis, and of the
    other where it makes key too; their sum is the expected key. bases: what key from one basis and
    from both would give. trade: of pairs, key from both bases.
    """

    link: str
    settings: Settings
    present: KeyRate
    proposed: KeyRate
    positive_key_s: float | None
    near_asymptotic_s: float | None
    limits: tuple[Limit, ...]
    thresholds: Thresholds | None
    length: int
    abort_probability: float
    abort_interval: tuple[float, float]
    accounts: tuple[Account, ...]
    bases: Bases
    trade: tuple[Trade, ...]


def plan(link: PlannedLink, *, seed: int = 0, aborts: float = 0.01) -> Plan:
    """aborts: share of honest blocks the thresholds may refuse."""
    present = Planned.of(link)
    best = _best(present)
    now, then = key_rate(present), key_rate(best)
    if now.bits_per_s > then.bits_per_s:  # the settings of the file were better
        best, then = present, now
    thresholds, length, refused = _accepting(best, link, then.block_s, seed, aborts)
    if length == 0:  # no thresholds for blocks that give no key
        thresholds, refused = None, _DRAWS
    interval = binomtest(refused, _DRAWS).proportion_ci(method="wilson")
    return Plan(
        link.name, best.settings, now, then,
        _shortest(best, 0.0), _shortest(best, 0.95), _limits(best, then),
        thresholds, length, refused / _DRAWS, (float(interval.low), float(interval.high)),
        then.accounts, _bases(present, best, then.block_s),
        _trade(best, then.block_s),
    )  # fmt: skip


def _best(present: Planned) -> Planned:
    """The settings to propose. Where none make key in a block this long: those of a longer one."""
    block_s = key_rate(present).block_s
    while block_s < _LONGEST_S:
        trial = optimised(present.with_block_s(block_s), tries=2)
        if key_rate(trial).bits_per_s > 0:
            return replace(present, settings=trial.settings)
        block_s *= 3
    return present


def _bases(present: Planned, proposed: Planned, block_s: float) -> Bases:
    described, best = [], []
    for both in (False, True):
        protocol = present.protocol.model_copy(update={"both_bases": both})
        trials = [
            replace(each, protocol=protocol).with_block_s(block_s) for each in (present, proposed)
        ]
        trials.append(optimised(trials[-1]))
        described.append(key_rate(trials[0]).bits_per_s)
        rates = [(key_rate(trial).bits_per_s, trial.settings.key_basis) for trial in trials]
        best.append(max(rates))
    (one, one_basis), (two, two_basis) = best
    return Bases(described[0], described[1], one, one_basis, two, two_basis)


def _trade(link: Planned, block_s: float) -> tuple[Trade, ...]:
    """Thresholds from eight earlier blocks with the link's expected error rates; pairs only."""
    if link.protocol.kind != "bbm92":
        return ()
    counts = link.expected()
    pulses = block_s * link.hardware.rate_hz
    z, x = (
        basis_string(link, math.floor(pulses * n[0]), math.floor(pulses * m[0]))
        for n, m in ((counts.n_key, counts.m_key), (counts.n_test, counts.m_test))
    )
    s, rows = link.security, []
    for refused in (0.1, 0.01, 1e-3, 1e-4):
        q_z, q_x = (
            threshold_from(
                [EarlierBlock(string.errors, string.bits)] * 8, string.bits, refused / 2, first=0.5
            )
            for string in (z, x)
        )
        agreed = TwoBasisThresholds(q_z, q_x)
        secret = two_basis_key_length(z, x, agreed, s.eps_sec, s.eps_cor).length
        rows.append(Trade(refused, q_z, q_x, (1 - refused) * secret / block_s))
    return tuple(rows)


def _shortest(link: Planned, share: float) -> float | None:
    """Shortest block in seconds whose rate exceeds that share of the asymptotic one."""
    goal = share * asymptotic_rate(link)

    def enough(seconds: float) -> bool:
        rate = key_rate(link.with_block_s(seconds)).bits_per_s
        return rate > 0 and rate >= goal

    low, high = math.log(1e-3), math.log(_LONGEST_S)
    if not enough(math.exp(high)):
        return None
    while high - low > 0.005:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _limits(link: Planned, now: KeyRate) -> tuple[Limit, ...]:
    """The rate without each fault, settings and block length unchanged."""

    def gain(rate: float) -> float:
        return rate / now.bits_per_s if now.bits_per_s > 0 else math.inf if rate > 0 else 1.0

    fixed = link.with_block_s(now.block_s)
    limits = [
        Limit(
            fault, gain(key_rate(replace(fixed, hardware=without(link.hardware, fault))).bits_per_s)
        )
        for fault in FAULTS
    ]
    shannon = link.protocol.model_copy(update={"f": 1.0})
    limits.append(
        Limit(
            "error correction above its limit",
            gain(key_rate(replace(fixed, protocol=shannon)).bits_per_s),
        )
    )
    limits.append(Limit("finite size", gain(now.asymptotic_bits_per_s)))
    return tuple(sorted(limits, key=lambda limit: -limit.gain))


def _accepting(
    link: Planned, described: PlannedLink, block_s: float, seed: int, aborts: float
) -> tuple[Thresholds | None, int, int]:
    """Thresholds from one set of simulated blocks; how many of another set they refuse."""
    rng = np.random.default_rng(seed)
    pulses = block_s * link.hardware.rate_hz
    spread = described.channel.loss_sd_db
    first = [_draw(link, pulses, spread, rng) for _ in range(_DRAWS)]
    second = [_draw(link, pulses, spread, rng) for _ in range(_DRAWS)]
    if link.protocol.kind == "bbm92" and link.protocol.both_bases:
        return _accepting_both(link, first, second, aborts)
    if link.protocol.kind == "bbm92":
        return _accepting_pairs(link, first, second, aborts)
    return _accepting_decoy(link, first, second, aborts)


def _draw(link: Planned, pulses: float, loss_sd_db: float, rng: np.random.Generator) -> Counts:
    """Counts of one block: Poisson around the expectation, at a loss drawn for it."""
    change = 10 ** (-loss_sd_db * float(rng.standard_normal()) / 10)
    etas = tuple(min(1.0, eta * change) for eta in link.hardware.etas)
    e: Expected = replace(link, hardware=replace(link.hardware, etas=etas)).expected()

    def draw(n: tuple[float, ...], m: tuple[float, ...]) -> list[tuple[float, float]]:
        good = [float(rng.poisson(pulses * max(0.0, a - b))) for a, b in zip(n, m, strict=True)]
        bad = [float(rng.poisson(pulses * b)) for b in m]
        return [(g + w, w) for g, w in zip(good, bad, strict=True)]

    key, test = draw(e.n_key, e.m_key), draw(e.n_test, e.m_test)
    n_key, m_key = (tuple(c) for c in zip(*key, strict=True))
    n_test, m_test = (tuple(c) for c in zip(*test, strict=True))
    return n_key, m_key, n_test, m_test


def _leak(link: Planned, counts: Counts) -> float:
    total = sum(counts[0])
    return link.protocol.f * total * binary_entropy(sum(counts[1]) / total if total else 0.5)


def _accepting_decoy(
    link: Planned, first: list[Counts], second: list[Counts], aborts: float
) -> tuple[Thresholds | None, int, int]:
    source = Source.of(link.settings.mus, link.settings.ps)
    charges = charges_of(link, 0.0, quick=True)

    def proved(counts: Counts) -> tuple[float, float, float]:
        b = decoy_bounds(link, source, counts, charges.eps)
        v = min(b.v_raw, sum(counts[3]))
        guard = link.protocol.guard
        phi = phase_error(v, b.s_test_1, b.s_key_1, charges.eps_sec, charges.gconst, guard).phi
        return b.s_key_1, phi, b.s_key_0

    share = aborts / 3  # three thresholds, each may refuse its part
    rows = np.array([proved(counts) for counts in first])
    s1, s0 = (float(np.quantile(rows[:, i], share)) for i in (0, 2))
    phi = float(np.quantile(rows[:, 1], 1 - share))
    if s1 <= 0 or phi >= 0.5:
        return None, 0, len(second)
    agreed = DecoyThresholds(math.floor(s1), min(0.5, phi), math.floor(s0))
    refused = sum(
        agreed.refusal((), (), s0_, s1_, phi_) is not None
        for s1_, phi_, s0_ in (proved(counts) for counts in second)
    )
    leak = float(np.mean([_leak(link, c) for c in first]))
    secret = agreed.s_key_0 + agreed.s_key_1 * (1 - entropy_of_bound(agreed.phi))
    return agreed, max(0, math.floor(secret - leak - charges.overhead_bits)), refused


def _accepting_pairs(
    link: Planned, first: list[Counts], second: list[Counts], aborts: float
) -> tuple[Thresholds | None, int, int]:
    if any(c[0][0] < 1 or c[2][0] < 1 for c in first):
        return None, 0, len(second)
    share = aborts / 3
    rows = np.array([(c[0][0], c[2][0], c[3][0] / c[2][0]) for c in first])
    n, k = (max(1, math.floor(np.quantile(rows[:, i], share))) for i in (0, 1))
    agreed = PairThresholds(min(0.5, float(np.quantile(rows[:, 2], 1 - share))), n, k)
    refused = sum(
        agreed.refusal(int(c[0][0]), int(c[2][0]), int(c[3][0])) is not None for c in second
    )
    leak = float(np.mean([_leak(link, c) for c in first]))
    s = link.security
    tag = verification_tag_bits(n, s.eps_cor).poly
    length = bbm92_key_length(n, k, agreed.q_tol, leak, tag, s.eps_sec, s.eps_cor).length
    return agreed, length, refused


def _accepting_both(
    link: Planned, first: list[Counts], second: list[Counts], aborts: float
) -> tuple[Thresholds | None, int, int]:
    if any(c[0][0] < 1 or c[2][0] < 1 for c in first):
        return None, 0, len(second)
    share = aborts / 4
    rows = np.array([(c[0][0], c[2][0], c[1][0] / c[0][0], c[3][0] / c[2][0]) for c in first])
    n_z, n_x = (max(1, math.floor(np.quantile(rows[:, i], share))) for i in (0, 1))
    q_z, q_x = (min(0.5, float(np.quantile(rows[:, i], 1 - share))) for i in (2, 3))
    agreed = TwoBasisThresholds(q_z, q_x, n_z, n_x)

    def strings(c: Counts) -> tuple[BasisString, BasisString]:
        z, x = (
            basis_string(link, int(n), int(m)) for n, m in ((c[0][0], c[1][0]), (c[2][0], c[3][0]))
        )
        return z, x

    refused = sum(agreed.refusal(*strings(c)) is not None for c in second)
    z, x = (
        basis_string(link, n, math.floor(float(np.mean(rows[:, i])) * n))
        for n, i in ((n_z, 2), (n_x, 3))
    )
    s = link.security
    return agreed, two_basis_key_length(z, x, agreed, s.eps_sec, s.eps_cor).length, refused
