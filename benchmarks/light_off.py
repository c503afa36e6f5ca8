"""How soon light is off after its program was killed: ``python benchmarks/light_off.py [tries]``.

Each try: ``photonlink light`` on an emulated bench, SIGKILL and SIGHUP in turn once it is lit, and
the laser asked over a connection of its own until it reads dark. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from photonlink.firmware_sim.control import ask
from photonlink.pipeline.bench.new_station import emulated_station
from photonlink.pipeline.bench.target import with_sim

TRIES = int(sys.argv[1]) if len(sys.argv) > 1 else 100
GIVE_UP_S = 30.0


def seconds_to_dark(station: Path, number: signal.Signals) -> float:
    """One try; infinite when the light stays on."""
    command = [sys.executable, "-m", "photonlink.pipeline.cli", "light", str(station),
               "--reason", "benchmark", "--duration", "300"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert b"light is ON" in process.stdout.readline()
    begin = time.monotonic()
    os.kill(process.pid, number)
    control = str(station.with_name("bench-run") / "control.sock")
    try:
        while time.monotonic() < begin + GIVE_UP_S:
            if not ask(control, {"status": True})["status"]["devices"]["pump"]["emission"]:
                return time.monotonic() - begin
            time.sleep(0.005)
        return float("inf")
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    """All tries, and how many were dark within a second."""
    with tempfile.TemporaryDirectory() as folder:
        station = Path(folder) / "bench.toml"
        station.write_text(emulated_station("bench"))
        with with_sim(str(station), start=True):
            numbers = (signal.SIGKILL, signal.SIGHUP)
            took = sorted(seconds_to_dark(station, numbers[i % 2]) for i in range(TRIES))
    within = sum(t <= 1.0 for t in took)
    print(json.dumps({"tries": TRIES, "within_1_s": within, "median_s": round(took[TRIES // 2], 3),
                      "longest_s": round(took[-1], 3)}))  # fmt: skip


if __name__ == "__main__":
    main()
