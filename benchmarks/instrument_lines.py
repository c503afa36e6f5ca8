"""How long drivers and emulators are: python benchmarks/instrument_lines.py

Lines of the module that registers each instrument, and of its emulator's; shared cores of a vendor
(one file for several models) are listed apart. Goals: median driver ≤ 160, median emulator ≤ 180.
"""

from __future__ import annotations

import importlib
import statistics
from pathlib import Path

from photonlink.firmware_sim.kit.registration import models
from photonlink.hal.registry import registry


def lines_of(module: str) -> int:
    path = importlib.import_module(module).__file__
    assert path
    return len(Path(path).read_text(encoding="utf-8").splitlines())


def main() -> None:
    emulators = models()
    drivers, devices = [], []
    print(f"{'instrument':<32} {'driver':>6} {'emulator':>8}")
    for entry in registry().drivers.values():
        driver = lines_of(entry.module)
        device = lines_of(emulators[entry.emulator].device.__module__)
        drivers.append(driver)
        devices.append(device)
        print(f"{entry.id:<32} {driver:>6} {device:>8}")
    print(
        f"\n{len(drivers)} instruments; median driver {statistics.median(drivers):g} lines "
        f"(goal 160), median emulator {statistics.median(devices):g} (goal 180)"
    )
    root = Path(__file__).resolve().parents[1]
    for room, used in (
        ("drivers", {e.module for e in registry().drivers.values()}),
        ("firmware_sim/devices", {m.device.__module__ for m in emulators.values()}),
    ):
        for path in sorted((root / room).glob("*/*.py")):
            name = "photonlink." + ".".join(path.relative_to(root).with_suffix("").parts)
            count = len(path.read_text(encoding="utf-8").splitlines())
            if name not in used and count > 20 and path.parent.name != "recordings":
                print(f"shared: {path.relative_to(root)} {count}")


if __name__ == "__main__":
    main()
