"""Finding Bob's clock from nothing but both sides' photons (docs/clock.md).

One idea at every scale: cut Alice's data into slices, histogram the delays to Bob's events in
each, and add the slices up along straight lines (offset, frequency); the true line stands out.
For the first step the histogram is a correlation by FFT, unfolded, over the whole range of the
hint; each following step has bins some twenty times finer around the line found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from photonlink.pipeline.native.matching import (
    Float32s,
    best_lines,
    bin_times,
    delay_pairs,
    delay_slices,
)
from photonlink.pipeline.stages.window import Int64s

PS = 10**12  # picoseconds per second
_COARSE_BIN_PS = 2_000_000
_SEGMENT_PS = PS // 10  # 10 ppm smear over half a coarse bin in this time
_SLICES = 32
_BASELINE_BINS = 2049  # the local mean of the correlation is taken over this many bins
_DETECTOR_SPREAD_PS = 200_000  # several true peaks may lie this near: unequal detector delays

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClockModel:
    """bob = bob_ps + x + rate x with x = alice - alice_ps, all in ps.

    rate: dimensionless. Integers carry the large numbers, floats only the small differences:
    rounding stays below 1 ps for days.
    """

    alice_ps: int
    bob_ps: int
    rate: float = 0.0

    def to_alice(self, bob_ps: Int64s) -> Int64s:
        u = bob_ps - self.bob_ps
        apart = u.astype(np.float64) * (self.rate / (1 + self.rate))
        return u + (self.alice_ps - np.rint(apart).astype(np.int64))

    def to_bob(self, alice_ps: int) -> int:
        x = alice_ps - self.alice_ps
        return self.bob_ps + x + round(self.rate * x)

    def at(self, alice_ps: int) -> ClockModel:
        """The same line, referred to another moment."""
        return ClockModel(alice_ps, self.to_bob(alice_ps), self.rate)

    def moved(self, offset_ps: float, rate: float = 0.0) -> ClockModel:
        return replace(self, bob_ps=self.bob_ps + round(offset_ps), rate=self.rate + rate)

    def offset_ps(self, alice_ps: int) -> int:
        """Bob's clock minus Alice's when hers shows ``alice_ps``."""
        return self.to_bob(alice_ps) - alice_ps


@dataclass(frozen=True, slots=True)
class Peak:
    """A line through the slices: its place, and its significance."""

    position: float  # bins, of its centre
    slope: float  # bins over the whole span
    significance: float  # standard deviations above the local mean
    log10_chance: float  # bound on one trial reaching this by chance
    excess: float  # events in the peak above the local mean


def strongest_lines(
    rows: Float32s, reach: float, guard: int, wanted: int, background: float | None = None
) -> list[Peak]:
    """The strongest lines in rows (slices, bins), of every slope up to +-``reach`` bins over all
    rows, best first, more than ``guard`` bins apart.

    background: accidentals to expect per bin, all rows together; None: the local mean is taken
    (over _BASELINE_BINS), and light that scatters more than a Poissonian is allowed for.
    """
    n, bins = rows.shape
    steps = math.ceil(reach)
    slopes = np.linspace(-reach, reach, 2 * steps + 1)
    middle = (np.arange(n) + 0.5) / n - 0.5
    shifts = np.rint(np.outer(slopes, middle)).astype(np.int32)
    total, spread = rows.sum(axis=0, dtype=np.float64), 1.0
    if background is None:
        from scipy import ndimage  # slow to import: loaded by the first search

        mean = ndimage.uniform_filter1d(total, min(_BASELINE_BINS, bins))
        floor = max(0.1 * float(mean.max()), 1e-3)
        covered = mean > floor
        mean = np.maximum(mean, floor)
        if covered.any():
            z = ((total - mean) / np.sqrt(mean))[covered]
            low, half = np.percentile(z, (15.87, 50.0))
            spread = max(1.0, float(half - low))
    else:  # several peaks may be near; the median is not affected by them
        mean = np.full(bins, max(float(np.median(total)), background, 1e-3))
    best, which = best_lines(rows, shifts, mean.astype(np.float32))
    found = []
    for _ in range(wanted):
        at = int(best.argmax())
        if not np.isfinite(best[at]):
            break
        slope = _middle_slope(rows, shifts, slopes, at, int(which[at]))
        line = np.rint(slope * middle).astype(np.int32)
        found.append(_peak(rows, line, slope, at, best[at] / spread, mean))
        best[max(at - guard, 0) : at + guard + 1] = -np.inf
    return found


def _middle_slope(
    rows: Float32s, shifts: npt.NDArray[np.int32], slopes: Floats, at: int, best: int
) -> float:
    """The middle of all slopes with as many counts as the best one.

    A peak may be narrow against two bins: then several slopes hold all of it, and the first of
    them lies farther from the true one than the next step of the search reaches.
    """
    n, bins = rows.shape
    near = at + shifts  # (slopes, rows)
    held = np.zeros(len(slopes))
    for columns in (near, near + 1):
        inside = (columns >= 0) & (columns < bins)
        held += np.where(inside, rows[np.arange(n), columns.clip(0, bins - 1)], 0).sum(axis=1)
    enough = held >= held[best] - 0.5 * math.sqrt(max(float(held[best]), 1.0))
    low = high = best  # those around the best without a gap
    while low > 0 and enough[low - 1]:
        low -= 1
    while high + 1 < len(enough) and enough[high + 1]:
        high += 1
    return float(slopes[low] + slopes[high]) / 2


def _peak(
    rows: Float32s, line: npt.NDArray[np.int32], slope: float, at: int, z: float, mean: Floats
) -> Peak:
    n, bins = rows.shape
    near = np.arange(max(at - 1, 0), min(at + 3, bins))
    columns = near + line[:, None]
    inside = (columns >= 0) & (columns < bins)
    values = rows[np.arange(n)[:, None], columns.clip(0, bins - 1)]
    over = np.maximum(np.where(inside, values, 0).sum(axis=0, dtype=np.float64) - mean[near], 0)
    position = float((over * (near + 0.5)).sum() / max(float(over.sum()), 1e-9))
    chance = _log10_chance(float(z), float(mean[at]))
    return Peak(position, slope, float(z), chance, float(over.sum()))


def _log10_chance(significance: float, mean: float) -> float:
    """log10 of a bound on the chance that a Poisson count of this mean is this many standard
    deviations up (Chernoff: P[X >= k] <= exp(k - m - k ln(k/m)))."""
    k = mean + significance * math.sqrt(mean)
    return 0.0 if k <= mean else (k - mean - k * math.log(k / mean)) / math.log(10)


@dataclass(frozen=True, slots=True)
class Candidate:
    peak: Peak
    model: ClockModel  # referred to the middle of the data
    log10_chance: float  # probability that the best of all trials reaches this height by chance


def coarse_search(
    a_ps: Int64s,
    b_ps: Int64s,
    guess: ClockModel,
    half_range_ps: int,
    max_rate: float,
    wanted: int,
) -> list[Candidate]:
    """The strongest lines within +-half_range of ``guess`` and +-max_rate of its rate."""
    start, bin_ps = int(a_ps[0]), _COARSE_BIN_PS
    length = min(_SEGMENT_PS, int(a_ps[-1]) - start) // bin_ps + 1  # bins
    n = max(1, (int(a_ps[-1]) - start) // (length * bin_ps))
    half = -(-half_range_ps // bin_ps)
    rows = correlate_segments(
        bin_times(a_ps, start, bin_ps, n * length),
        guess.to_alice(b_ps),
        start,
        length,
        half,
    )
    span = n * length * bin_ps
    reach = max_rate * span / bin_ps  # bins over the whole span
    peaks = strongest_lines(rows, reach, 2 * math.ceil(reach) + 4, wanted)
    trials = math.log10(2.0 * rows.shape[1] * (2 * math.ceil(reach) + 1))
    found = []
    for peak in peaks:
        # a difference d falls into the correlation bins around d, not into [d, d + bin)
        offset = (peak.position - 0.5 - half) * bin_ps
        model = guess.at(start + span // 2).moved(offset, peak.slope * bin_ps / span)
        found.append(Candidate(peak, model, min(0.0, peak.log10_chance + trials)))
    return found


def correlate_segments(
    a_bins: Float32s, b_ps: Int64s, start_ps: int, length: int, half: int
) -> Float32s:
    """Unfolded correlation of each segment of a (``length`` bins) with b at lags -half..half:
    (segments, 2 half + 1). Overlap-save: every stretch of either side is transformed once."""
    from scipy import fft  # slow to import: loaded by the first search

    n = len(a_bins) // length
    lags = 2 * half + 1
    blocks = -(-lags // length)
    size = fft.next_fast_len(2 * length, real=True)
    b_bins = bin_times(
        b_ps, start_ps - half * _COARSE_BIN_PS, _COARSE_BIN_PS, (n + blocks) * length
    )
    a_f = np.conj(fft.rfft(a_bins.reshape(n, length), size))
    b_f = np.empty((n + blocks - 1, size // 2 + 1), np.complex64)
    for k in range(n + blocks - 1):
        b_f[k] = fft.rfft(b_bins[k * length : (k + 2) * length], size)
    rows = np.empty((n, lags), np.float32)
    for k in range(n):
        for block in range(blocks):
            at, to = block * length, min((block + 1) * length, lags)
            rows[k, at:to] = fft.irfft(a_f[k] * b_f[k + block], size)[: to - at]
    return rows


@dataclass(frozen=True, slots=True)
class Refined:
    model: ClockModel  # referred to the middle of the data it was found in
    excess_hz: float  # coincidences per second in the finest bins
    side_peak: float  # largest side peak over main peak at a step of about 100 ns, 0..1
    log10_chance: float  # bound on a chance peak anywhere in the range given


def refine(
    a_ps: Int64s,
    b_ps: Int64s,
    model: ClockModel,
    half_offset_ps: float,
    half_rate: float,
    final_bin_ps: int,
    last_span_ps: int,
) -> Refined:
    """Shrink the bins from microseconds to the jitter. After the first step only the last
    ``last_span_ps`` are used, within which a drift of 5 ppb/s bends the line by less than a bin.
    """
    end, start = int(a_ps[-1]) + 1, int(a_ps[0])
    side_peak, log10_trials = 0.0, 0.0
    # every line that the finest bins resolve counts as a trial
    lines = 2 * half_offset_ps / final_bin_ps, 2 * half_rate * last_span_ps / final_bin_ps
    log10_trials = math.log10(2 * max(lines[0], 1.0) * max(lines[1], 1.0))
    while True:
        span = end - start
        middle = start + span // 2
        half_offset_ps += half_rate * abs(middle - model.alice_ps)
        model = model.at(middle)
        bin_ps = max(final_bin_ps, math.ceil(half_rate * span / _SLICES))
        reach = half_rate * span / bin_ps
        half = math.ceil((half_offset_ps + half_rate * span / 2) / bin_ps) + 8
        low, high = np.searchsorted(a_ps, (start, end))
        rows = delay_slices(
            a_ps[low:high],
            model.to_alice(b_ps),
            low_ps=-half * bin_ps,
            bin_ps=bin_ps,
            n_bins=2 * half,
            start_ps=start,
            slice_ps=-(-span // _SLICES),
            n_slices=_SLICES,
        ).astype(np.float32)
        guard = math.ceil(_DETECTOR_SPREAD_PS / bin_ps) + math.ceil(reach) + 2
        accidentals = float(high - low) * event_rate_hz(b_ps) * bin_ps / PS
        peak, *others = strongest_lines(rows, reach, guard, 2, accidentals)
        if others:
            side_peak = max(side_peak, others[0].excess / max(peak.excess, 1e-9))
        model = model.moved((peak.position - half) * bin_ps, peak.slope * bin_ps / span)
        if bin_ps <= final_bin_ps:
            chance = min(0.0, peak.log10_chance + log10_trials)
            return Refined(model, peak.excess * PS / span, side_peak, chance)
        half_offset_ps, half_rate = 2.0 * bin_ps, 2.0 * bin_ps / span
        start = max(start, end - last_span_ps)


def event_rate_hz(time_ps: Int64s) -> float:
    """Mean rate of sorted events."""
    span_s = max(int(time_ps[-1]) - int(time_ps[0]), 1) / PS if len(time_ps) else 1.0
    return len(time_ps) / span_s


def fit_line(
    a_ps: Int64s, b_ps: Int64s, model: ClockModel, gate_ps: int
) -> tuple[ClockModel, float, float, float]:
    """Least squares through the pairs near the line, twice clipped at 3 sigma.

    Returns the model, the residuals' sigma (ps) and the sigmas of offset (ps, at the middle) and
    rate.
    """
    b_in_a = model.to_alice(b_ps)
    a_index, b_index = delay_pairs(
        a_ps, b_in_a, -gate_ps, gate_ps, 2 * (len(a_ps) + len(b_ps)) + 4096
    )
    t = (a_ps[a_index] - model.alice_ps).astype(np.float64)
    d = (b_in_a[b_index] - a_ps[a_index]).astype(np.float64)
    slope = offset = 0.0
    sigma, n = float(gate_ps), len(t)
    for clip in (np.inf, 3.0, 3.0):
        keep = np.abs(d - offset - slope * t) <= clip * sigma
        n = int(keep.sum())
        if n < 8:
            break
        tk, dk = t[keep], d[keep]
        centre = tk.mean()
        variance = float(((tk - centre) ** 2).sum())
        slope = float(((tk - centre) * dk).sum() / max(variance, 1.0))
        offset = float(dk.mean() - slope * centre)
        sigma = max(float(np.std(dk - offset - slope * tk)), 1.0)
    variance = max(float(((t - t.mean()) ** 2).sum()), 1.0) if n else 1.0
    fitted = model.moved(offset, slope)
    return fitted, sigma, sigma / math.sqrt(max(n, 1)), sigma / math.sqrt(variance)
