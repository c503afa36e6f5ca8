"""``photonlink check``: checks of a bench before key is made, each with a verdict and a hint.

Every click is disclosed to the peer and none ever becomes key. One station alone gives rates and
dark counts; with its peer (a second ``photonlink check`` at the other end, or both stations given
at once) also the clock, the delays between detectors and the visibility per basis. This module
judges; ``check.measure`` measures.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from photonlink.hal.tasks import together
from photonlink.pipeline.check.measure import SideClicks, find_clock, measure, search_window
from photonlink.pipeline.native.correlate import correlate_into
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.stages.clock.recovery import FREQUENCY, Lock
from photonlink.pipeline.stages.window import LETTERS, Int64s

# Expected values of a bench with InGaAs or silicon detectors.
LOW_RATE_HZ = 200.0
HIGH_RATE_HZ = 2e6
DARK_SHARE = 0.25
IMBALANCE = 3.0
GOOD_VISIBILITY = 0.90
LEAST_VISIBILITY = 0.87
DELAY_SPREAD_PS = 500.0
HISTOGRAM_PS = 50_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """ok: True: good; False: no key is possible; None: unknown or doubtful."""

    what: str
    ok: bool | None
    value: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class PairHistogram:
    """Delays Bob minus Alice of one pair of detectors, clock taken out."""

    alice: str
    bob: str
    coincidences: float  # above the accidental background
    accidentals: float  # in the same window
    delay_ps: float | None
    low_ps: int
    bin_ps: int
    counts: tuple[int, ...]


@dataclass
class CheckReport:
    """All verdicts; ``pairs`` only when both ends were looked at."""

    verdicts: list[Verdict] = field(default_factory=list)
    pairs: list[PairHistogram] = field(default_factory=list)
    visibility: dict[str, float] = field(default_factory=dict)
    emulated: bool = False

    @property
    def ok(self) -> bool:
        return all(v.ok is not False for v in self.verdicts)

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.ok} | dataclasses.asdict(self)


async def check_stations(stations: list[NodeStation], seconds: float) -> CheckReport:
    """Measure one station, or both ends of a bench at once, and judge."""
    found = await together(*(measure(s, seconds, wait_for_peer=True) for s in stations))
    sides = {side.role: side for one in found for side in one}
    return judge(sides.get("alice"), sides.get("bob"))


def judge(alice: SideClicks | None, bob: SideClicks | None) -> CheckReport:
    """Pure: verdicts on what was measured."""
    report = CheckReport()
    for side in (alice, bob):
        if side is not None:
            report.emulated = report.emulated or side.emulated
            _judge_side(side, report)
    if alice is None or bob is None:
        hint = "run photonlink check at the other end too, or give both station files"
        report.verdicts.append(Verdict("pairs", None, "the peer was not there", hint))
    else:
        _judge_pair(alice, bob, report)
    return report


def _judge_side(side: SideClicks, report: CheckReport) -> None:
    rates = side.rates_hz()
    for letter in LETTERS:
        rate, dark = rates[letter], side.dark_hz.get(letter)
        what, value = f"{side.role} {letter} rate", f"{rate:,.0f} /s"
        if rate < LOW_RATE_HZ:
            hint = "no light here: bias, threshold, cable, channel map, fibre?"
            report.verdicts.append(Verdict(what, False, value, hint))
        elif rate > HIGH_RATE_HZ:
            hint = "close to saturation: attenuate, or raise the threshold"
            report.verdicts.append(Verdict(what, False, value, hint))
        else:
            report.verdicts.append(Verdict(what, True, value))
        if dark is None:
            hint = "check both ends at once to see them with the light off"
            report.verdicts.append(Verdict(f"{side.role} {letter} dark", None, "not known", hint))
            continue
        good = dark <= DARK_SHARE * max(rate, 1.0)
        hint = "" if good else "stray light, too warm, or too much bias"
        report.verdicts.append(Verdict(f"{side.role} {letter} dark", good, f"{dark:,.0f} /s", hint))
    for first, second in ("HV", "DA"):
        low, high = sorted((rates[first], rates[second]))
        good = high <= IMBALANCE * max(low, 1.0)
        hint = "" if good else "turn the analyser's wave plate, compare the detectors' bias"
        value = f"{high / max(low, 1.0):.2f}"
        report.verdicts.append(Verdict(f"{side.role} {first}/{second} balance", good, value, hint))
    if side.lost_s > 0:
        value = f"{side.lost_s * 1e3:.1f} ms"
        hint = "the tagger overflowed: lower the rate"
        report.verdicts.append(Verdict(f"{side.role} lost time", None, value, hint))


def _judge_pair(alice: SideClicks, bob: SideClicks, report: CheckReport) -> None:
    clock, lock = find_clock(alice, bob)
    if not isinstance(lock, Lock):
        hint = "do both ends see the same pairs? are both hosts' clocks right to 0.4 s?"
        if lock.reason == FREQUENCY:
            hint = "the taggers' clocks differ too much: is the 10 MHz reference locked at both?"
        report.verdicts.append(Verdict("clock", False, lock.reason, hint))
        return
    value = (
        f"{lock.start_offset_s * 1e3:+.3f} ms, {lock.frequency_ppm:+.3f} ppm, "
        f"{lock.coincidences_hz:,.0f} coincidences/s"
    )
    report.verdicts.append(Verdict("clock", True, value))
    bob_ps = clock.to_alice(bob.time_ps)
    bin_ps = max(round(max(alice.resolution_ps, bob.resolution_ps)), 100)
    window_ps = search_window(alice, bob).window_ps
    for a in LETTERS:
        for b in LETTERS:
            report.pairs.append(
                pair_histogram(a, alice.times(a), b, bob.select(bob_ps, b), bin_ps, window_ps)
            )
    _judge_delays(report)
    _judge_visibility(report)


def pair_histogram(
    a: str, a_ps: Int64s, b: str, b_ps: Int64s, bin_ps: int, window_ps: int
) -> PairHistogram:
    """Of one pair of detectors, in one clock; coincidences above the background of accidentals."""
    bins = 2 * HISTOGRAM_PS // bin_ps
    counts = np.zeros(bins, np.uint64)
    correlate_into(counts, a_ps, b_ps, -HISTOGRAM_PS, bin_ps)
    centres = -HISTOGRAM_PS + bin_ps * (np.arange(bins) + 0.5)
    inside = np.abs(centres) <= 2 * window_ps
    background = float(counts[~inside].mean()) if (~inside).any() else 0.0
    above = counts[inside].astype(np.float64) - background
    total = float(above.sum())
    sure = total > 5 * np.sqrt(float(counts[inside].sum()) + 1)
    delay = float((above * centres[inside]).sum() / total) if sure else None
    return PairHistogram(
        a, b, max(total, 0.0), background * int(inside.sum()), delay, -HISTOGRAM_PS, bin_ps,
        tuple(int(c) for c in counts),
    )  # fmt: skip


def _judge_delays(report: CheckReport) -> None:
    delays = [p.delay_ps for p in report.pairs if p.delay_ps is not None and p.alice == p.bob]
    if not delays:
        report.verdicts.append(Verdict("delays", None, "no pair of detectors correlates"))
        return
    spread = max(delays) - min(delays)
    good = spread <= DELAY_SPREAD_PS or None
    hint = "" if good else "equalised in software; equal cables are better (side channel)"
    report.verdicts.append(Verdict("delays", good, f"spread {spread:,.0f} ps", hint))


def _judge_visibility(report: CheckReport) -> None:
    found = {(p.alice, p.bob): p.coincidences for p in report.pairs}
    for basis in ("HV", "DA"):
        one, two = basis
        right = found[one, one] + found[two, two]
        wrong = found[one, two] + found[two, one]
        if right + wrong <= 0:
            verdict = Verdict(f"visibility {basis}", False, "no coincidences", "is there light?")
        else:
            v = report.visibility[basis] = (right - wrong) / (right + wrong)
            hint = ""
            if v < -0.5:
                hint = "anticorrelated: the channel map of one side swaps this basis"
            elif v < GOOD_VISIBILITY:
                hint = "align the polarization; below 0.87 there is no key"
            good = True if v >= GOOD_VISIBILITY else None if v >= LEAST_VISIBILITY else False
            verdict = Verdict(f"visibility {basis}", good, f"{v:.4f}", hint)
        report.verdicts.append(verdict)


def print_report(report: CheckReport, console: Console) -> None:
    """Verdicts, then one small histogram per pair of detectors that should correlate."""
    if report.emulated:
        console.print("EMULATED: some of these instruments are not real", style="bold red")
    table = Table("what", "", "value", "hint", box=None)
    marks = {True: "[green]good[/]", False: "[red]BAD[/]", None: "[yellow]look[/]"}
    for v in report.verdicts:
        table.add_row(v.what, marks[v.ok], v.value, v.hint)
    console.print(table)
    if report.pairs:
        console.print("\ndelays Bob - Alice around the coincidence, per pair of detectors")
    for p in report.pairs:
        delay = "no peak" if p.delay_ps is None else f"{p.delay_ps:+8.0f} ps"
        counts = f"{p.coincidences:8,.0f} pairs, {p.accidentals:6,.0f} accidental"
        console.print(f"  {p.alice}{p.bob}  {_sparkline(p)}  {delay}  {counts}")


def _sparkline(p: PairHistogram, width: int = 25) -> str:
    counts = np.asarray(p.counts)
    middle = len(counts) // 2
    half = min(width // 2, middle)
    part = counts[middle - half : middle + half + 1]
    levels = " .:-=+*#%@"
    top = max(1, int(part.max()))
    return "".join(levels[int(c) * (len(levels) - 1) // top] for c in part)
