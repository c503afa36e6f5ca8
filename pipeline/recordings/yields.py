"""``photonlink yield``: where the asymptotic key of a run went, and what to set next.

From the reports of its blocks, which the run makes again from a recording. Costs add up over blocks
(``stages.finite_key.block_costs``); beside each stands the setting that would lower it most, with a
figure where one follows from what was recorded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.amplify import StringAccount, block_lengths
from photonlink.pipeline.stages.block_thresholds import EarlierErrors
from photonlink.pipeline.stages.finite_key import COSTS, EarlierBlock, binary_entropy
from photonlink.pipeline.status.model import BlockReport

NAMES = {
    "window": "coincidence window",
    "quiet": "quiet time, dead time",
    "accidentals": "accidentals",
    "test": "basis that is disclosed",
    "threshold": "thresholds above the errors",
    "finite_size": "finite size",
    "mismatch": "mismatch of detectors",
    "correction": "correction above Shannon's limit",
    "multi_clicks": "multi-clicks",
    "verification": "verification and epsilon",
    "refused": "blocks refused, rounding",
    "authentication": "authentication",
}
_STEADY = 8  # earlier blocks of a steady link
_LESS = 1e-3  # share of the asymptotic key below which no hint is given


@dataclass(frozen=True, slots=True)
class CostRow:
    """cost_bits, share: of the asymptotic key. hint: the next best setting; empty: none."""

    name: str
    cost_bits: float
    share: float
    hint: str


@dataclass(frozen=True, slots=True)
class RunYield:
    """rows add up from asymptotic_bits to net_bits. uncounted: blocks that ended before their
    errors were known; their coincidences are in no figure. end: whose reports these are."""

    asymptotic_bits: float
    rows: tuple[CostRow, ...]
    net_bits: float
    blocks: int
    uncounted: int
    end: str

    @property
    def share(self) -> float:
        return self.net_bits / self.asymptotic_bits if self.asymptotic_bits > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "share": self.share}


def run_yield(
    reports: Sequence[BlockReport], parameters: AgreedParameters, ratio: float, end: str
) -> RunYield:
    """The account of all blocks whose errors were counted. ratio: between detectors, as charged."""
    counted = [r for r in reports if r.asymptotic_bits is not None]
    whole = sum(r.asymptotic_bits or 0.0 for r in counted)
    costs = {name: sum(r.costs.get(name, 0.0) for r in counted) for name in COSTS}
    hints = _hints(counted, parameters, ratio)
    rows = []
    for name in COSTS:
        share = costs[name] / whole if whole > 0 else 0.0
        hint = hints.get(name, "") if share > _LESS else ""
        rows.append(CostRow(name, costs[name], share, hint))
    net = float(sum(r.net_bits for r in counted))
    return RunYield(whole, tuple(rows), net, len(counted), len(reports) - len(counted), end)


def _hints(
    reports: Sequence[BlockReport], parameters: AgreedParameters, ratio: float
) -> dict[str, str]:
    """Hints by the name of a cost."""
    if not reports:
        return {}
    p = parameters
    last = max(reports, key=lambda r: r.sifted_bits)
    larger = min(10 * last.sifted_bits, 10_000_000)
    same = _steady(last, p, ratio, last.sifted_bits)
    grown = _steady(last, p, ratio, larger) - same
    hints = {
        "window": "window_ps wider (0: the best for jitter_ps and noise_ps); less jitter or noise",
        "quiet": "detectors with less dead time; hardware_hold_off = 1 where hardware has it",
        "accidentals": "fewer lone clicks: filter light, lower pump or dark counts; window_ps",
        "test": 'bases = "both" where splitters are even',
        "finite_size": f"block_sifted_bits = {larger:,} and block_max_s to suit: {grown:+.1%}",
        "mismatch": "noise_ps larger, or a longer calibration; finer ticks; detectors alike",
        "correction": "larger blocks; nothing else to set",
        "multi_clicks": "multi_click_limit nearer to what the bench shows; hardware_hold_off",
        "verification": "larger blocks",
        "authentication": "larger blocks: each costs two tags",
        "refused": _refused(reports),
    }
    looser = dataclasses.replace(p, abort_probability=max(4 * p.abort_probability, 0.02))
    gain = _steady(last, looser, ratio, last.sifted_bits) - same
    hints["threshold"] = (
        f"a link that goes on: its blocks follow it ({same:.1%} of the asymptotic key a block); "
        f"abort_probability = {looser.abort_probability:g}: {gain:+.1%}"
    )
    if p.abort_probability == 0:
        hints["threshold"] = "abort_probability above 0: thresholds follow the link"
    return hints


def _steady(report: BlockReport, parameters: AgreedParameters, ratio: float, sifted: int) -> float:
    """Share of the asymptotic key that blocks of ``sifted`` bits give on a steady link."""
    n = sifted // 2
    rates = (report.qber_hv or 0.0, report.qber_da or 0.0)
    earlier, strings = EarlierErrors(), []
    for row, rate in zip((earlier.hv, earlier.da), rates, strict=True):
        row.extend([EarlierBlock(round(rate * n), n)] * _STEADY)
        leak = round((report.f_ec or 1.05) * n * binary_entropy(rate))
        strings.append(StringAccount(n, round(rate * n), leak))
    thresholds = earlier.thresholds(parameters, 2 * sifted)
    found = block_lengths(parameters, thresholds, strings[0], strings[1], ratio)
    asymptotic = 2 * n * (1 - sum(map(binary_entropy, rates)))
    return found.length / asymptotic if asymptotic > 0 else 0.0


def _refused(reports: Sequence[BlockReport]) -> str:
    reasons = {str(r.abort).partition(":")[0] for r in reports if r.abort is not None}
    return f"look at {', '.join(sorted(reasons))}" if reasons else ""
