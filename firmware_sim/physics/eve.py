"""Eve's light: the light that she sends to both receivers, and her record of it.

A strategy turns the honest pairs of an interval into the light at the receivers, arm by arm: single
photons whose analyser outcome is drawn here, and bright polarized pulses that a passive analyser
splits. She knows every state that she has prepared. The detectors (bright.c) decide which diode
clicks, and when.

Sources: intercept and resend (Bennett and Brassard 1984); time shift (Qi et al., Quantum Inf.
Comput. 7, 73 (2007)); dead time (Weier et al., New J. Phys. 13, 073024 (2011)); blinding and
faked states
(Lydersen et al., Nature Photonics 4, 686 (2010); Makarov, New J. Phys. 11, 065003 (2009)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
Letters = npt.NDArray[np.uint8]
Energies = npt.NDArray[np.float64]
Draws = np.random.Generator

H, V, D, A = range(4)
NOBODY = 255
"""A letter that Eve does not know, or a photon that does not exist."""
BRIGHT_PHOTONS = 1e3
"""From here on a pulse is split by the analyser like a classical wave."""
FAKED_PHOTONS = 3.9e7
"""Half of it clicks in linear mode, a quarter does not (detector defaults: 1.5e7 and 1.9e7)."""


@dataclass(frozen=True, slots=True)
class EntangledPairs:
    """Honest pairs: bench times (n,) at which they reach Alice, and the outcome of each receiver's
    analyser, letters (n,)."""

    time_ps: Times
    alice: Letters
    bob: Letters


@dataclass(frozen=True, slots=True)
class Arriving:
    """Light at one receiver: times (n,), diodes (n,) 0..3 = H, V, D, A, photons (n,)."""

    time_ps: Times
    diode: Letters
    photons: Energies

    @classmethod
    def join(cls, *parts: Arriving) -> Arriving:
        return cls(
            np.concatenate([p.time_ps for p in parts]),
            np.concatenate([p.diode for p in parts]),
            np.concatenate([p.photons for p in parts]),
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """The light of one interval.

    known_*: Eve's own record: the bench time at which light that she made or changed reaches Bob,
    and the states that she sent to each receiver (NOBODY: not known). bright_hz: continuous light
    on each of Bob's diodes, photons per second.
    """

    alice: Arriving
    bob: Arriving
    known_ps: Times
    known_alice: Letters
    known_bob: Letters
    bright_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class Strategy:
    """A name of ``STRATEGIES`` and its numbers; ``share``: of the pairs that she acts on."""

    name: str = "none"
    share: float = 1.0
    numbers: dict[str, float] = field(default_factory=dict)

    def get(self, name: str, default: float) -> float:
        return float(self.numbers.get(name, default))


def emitted(rng: Draws, rate_hz: float, start_ps: int, end_ps: int) -> Times:
    """A Poisson process."""
    n = rng.poisson(rate_hz * (end_ps - start_ps) * 1e-12)
    return np.sort(rng.integers(start_ps, end_ps, n))


def entangled(rng: Draws, time_ps: Times, visibility: float) -> EntangledPairs:
    """Outcomes at passive analysers of a state Φ+ with white noise."""
    n = len(time_ps)
    basis_a, basis_b = rng.integers(0, 2, (2, n))
    bit_a, other = rng.integers(0, 2, (2, n))
    agree = rng.random(n) < 0.5 * (1.0 + visibility)
    bit_b = np.where(basis_a == basis_b, np.where(agree, bit_a, 1 - bit_a), other)
    return EntangledPairs(
        time_ps, (2 * basis_a + bit_a).astype(np.uint8), (2 * basis_b + bit_b).astype(np.uint8)
    )


def analysed(rng: Draws, letter: Letters) -> Letters:
    """The output of a passive analyser for a single photon of this polarization."""
    n = len(letter)
    basis = rng.integers(0, 2, n)
    bit = np.where(basis == letter >> 1, letter & 1, rng.integers(0, 2, n))
    return (2 * basis + bit).astype(np.uint8)


def lone_photons(rng: Draws, rate_hz: float, start_ps: int, end_ps: int) -> Arriving:
    """Unpolarized photons without a partner."""
    at = emitted(rng, rate_hz, start_ps, end_ps)
    return singles(at, rng.integers(0, 4, len(at)).astype(np.uint8))


def singles(time_ps: Times, diode: Letters) -> Arriving:
    """One photon each."""
    return Arriving(time_ps, diode, np.ones(len(time_ps)))


def bright(time_ps: Times, letter: Letters, photons: float) -> Arriving:
    """Polarized pulses: half of the photons to their own diode, a quarter to each of the other
    basis, none to the opposite one.
    """
    times, diodes, energies = [], [], []
    for diode in range(4):
        share = np.where(letter == diode, 0.5, np.where(letter >> 1 == diode >> 1, 0.0, 0.25))
        hit = share > 0
        times.append(time_ps[hit])
        diodes.append(np.full(int(hit.sum()), diode, np.uint8))
        energies.append(photons * share[hit])
    return Arriving(np.concatenate(times), np.concatenate(diodes), np.concatenate(energies))


def _scene(alice: Arriving, bob: Arriving, *known: tuple[Times, Letters, Letters]) -> Scene:
    columns = [np.concatenate(c) for c in zip(*known, strict=True)] if known else []
    if not columns:
        nothing = np.empty(0, np.uint8)
        return Scene(alice, bob, np.empty(0, np.int64), nothing, nothing)
    order = np.argsort(columns[0], kind="stable")
    return Scene(alice, bob, columns[0][order], columns[1][order], columns[2][order])


def _nobody(n: int) -> Letters:
    return np.full(n, NOBODY, np.uint8)


def none(rng: Draws, pairs: EntangledPairs, s: Strategy) -> Scene:
    """Honest light."""
    return _scene(singles(pairs.time_ps, pairs.alice), singles(pairs.time_ps, pairs.bob))


def _touched(rng: Draws, pairs: EntangledPairs, s: Strategy) -> npt.NDArray[np.bool_]:
    return rng.random(len(pairs.time_ps)) < s.share


def intercept(rng: Draws, pairs: EntangledPairs, s: Strategy) -> Scene:
    """She measures Bob's photon of a share of the pairs in one of the bases and sends it on: both
    receive the product state of her outcome. ``basis``: 0 HV, 1 DA, 2 a coin."""
    hit = _touched(rng, pairs, s)
    n = int(hit.sum())
    wanted = s.get("basis", 2)
    basis = rng.integers(0, 2, n) if wanted == 2 else np.full(n, int(wanted))
    letter = (2 * basis + rng.integers(0, 2, n)).astype(np.uint8)
    alice, bob = pairs.alice.copy(), pairs.bob.copy()
    alice[hit], bob[hit] = analysed(rng, letter), analysed(rng, letter)
    return _scene(
        singles(pairs.time_ps, alice), singles(pairs.time_ps, bob),
        (pairs.time_ps[hit], letter, letter),
    )  # fmt: skip


def by_basis(rng: Draws, pairs: EntangledPairs, s: Strategy) -> Scene:
    """C2: product states, Bob's photon ``hv_ps`` late in HV and ``da_ps`` in DA; the other pairs
    stay at zero and satisfy the statistics of different bases.
    """
    hit = _touched(rng, pairs, s)
    n = int(hit.sum())
    letter = rng.integers(0, 4, n).astype(np.uint8)
    late = np.zeros(len(hit), np.int64)
    late[hit] = np.where(letter < D, round(s.get("hv_ps", 0)), round(s.get("da_ps", 0)))
    alice, bob = pairs.alice.copy(), pairs.bob.copy()
    alice[hit], bob[hit] = analysed(rng, letter), analysed(rng, letter)
    at = pairs.time_ps + late
    return _scene(singles(pairs.time_ps, alice), singles(at, bob), (at[hit], letter, letter))


def time_shift(rng: Draws, pairs: EntangledPairs, s: Strategy) -> Scene:
    """Bob's photon arrives ``shift_ps`` early or late, by a coin; nothing is measured. With
    ``late`` = 1 it is always late: the edge of the coincidence window.
    """
    hit = _touched(rng, pairs, s)
    sign = np.where(rng.random(len(hit)) < 0.5, -1, 1) if not s.get("late", 0) else 1
    at = pairs.time_ps + np.where(hit, sign * round(s.get("shift_ps", 500)), 0)
    unknown = _nobody(int(hit.sum()))
    return _scene(
        singles(pairs.time_ps, pairs.alice), singles(at, pairs.bob), (at[hit], unknown, unknown)
    )


def dead_time(rng: Draws, pairs: EntangledPairs, s: Strategy) -> Scene:
    """A pulse before each of her pairs makes all of Bob's diodes dead except the one opposite to
    its polarization; the pair that follows gives that outcome. It comes at random, a quarter of
    ``lead_ps`` to all of it before: at a fixed distance the clocks would find a second peak."""
    hit = _touched(rng, pairs, s)
    n = int(hit.sum())
    letter = rng.integers(0, 4, n).astype(np.uint8)
    at = pairs.time_ps[hit]
    lead = round(s.get("lead_ps", 1_000_000))
    before = at - rng.integers(lead // 4, lead + 1, n)
    kill = bright(before, letter ^ np.uint8(1), s.get("photons", 200.0))
    alice, bob = pairs.alice.copy(), pairs.bob.copy()
    alice[hit], bob[hit] = analysed(rng, letter), analysed(rng, letter)
    return _scene(
        singles(pairs.time_ps, alice), Arriving.join(singles(pairs.time_ps, bob), kill),
        (at, letter, letter),
    )  # fmt: skip


def echo(rng: Draws, pairs: EntangledPairs, s: Strategy) -> Scene:
    """After each pair of hers, untouched itself: an H pulse kills H, D and A, a V pulse
    then clicks only if V is alive, and a probe follows ``probe_ps`` after the pair. Whether Bob
    announces the probe tells whether the pair was V, where later clicks prolong a veto."""
    hit = _touched(rng, pairs, s)
    at = pairs.time_ps[hit]
    n, photons = len(at), s.get("photons", 200.0)
    first, second = at + 5_000, at + 12_000
    probe = at + round(s.get("probe_ps", 58_000))
    extra = Arriving.join(
        bright(first, np.full(n, H, np.uint8), photons),
        bright(second, np.full(n, V, np.uint8), photons),
        bright(probe, rng.integers(0, 4, n).astype(np.uint8), photons),
    )
    bob = Arriving.join(singles(pairs.time_ps, pairs.bob), extra)
    unknown = _nobody(n)
    return _scene(singles(pairs.time_ps, pairs.alice), bob, (at, unknown, unknown))


def shadow(rng: Draws, pairs: EntangledPairs, s: Strategy) -> Scene:
    """Dead time behind an event that never pairs: a filler photon ``quiet_ps`` before each pair of
    hers starts an event, a pulse at the end of its quiet time is held by it and leaves one diode
    alive, the pair follows ``behind_ps`` after the quiet time. Fillers every ``filler_ps``
    elsewhere keep the share of events with later clicks small."""
    hit = _touched(rng, pairs, s)
    n, at = int(hit.sum()), pairs.time_ps[hit]
    letter = rng.integers(0, 4, n).astype(np.uint8)
    behind, quiet = round(s.get("behind_ps", 5_000)), round(s.get("quiet_ps", 60_000))
    kill = bright(at - 2 * behind, letter ^ np.uint8(1), s.get("photons", 200.0))
    alice, bob = pairs.alice.copy(), pairs.bob.copy()
    alice[hit], bob[hit] = analysed(rng, letter), analysed(rng, letter)
    period = round(s.get("filler_ps", 2e6))
    lone = np.empty(0, np.int64)
    if len(pairs.time_ps):
        lone = np.arange(int(pairs.time_ps[0]), int(pairs.time_ps[-1]), period)
        lone = lone[_distance(lone, pairs.time_ps) > 3 * quiet]
    filler = np.concatenate([at - behind - quiet, lone])
    light = Arriving.join(
        singles(pairs.time_ps, bob), kill,
        singles(filler, rng.integers(0, 4, len(filler)).astype(np.uint8)),
    )  # fmt: skip
    return _scene(singles(pairs.time_ps, alice), light, (at, letter, letter))


def _distance(times: Times, rising: Times) -> Times:
    """Distance of each time to the nearest entry of a sorted array."""
    at = np.clip(np.searchsorted(rising, times), 1, max(len(rising) - 1, 1))
    near: Times = np.minimum(
        np.abs(rising[at - 1] - times), np.abs(rising[at % len(rising)] - times)
    )
    return near


def held_hz(s: Strategy) -> float:
    """Continuous light of a strategy on each of Bob's diodes, photons per second."""
    if s.name != "blinding" or s.get("period_ps", 0):
        return 0.0
    return s.get("bright_hz", 2e15)


def blinding(rng: Draws, pairs: EntangledPairs, s: Strategy) -> Scene:
    """Bob's diodes are held in linear mode, by continuous light or (``period_ps``) by pulses; she
    measures every photon and sends bright pulses that click in her basis or not at all.
    """
    n = len(pairs.time_ps)
    letter = rng.integers(0, 4, n).astype(np.uint8)
    alice = singles(pairs.time_ps, analysed(rng, letter))
    bob = bright(pairs.time_ps, letter, s.get("photons", FAKED_PHOTONS))
    period = round(s.get("period_ps", 0))
    if period and n:
        at = np.arange(int(pairs.time_ps[0]) // period * period, int(pairs.time_ps[-1]), period)
        each = np.repeat(at, 4), np.tile(np.arange(4, dtype=np.uint8), len(at))
        bob = Arriving.join(bob, Arriving(*each, np.full(4 * len(at), s.get("burst", 5e10))))
    made = _scene(alice, bob, (pairs.time_ps, letter, letter))
    return Scene(
        made.alice, made.bob, made.known_ps, made.known_alice, made.known_bob, bright_hz=held_hz(s)
    )


def sparse(rng: Draws, pairs: EntangledPairs, s: Strategy) -> Scene:
    """C4: entangled light so weak that public counts of single detectors would reveal its outcomes:
    one pair in ``gap_ps``. She measures nothing."""
    gap = round(s.get("gap_ps", 10**10))
    _, few = np.unique(pairs.time_ps // gap, return_index=True)
    thin = EntangledPairs(pairs.time_ps[few], pairs.alice[few], pairs.bob[few])
    unknown = _nobody(len(few))
    return _scene(
        singles(thin.time_ps, thin.alice), singles(thin.time_ps, thin.bob),
        (thin.time_ps, unknown, unknown),
    )  # fmt: skip


STRATEGIES: dict[str, Callable[[Draws, EntangledPairs, Strategy], Scene]] = {
    "none": none,
    "intercept": intercept,
    "by_basis": by_basis,
    "time_shift": time_shift,
    "dead_time": dead_time,
    "echo": echo,
    "shadow": shadow,
    "blinding": blinding,
    "sparse": sparse,
}
