"""Asymptotic decoy states: Ma, Qi, Zhao, Lo, PRA 72, 012326 (2005). For comparison with the paper.

Signal pulses alone make key: R = 1/2 {Q_1 [1 - h(e_1)] - f Q_mu h(E_mu)} per pulse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from photonlink.pipeline.planning.expected import hardware_of
from photonlink.pipeline.planning.model import PlannedLink
from photonlink.pipeline.stages.finite_key.costs import binary_entropy, entropy_of_bound


@dataclass(frozen=True, slots=True)
class Setup:
    """db_per_km: fibre; eta_bob: receiver with detectors; y0: background per pulse; e_d: errors of
    light; f: error correction; mu: signal; nu: weak decoy, None for infinitely many decoys."""

    db_per_km: float
    eta_bob: float
    y0: float
    e_d: float
    f: float
    mu: float
    nu: float | None = None

    @classmethod
    def of(cls, link: PlannedLink) -> Setup:
        """The link's fibre, receiver, two brightest intensities; the third taken as vacuum."""
        hardware, attenuation = hardware_of(link), link.channel.attenuation
        mu, nu, _ = link.source.mus
        return cls(
            attenuation, hardware.receiver, 2 * hardware.dark, hardware.error_key,
            link.protocol.f, mu, nu,
        )  # fmt: skip


def rate_per_pulse(setup: Setup, length_km: float) -> float:
    """The rate, which may be negative. Y_1 and e_1 exact (infinite decoys) or bounded with vacuum
    and nu.
    """
    eta = setup.eta_bob * 10 ** (-setup.db_per_km * length_km / 10)
    mu, y0 = setup.mu, setup.y0

    def gain(m: float) -> tuple[float, float]:
        light = -math.expm1(-eta * m)
        q = y0 + light
        return q, (0.5 * y0 + setup.e_d * light) / q

    q_mu, e_mu = gain(mu)
    if setup.nu is None:
        y1 = y0 + eta - y0 * eta
        e1 = (0.5 * y0 + setup.e_d * eta) / y1
    else:
        nu = setup.nu
        q_nu, e_nu = gain(nu)
        y1 = (
            mu / (mu * nu - nu**2)
            * (q_nu * math.exp(nu) - q_mu * math.exp(mu) * (nu / mu) ** 2
               - (mu**2 - nu**2) / mu**2 * y0)
        )  # fmt: skip
        if y1 <= 0:
            return -setup.f * q_mu * binary_entropy(e_mu) / 2
        e1 = (e_nu * q_nu * math.exp(nu) - 0.5 * y0) / (y1 * nu)
    single = y1 * mu * math.exp(-mu) * (1 - entropy_of_bound(max(e1, 0.0)))
    return 0.5 * (single - setup.f * q_mu * binary_entropy(e_mu))


def longest_km(setup: Setup) -> float:
    """Where the rate falls to zero, to a metre."""
    low, high = 0.0, 1000.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if rate_per_pulse(setup, middle) > 0 else (low, middle)
    return low
