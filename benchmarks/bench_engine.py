"""Speed of the bench's event engine in C against the same physics in numpy, in one run.

python benchmarks/bench_engine.py        prints one JSON object; about 15 s on one core.

``engine_clicks_per_s``: clicks of both ends per second of process CPU time on a link of 2 M singles
per second and side and 1 M pairs per second (:func:`bright_link`), everything included as below.
``engine_tags_per_s``: tags of *one* tagger per second of process CPU time, everything included
(pairs, loss, polarization, four diodes with jitter, dead time, afterpulsing, clock, quantisation,
memory, Python), while the other tagger's stream is made too (``both``) or the other arm is dark
(``one``).
``numpy_tags_per_s``: the same for one side without afterpulsing, which has no vectorised form.
``demo_cpu_share``: share of one core that the default bench needs at full light, without devices.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.config import BenchConfig, default_bench, parse_bench
from photonlink.firmware_sim.optical_table import OpticalTable

REPEATS = 5
DEAD_S, JITTER_PS, EFFICIENCY, TRANSMISSION, DARK_HZ, LSB_PS = 1e-7, 102.0, 0.3, 0.6, 1500.0, 80
PAIRS_HZ = 1.35e7  # 2.4 M detected photons per second and side


def heavy(bob: bool) -> OpticalTable:
    """A bright bench: about 2.3 M tags/s per side."""
    diode = {"dead_time_s": DEAD_S, "efficiency": EFFICIENCY, "dark_hz": DARK_HZ}
    arm = {
        "loss_db": float(-10 * np.log10(TRANSMISSION)),
        "detectors": dict.fromkeys("hvda", diode),
    }
    config = {
        "source": {"pump_power_mw": 1.0, "brightness_hz_per_mw": PAIRS_HZ, "visibility_hv": 0.97},
        "alice": arm,
        "bob": arm if bob else {**arm, "loss_db": 200.0},
    }
    return OpticalTable(BenchConfig.model_validate(config))


def bright_link() -> OpticalTable:
    """Both photons of one pair in four are detected: 2.1 M tags/s per side, 1.0 M pairs/s."""
    diode = {"dead_time_s": 2e-8, "efficiency": 0.8, "dark_hz": 100.0}
    arm = {"loss_db": 2.04, "detectors": dict.fromkeys("hvda", diode)}
    source = {"pump_power_mw": 1.0, "brightness_hz_per_mw": 4e6, "visibility_hv": 0.96}
    return OpticalTable(BenchConfig.model_validate({"source": source, "alice": arm, "bob": arm}))


def engine_clicks(seconds: float = 3.0) -> float:
    """Clicks of both ends per CPU second on the bright link."""
    bench = bright_link()
    for tagger in bench.taggers.values():
        tagger.configure(inputs=4, resolution_ps=4)
        tagger.start()
    bench.advance()
    clicks, begin = 0, time.process_time()
    for _ in range(round(seconds / 0.02)):
        bench.advance()
        clicks += sum(len(tagger.read().time_ps) for tagger in bench.taggers.values())
    return clicks / (time.process_time() - begin)


def engine_rate(bob: bool, seconds: float = 1.0) -> float:
    """Alice's tags per CPU second."""
    bench = heavy(bob)
    for tagger in bench.taggers.values():
        tagger.configure(inputs=4, resolution_ps=LSB_PS)
        tagger.start()
    bench.advance()
    tags, begin = 0, time.process_time()
    for _ in range(round(seconds / 0.02)):
        bench.advance()
        tags += len(bench.taggers["alice"].read().time_ps)
        bench.taggers["bob"].read()
    return tags / (time.process_time() - begin)


def without_dead(t: npt.NDArray[np.float64], dead: float) -> npt.NDArray[np.float64]:
    """Non-paralysable dead time by repeated vector passes."""
    while True:
        close = np.diff(t, prepend=-np.inf) < dead
        first = close & ~np.concatenate(([False], close[:-1]))
        if not first.any():
            return t
        t = t[~first]


def numpy_slice(rng: np.random.Generator, span_ps: float) -> int:
    """One side for one slice; returns its tags."""
    n = rng.poisson(PAIRS_HZ * span_ps * 1e-12)
    t = np.sort(rng.uniform(0.0, span_ps, n))
    t = t[rng.random(n) < TRANSMISSION]
    letter = rng.integers(0, 4, len(t))
    times, channels = [], []
    for d in range(4):
        hit = t[letter == d]
        hit = hit[rng.random(len(hit)) < EFFICIENCY]
        hit = hit + rng.normal(0.0, JITTER_PS, len(hit))
        tail = rng.random(len(hit)) < 0.1
        hit[tail] += rng.exponential(150.0, int(tail.sum()))
        dark = rng.uniform(0.0, span_ps, rng.poisson(DARK_HZ * span_ps * 1e-12))
        clicks = without_dead(np.sort(np.concatenate((hit, dark))), DEAD_S * 1e12)
        times.append(clicks)
        channels.append(np.full(len(clicks), d, np.uint8))
    every = np.concatenate(times)
    order = np.argsort(every, kind="stable")
    tags = (every[order] * (1 + 1e-6)).astype(np.int64) // LSB_PS * LSB_PS
    return len(tags) if len(np.concatenate(channels)[order]) else 0


def numpy_rate(seconds: float = 0.4) -> float:
    """One side's tags per CPU second."""
    rng = np.random.default_rng(1)
    begin = time.process_time()
    tags = sum(numpy_slice(rng, 2e10) for _ in range(round(seconds / 0.02)))
    return tags / (time.process_time() - begin)


def demo_share(seconds: float = 5.0) -> float:
    """CPU seconds per bench second of the default bench at 32 mW."""
    bench = OpticalTable(parse_bench(default_bench()))
    bench.set({"source.pump_power_mw": 32.0})
    for tagger in bench.taggers.values():
        tagger.start()
    begin = time.process_time()
    for _ in range(round(seconds / 0.02)):
        bench.advance()
        for tagger in bench.taggers.values():
            tagger.read()
    return (time.process_time() - begin) / seconds


def middle(measure: Callable[[], float]) -> dict[str, float]:
    """Median and spread of some repeats."""
    values = [measure() for _ in range(REPEATS)]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    """Measure and print."""
    result: dict[str, Any] = {
        "engine_clicks_per_s": middle(engine_clicks),
        "engine_tags_per_s_both": middle(lambda: engine_rate(True)),
        "engine_tags_per_s_one": middle(lambda: engine_rate(False)),
        "numpy_tags_per_s": middle(numpy_rate),
        "demo_cpu_share": middle(lambda: demo_share(3.0)),
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    result["ratio_one"] = (
        result["engine_tags_per_s_one"]["median"] / result["numpy_tags_per_s"]["median"]
    )
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
