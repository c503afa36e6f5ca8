"""Simulated blocks with known photon numbers: the effect of a channel, or of Eve, on n photons."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.stages.finite_key.counts import Source

PHOTONS = 12  # Poisson(0.6) beyond it: 1e-12
Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the channel does to n photons: detection probability and error probability of each n.

    eta: transmission with detectors; background: per pulse; error: of light.
    """

    name: str
    yields: tuple[float, ...]
    errors: tuple[float, ...]


def honest(eta: float, background: float, error: float, intercepted: float = 0.0) -> Scenario:
    """A beam splitter; with ``intercepted``, that share of pulses measured in a random basis and
    sent on: a quarter of them is wrong."""
    yields, errors = [], []
    for n in range(PHOTONS):
        light = 1 - (1 - eta) ** n
        y = background + (1 - background) * light
        wrong = error * (1 - intercepted) + (error / 2 + 0.25) * intercepted
        yields.append(y)
        errors.append((background / 2 * (1 - light) + wrong * light + 0.0) / y)
    name = "intercept-resend" if intercepted else "beam splitter"
    return Scenario(name, tuple(yields), tuple(min(0.5, e) for e in errors))


def splitting(eta: float, background: float, error: float) -> Scenario:
    """Photon-number splitting: two of three single photons blocked, all else sent on without
    loss, as far as the detectors go."""
    base = honest(eta, background, error)
    yields = list(base.yields)
    yields[1] = background + (1 - background) * eta / 3
    for n in range(2, PHOTONS):
        yields[n] = background + (1 - background) * min(1.0, 3 * eta)
    errors = [base.errors[0]] + [error + background / 2 * (1 - y) for y in yields[1:]]
    return Scenario("photon-number splitting", tuple(yields), tuple(errors))


SCENARIOS = (
    honest(0.1, 2e-5, 0.02),
    splitting(0.1, 2e-5, 0.02),
    honest(0.1, 2e-5, 0.02, intercepted=0.1),
)


@dataclass(frozen=True, slots=True)
class Draw:
    """Detections n and errors m of one run, [intensity, photon number]; phase: errors the single
    photons of the key basis would have shown in the test basis."""

    n_key: Array
    m_key: Array
    n_test: Array
    m_test: Array
    phase: int


def draws(
    scenario: Scenario, source: Source, pulses: int, runs: int, rng: np.random.Generator
) -> Iterator[Draw]:
    """``runs`` blocks of ``pulses``; both choose the key basis with probability 0.7."""
    n = np.arange(PHOTONS)
    log_factorial = np.array([math.lgamma(i + 1) for i in n])
    mus = np.array(source.mus)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        poisson = np.exp(np.where(n > 0, n * np.log(mus), 0.0) - mus - log_factorial)
    sent = np.array(source.ps)[:, None] * np.where(n == 0, np.exp(-mus), poisson)
    cells = np.concatenate([0.49 * sent.ravel(), 0.09 * sent.ravel()])
    cells = np.append(cells, max(0.0, 1 - cells.sum()))
    yields, errors = np.array(scenario.yields), np.array(scenario.errors)
    for _ in range(runs):
        block = rng.multinomial(pulses, cells)[:-1].reshape(2, len(source.mus), PHOTONS)
        detected = rng.binomial(block, yields)
        wrong = rng.binomial(detected, errors)
        phase = int(rng.binomial(detected[0, :, 1].sum(), errors[1]))
        yield Draw(detected[0], wrong[0], detected[1], wrong[1], phase)
