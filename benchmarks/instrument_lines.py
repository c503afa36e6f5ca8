"""Lines of code of drivers and emulators: python benchmarks/instrument_lines.py

Lines of the module that registers each instrument, and of its emulator's; shared cores of a vendor
and stream formats of taggers (files of their own) are listed apart. Goals: median driver ≤ 160,
median emulator ≤ 180, and a limit for each instrument that proves the kit (one per transport or
codec). The exit status is 1 when a limit or a goal is missed.
"""

from __future__ import annotations

import importlib
import statistics
import sys
from pathlib import Path

from photonlink.firmware_sim.kit.registration import models
from photonlink.hal.registry import registry

MEDIAN = (160, 180)
PROOF = (200, 220)
LIMITS = {
    "sfifteen.irspd1": (120, 160),
    "idquantique.time_controller": PROOF,  # SCPI over ZeroMQ
    "thorlabs.mpc320": PROOF,  # frames
    "santec.tsl570": PROOF,  # SCPI over TCP and serial
    "swabian.time_tagger": PROOF,  # a vendor's package
    "roithner.ttm8000": PROOF,  # UDP
    "idquantique.quantis": PROOF,  # a vendor's library
}
"""Driver and emulator, in lines."""


def lines_of(module: str) -> int:
    path = importlib.import_module(module).__file__
    assert path
    return len(Path(path).read_text(encoding="utf-8").splitlines())


def lengths() -> dict[str, tuple[int, int]]:
    """Instrument → lines of its driver and of its emulator."""
    emulators = models()
    return {
        entry.id: (
            lines_of(entry.module), lines_of(emulators[entry.emulator].device.__module__)
        )
        for entry in registry().drivers.values()
    }  # fmt: skip


def missed(found: dict[str, tuple[int, int]]) -> list[str]:
    """One sentence for each limit or goal that is missed."""
    wrong = [
        f"{name}: {kind} of {lines} lines, limit {limit}"
        for name, limits in LIMITS.items()
        for kind, lines, limit in zip(("driver", "emulator"), found[name], limits, strict=True)
        if lines > limit
    ]
    for kind, goal, lines in zip(
        ("driver", "emulator"), MEDIAN, zip(*found.values(), strict=True), strict=True
    ):
        if statistics.median(lines) > goal:
            wrong.append(f"median {kind} of {statistics.median(lines):g} lines, goal {goal}")
    return wrong


def shared() -> list[tuple[Path, int]]:
    """The other files of drivers and emulators: code that models share, and stream formats."""
    root = Path(__file__).resolve().parents[1]
    found = []
    for room, used in (
        ("drivers", {e.module for e in registry().drivers.values()}),
        ("firmware_sim/devices", {m.device.__module__ for m in models().values()}),
    ):
        for path in sorted((root / room).glob("*/*.py")):
            relative = path.relative_to(root)
            name = ".".join(("photonlink", *relative.with_suffix("").parts))
            count = len(path.read_text(encoding="utf-8").splitlines())
            if name not in used and count > 20 and path.parent.name != "recordings":
                found.append((relative, count))
    return found


def main() -> int:
    found = lengths()
    print(f"{'instrument':<32} {'driver':>6} {'limit':>6} {'emulator':>9} {'limit':>6}")
    for name, (driver, device) in found.items():
        limits = LIMITS.get(name, ("", ""))
        print(f"{name:<32} {driver:>6} {limits[0]:>6} {device:>9} {limits[1]:>6}")
    drivers, devices = (statistics.median(lines) for lines in zip(*found.values(), strict=True))
    print(
        f"\n{len(found)} instruments; median driver {drivers:g} lines (goal {MEDIAN[0]}), "
        f"median emulator {devices:g} (goal {MEDIAN[1]})"
    )
    for path, count in shared():
        print(f"shared: {path} {count}")
    wrong = missed(found)
    print("\n".join(f"TOO LONG: {text}" for text in wrong) or "every limit is kept")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
