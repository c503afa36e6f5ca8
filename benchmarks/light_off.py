"""Time until a bench is dark after its program ends: ``benchmarks/light_off.py [KILLS] [STOPS]``.

Each try: ``photonlink light`` on an emulated bench; once it is lit, SIGKILL and SIGHUP in turn
(KILLS tries) or SIGSTOP (STOPS tries). The emulators are asked over their control socket until the
laser and every detector's bias read off. Limits: 1 s; for SIGSTOP the guard's lease plus 1 s.
Prints one JSON object; the status is 1 when a try was too slow.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.control import ask
from photonlink.hal.light_guard import LEASE_S
from photonlink.pipeline.bench.new_station import emulated_station
from photonlink.pipeline.bench.target import with_sim

GIVE_UP_S = 30.0


def is_on(control: str) -> bool:
    """Whether the laser emits or any detector has bias."""
    devices: dict[str, Any] = ask(control, {"status": True})["status"]["devices"]
    bias = any(devices[f"alice-spd-{letter}"]["bias"] for letter in "hvda")
    return bool(devices["pump"]["emission"] or bias)


def seconds_to_dark(station: Path, number: signal.Signals) -> float:
    """Seconds of one try; infinite when something stays on."""
    command = [sys.executable, "-m", "photonlink.pipeline.cli", "light", str(station),
               "--reason", "benchmark", "--duration", "300"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert b"light is ON" in process.stdout.readline()
    control = str(station.with_name("bench-run") / "control.sock")
    assert is_on(control)
    begin = time.monotonic()
    os.kill(process.pid, number)
    try:
        while time.monotonic() < begin + GIVE_UP_S:
            if not is_on(control):
                return time.monotonic() - begin
            time.sleep(0.005)
        return float("inf")
    finally:
        process.kill()
        process.communicate()


def summary(took: Sequence[float], limit_s: float) -> dict[str, Any]:
    """The printed figures of all tries with one limit."""
    ordered = sorted(took)
    return {
        "tries": len(ordered), "limit_s": limit_s, "within": sum(t <= limit_s for t in ordered),
        "median_s": round(ordered[len(ordered) // 2], 3), "longest_s": round(ordered[-1], 3),
    }  # fmt: skip


def main(kills: int = 100, stops: int = 5) -> int:
    """Run all tries."""
    with tempfile.TemporaryDirectory() as folder:
        station = Path(folder) / "bench.toml"
        station.write_text(emulated_station("bench"))
        with with_sim(str(station), start=True):
            numbers = (signal.SIGKILL, signal.SIGHUP)
            ended = [seconds_to_dark(station, numbers[i % 2]) for i in range(kills)]
            stopped = [seconds_to_dark(station, signal.SIGSTOP) for _ in range(stops)]
    found = {}
    if ended:
        found["SIGKILL, SIGHUP"] = summary(ended, 1.0)
    if stopped:
        found["SIGSTOP"] = summary(stopped, LEASE_S + 1.0)
    print(json.dumps(found))
    return int(any(part["within"] < part["tries"] for part in found.values()))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
