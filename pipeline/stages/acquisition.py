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
from scipy import fft, ndimage, stats

from photonlink.pipeline.native.matching import bin_times, delay_pairs, delay_slices
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
    """bob = bob_ps + x + rate x + drift x^2 / 2 with x = alice - alice_ps, all in ps.

    rate: dimensionless; drift: per ps. Integers carry the large numbers, floats only the small
    differences: rounding stays below 1 ps for days.
    """

    alice_ps: int
    bob_ps: int
    rate: float = 0.0
    drift: float = 0.0

    def to_alice(self, bob_ps: Int64s) -> Int64s:
        u = bob_ps - self.bob_ps
        uf = u.astype(np.float64)
        y = self.rate
        correction = uf * (y / (1 + y))
        if self.drift:
            x = uf - correction
            correction += x * x * (0.5 * self.drift / (1 + y))
        return u + (self.alice_ps - np.rint(correction).astype(np.int64))

    def to_bob(self, alice_ps: int) -> int:
        x = alice_ps - self.alice_ps
        return self.bob_ps + x + round(self.rate * x + 0.5 * self.drift * float(x) * float(x))

    def at(self, alice_ps: int) -> ClockModel:
        """The same line, referred to another moment."""
        x = float(alice_ps - self.alice_ps)
        return ClockModel(alice_ps, self.to_bob(alice_ps), self.rate + self.drift * x, self.drift)

    def moved(self, offset_ps: float, rate: float = 0.0) -> ClockModel:
        return replace(self, bob_ps=self.bob_ps + round(offset_ps), rate=self.rate + rate)

    def offset_ps(self, alice_ps: int) -> int:
        """Bob's clock minus Alice's when hers shows ``alice_ps``."""
        return self.to_bob(alice_ps) - alice_ps


@dataclass(frozen=True, slots=True)
class Peak:
    """A line found: where, how far above chance, and the best that lies elsewhere."""

    position: float  # bins
    slope: float  # bins over the whole span
    significance: float  # standard deviations above the local mean
    second: float
    log10_chance: float  # of the best of all trials, by chance alone
    excess: float  # events in the peak above the local mean


def strongest_line(
    rows: npt.NDArray[np.float32], slopes: Floats, guard: int, baseline: int
) -> Peak:
    """Add the rows (slices, bins) along lines of every slope (in bins over all rows).

    A line counts with its bin and with its bin and the next, because a peak may straddle two.
    """
    n, bins = rows.shape
    if baseline:
        mean = ndimage.uniform_filter1d(rows.sum(axis=0, dtype=np.float64), baseline)
    else:
        mean = np.full(bins, rows.sum(dtype=np.float64) / bins)
    mean = np.maximum(mean, max(0.1 * float(mean.max()), 1e-3)).astype(np.float32)
    scale = 1 / np.sqrt(mean)
    best, which = np.full(bins, -np.inf, np.float32), np.zeros(bins, np.int32)
    middle = (np.arange(n) + 0.5) / n - 0.5
    top = 0.0
    for k, slope in enumerate(slopes):
        total = np.zeros(bins, np.float32)
        for row, shift in zip(rows, np.rint(slope * middle).astype(int), strict=True):
            low, high = max(0, -shift), min(bins, bins - shift)
            total[low:high] += row[low + shift : high + shift]
        excess = total - mean
        z = excess * scale
        top = max(top, float(z.max()))
        z[:-1] = np.maximum(
            z[:-1], (excess[:-1] + excess[1:]) * scale[:-1] * np.float32(0.70710678)
        )
        better = z > best
        best[better] = z[better]
        which[better] = k
    return _describe(rows, slopes, best, which, guard, mean.astype(np.float64))


def _describe(
    rows: npt.NDArray[np.float32],
    slopes: Floats,
    best: npt.NDArray[np.float32],
    which: npt.NDArray[np.int32],
    guard: int,
    mean: Floats,
) -> Peak:
    n, bins = rows.shape
    at = int(best.argmax())
    slope = float(slopes[which[at]])
    shifts = np.rint(slope * ((np.arange(n) + 0.5) / n - 0.5)).astype(int)
    near = np.arange(max(at - 1, 0), min(at + 3, bins))
    counts = np.array(
        [
            sum(float(row[p + s]) for row, s in zip(rows, shifts, strict=True) if 0 <= p + s < bins)
            for p in near
        ]
    )
    over = np.maximum(counts - mean[near], 0)
    position = float((over * (near + 0.5)).sum() / max(over.sum(), 1e-9))
    elsewhere = best.copy()
    elsewhere[max(at - guard, 0) : at + guard + 1] = -np.inf
    second = float(elsewhere.max()) if np.isfinite(elsewhere).any() else 0.0
    spread = max(1.0, _robust_std(best)) if len(slopes) == 1 else 1.0
    significance = float(best[at]) / spread
    return Peak(
        position,
        slope,
        significance,
        second / spread,
        _log10_chance(significance, float(mean[at]), 2.0 * bins * len(slopes)),
        float(over.sum()),
    )


def _robust_std(values: npt.NDArray[np.float32]) -> float:
    low, high = np.percentile(values, (15.87, 50.0))
    return float(high - low)


def _log10_chance(significance: float, mean: float, trials: float) -> float:
    """log10 of an upper bound on the chance that the best of ``trials`` bins of Poisson counts
    is this far up: Chernoff's bound P[X >= k] <= exp(k - m - k ln(k/m))."""
    k = mean + significance * math.sqrt(mean)
    if k <= mean:
        return 0.0
    return min(0.0, (k - mean - k * math.log(k / mean)) / math.log(10) + math.log10(trials))


def coarse_search(
    a_ps: Int64s, b_ps: Int64s, guess: ClockModel, half_range_ps: int, max_rate: float
) -> tuple[Peak, ClockModel, int]:
    """The strongest line within +-half_range of ``guess`` and +-max_rate of its rate.

    Returns the peak, the model it stands for (referred to the middle of the data) and the span
    of the data used (ps).
    """
    start = int(a_ps[0])
    n = max(1, round((int(a_ps[-1]) - start) / _SEGMENT_PS))
    length = min(_SEGMENT_PS, max(int(a_ps[-1]) - start, _COARSE_BIN_PS))
    width, half = -(-length // _COARSE_BIN_PS), -(-half_range_ps // _COARSE_BIN_PS)
    lags = 2 * half + 1
    size = fft.next_fast_len(lags + width, real=True)
    b_in_a = guess.to_alice(b_ps)
    rows = np.empty((n, lags), np.float32)
    for k in range(n):
        at = start + k * length
        low, high = np.searchsorted(a_ps, (at, at + length))
        a = bin_times(a_ps[low:high], at, _COARSE_BIN_PS, size)
        from_b = at - half * _COARSE_BIN_PS
        low, high = np.searchsorted(b_in_a, (from_b, from_b + (lags + width) * _COARSE_BIN_PS))
        b = bin_times(b_in_a[low:high], from_b, _COARSE_BIN_PS, size)
        product = np.conj(fft.rfft(a)) * fft.rfft(b)
        rows[k] = fft.irfft(product, size)[:lags]
    span = n * length
    reach = max_rate * span / _COARSE_BIN_PS  # bins over the whole span
    slopes = np.linspace(-reach, reach, 2 * math.ceil(reach) + 1)
    peak = strongest_line(rows, slopes, 2 * math.ceil(reach) + 4, _BASELINE_BINS)
    # an event difference of d falls into correlation bins around d, not into [d, d + bin)
    offset = (peak.position - 0.5 - half) * _COARSE_BIN_PS
    rate = peak.slope * _COARSE_BIN_PS / span
    model = guess.at(start + span // 2).moved(offset, rate)
    return peak, model, span


@dataclass(frozen=True, slots=True)
class Refined:
    model: ClockModel  # referred to the middle of the data it was found in
    peak: Peak  # of the last, finest step
    side_peak: float  # largest side peak over main peak at a step of about 100 ns, 0..1
    span_ps: int


def refine(
    a_ps: Int64s,
    b_ps: Int64s,
    model: ClockModel,
    half_offset_ps: float,
    half_rate: float,
    final_bin_ps: int,
    last_span_ps: int,
) -> Refined:
    """Shrink the bins from microseconds to the jitter. Steps below 1 us bins use only the last
    ``last_span_ps``, within which a drift of 5 ppb/s bends the line by less than a bin."""
    end, start = int(a_ps[-1]) + 1, int(a_ps[0])
    side_peak = 0.0
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
        slopes = np.linspace(-reach, reach, 2 * math.ceil(reach) + 1)
        guard = math.ceil(_DETECTOR_SPREAD_PS / bin_ps) + math.ceil(reach) + 2
        peak = strongest_line(rows, slopes, guard, 0)
        if guard < half:
            side_peak = max(side_peak, max(peak.second, 0.0) / max(peak.significance, 1e-9))
        model = model.moved((peak.position - half) * bin_ps, peak.slope * bin_ps / span)
        if bin_ps <= final_bin_ps:
            return Refined(model, peak, side_peak, span)
        half_offset_ps, half_rate = 2.0 * bin_ps, 2.0 * bin_ps / span
        start = max(start, end - last_span_ps)


def fit_line(
    a_ps: Int64s, b_ps: Int64s, model: ClockModel, gate_ps: int
) -> tuple[ClockModel, float, float, float, int]:
    """Least squares through the pairs near the line, twice clipped at 3 sigma.

    Returns the model, the residuals' sigma (ps), the sigmas of offset (ps, at the middle) and
    rate, and the number of pairs.
    """
    b_in_a = model.to_alice(b_ps)
    a_index, b_index = delay_pairs(a_ps, b_in_a, -gate_ps, gate_ps, 8 * len(a_ps) + 64)
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
    return fitted, sigma, sigma / math.sqrt(max(n, 1)), sigma / math.sqrt(variance), n


def tail_sigma(probability: float) -> float:
    """The number of standard deviations a normal variable exceeds with this probability."""
    return float(stats.norm.isf(probability))
