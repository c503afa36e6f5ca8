"""The cost of ``scan``, ``get`` and ``monitor``: ``python benchmarks/bench_commands.py [TRIES]``.

Medians of TRIES (5) runs on an emulated bench: wall clock and CPU of a whole command, start of
Python and opening included; and the share of a core that ``monitor`` takes for ten instruments at
5 Hz, by the difference between a run of 12 s and one of 2 s. Prints one JSON object.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from photonlink.pipeline.bench.new_station import emulated_station
from photonlink.pipeline.bench.target import with_sim

_MORE = """
[instruments.bob-{letter}]
driver = "sfifteen.irspd1"
backend = "emulator"
emulator = "sim:bob-spd-{letter}"
settings = {{ bias_v = 62.0 }}
"""


def run(*words: str) -> tuple[float, float]:
    """(wall clock, CPU) of one command in seconds."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "photonlink.pipeline.cli", *words], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - begin, cpu


def main(tries: int = 5) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        station = Path(folder) / "bench.toml"
        more = "".join(_MORE.format(letter=letter) for letter in "hvda")
        station.write_text(emulated_station("bench") + more)
        with with_sim(str(station), start=True):
            found: dict[str, object] = {}
            for name, words in (
                ("scan", ["scan"]),
                ("get", ["get", f"{station}:pump", "current_set_ma"]),
            ):
                walls, cpus = zip(*(run(*words) for _ in range(tries)), strict=True)
                found[name] = {"wall_s": round(median(walls), 3), "cpu_s": round(median(cpus), 3)}
            monitor = ["monitor", str(station), "--rate", "5", "--json", "--duration"]
            short, long = run(*monitor, "2")[1], run(*monitor, "12")[1]
            found["monitor, share of a core"] = round((long - short) / 10.0, 4)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
