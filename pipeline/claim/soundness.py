"""Soundness by simulation: tests that the bounds fail no more often than their epsilons allow.

Photon numbers are known here, so every bound can be compared with the truth it bounds. Pulses are
independent, so a run draws, for each basis, intensity and photon number, how many pulses were
sent (multinomial), detected and wrong (binomial): the same law as pulse by pulse, in
microseconds. Dead time and afterpulses tie pulses together: ``pulses`` goes through them singly.

Per-term epsilon 0.01: violations become visible if a bound is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from photonlink.pipeline.claim.blocks import PHOTONS, SCENARIOS, Array, Draw, Scenario, draws
from photonlink.pipeline.claim.pulses import Detectors, pulse_by_pulse
from photonlink.pipeline.stages.finite_key.bbm92 import bbm92_exact, tlgr2012
from photonlink.pipeline.stages.finite_key.counts import Bound, Source, phase_error
from photonlink.pipeline.stages.finite_key.one_decoy import rusca2018_bounds
from photonlink.pipeline.stages.finite_key.small_blocks import lim2021
from photonlink.pipeline.stages.finite_key.three_intensities import lim2014_bounds

EPS = 0.01  # of each term


@dataclass(frozen=True, slots=True)
class SoundnessVerdict:
    """One bound over all runs. allowed: violation probability its epsilons permit. tightness:
    median of bound over truth (1 is perfect). sound: at a significance of 1e-6 the violations do
    not exceed the allowed probability."""

    scenario: str
    formula: str
    bound: str
    runs: int
    violations: int
    allowed: float
    tightness: float
    claimed: bool = True

    @property
    def sound(self) -> bool:
        return self.violations <= float(binom.ppf(1 - 1e-6, self.runs, min(1.0, self.allowed)))


class Tally:
    """Counts violations and tightness of the bounds of one formula."""

    def __init__(self, scenario: str, formula: str) -> None:
        self._where = (scenario, formula)
        self._seen: dict[str, tuple[float, list[bool], list[float]]] = {}

    def lower(self, name: str, bound: float, truth: float, terms: float) -> None:
        self._add(name, bound > truth, bound, truth, terms)

    def upper(self, name: str, bound: float, truth: float, terms: float) -> None:
        self._add(name, bound < truth, bound, truth, terms)

    def _add(self, name: str, violated: bool, bound: float, truth: float, terms: float) -> None:
        _, violations, ratios = self._seen.setdefault(name, (terms * EPS, [], []))
        violations.append(violated)
        if truth > 0:
            ratios.append(bound / truth)

    def verdicts(self, *, claimed: bool = True) -> list[SoundnessVerdict]:
        return [
            SoundnessVerdict(
                *self._where, name, len(bad), sum(bad), allowed,
                float(np.median(ratios)) if ratios else math.nan, claimed,
            )
            for name, (allowed, bad, ratios) in self._seen.items()
        ]  # fmt: skip


def check_terms(
    tally: Tally, source: Source, counts: Array, bound: Bound, what: str, eps: float = EPS
) -> None:
    """Each n^±_k against the expectation from the photon numbers: one term each."""
    n = np.arange(PHOTONS)
    weights = np.array(
        [p * math.exp(-m) * np.power(m, n) for m, p in zip(source.mus, source.ps, strict=True)]
    )
    expected = (weights / weights.sum(axis=0)) @ counts.sum(axis=0)
    seen = [int(c) for c in counts.sum(axis=1)]
    for k, interval in enumerate(source.expectations(seen, eps, bound)):
        truth = float(source.scales[k] * expected[k])
        tally.lower(f"{what}^-_{k + 1}", interval.lower, truth, 1)
        tally.upper(f"{what}^+_{k + 1}", interval.upper, truth, 1)


def totals(draw: Draw) -> tuple[list[int], list[int], list[int], list[int]]:
    n_key, m_key, n_test, m_test = (
        [int(c) for c in part.sum(axis=1)]
        for part in (draw.n_key, draw.m_key, draw.n_test, draw.m_test)
    )
    return n_key, m_key, n_test, m_test


DrawBlocks = Callable[[Source], Iterator[Draw]]


def check_decoy(name: str, formula: str, blocks: DrawBlocks) -> list[SoundnessVerdict]:
    """Every bound of one decoy formula; formula: hoeffding, chernoff (Lim 2014) or rusca2018."""
    tally = Tally(name, formula)
    rusca = formula == "rusca2018"
    bound: Bound = "chernoff" if formula == "chernoff" else "hoeffding"
    source = (
        Source.of((0.5, 0.15), (0.6, 0.4))
        if rusca
        else Source.of((0.6, 0.15, 0.001), (0.6, 0.25, 0.15))
    )
    terms, gconst = (4, 19.0) if rusca else (5, 21.0)
    for draw in blocks(source):
        n_key, m_key, n_test, m_test = totals(draw)
        for counts, what in ((draw.n_key, "n"), (draw.m_test, "m")):
            check_terms(tally, source, counts, bound, what)
        if rusca:
            b = rusca2018_bounds(source, n_key, m_key, n_test, m_test, EPS)
            truth_0 = float(draw.n_key[:, 0].sum())
            tally.upper("s_key_0 (upper)", b.details["s_key_0_upper"], truth_0, 2)
        else:
            b = lim2014_bounds(source, n_key, n_test, m_test, EPS, bound)
        v_true, s_true = float(draw.m_test[:, 1].sum()), float(draw.n_key[:, 1].sum())
        tally.lower("s_key_0", b.s_key_0, float(draw.n_key[:, 0].sum()), 2)
        tally.lower("s_key_1", b.s_key_1, s_true, terms)
        tally.lower("s_test_1", b.s_test_1, float(draw.n_test[:, 1].sum()), terms)
        v = min(b.v_raw, float(sum(m_test)))
        tally.upper("v_test_1", v, v_true, 2)
        phase = phase_error(v, b.s_test_1, b.s_key_1, gconst * EPS, gconst, "exact")
        tally.upper("phi", phase.phi, draw.phase / s_true, 2 * terms + 3)
    return tally.verdicts()


def check_sampling(
    marked: int, k: int, n: int, runs: int, rng: np.random.Generator
) -> list[SoundnessVerdict]:
    """Errors of a random sample against those of the rest: gamma as printed, and with its guard."""
    where = f"sampling, {marked} errors in {n + k} bits"
    seen = rng.hypergeometric(marked, n + k - marked, k, size=runs)
    out: list[SoundnessVerdict] = []
    rows: tuple[tuple[str, Callable[[int], float], bool], ...] = (
        ("gamma as printed", lambda m: phase_error(m, k, n, 21 * EPS, 21, "printed").phi, False),
        ("exact guard", lambda m: phase_error(m, k, n, 21 * EPS, 21, "exact").phi, True),
        ("strict guard", lambda m: phase_error(m, k, n, 21 * EPS, 21, "strict").phi, True),
        ("bbm92_exact", lambda m: bbm92_exact(n, k, m, 0, 3 * math.sqrt(EPS), 0.5).phi, True),
        ("lim2021", lambda m: lim2021(n, k, m / k, 0, 3 * math.sqrt(EPS), 0.5).key.phi, True),
        ("tlgr2012", lambda m: tlgr2012(n, k, m / k, 0, 4 * math.sqrt(EPS), 0.5).phi, True),
    )
    for formula, bound, claimed in rows:
        tally = Tally(where, formula)
        known = {int(m): min(0.5, bound(int(m))) for m in np.unique(seen)}
        for m in seen:
            tally.upper("phi", known[int(m)], (marked - int(m)) / n, 1)
        out += tally.verdicts(claimed=claimed)
    return out


FORMULAS = ("hoeffding", "chernoff", "rusca2018")


def check_scenario(
    scenario: Scenario, formula: str, pulses: int, runs: int, rng: np.random.Generator
) -> list[SoundnessVerdict]:
    return check_decoy(
        scenario.name, formula, lambda source: draws(scenario, source, pulses, runs, rng)
    )


def check_all(runs: int, seed: int, pulses: int = 3_000_000) -> list[SoundnessVerdict]:
    """Three scenarios and detectors with memory by three formulas; sampling with few and many
    errors. Detectors with memory are slower: a tenth of the runs, of a tenth of the pulses."""
    rng = np.random.default_rng(seed)
    verdicts: list[SoundnessVerdict] = []
    for scenario in SCENARIOS:
        for formula in FORMULAS:
            verdicts += check_scenario(scenario, formula, pulses, runs, rng)
    for formula in FORMULAS:
        verdicts += check_decoy(
            "dead time, afterpulses",
            formula,
            lambda source: pulse_by_pulse(Detectors(), source, pulses // 10, runs // 10, rng),
        )
    for marked in (6, 60, 600):
        verdicts += check_sampling(marked, 2000, 8000, 20 * runs, rng)
    return verdicts
