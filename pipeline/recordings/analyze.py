"""``photonlink analyze FILE``: the content of a recording, and the correlation of two of its
channels.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.hal.decoders import MAX_DENOMINATOR
from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.recordings import Recording, Summary, open_recording
from photonlink.hal.tags import WireFormat
from photonlink.pipeline.native.correlate import StreamCorrelator

MAX_BINS = 10_000_000
MAX_EDGE_NS = 1e9
LEAST_BIN_PS = 100  # default bins are at least so wide
MOSTLY = 0.1  # share of damaged records above which the result cannot be trusted
_LOST_SHOWN = 5


class AnalyzeError(PhotonlinkError, ValueError):
    """The request cannot be met with this recording."""


@dataclass(frozen=True, slots=True, eq=False)
class Correlation:
    """Histogram of t_b - t_a over all pairs; bin i holds low + i·bin <= dt < low + (i + 1)·bin.

    For ``a == b`` an event is not paired with itself.
    """

    a: int
    b: int
    low_ps: float
    bin_ps: float
    counts: npt.NDArray[np.uint64]  # (n_bins,)

    @property
    def pairs(self) -> int:
        return int(self.counts.sum())

    @property
    def high_ps(self) -> float:
        return self.low_ps + self.bin_ps * len(self.counts)

    @property
    def peak_bin(self) -> int:
        return int(np.argmax(self.counts))

    @property
    def peak_ps(self) -> float:
        """Centre of the fullest bin."""
        return self.low_ps + (self.peak_bin + 0.5) * self.bin_ps

    @property
    def background_pairs(self) -> float:
        """Mean pairs per bin outside the fullest one and its two neighbours."""
        away = np.abs(np.arange(len(self.counts)) - self.peak_bin) > 1
        return float(np.mean(self.counts[away])) if away.any() else 0.0

    @property
    def significance(self) -> float:
        """Height of the peak above the background in standard deviations of a Poisson count."""
        excess = int(self.counts[self.peak_bin]) - self.background_pairs
        return excess / math.sqrt(max(self.background_pairs, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class AnalyzeResult:
    """Everything ``analyze`` shows. ``correlation`` is None when there are no two channels."""

    path: Path
    description: str
    wire_format: WireFormat
    resolution_ps: float
    summary: Summary
    correlation: Correlation | None
    warnings: tuple[str, ...] = ()
    numbers: Mapping[int, int] = field(default_factory=dict)

    def number(self, channel: int) -> int:
        """The channel's number as the recording has it."""
        return self.numbers.get(channel, channel)

    @property
    def damage(self) -> AnalyzeError | None:
        """Why the result cannot be trusted, when most of the recording is damaged."""
        decoder = self.summary.decoder
        if decoder.damaged <= MOSTLY * max(decoder.records, 1):
            return None
        return AnalyzeError(
            f"{decoder.damaged:,} of {decoder.records:,} records are damaged", where=str(self.path),
            hint="Is it another format? --format names one",
        )  # fmt: skip

    @property
    def rate_hz(self) -> dict[int, float]:
        """Events per second of recorded time, by channel."""
        duration = self.summary.duration_s
        return {c: n / duration if duration else 0.0 for c, n in self.summary.counts.items()}

    def to_json(self) -> dict[str, Any]:
        """Flat, units in the names; no event times."""
        found, c = self.summary, self.correlation
        document: dict[str, Any] = {
            "file": str(self.path),
            "format": self.description,
            "wire_format": self.wire_format.name,
            "parameters": dict(self.wire_format.parameters),
            "resolution_ps": self.resolution_ps,
            "records": found.decoder.records,
            "events": found.events,
            "dummies": found.decoder.dummies,
            "damaged_records": found.decoder.damaged,
            "disordered_records": found.decoder.disordered,
            "duration_s": found.duration_s,
            "span_s": found.span_s,
            "first_ps": found.first_ps,
            "last_ps": found.last_ps,
            "counts": {str(self.number(k)): n for k, n in found.counts.items()},
            "rate_hz": {str(self.number(k)): rate for k, rate in self.rate_hz.items()},
            "longest_gap_s": found.longest_gap_ps / 1e12,
            "lost_intervals": found.lost_intervals,
            "lost_s": found.lost_ps / 1e12,
            "warnings": list(self.warnings),
            "error": str(found.error) if found.error else None,
            "error_position": found.error.position if found.error else None,
        }
        if c is not None:
            document["correlation"] = {
                "a": self.number(c.a),
                "b": self.number(c.b),
                "from_ns": c.low_ps / 1e3,
                "to_ns": c.high_ps / 1e3,
                "bin_ps": c.bin_ps,
                "pairs": c.pairs,
                "peak_ns": c.peak_ps / 1e3,
                "peak_pairs": int(c.counts[c.peak_bin]),
                "background_pairs": c.background_pairs,
                "significance_sigma": c.significance,
            }
        return document


def correlate(
    recording: Recording, a: int, b: int, low_ps: int, high_ps: int, bin_ps: float
) -> Correlation:
    """All-pairs cross-correlation of two channels over [low, high), high rounded up to a bin.

    One pass over the file in bounded memory. Bins that are a whole number of ticks but not of
    picoseconds (a tick of 125/32 ps) are counted in ticks. AnalyzeError for a range that cannot be.
    """
    tick = exact_tick(recording.resolution_ps)
    if float(bin_ps).is_integer():
        return _in_units(recording, a, b, (low_ps, high_ps, int(bin_ps)), Fraction(1))
    ticks = round(Fraction(bin_ps) / tick)
    low, high = math.floor(low_ps / tick), math.ceil(high_ps / tick)
    return _in_units(recording, a, b, (low, high, ticks), tick)


def exact_tick(resolution_ps: float) -> Fraction:
    """A resolution as an exact fraction: 3.90625 is 125/32, 80.955 is 16191/200."""
    return Fraction(resolution_ps).limit_denominator(MAX_DENOMINATOR)


def default_bin_ps(resolution_ps: float) -> float:
    """The smallest whole number of ticks of at least 100 ps: other bins hold unequal numbers of
    ticks and show a comb that is an artefact.
    """
    tick = exact_tick(resolution_ps)
    bin_ps = math.ceil(LEAST_BIN_PS / tick) * tick
    return int(bin_ps) if bin_ps.denominator == 1 else float(bin_ps)


def comb_warning(bin_ps: float, resolution_ps: float) -> str:
    """A warning for a bin that is not a whole number of ticks; "" when it is."""
    ratio = bin_ps / float(exact_tick(resolution_ps))
    if abs(ratio - round(ratio)) < 1e-6 * ratio and ratio > 0.5:
        return ""
    near = sorted({max(1, math.floor(ratio)), math.ceil(ratio)})
    better = " or ".join(f"{n * resolution_ps:g}" for n in near)
    return (
        f"a bin of {bin_ps:g} ps is {ratio:.4g} ticks of {resolution_ps:g} ps: peaks in it may be "
        f"a comb of the ticks; take {better} ps"
    )


def _ticks(time_ps: npt.NDArray[np.int64], tick: Fraction) -> npt.NDArray[np.int64]:
    """Times as whole ticks: exact, as each was rounded from one to a picosecond."""
    if tick == 1:
        return time_ps
    whole, rest = np.divmod(time_ps, tick.numerator)
    part = (rest * tick.denominator + tick.numerator // 2) // tick.numerator
    ticks: npt.NDArray[np.int64] = whole * tick.denominator + part
    return ticks


def _in_units(
    recording: Recording, a: int, b: int, window: tuple[int, int, int], unit: Fraction
) -> Correlation:
    low_ps, high_ps, bin_ps = window  # in units
    if bin_ps < 1 or high_ps <= low_ps:
        raise AnalyzeError(f"no histogram has {bin_ps} ps bins from {low_ps} to {high_ps} ps")
    n_bins = -((low_ps - high_ps) // bin_ps)
    if n_bins > MAX_BINS or n_bins * bin_ps >= 1 << 32:
        raise AnalyzeError(
            f"a histogram of {n_bins} bins from {low_ps} to {high_ps} ps is too large",
            hint=f"At most {MAX_BINS} bins and 4.29 ms; take a larger bin or a shorter range",
        )
    correlator = StreamCorrelator(low_ps, bin_ps, n_bins)
    events = 0
    for block in recording.blocks():
        starts = _ticks(block.time_ps[block.channel == a], unit)
        stops = starts if a == b else _ticks(block.time_ps[block.channel == b], unit)
        events += len(starts)
        correlator.feed(starts, stops, math.floor(block.end_ps / unit))
    counts = correlator.finish()
    if a == b and low_ps <= 0 < low_ps + n_bins * bin_ps:
        counts[-low_ps // bin_ps] -= np.uint64(events)
    if unit == 1:
        return Correlation(a, b, low_ps, bin_ps, counts)
    return Correlation(a, b, float(low_ps * unit), float(bin_ps * unit), counts)


def analyze_file(
    path: str | Path,
    *,
    a: int | None = None,
    b: int | None = None,
    low_ns: float = -200.0,
    high_ns: float = 200.0,
    bin_ps: float | None = None,
    wire_format: WireFormat | None = None,
    told: Mapping[str, float] | None = None,
) -> AnalyzeResult:
    """Read a recording once for its rates and gaps, and once more to correlate two channels.

    a, b: start and stop channel; by default the two busiest, lower number first. The default bin
    is the smallest whole number of ticks of at least 100 ps. told: parameters of the wire format
    that the file does not carry. Raises RecordingError for
    a file that cannot be read at all (damage further on is in ``summary.error``) and
    AnalyzeError for a channel without events or an impossible range.
    """
    if not all(abs(edge) <= MAX_EDGE_NS for edge in (low_ns, high_ns)):  # refuses nan as well
        raise AnalyzeError(
            f"the range of the histogram must be finite, within {MAX_EDGE_NS:.0e} ns"
        )
    recording = open_recording(path, wire_format=wire_format).told(told or {})
    summary = recording.scan()
    a, b = (None if x is None else recording.channel(x) for x in (a, b))
    pair = _pick(summary, a, b)
    warnings = list(recording.warnings)
    correlation = None
    if pair is not None:
        if bin_ps is None:
            bin_ps = default_bin_ps(recording.resolution_ps)
        warnings += [text for text in [comb_warning(bin_ps, recording.resolution_ps)] if text]
        low, high = round(low_ns * 1e3), round(high_ns * 1e3)
        correlation = correlate(recording, *pair, low, high, bin_ps)
    return AnalyzeResult(
        Path(path),
        recording.description,
        recording.wire_format,
        recording.resolution_ps,
        summary,
        correlation,
        tuple(warnings),
        recording.numbers,
    )


def _pick(summary: Summary, a: int | None, b: int | None) -> tuple[int, int] | None:
    for channel in (a, b):
        if channel is not None and channel not in summary.counts:
            there = ", ".join(str(c) for c in summary.channels) or "none"
            raise AnalyzeError(
                f"channel {channel} has no events", hint=f"Channels with events: {there}"
            )
    free = [c for c in summary.channels if c not in (a, b)]
    free.sort(key=lambda channel: -summary.counts[channel])
    if a is None and b is None:
        return (min(free[:2]), max(free[:2])) if len(free) > 1 else None
    if a is None or b is None:
        if not free:
            return None
        return (free[0] if a is None else a, free[0] if b is None else b)
    return a, b


def render_text(result: AnalyzeResult) -> str:
    """The text that ``analyze`` prints."""
    found, decoder = result.summary, result.summary.decoder
    lines = [
        f"{result.path}",
        f"  format      {result.description}, {result.resolution_ps:g} ps",
        f"  duration    {found.duration_s:.9f} s, events span {found.span_s:.9f} s",
        f"  records     {decoder.records:,}: {found.events:,} events, {decoder.dummies:,} dummies, "
        f"{decoder.damaged:,} damaged, {decoder.disordered:,} sorted",
    ]
    lines += [
        f"  channel {result.number(c):<3} {n:>12,} events {result.rate_hz[c]:>14,.1f} /s"
        for c, n in sorted(found.counts.items())
    ]
    if found.longest_gap_at_ps is not None:
        at = (found.longest_gap_at_ps - found.start_ps) / 1e12
        lines.append(
            f"  longest gap {found.longest_gap_ps / 1e12:.9f} s, {at:.6f} s from the start"
        )
    lines.append(f"  lost        {found.lost_intervals:,} intervals, {found.lost_ps / 1e12:.9f} s")
    for gap in found.lost[:_LOST_SHOWN]:
        count = "unknown" if gap.count is None else f"{gap.count:,}"
        at = (gap.start_ps - found.start_ps) / 1e12
        length = (gap.end_ps - gap.start_ps) / 1e12
        lines.append(f"    at {at:.9f} s for {length:.9f} s: {count} events, {gap.reason}")
    if found.lost_intervals > _LOST_SHOWN:
        lines.append(f"    and {found.lost_intervals - _LOST_SHOWN:,} more")
    lines += _render_correlation(result)
    lines += [f"  WARNING     {text}" for text in result.warnings]
    if found.error is not None:
        lines.append(f"  ERROR       at byte {found.error.position:,}: {found.error.what}")
    return "\n".join(lines)


def _render_correlation(result: AnalyzeResult) -> list[str]:
    c = result.correlation
    if c is None:
        return ["  correlation none: fewer than two channels have events"]
    return [
        f"  correlation {result.number(c.a)} -> {result.number(c.b)}: {c.pairs:,} pairs with "
        f"{c.low_ps / 1e3:g} <= dt < {c.high_ps / 1e3:g} ns in {c.bin_ps:g} ps bins",
        f"  peak        {c.peak_ps / 1e3:.3f} ns: {int(c.counts[c.peak_bin]):,} pairs, background "
        f"{c.background_pairs:.2f} per bin, {c.significance:.1f} sigma",
    ]


def _need(result: AnalyzeResult) -> Correlation:
    if result.correlation is None:
        raise AnalyzeError("there is no histogram to write: fewer than two channels have events")
    return result.correlation


def write_csv(result: AnalyzeResult, path: str | Path) -> None:
    """The histogram: one row per bin, ``delay_low_ps, delay_high_ps, pairs``."""
    c = _need(result)
    with Path(path).open("w", newline="", encoding="ascii") as file:
        rows = csv.writer(file)
        rows.writerow(["delay_low_ps", "delay_high_ps", "pairs"])
        for i, pairs in enumerate(c.counts.tolist()):
            low = c.low_ps + i * c.bin_ps
            rows.writerow([low, low + c.bin_ps, pairs])


def write_png(result: AnalyzeResult, path: str | Path) -> None:
    """The histogram as a picture; needs the ``plot`` extra (AnalyzeError says how to get it)."""
    c = _need(result)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise AnalyzeError(
            "drawing needs matplotlib", hint="Install it with: pip install 'photonlink[plot]'"
        ) from error
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    edges = (c.low_ps + np.arange(len(c.counts) + 1) * c.bin_ps) / 1e3
    axes.stairs(c.counts, edges)
    axes.set_xlabel(f"delay of channel {c.b} after channel {c.a} (ns)")
    axes.set_ylabel(f"pairs per {c.bin_ps:g} ps")
    axes.set_title(f"{result.path.name}: {result.description}")
    axes.set_xlim(edges[0], edges[-1])
    figure.savefig(Path(path), format="png", dpi=120)
