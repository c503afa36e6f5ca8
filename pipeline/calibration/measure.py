"""From labelled clicks of both ends to the constants of each detector.

The operator vouches for the light, and all clicks are disclosed. Model: a pair
seen by Alice's detector i and Bob's j lies at ``common(t) + bob_j - alice_i``, the delays of one
side average to zero, and ``common`` is the clocks' difference. The number of pairs in different
bases is proportional to the product of both efficiencies, because a maximally entangled pair
shows no correlation there; a rotation of the polarization enters in second order only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.calibration.model import (
    DetectorCalibration,
    Histogram,
    Interval,
)
from photonlink.pipeline.native.matching import match_pairs
from photonlink.pipeline.stages.delays import DelayEstimator
from photonlink.pipeline.stages.window import LETTERS, Int64s, LabelledWindow, Uint8s

Floats = npt.NDArray[np.float64]

FAILURE_PROBABILITY = 1e-6
"""That any of a calibration's bounds is wrong by chance."""
SYSTEMATIC_DELAY_PS = 10.0
"""Added to each delay's uncertainty: centroids of peaks with tails, cut at a window."""
SYSTEMATIC_EFFICIENCY = 0.01
"""Relative, added to each interval: light that is not quite unpolarised, corrections."""
DARK_LEAST_S = 1.0  # seconds of counting in the dark behind a dark rate
LEAST_PAIRS = 200
RANGE_PS = 100_000
REACH_SIGMA = 8.0  # share of the window in which pairs are searched
SLICE_PS = 250_000_000_000
JITTER_BINS = 120
QUIET_STEP_PS = 250_000
AFTERPULSES_PS = 20_000_000  # range after the dead time in which afterpulses are counted
QUIET_EXCESS = 0.1  # share of the mean rate; the deviation must be significant as well
_N_VALUES = 8 + 8  # delays and efficiencies that share the failure probability


class MeasurementError(PhotonlinkError):
    """The light was not enough for a calibration, or not what it should be."""


@dataclass(frozen=True, slots=True)
class Clicks:
    """One end: sorted times (both ends in Alice's clock), detectors 0..3 = H, V, D, A.

    inputs: detector letter → tagger channel.   dark_hz: by letter, with the light off.
    """

    time_ps: Int64s
    detector: Uint8s
    seconds: float
    inputs: Mapping[str, int]
    dark_hz: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Coincidences: detectors of both ends, Bob's time minus Alice's with the clock taken out."""

    alice: Uint8s
    bob: Uint8s
    residual_ps: Floats
    background: float  # share of accidental pairs
    window_ps: int


def quantile(failure_probability: float) -> float:
    """Two-sided Gaussian quantile in standard deviations."""
    return -NormalDist().inv_cdf(failure_probability / 2)


def measure(
    alice: Clicks, bob: Clicks, sigma_ps: float
) -> tuple[dict[str, DetectorCalibration], dict[str, DetectorCalibration]]:
    """Both stations' detectors. sigma_ps: expected standard deviation of Bob minus Alice.

    MeasurementError names the detector that is dark or the light that is missing.
    """
    _require_clicks("alice", alice)
    _require_clicks("bob", bob)
    rough = _rough_delays(alice, bob, sigma_ps)
    pairs = find_pairs(alice, bob, rough, sigma_ps)
    _require_pairs("alice", pairs.alice)
    _require_pairs("bob", pairs.bob)
    delays, uncertainty = fit_delays(pairs, rough)
    shares = efficiencies(pairs, alice, bob)
    found: list[dict[str, DetectorCalibration]] = []
    for side, clicks in enumerate((alice, bob)):
        mine = pairs.alice if side == 0 else pairs.bob
        found.append(
            {
                letter: DetectorCalibration(
                    input=clicks.inputs[letter],
                    delay_ps=round(float(delays[side][k]), 1),
                    delay_uncertainty_ps=round(float(uncertainty[side][k]), 1),
                    efficiency=shares[side][k],
                    jitter=_jitter(pairs, delays, mine == k),
                    dead_time_ps=after_click(clicks, k).dead_ps,
                    quiet_time_ps=after_click(clicks, k).quiet_ps,
                    dark_hz=float(clicks.dark_hz.get(letter, 0.0)),
                    pairs=int((mine == k).sum()),
                )
                for k, letter in enumerate(LETTERS)
            }
        )
    return found[0], found[1]


def _require_clicks(side: str, clicks: Clicks) -> None:
    counts = np.bincount(clicks.detector, minlength=4)
    for k, letter in enumerate(LETTERS):
        if counts[k] < LEAST_PAIRS:
            raise MeasurementError(
                f"{counts[k]} clicks in {clicks.seconds:g} s: this detector is dark",
                where=f"{side} {letter}",
                hint="bias, threshold, cable, channel map, fibre?",
            )


def _require_pairs(side: str, detector: Uint8s) -> None:
    counts = np.bincount(detector, minlength=4)
    if counts.min() < LEAST_PAIRS:
        raise MeasurementError(
            f"too few coincidences to calibrate: {counts.min()} of {LEAST_PAIRS}",
            where=f"{side} {LETTERS[int(counts.argmin())]}",
            hint="more light, or a longer --seconds",
        )


def _rough_delays(alice: Clicks, bob: Clicks, sigma_ps: float) -> tuple[Floats, Floats, float]:
    estimator = DelayEstimator(sigma_ps=sigma_ps, window_ps=round(3 * sigma_ps), range_ps=RANGE_PS)
    low, high = int(alice.time_ps[0]), int(alice.time_ps[-1]) + 1
    window = LabelledWindow(
        low, high, alice.time_ps, (alice.detector >> 1).astype(np.uint8), detector=alice.detector
    )
    estimator.add(window, bob.time_ps, bob.detector)
    found = estimator.solve()
    if found is None or found.unresolved:
        where = ", ".join(found.unresolved) if found else "both ends"
        raise MeasurementError(
            "no coincidences with this detector", where=where, hint="do both ends see the pairs?"
        )
    a = np.array([found.alice_ps[x] for x in LETTERS], np.float64)
    b = np.array([found.bob_ps[x] for x in LETTERS], np.float64)
    return a, b, found.common_ps


def find_pairs(
    alice: Clicks, bob: Clicks, rough: tuple[Floats, Floats, float], sigma_ps: float
) -> Pairs:
    """All coincidences near the rough delays, with the clock's wander taken out slice by slice."""
    a_delay, b_delay, common = rough
    a, a_order = _shifted(alice, a_delay)
    b, b_order = _shifted(bob, b_delay + common)
    window_ps = round(REACH_SIGMA * sigma_ps)
    ia, ib = match_pairs(a, b, window_ps)
    apart = max(20_000, 4 * window_ps)
    chance = len(match_pairs(a, b + apart, window_ps)[0])
    residual = (b[ib] - a[ia]).astype(np.float64)
    number = (a[ia] - a[0]) // SLICE_PS if len(ia) else np.empty(0, np.int64)
    near = np.abs(residual) < 3 * sigma_ps
    weight = np.bincount(number[near], minlength=int(number.max(initial=0)) + 1)
    total = np.bincount(number[near], residual[near], minlength=len(weight))
    middle = (np.arange(len(weight)) + 0.5) * SLICE_PS
    good = weight >= 50
    if good.any():
        line = total[good] / weight[good]
        residual -= np.interp(a[ia] - a[0], middle[good], line)
    return Pairs(
        alice.detector[a_order][ia], bob.detector[b_order][ib], residual,
        chance / max(len(ia), 1), window_ps,
    )  # fmt: skip


def _shifted(clicks: Clicks, delay_ps: Floats) -> tuple[Int64s, Int64s]:
    moved = clicks.time_ps - np.rint(delay_ps).astype(np.int64)[clicks.detector]
    order = np.argsort(moved, kind="stable")
    return np.ascontiguousarray(moved[order]), order


def fit_delays(
    pairs: Pairs, rough: tuple[Floats, Floats, float], failure: float = FAILURE_PROBABILITY
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Least squares over the 16 means, accidentals subtracted; delays and their uncertainties.

    Uncertainty: the Gaussian quantile of failure / 16 times the fit's standard deviation, plus
    SYSTEMATIC_DELAY_PS.
    """
    rows, values = [], []
    for i in range(4):
        for j in range(4):
            cell = pairs.residual_ps[(pairs.alice == i) & (pairs.bob == j)]
            if len(cell) < 20:
                continue
            mean, deviation = _centre(cell, pairs.window_ps)
            row = np.zeros(9)
            row[i], row[4 + j], row[8] = -1.0, 1.0, 1.0
            rows.append(row * math.sqrt(len(cell)) / deviation)
            values.append(mean * math.sqrt(len(cell)) / deviation)
    gauge = np.zeros((2, 9))
    gauge[0, :4] = gauge[1, 4:8] = 1.0
    design = np.array([*rows, *gauge])
    solution, *_ = np.linalg.lstsq(design, np.array([*values, 0.0, 0.0]), rcond=None)
    spread = np.sqrt(np.diag(np.linalg.pinv(design.T @ design))[:8])
    d = quantile(failure / _N_VALUES) * spread + SYSTEMATIC_DELAY_PS
    a = rough[0] - rough[0].mean() + solution[:4]
    b = rough[1] - rough[1].mean() + solution[4:8]
    return (a, b), (d[:4], d[4:])


def _centre(cell: Floats, window_ps: int) -> tuple[float, float]:
    """Mean and spread of the peak on a flat background: a window that follows the mean."""
    centre = float(np.median(cell))
    reach = float(window_ps) / 2
    spread = 1.0
    for _ in range(6):
        near = cell[np.abs(cell - centre) <= reach]
        far = (np.abs(cell - centre) > reach).sum()
        flat = far * reach / max(window_ps - reach, 1.0)  # accidentals expected inside
        share = min(flat / max(len(near), 1), 0.9)
        spread = float(near.std()) if len(near) > 1 else reach
        centre += (float(near.mean()) - centre) / (1 - share) if len(near) else 0.0
        centre = min(max(centre, -window_ps / 2), window_ps / 2)
    return centre, max(spread, 1.0)


def efficiencies(
    pairs: Pairs, alice: Clicks, bob: Clicks, failure: float = FAILURE_PROBABILITY
) -> tuple[list[Interval], list[Interval]]:
    """Relative efficiencies of both sides' four detectors with their intervals.

    From the singles, whose statistics are better; the pairs, which know neither dark counts nor
    afterpulses, must agree: a detector on which the two disagree is named (MeasurementError).
    """
    counts = np.zeros((4, 4))
    np.add.at(counts, (pairs.alice, pairs.bob), 1.0)
    z = quantile(failure / _N_VALUES)
    found = []
    for side, clicks, table in (("alice", alice, counts), ("bob", bob, counts.T)):
        value, sigma = from_singles(clicks)
        other, other_sigma = from_pairs(table)
        for k, letter in enumerate(LETTERS):
            apart = abs(math.log(value[k] / other[k]))
            if apart > z * math.hypot(sigma[k], other_sigma[k]) + 3 * SYSTEMATIC_EFFICIENCY:
                raise MeasurementError(
                    f"singles give {value[k]:.3f} of the mean efficiency, pairs {other[k]:.3f}",
                    where=f"{side} {letter}",
                    hint="is the light unpolarised, is there stray light?",
                )
        width = z * sigma + SYSTEMATIC_EFFICIENCY
        low, high = value * np.exp(-width), value * np.exp(width)
        found.append(
            [
                Interval(round(float(v), 5), round(float(x), 5), round(float(y), 5))
                for v, x, y in zip(value, low, high, strict=True)
            ]
        )
    return found[0], found[1]


def from_singles(clicks: Clicks) -> tuple[Floats, Floats]:
    """Efficiencies relative to the mean of the four, and the standard deviations of their
    logarithms: click rates with dead time, dark counts and afterpulses taken off."""
    value, sigma = np.zeros(4), np.zeros(4)
    for k, letter in enumerate(LETTERS):
        n = int((clicks.detector == k).sum())
        rate = n / clicks.seconds
        after = after_click(clicks, k)
        dark = clicks.dark_hz.get(letter, 0.0)
        alive = max(1 - rate * after.dead_ps * 1e-12, 0.1)
        light = rate / alive * (1 - min(after.afterpulses, 0.5)) - dark
        if light <= 0:
            raise MeasurementError("no more clicks in the light than in the dark", where=letter)
        value[k] = light
        sigma[k] = (
            rate / light * math.sqrt(1 / n + dark / (rate * rate * DARK_LEAST_S) + after.sigma**2)
        )
    return value * 4.0 / value.sum(), sigma


def from_pairs(counts: Floats) -> tuple[Floats, Floats]:
    """Relative efficiencies from coincidences (4, 4), rows this side.

    Within a basis: pairs with the partner's other basis. Between the bases: the square root of
    N(HV,x) / N(DA,x), x both of the partner's bases.
    """
    cross = np.array([*counts[:2, 2:].sum(axis=1), *counts[2:, :2].sum(axis=1)])
    blocks = counts.reshape(2, 2, 2, 2).sum(axis=(1, 3))
    if cross.min() < 1 or blocks.min() < 1:
        raise MeasurementError("a detector has no coincidence in the partner's other basis")
    between = math.exp(0.5 * float(np.log(blocks[0] / blocks[1]).sum()))
    value = np.concatenate([cross[:2] / cross[:2].sum() * between, cross[2:] / cross[2:].sum()])
    return value * 4.0 / value.sum(), np.sqrt(1.0 / cross + 0.25 * (1.0 / blocks).sum())


def _jitter(pairs: Pairs, delays: tuple[Floats, Floats], mine: npt.NDArray[np.bool_]) -> Histogram:
    """Times of one detector's pairs about the mean of the four; its own delay is taken off."""
    centre, _ = _centre(pairs.residual_ps[mine], pairs.window_ps)
    times = pairs.residual_ps[mine] - centre
    half = math.ceil(pairs.window_ps * 0.9 / (JITTER_BINS // 2))
    counts, _ = np.histogram(times, JITTER_BINS, (-half * JITTER_BINS / 2, half * JITTER_BINS / 2))
    flat = pairs.background * mine.sum() * half / (2 * pairs.window_ps)
    return Histogram(
        -half * JITTER_BINS // 2, half, tuple(int(n) for n in counts), round(float(flat), 3)
    )


@dataclass(frozen=True, slots=True)
class AfterClick:
    """The click rate after a click of one detector: zero for ``dead_ps``; the mean rate again after
    ``quiet_ps``; ``afterpulses`` ± ``sigma`` more clicks than the mean rate gives, per click.
    """

    dead_ps: int
    quiet_ps: int
    afterpulses: float
    sigma: float


def after_click(clicks: Clicks, k: int) -> AfterClick:
    """From the distances of consecutive clicks, in steps of 0.25 us.

    The dead time is the third smallest distance: two may be noise. The hazard (clicks per time
    among those still waiting) of steady light is constant: a step is not quiet when it lies off
    the mean by more than a tenth and by more than five standard deviations. The mean is that
    from AFTERPULSES_PS after the dead time on.
    """
    apart = np.diff(clicks.time_ps[clicks.detector == k])
    third = min(2, len(apart) - 1)
    dead = int(np.partition(apart, third)[third])
    wait = apart[apart >= dead] - dead
    late = wait[wait >= AFTERPULSES_PS] - AFTERPULSES_PS
    n_steps = AFTERPULSES_PS // QUIET_STEP_PS
    mean = len(late) / max(float(late.sum()), 1.0) * QUIET_STEP_PS
    counts = np.bincount(np.minimum(wait // QUIET_STEP_PS, n_steps), minlength=n_steps + 1)
    counts = counts[:n_steps]
    waiting = len(wait) - np.concatenate([[0], np.cumsum(counts)[:-1]])
    waiting = np.maximum(waiting, 1)
    expected = mean * waiting
    limit = np.maximum(QUIET_EXCESS * expected, 5 * np.sqrt(expected + 1))
    off = np.abs(counts - expected) > limit
    last = int(np.flatnonzero(off)[-1]) + 1 if off.any() else 0
    more = float(((counts - expected) / waiting).sum())
    sigma = math.sqrt(float((mean / waiting).sum()) + (n_steps * mean) ** 2 / max(len(late), 1))
    return AfterClick(dead, dead + last * QUIET_STEP_PS, max(more, 0.0), sigma)
