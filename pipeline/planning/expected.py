"""Expected counts of a link per pulse, with noise, afterpulses and dead time.

Detection of intensity k: D_k = 1 - (1 - 2 b) exp(-eta mu_k) for the two detectors of a basis, b the
background per detector and gate; errors: b + e (1 - exp(-eta mu_k)) (Lim et al. 2014, Sec. IV,
but with afterpulses as a background common to all intensities: b = p_dark + p_ap <D> / 2, because
they follow the average past rate and not the present pulse; an event-level simulation agrees).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from photonlink.pipeline.planning.model import PlannedLink


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that a planner may choose: intensities, their probabilities, the bias of the
    bases.
    """

    mus: tuple[float, ...]
    ps: tuple[float, ...]
    key_basis: float


@dataclass(frozen=True, slots=True)
class Hardware:
    """The given properties of a link, as numbers. etas: total transmissions with detectors, equally
    likely.
    """

    rate_hz: float
    etas: tuple[float, ...]
    dark: float  # per gate and detector: dark counts and stray light
    afterpulse: float
    dead_time_s: float  # of one detector with all its pixels: dead_time / pixels
    max_rate_hz: float
    error_key: float
    error_test: float
    passive: bool
    bob_key_basis: float | None
    gate_s: float
    receiver: float = 1.0  # the part of each eta that is optics and detectors


@dataclass(frozen=True, slots=True)
class Expected:
    """Per pulse and intensity, brightest first; for pairs one entry. live: share of time the
    detectors could count."""

    n_key: tuple[float, ...]
    m_key: tuple[float, ...]
    n_test: tuple[float, ...]
    m_test: tuple[float, ...]
    live: float

    @property
    def qber_key(self) -> float:
        total = sum(self.n_key)
        return sum(self.m_key) / total if total else 0.5


def settings_of(link: PlannedLink) -> Settings:
    return Settings(link.source.mus, link.source.ps, link.source.key_basis)


def hardware_of(link: PlannedLink) -> Hardware:
    """Detectors count by their mean: light is shared evenly among those of a basis."""
    receiver = link.receiver
    detectors = [d for d in receiver.detectors for _ in range(d.count)]
    n = len(detectors)
    efficiency = math.fsum(d.efficiency for d in detectors) / n
    darks = (
        d.dark_per_gate if d.dark_per_gate is not None else (d.dark_hz or 0.0) * receiver.gate_s
        for d in detectors
    )
    optics = 10 ** (-receiver.loss_db / 10)
    stray = link.channel.background_photons_hz() * optics * efficiency * receiver.gate_s / 2
    test = receiver.misalignment_test
    return Hardware(
        rate_hz=link.source.rate_hz,
        etas=tuple(optics * efficiency * 10 ** (-db / 10) for db in link.channel.losses_db()),
        dark=min(0.5, math.fsum(darks) / n + stray),
        afterpulse=math.fsum(d.afterpulse for d in detectors) / n,
        dead_time_s=math.fsum(d.dead_time_s / d.pixels for d in detectors) / n,
        max_rate_hz=receiver.max_rate_hz or math.inf,
        error_key=receiver.misalignment,
        error_test=receiver.misalignment if test is None else test,
        passive=receiver.basis_choice == "passive",
        bob_key_basis=receiver.key_basis,
        gate_s=receiver.gate_s,
        receiver=optics * efficiency,
    )


def expected(hardware: Hardware, settings: Settings) -> Expected:
    """Mean over the losses of a block."""
    return _mean([_at(eta, hardware, settings) for eta in hardware.etas])


def _mean(parts: list[Expected]) -> Expected:
    """Mean over equally likely losses."""
    if len(parts) == 1:
        return parts[0]

    def mean(name: str) -> tuple[float, ...]:
        rows = [getattr(p, name) for p in parts]
        return tuple(math.fsum(column) / len(rows) for column in zip(*rows, strict=True))

    live = math.fsum(p.live for p in parts) / len(parts)
    return Expected(mean("n_key"), mean("m_key"), mean("n_test"), mean("m_test"), live)


def _at(eta: float, hw: Hardware, s: Settings) -> Expected:
    alice = s.key_basis
    bob = alice if hw.bob_key_basis is None else hw.bob_key_basis
    # share of the light on a pair of detectors, and probability of that pair's basis
    eta_key, eta_test = (eta * bob, eta * (1 - bob)) if hw.passive else (eta, eta)
    choice_key, choice_test = (1.0, 1.0) if hw.passive else (bob, 1 - bob)
    b_key, d_key = _background(eta_key, hw, s)
    b_test, d_test = _background(eta_test, hw, s)
    busiest = max(d_key, d_test) if hw.passive else max(d_key * bob + d_test * (1 - bob), 0.0)
    all_counts = d_key + d_test if hw.passive else busiest
    live = 1 / (1 + hw.rate_hz * busiest / 2 * hw.dead_time_s)
    live = min(live, hw.max_rate_hz / max(hw.rate_hz * all_counts, 1e-300))
    key = _counts(eta_key, b_key, hw.error_key, s, live * alice * choice_key)
    test = _counts(eta_test, b_test, hw.error_test, s, live * (1 - alice) * choice_test)
    return Expected(*key, *test, live)


def _background(eta: float, hw: Hardware, s: Settings) -> tuple[float, float]:
    """(b per detector, mean detection probability): b = dark + p_ap <D(b)> / 2, solved: D is
    linear in b."""
    light = math.fsum(p * math.exp(-eta * m) for m, p in zip(s.mus, s.ps, strict=True))
    b = min(0.5, (hw.dark + hw.afterpulse * (1 - light) / 2) / (1 - hw.afterpulse * light))
    return b, 1 - (1 - 2 * b) * light


def _counts(
    eta: float, b: float, error: float, s: Settings, share: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    n, m = [], []
    for mu, p in zip(s.mus, s.ps, strict=True):
        dark = math.exp(-eta * mu)
        n.append(share * p * (1 - (1 - 2 * b) * dark))
        # counts that light adds to the background have the error rate of the light
        m.append(share * p * (b * dark + (error + b * (1 - 2 * error)) * (1 - dark)))
    return tuple(n), tuple(m)


def expected_pairs(hardware: Hardware, key_basis: float) -> Expected:
    """Coincidences of a pair source in the middle: its rate is hardware.rate_hz per second.

    Singles and accidentals: R_acc = S_A S_B t_c; accidentals are wrong half the time. The channel
    is shared evenly by both arms. Per pair, so that a block counts pairs as others do pulses.
    """
    parts = [_pairs_at(eta, hardware, key_basis) for eta in hardware.etas]
    return _mean(parts)


def _pairs_at(eta: float, hw: Hardware, alice: float) -> Expected:
    arm = math.sqrt(eta / hw.receiver) * hw.receiver  # half of the loss each
    singles = hw.rate_hz * arm + 4 * hw.dark / hw.gate_s  # four detectors at either end
    live = 1 / (1 + singles / 4 * hw.dead_time_s)
    true = hw.rate_hz * (arm * live) ** 2
    accidental = (singles * live * (1 + hw.afterpulse)) ** 2 * hw.gate_s
    bob = alice if hw.bob_key_basis is None else hw.bob_key_basis
    key, test = alice * bob / hw.rate_hz, (1 - alice) * (1 - bob) / hw.rate_hz
    return Expected(
        (key * (true + accidental),),
        (key * (true * hw.error_key + accidental / 2),),
        (test * (true + accidental),),
        (test * (true * hw.error_test + accidental / 2),),
        live,
    )


def without(hardware: Hardware, what: str) -> Hardware:
    """The same hardware without one of its faults."""
    if what == "dark counts and stray light":
        return replace(hardware, dark=0.0)
    if what == "afterpulses":
        return replace(hardware, afterpulse=0.0)
    if what == "dead time and saturation":
        return replace(hardware, dead_time_s=0.0, max_rate_hz=math.inf)
    return replace(hardware, error_key=0.0, error_test=0.0)  # misalignment
