"""Two whole nodes follow a fibre that turns: ``benchmarks/drift_nodes.py [SECONDS] [RAD_PER_H]``.

Emulated bench in virtual time, drivers and wires as in the demo: ``align``, calibration, then both
nodes for SECONDS (300) of acquisition, once with an OZ Optics EPC before Bob's analysers and once
with one before Alice's. Meanwhile the fibre turns by RAD_PER_H (6) about an axis that wanders.
The last run has the same drift and ``hold = false``. Blocks here take some four seconds, so 6 rad/h
turn the fibre between two blocks as far as 1 rad/h does between blocks of 24 s. Prints one JSON
object; status 1 when a block is lost while drift is followed, or none is lost when it is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy.spatial.transform import Rotation

from photonlink.firmware_sim.config import BenchConfig, DeviceEntry
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.virtual.bench import demo_bench, running
from photonlink.firmware_sim.virtual.loop import VirtualLoop, virtual_runner
from photonlink.pipeline.check.align import AlignOptions, align_stations
from photonlink.pipeline.check.calibrate import CalibrateOptions, calibrate_stations
from photonlink.pipeline.demo.demo import CALIBRATE_S
from photonlink.pipeline.demo.files import write_virtual_files
from photonlink.pipeline.keys.psk import create_psk, load_psk
from photonlink.pipeline.node.node import Node, NodeOptions
from photonlink.pipeline.node.report import Reporter
from photonlink.pipeline.node.station import NodeStation, load_node_station

STEP_S = 0.5
BLOCK_BITS = 50_000
CONTROLLER = """
[instruments.epc]
driver = "ozoptics.epc"
backend = "emulator"
emulator = "sim:{side}-epc"

[alignment]
controllers = ["epc"]
hold = {follow}
"""


class Kept(Reporter):
    """Keeps the events of a node."""

    def __init__(self, node: str) -> None:
        super().__init__(node, json_lines=True)
        self.events: list[dict[str, Any]] = []

    def event(self, kind: str, **fields: Any) -> None:
        self.events.append({"event": kind, **fields})


def bench(side: str) -> BenchConfig:
    """The demo's bench with a turned fibre and a controller before the analysers of one end."""
    config = demo_bench()
    config.devices[f"{side}-epc"] = DeviceEntry(model="ozoptics-epc", place=f"{side}.waveplates")
    config.bob.rotation_deg = (70.0, -110.0, 40.0)
    return config


async def turn(program: Program, rad_per_h: float, seed: int) -> None:
    """Turn the fibre until cancelled, as ``polarization.py`` does."""
    rng = np.random.default_rng(seed)
    fibre, axis = Rotation.from_rotvec(np.radians((70.0, -110.0, 40.0))), rng.normal(size=3)
    while True:
        await asyncio.sleep(STEP_S)
        axis = axis / np.linalg.norm(axis) + 0.01 * rng.normal(size=3)
        step = axis / np.linalg.norm(axis) * rad_per_h * STEP_S / 3600.0
        fibre = Rotation.from_rotvec(step) * fibre
        degrees = np.degrees(fibre.as_rotvec())
        program.bench.set({"bob.rotation_deg": tuple(float(x) for x in degrees)})


async def node(station: NodeStation, seconds: float) -> list[dict[str, Any]]:
    report = Kept(station.name)
    await Node(station, NodeOptions(seconds), report).run()
    return report.events


def run(side: str, seconds: float, rad_per_h: float, *, follow: bool) -> dict[str, Any]:
    """One link; ``side`` has the controller."""

    async def inside(folder: Path, loop: VirtualLoop) -> dict[str, Any]:
        create_psk(folder / "first.psk")
        psk = load_psk(folder / "first.psk")
        files = write_virtual_files(folder, block_bits=BLOCK_BITS, psk=psk)
        with files[side].open("a") as file:
            file.write(CONTROLLER.format(side=side, follow=str(follow).lower()))
        (folder / "run").mkdir()
        async with running(bench(side), folder / "run", loop, seed=3) as program:
            stations = [load_node_station(path) for path in files.values()]
            aligned = await align_stations(stations, AlignOptions(1.5), lambda _: None)
            await calibrate_stations(stations, CalibrateOptions("benchmark", CALIBRATE_S))
            drift = asyncio.create_task(turn(program, rad_per_h, 5))
            events = await asyncio.gather(*(node(s, seconds) for s in stations))
            drift.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drift
        blocks = [e for e in events[0] if e["event"] == "block"]
        lost = [e["abort"] for e in blocks if e["abort"]]
        rates = [
            100 * (b["qber_hv"] + b["qber_da"]) / 2 for b in blocks if b["qber_hv"] is not None
        ]
        return {
            "controller_at": side, "followed": follow, "moves": aligned[0].moves,
            "turned_rad": round(rad_per_h * seconds / 3600, 3), "blocks": len(blocks),
            "lost": len(lost), "why": sorted({w[:60] for w in lost}),
            "mean_qber_percent": round(float(np.mean(rates)), 2),
            "last_qber_percent": [round(r, 2) for r in rates[-3:]],
            "net_bits": sum(b["net_bits"] for b in blocks),
        }  # fmt: skip

    begin = time.perf_counter()
    with virtual_runner(3) as runner, tempfile.TemporaryDirectory() as name:
        loop = cast(VirtualLoop, runner.get_loop())
        found = runner.run(inside(Path(name), loop))
    return found | {"wall_s": round(time.perf_counter() - begin, 1)}


def main(seconds: float = 300.0, rad_per_h: float = 6.0) -> int:
    """Run all, print."""
    found = [run(side, seconds, rad_per_h, follow=True) for side in ("bob", "alice")]
    alone = run("bob", seconds, rad_per_h, follow=False)
    print(
        json.dumps({"seconds": seconds, "rad_per_h": rad_per_h, "runs": [*found, alone]}, indent=1)
    )
    held = all(r["blocks"] and not r["lost"] for r in found)
    return 0 if held and alone["lost"] else 1


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
