"""Clicks of both sides of an entangled-pair link, simulated with numpy, for tests.

Shares no code with the project or firmware_sim: a second, simple model of the physics that clock
recovery must handle. Alice's clock is true time; channels are H, V, D, A = 1..4.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from photonlink.hal.tags import LostInterval, Provenance, TagBlock

Int64s = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]
PS = 1e12
MAP = {"H": 1, "V": 2, "D": 3, "A": 4}
FWHM = 2.3548200450309493


@dataclass(frozen=True)
class Bench:
    """pairs_hz: pairs of which both photons are detected. singles_*_hz: all clicks of a side,
    pairs included. offset_s: Bob's clock minus Alice's when Alice's clock shows zero."""

    seed: int = 1
    duration_s: float = 3.0
    pairs_hz: float = 10_000
    singles_a_hz: float = 100_000
    singles_b_hz: float = 100_000
    visibility: float = 0.98
    jitter_fwhm_ps: float = 300
    offset_s: float = 0.123456789
    frequency_ppm: float = 3.7
    drift_ppb_per_s: float = 0.0
    wander: float = 0.0  # sigma_y at 1 s of white FM, plus a tenth of it random-walk FM
    delay_a_ps: tuple[int, int, int, int] = (0, 0, 0, 0)
    delay_b_ps: tuple[int, int, int, int] = (0, 0, 0, 0)
    weights_b: tuple[float, float, float, float] = (1, 1, 1, 1)  # relative efficiencies
    dead_time_ps: int = 0
    resolution_a_ps: int = 1
    resolution_b_ps: int = 1
    jump_at_s: float = np.inf  # Bob's clock jumps by jump_ps
    jump_ps: float = 0.0
    pump_period_ps: float = 0.0  # pulsed pump: pairs and half of the singles lie on its grid
    dark_a: bool = False


@dataclass(frozen=True)
class Clicks:
    alice: TagBlock
    bob: TagBlock
    bench: Bench
    wander_ps: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))

    def bob_clock_ps(self, t_s: float) -> float:
        """Bob's clock when Alice's shows t_s."""
        return float(bob_clock(np.array([t_s * PS]), self.bench, self.wander_ps)[0])


def bob_clock(
    t_ps: npt.NDArray[np.float64], bench: Bench, wander_ps: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    t = t_ps / PS
    shift = (
        bench.offset_s * PS
        + bench.frequency_ppm * 1e6 * t
        + 0.5 * bench.drift_ppb_per_s * 1e3 * t * t
        + np.interp(t, np.arange(len(wander_ps)) * 0.01, wander_ps)
        + np.where(t >= bench.jump_at_s, bench.jump_ps, 0.0)
    )
    return t_ps + shift


def generate(bench: Bench) -> Clicks:
    rng = np.random.default_rng(bench.seed)
    steps = int(bench.duration_s / 0.01) + 200
    frequency = np.cumsum(rng.normal(0, 0.1 * bench.wander * PS * 0.1, steps))
    wander = np.cumsum(rng.normal(0, bench.wander * PS * 0.1, steps) + frequency * 0.01)
    margin = abs(bench.offset_s) + 0.01
    low, high = -margin * PS, (bench.duration_s + margin) * PS
    pair_t, det_a, det_b = _pairs(rng, bench, low, high)
    a_t, a_d = _side(
        rng, bench, pair_t, det_a, bench.singles_a_hz, bench.delay_a_ps, (1, 1, 1, 1), low, high
    )
    b_t, b_d = _side(
        rng, bench, pair_t, det_b, bench.singles_b_hz, bench.delay_b_ps, bench.weights_b, low, high
    )
    if bench.dark_a:
        a_t, a_d = a_t[:0], a_d[:0]
    b_t = bob_clock(b_t, bench, wander)
    return Clicks(
        _block(a_t, a_d, bench, bench.resolution_a_ps),
        _block(b_t, b_d, bench, bench.resolution_b_ps),
        bench,
        wander,
    )


def _pairs(
    rng: np.random.Generator, bench: Bench, low: float, high: float
) -> tuple[npt.NDArray[np.float64], Uint8s, Uint8s]:
    n = rng.poisson(bench.pairs_hz * (high - low) / PS)
    t = np.sort(rng.uniform(low, high, n))
    if bench.pump_period_ps:
        t = np.floor(t / bench.pump_period_ps) * bench.pump_period_ps
    basis_a, basis_b = rng.integers(0, 2, n), rng.integers(0, 2, n)
    bit_a = rng.integers(0, 2, n)
    same = rng.random(n) < (1 + bench.visibility) / 2
    bit_b = np.where(basis_a == basis_b, np.where(same, bit_a, 1 - bit_a), rng.integers(0, 2, n))
    return t, (2 * basis_a + bit_a).astype(np.uint8), (2 * basis_b + bit_b).astype(np.uint8)


def _side(
    rng: np.random.Generator,
    bench: Bench,
    pair_t: npt.NDArray[np.float64],
    pair_d: Uint8s,
    singles_hz: float,
    delay_ps: tuple[int, ...],
    weights: tuple[float, ...],
    low: float,
    high: float,
) -> tuple[npt.NDArray[np.float64], Uint8s]:
    relative = np.array(weights) / max(weights)
    seen = rng.random(len(pair_t)) < relative[pair_d]
    n = rng.poisson(max(singles_hz - bench.pairs_hz, 0) * (high - low) / PS)
    alone_t = rng.uniform(low, high, n)
    if bench.pump_period_ps:
        grid = np.floor(alone_t / bench.pump_period_ps) * bench.pump_period_ps
        alone_t = np.where(rng.random(n) < 0.5, grid, alone_t)
    alone_d = rng.choice(4, n, p=relative / relative.sum()).astype(np.uint8)
    d = np.concatenate([pair_d[seen], alone_d])
    t = np.concatenate([pair_t[seen], alone_t])
    t = t + rng.normal(0, bench.jitter_fwhm_ps / FWHM, len(t)) + np.array(delay_ps)[d]
    order = np.argsort(t)
    t, d = t[order], d[order]
    if bench.dead_time_ps:
        keep = _alive(t, d, bench.dead_time_ps)
        t, d = t[keep], d[keep]
    return t, d


def _alive(t: npt.NDArray[np.float64], d: Uint8s, dead_ps: int) -> npt.NDArray[np.bool_]:
    keep = np.zeros(len(t), np.bool_)
    free = [-np.inf] * 4
    for k, (when, which) in enumerate(zip(t.tolist(), d.tolist(), strict=True)):
        if when >= free[which]:
            keep[k] = True
            free[which] = when + dead_ps
    return keep


def _block(t: npt.NDArray[np.float64], d: Uint8s, bench: Bench, resolution_ps: int) -> TagBlock:
    end = int(bench.duration_s * PS)
    ticks = np.floor(t / resolution_ps).astype(np.int64) * resolution_ps
    order = np.argsort(ticks, kind="stable")
    ticks, d = ticks[order], d[order]
    inside = (ticks >= 0) & (ticks < end)
    return TagBlock(ticks[inside], d[inside] + np.uint8(1), 0, end, (), Provenance.EMULATED)


def blocks(whole: TagBlock, length_ps: int, lost: tuple[LostInterval, ...] = ()) -> list[TagBlock]:
    """A block cut into pieces, as a tagger delivers them (copies; ``whole`` is not changed)."""
    pieces = []
    for start in range(whole.start_ps, whole.end_ps, length_ps):
        end = min(start + length_ps, whole.end_ps)
        low, high = np.searchsorted(whole.time_ps, (start, end))
        inside = tuple(i for i in lost if start <= i.start_ps < end)
        pieces.append(
            TagBlock(
                whole.time_ps[low:high].copy(),
                whole.channel[low:high].copy(),
                start,
                end,
                inside,
                whole.provenance,
            )
        )
    return pieces


def at_seed(bench: Bench, seed: int) -> Bench:
    return replace(bench, seed=seed)
