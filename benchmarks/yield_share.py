"""Net secret bits over the asymptotic key of the same coincidences, through both sessions.

python benchmarks/yield_share.py [COINCIDENCES …] [--visibility V …] [--bases one] [--json]

Clicks come from the plain numpy Poisson source below, which shares no code with the product. They
go through the path of ``photonlink replay``: two sessions, every message, Cascade, verification,
one-time tags. The asymptotic key is n (1 - h(e_hv) - h(e_da)), n the same-basis coincidences in a
window of 3 ns, counted here from the clicks. ``cold``: a whole run from the first click, with the
first clock lock and the small first blocks. ``steady``: blocks of the last size, when sizes have
grown and thresholds follow the link. Each line is followed by the share of the blocks' asymptotic
key that every rule takes (the names of ``stages.finite_key.block_costs.COSTS``). About a minute of
one core for 3e6.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.measure import Effort, Row
from photonlink.hal.tags import AcquisitionStart, Provenance, TagBlock
from photonlink.pipeline.recordings.replay import replay_pair
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.stages.finite_key.block_costs import COSTS
from photonlink.pipeline.status.model import BlockReport

Int64s = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]
PS = 1e12
WIDE_PS = 1500  # half of 3 ns
GOALS = {2.8e5: 0.85, 3e6: 0.92, 3e7: 0.95}
LETTERS = {"H": 1, "V": 2, "D": 3, "A": 4}
LONE = 1.0  # clicks without partner for each coincidence, at either side


@dataclass(frozen=True, slots=True)
class Source:
    """Pairs and lone clicks are Poisson processes; jitter is normal, the same for all detectors."""

    coincidences: float
    visibility: float = 0.95
    rate_hz: float = 20_000.0
    jitter_sigma_ps: float = 130.0
    seed: int = 1

    @property
    def seconds(self) -> int:
        return max(1, math.ceil(self.coincidences / self.rate_hz))

    def second(self, number: int) -> tuple[tuple[Int64s, Uint8s], tuple[Int64s, Uint8s]]:
        """Sorted times (ps) and detectors 1..4 of both sides; equal detectors correlate."""
        rng = np.random.default_rng((self.seed, number))
        start, end = number * PS, (number + 1) * PS - 1
        last = self.coincidences - number * self.rate_hz  # the last second may be shorter
        rate = min(self.rate_hz, last)
        pairs = rng.uniform(start, end, rng.poisson(rate))
        basis = rng.integers(0, 2, (2, len(pairs)))
        bit = rng.integers(0, 2, (2, len(pairs)))
        equal = np.where(rng.random(len(pairs)) < (1 - self.visibility) / 2, 1 - bit[0], bit[0])
        bit[1] = np.where(basis[0] == basis[1], equal, bit[1])
        sides = []
        for side in (0, 1):
            seen = pairs + rng.normal(0, self.jitter_sigma_ps, len(pairs))
            lone = rng.uniform(start, end, rng.poisson(LONE * rate))
            letters = np.concatenate(
                [1 + 2 * basis[side] + bit[side], rng.integers(1, 5, len(lone))]
            )
            times = np.clip(np.concatenate([seen, lone]), start, end)
            order = np.argsort(times, kind="stable")
            sides.append((times[order].astype(np.int64), letters[order].astype(np.uint8)))
        return sides[0], sides[1]


@dataclass(slots=True)
class Counted:
    """Same-basis coincidences in the wide window and errors, by basis; the seconds they span."""

    pairs: list[int] = field(default_factory=lambda: [0, 0])
    errors: list[int] = field(default_factory=lambda: [0, 0])
    seconds: float = 0.0

    def add(self, alice: tuple[Int64s, Uint8s], bob: tuple[Int64s, Uint8s]) -> None:
        """Add one second: each click of Bob with Alice's nearest one."""
        (a, letter_a), (b, letter_b) = alice, bob
        if len(a) > 1:
            at = np.clip(np.searchsorted(a, b), 1, len(a) - 1)
            at = np.where(np.abs(a[at] - b) < np.abs(a[at - 1] - b), at, at - 1)
            near = np.abs(a[at] - b) <= WIDE_PS
            x, y = letter_a[at[near]] - 1, letter_b[near] - 1
            for basis in (0, 1):
                same = (x >> 1 == basis) & (y >> 1 == basis)
                self.pairs[basis] += int(same.sum())
                self.errors[basis] += int((x != y)[same].sum())
        self.seconds += 1

    @property
    def asymptotic_bits(self) -> float:
        rates = [e / n if n else 0.5 for e, n in zip(self.errors, self.pairs, strict=True)]
        return max(0.0, sum(self.pairs) * (1 - sum(map(entropy, rates))))


def entropy(p: float) -> float:
    return -sum(x * math.log2(x) for x in (p, 1 - p) if x > 0)


def tag_blocks(source: Source, side: int, counted: Counted | None = None) -> Iterator[TagBlock]:
    """Tags, a second at a time; ``counted`` counts the same clicks."""
    for number in range(source.seconds):
        both = source.second(number)
        if counted is not None:
            counted.add(*both)
        time_ps, letters = both[side]
        yield TagBlock(
            time_ps, letters, round(number * PS), round((number + 1) * PS),
            provenance=Provenance.REPLAYED,
        )  # fmt: skip


def measured(source: Source, parameters: AgreedParameters) -> dict[str, Any]:
    """One run: shares of the asymptotic key, cold and steady, and the figures of its blocks."""
    counted, letters = Counted(), DetectorMap(LETTERS)
    starts = (AcquisitionStart(1e9, 0.01), AcquisitionStart(1e9, 0.01))
    result = replay_pair(
        tag_blocks(source, 0, counted), tag_blocks(source, 1), letters, letters, (1.0, 1.0),
        parameters, starts=starts,
    )  # fmt: skip
    good = [r for r in result.reports if r.abort is None]
    whole = counted.asymptotic_bits
    per_s = whole / counted.seconds if counted.seconds else 0.0
    largest = max((r.sifted_bits for r in good), default=0)
    steady = [r for r in good[1:] if r.sifted_bits > 0.9 * largest]
    return {
        "coincidences": source.coincidences,
        "visibility": source.visibility,
        "asymptotic_bits": round(whole),
        "net_bits": sum(r.net_bits for r in good),
        "cold": sum(r.net_bits for r in good) / whole if whole else 0.0,
        "steady": _share(steady, per_s),
        "steady_block_bits": largest,
        "costs": charged_apart(steady or good),
        "f_ec": result.f_ec,
        "blocks": [_told(r) for r in result.reports],
        "keys_match": result.keys_match,
    }


def _share(blocks: list[BlockReport], asymptotic_per_s: float) -> float | None:
    seconds = sum(r.duration_s for r in blocks)
    if not seconds or not asymptotic_per_s:
        return None
    return sum(r.net_bits for r in blocks) / (asymptotic_per_s * seconds)


def charged_apart(blocks: list[BlockReport]) -> dict[str, float]:
    """Each rule's cost as a share of the blocks' own asymptotic key; with the net share they add up
    to 1."""
    whole = sum(r.asymptotic_bits or 0.0 for r in blocks)
    if not whole:
        return {}
    costs = {name: sum(r.costs.get(name, 0.0) for r in blocks) / whole for name in COSTS}
    return costs | {"net": sum(r.net_bits for r in blocks) / whole}


def _told(r: BlockReport) -> dict[str, Any]:
    return {
        "sifted": r.sifted_bits, "net": r.net_bits, "qber": (r.qber_hv, r.qber_da),
        "thresholds": (r.q_tol_hv, r.q_tol_da), "f": r.f_ec, "seconds": r.duration_s,
        "abort": r.abort,
    }  # fmt: skip


def share(name: str, effort: Effort) -> Row:
    """The row of ``benchmarks/run.py``: 2.8e5 coincidences a block, visibility 0.95, steady."""
    size = effort.scaled(140_000, 20_000)
    first = size // 4
    parameters = AgreedParameters(block_sifted_bits=size, first_block_sifted_bits=first)
    found = measured(Source(2.0 * size * 5.5), parameters)
    steady = found["steady"] or 0.0
    return Row(name, steady, "of asymptotic", ">= 0.85", steady >= 0.85, note="2.8e5, steady")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coincidences", nargs="*", type=float, default=[2.8e5, 3e6])
    parser.add_argument("--visibility", nargs="*", type=float, default=[0.95, 0.90, 0.87, 0.80])
    parser.add_argument("--bases", default="both")
    parser.add_argument("--block", type=int, default=10_000_000)
    parser.add_argument("--first", type=int, default=25_000)
    parser.add_argument("--abort-probability", type=float, default=0.001, help="0: q_tol for all")
    parser.add_argument("--rate", type=float, default=20_000.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    parameters = AgreedParameters(
        bases=given.bases,
        block_sifted_bits=given.block,
        first_block_sifted_bits=given.first,
        abort_probability=given.abort_probability,
    )
    for coincidences in given.coincidences:
        for visibility in given.visibility:
            found = measured(Source(coincidences, visibility, given.rate), parameters)
            if given.json:
                print(json.dumps(found), flush=True)
                continue
            steady = "-" if found["steady"] is None else f"{found['steady']:.3f}"
            print(
                f"{coincidences:9.3g}  {visibility:.2f}  asymptotic {found['asymptotic_bits']:>12,}"
                f"  net {found['net_bits']:>12,}  cold {found['cold']:.3f}  steady {steady}",
                flush=True,
            )
            apart = "  ".join(f"{name} {x:.2%}" for name, x in found["costs"].items() if x)
            print(f"           {apart}", flush=True)


if __name__ == "__main__":
    main()
