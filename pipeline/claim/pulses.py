"""Pulse-by-pulse simulation of detectors with memory, for the soundness of bounds under dead time.

After a click the detectors are dead for some pulses, and with some probability an afterpulse comes
when they wake: clicks depend on earlier intensities. Intensity and basis of a pulse, given its
photon number, still do not depend on whether it is detected; the bounds need no more than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.claim.blocks import PHOTONS, Draw
from photonlink.pipeline.stages.finite_key.counts import Source


@dataclass(frozen=True, slots=True)
class Detectors:
    """eta: transmission with efficiency; background: per pulse; error: of light; dead: pulses;
    afterpulse: probability after a click, delay: its mean in pulses after the dead time."""

    eta: float = 0.1
    background: float = 2e-5
    error: float = 0.02
    dead: int = 20
    afterpulse: float = 0.1
    delay: float = 10.0


def pulse_by_pulse(
    detectors: Detectors, source: Source, pulses: int, runs: int, rng: np.random.Generator
) -> Iterator[Draw]:
    """``runs`` blocks of ``pulses``; both choose the key basis with probability 0.7."""
    shape = (2, len(source.mus), PHOTONS)
    for _ in range(runs):
        intensity = rng.choice(len(source.mus), size=pulses, p=source.ps)
        photons = np.minimum(rng.poisson(np.array(source.mus)[intensity]), PHOTONS - 1)
        light = rng.random(pulses) < 1 - (1 - detectors.eta) ** photons
        noise = rng.random(pulses) < detectors.background
        clicks, by_light = _clicks(detectors, light, noise, rng)
        both = rng.random((2, clicks.size)) < 0.7
        kept = both[0] == both[1]
        at, test = clicks[kept], (~both[0][kept]).astype(int)
        wrong = rng.random(at.size) < np.where(by_light[kept], detectors.error, 0.5)
        n, m = np.zeros(shape, int), np.zeros(shape, int)
        cell = (test, intensity[at], photons[at])
        np.add.at(n, cell, 1)
        np.add.at(m, cell, wrong)
        # what the key basis' single photons would have shown in the test basis: same law
        single = (test == 0) & (photons[at] == 1)
        rate = np.where(by_light[kept][single], detectors.error, 0.5)
        phase = int((rng.random(rate.size) < rate).sum())
        yield Draw(n[0], m[0], n[1], m[1], phase)


def _clicks(
    d: Detectors, light: np.ndarray, noise: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pulses that clicked, in order, and whether light did it."""
    candidates = np.flatnonzero(light | noise)
    chance = iter(rng.random(2 * candidates.size))
    delays = iter(rng.exponential(d.delay, 2 * candidates.size))
    clicks: list[int] = []
    by_light: list[bool] = []
    alive, pending = 0, -1

    def click(pulse: int, is_light: bool) -> None:
        nonlocal alive, pending
        clicks.append(pulse)
        by_light.append(is_light)
        alive, pending = pulse + d.dead + 1, -1
        if next(chance, 1.0) < d.afterpulse:
            pending = alive + int(next(delays, 0.0))

    for at in candidates.tolist():
        while 0 <= pending < at:
            click(pending, False)
        if at >= alive:
            click(at, bool(light[at]))
    while 0 <= pending < light.size:
        click(pending, False)
    return np.array(clicks, int), np.array(by_light, bool)
