"""Key lengths: time per evaluation against a named baseline, and a curve with optimisation.

python benchmarks/key_length.py [--json FILE]

Baseline of the exact bound: scipy.stats.hypergeom, its distribution function inverted by the same
bisection. Both answers are compared. Times are CPU time on one core: the median of several.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from scipy.stats import hypergeom

from photonlink.pipeline.planning import curve
from photonlink.pipeline.planning.model import load_link
from photonlink.pipeline.stages import finite_key as fk


@dataclass
class Result:
    name: str
    figure: float  # median
    unit: str
    goal: float | None
    met: bool | None
    baseline: float | None = None
    agrees: bool | None = None


def cpu_ms(work: Callable[[], object], repeat: int) -> float:
    taken = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return 1e3 * statistics.median(taken)


def per_call_ms(work: Callable[[], object], calls: int) -> float:
    """CPU time of a short function: many calls, as the clock is coarse."""

    def many() -> None:
        for _ in range(calls):
            work()

    return cpu_ms(many, 5) / calls


def scipy_bound(observed: int, k: int, n: int, failure: float) -> int:
    """The same inversion with scipy's distribution function."""
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        if hypergeom.cdf(observed, n + k, observed + middle, k) > failure:
            low = middle
        else:
            high = middle
    return low


def exact(n: int) -> Result:
    """Bound for ``n`` bits, half of them disclosed, 2 % errors, failure probability 1e-10."""
    k = n // 2
    observed, failure = k // 50, 1e-10
    ours = per_call_ms(lambda: fk.max_errors_unseen(observed, k, k, failure), 20)
    theirs = cpu_ms(lambda: scipy_bound(observed, k, k, failure), 1) if n <= 10**7 else None
    agrees = None
    if theirs is not None:
        agrees = scipy_bound(observed, k, k, failure) == fk.max_errors_unseen(
            observed, k, k, failure
        )
    goal = 20.0 if n == 10**7 else None
    met = None if goal is None else ours <= goal
    return Result(f"exact hypergeometric, {n:.0e} bits", ours, "ms", goal, met, theirs, agrees)


def lengths() -> list[Result]:
    lim = {
        "mus": [0.5, 0.1, 0.0], "ps": [0.7, 0.2, 0.1], "n_key": [28_282_763, 1_621_575, 2592],
        "n_test": [349_132, 20_233, 30], "m_test": [1838, 137, 7], "leak_ec": 1_618_849,
        "eps_sec": 1e-10, "eps_cor": 1e-15, "thresholds": fk.OBSERVED,
    }  # fmt: skip
    rusca = {
        "mus": [0.5, 0.15], "ps": [0.7, 0.3], "n_key": [28_284_928, 3_643_013],
        "m_key": [145_165, 19_570], "n_test": [348_686, 44_767], "m_test": [2265, 280],
        "leak_ec": 1_726_999, "eps_sec": 1e-9, "eps_cor": 1e-15, "thresholds": fk.OBSERVED,
    }  # fmt: skip
    pairs = (100_000, 100_000, 0.05, 30_000.0, 64, 1e-10, 1e-15)
    work: dict[str, Callable[[], object]] = {
        "lim2014, guarded": lambda: fk.lim2014(**lim),  # type: ignore[arg-type]
        "lim2014, strict": lambda: fk.lim2014(**lim, guard="strict"),  # type: ignore[arg-type]
        "rusca2018, guarded": lambda: fk.rusca2018(**rusca),  # type: ignore[arg-type]
        "tlgr2012": lambda: fk.tlgr2012(100_000, 100_000, 0.05, 30_000, 1e-10, 1e-15),
        "lim2021": lambda: fk.lim2021(100_000, 100_000, 0.05, 30_000, 1e-10, 1e-15),
        "bbm92_key_length, 2e5 bits": lambda: fk.bbm92_key_length(*pairs),
    }
    out = []
    for name, call in work.items():
        ms = per_call_ms(call, 100)
        out.append(Result(f"key length: {name}", ms, "ms", 1.0, ms <= 1.0))
    return out


def curves() -> list[Result]:
    out = []
    for name in ("lucamarini2013", "boaron2018", "nice2022"):
        link = load_link(name)
        axis = curve.default_axis(link)
        xs = curve.steps(*curve.default_range(link, axis), 200)
        s = cpu_ms(lambda a=(link, axis, xs): curve.curve(*a, optimise=True), 1) / 1e3  # type: ignore[misc]
        out.append(Result(f"curve of 200 optimised points: {name}", s, "s", 10.0, s <= 10.0))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = lengths() + [exact(10**p) for p in (4, 5, 6, 7, 8)] + curves()
    for r in results:
        goal = "" if r.goal is None else f"goal {r.goal:g} {'met' if r.met else 'MISSED'}"
        base = "" if r.baseline is None else f"scipy {r.baseline:.3g} ms, same answer: {r.agrees}"
        print(f"{r.name:<46}{r.figure:>10.3g} {r.unit:<3} {goal:<18} {base}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(r) for r in results], indent=1))
    good = all(r.met is not False and r.agrees is not False for r in results)
    return 0 if good and all(math.isfinite(r.figure) for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
