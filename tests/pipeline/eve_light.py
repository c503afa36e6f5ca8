"""Light that Eve prepares: both sides' tags from a table of photon pairs.

Written for the attack tests and independent of the emulated bench: detectors are ideal except for
jitter, analysers choose their basis at random, both clocks run at one rate, Bob's is 10 ms ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photonlink.hal.tags import Provenance, TagBlock

PS = 10**12
BOB_AHEAD_PS = 10**10
_JITTER_PS = 300 / 2.3548
Ints = npt.NDArray[np.int64]


@dataclass
class Pairs:
    """time_ps: at Alice. shift_ps: delay of Bob's photon. Detectors 0..3 = H V D A."""

    time_ps: npt.NDArray[np.float64]
    shift_ps: npt.NDArray[np.float64]
    alice: Ints
    bob: Ints

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(*(
            np.concatenate([getattr(one, name) for one in (self, other)])
            for name in ("time_ps", "shift_ps", "alice", "bob")
        ))  # fmt: skip


def times(rng: np.random.Generator, hz: float, start_s: float, end_s: float) -> Ints:
    """Random times, no two of them within 20 ns."""
    n = rng.poisson(hz * (end_s - start_s))
    t = np.sort(rng.uniform(start_s * PS, end_s * PS, n))
    return t[np.diff(t, prepend=-PS) > 20_000]  # type: ignore[return-value]


def entangled(rng: np.random.Generator, hz: float, start_s: float, end_s: float) -> Pairs:
    """Pairs with the same outcome in the same basis, except for 1 % errors."""
    t = times(rng, hz, start_s, end_s)
    basis_a, basis_b, bit = (rng.integers(0, 2, len(t)) for _ in range(3))
    wrong = rng.random(len(t)) < 0.01
    bit_b = np.where(basis_a == basis_b, bit ^ wrong, rng.integers(0, 2, len(t)))
    return Pairs(t, np.zeros(len(t)), 2 * basis_a + bit, 2 * basis_b + bit_b)


def product(
    rng: np.random.Generator, hz: float, start_s: float, end_s: float, basis: int, shift_ps: float
) -> Pairs:
    """Both photons in one state that Eve knows: HH or VV (basis 0), DD or AA (1)."""
    t = times(rng, hz, start_s, end_s)
    bit = rng.integers(0, 2, len(t))
    sides = []
    for _ in range(2):
        measured = rng.integers(0, 2, len(t))
        outcome = np.where(measured == basis, bit, rng.integers(0, 2, len(t)))
        sides.append(2 * measured + outcome)
    return Pairs(t, np.full(len(t), shift_ps), *sides)


def fillers(rng: np.random.Generator, hz: float, start_s: float, end_s: float) -> Pairs:
    """Unpolarised pairs."""
    t = times(rng, hz, start_s, end_s)
    a, b = (rng.integers(0, 4, len(t)) for _ in range(2))
    return Pairs(t, np.zeros(len(t)), a, b)


def tags(
    rng: np.random.Generator, pairs: Pairs, duration_s: float
) -> tuple[list[TagBlock], list[TagBlock]]:
    """Both sides' tags in blocks of 0.1 s."""
    sides = []
    for arrive, detector, ahead in (
        (pairs.time_ps, pairs.alice, 0),
        (pairs.time_ps + pairs.shift_ps, pairs.bob, BOB_AHEAD_PS),
    ):
        t = np.round(arrive + rng.normal(0, _JITTER_PS, len(arrive))).astype(np.int64) + ahead
        order = np.argsort(t, kind="stable")
        sides.append(_blocks(t[order], detector[order], duration_s))
    return sides[0], sides[1]


def _blocks(time_ps: Ints, detector: Ints, duration_s: float) -> list[TagBlock]:
    found = []
    for k in range(round(10 * duration_s)):
        start, end = k * PS // 10, (k + 1) * PS // 10
        low, high = np.searchsorted(time_ps, (start, end))
        channel = (detector[low:high] + 1).astype(np.uint8)
        found.append(
            TagBlock(time_ps[low:high].copy(), channel, start, end, (), Provenance.EMULATED)
        )
    return found
