"""``photonlink emulate MODEL``: one emulator on a lit optical table, for anybody's software."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from photonlink.firmware_sim import program
from photonlink.firmware_sim.config import BenchConfig, explain
from photonlink.firmware_sim.control import parse_assignments
from photonlink.firmware_sim.kit.registration import Registration, catalogue, models
from photonlink.firmware_sim.kit.settings import describe
from photonlink.firmware_sim.places import example_place

PLACES = {"pump": "pump", "detector": "alice.h", "tagger": "alice.tagger"}
PUMP_MW = 0.2


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="photonlink emulate",
        description="Start one emulated instrument and print its address; Ctrl-C ends it. "
        "The optical table around it is lit: a tagger sees clicks, a detector counts.",
    )
    p.add_argument("model", nargs="?", help="which one (see --list)")
    p.add_argument("--list", action="store_true", help="every model, one per line")
    p.add_argument("--help-settings", action="store_true", help="settings and faults of a model")
    p.add_argument("--address", default="", help="tcp://HOST:PORT, serial:///PATH, …; free if none")
    p.add_argument("--place", default="", help="on the optical table (alice.tagger, pump, …)")
    p.add_argument("--seed", type=int, default=1, help="serial number, noise, clicks (default 1)")
    p.add_argument("--speed", type=float, default=1.0, help="device seconds per second")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    p.add_argument(
        "--fault", action="append", default=[], metavar="NAME[,KEY=VALUE…]", help="armed at start"
    )
    p.add_argument("--run-dir", type=Path, help="for sockets and links (default: a new one)")
    p.add_argument("--until-stdin-closes", action="store_true", help="also stop at stdin's end")
    p.add_argument("--json", action="store_true", help="the ready line of a bench, as JSON")
    return p


def emulate(words: list[str]) -> int:
    """The command. ValueError and OSError say what is wrong."""
    parser = _parser()
    args = parser.parse_args(words)
    if args.list:
        for entry in sorted(models().values(), key=lambda e: e.model):
            wires = "/".join(entry.device.WIRES)
            print(f"{entry.model:28} {wires:12} {entry.evidence:10} {entry.summary}")
        for problem in catalogue().problems:
            print(problem, file=sys.stderr)
        return 0
    if not args.model:
        parser.error("say which MODEL; --list shows them")
    if args.model not in models():
        known = ", ".join(sorted(models()))
        raise ValueError(f"no model {args.model!r}; known: {known}")
    entry = models()[args.model]
    if args.help_settings:
        _help_settings(entry)
        return 0
    config = bench_of(
        entry, args.place, {**parse_assignments(args.set), **_address(args.address)}, args.seed
    )
    faults = [_fault(text) for text in args.fault]
    run_dir = args.run_dir or Path(tempfile.mkdtemp(prefix="photonlink-sim-"))
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    out: TextIO = sys.stdout if args.json else _Addresses(entry.model)  # type: ignore[assignment]
    good = asyncio.run(
        program.run(
            config,
            run_dir.resolve(),
            speed=args.speed,
            until_stdin_closes=args.until_stdin_closes,
            out=out,
            faults=faults,
        )
    )
    return 0 if good else 1


def _address(text: str) -> dict[str, Any]:
    return {"address": text} if text else {}


def _fault(text: str) -> dict[str, Any]:
    """``silent,count=3`` → the control command."""
    name, *rest = text.split(",")
    return {"fault": name, **parse_assignments(rest)}


def bench_of(entry: Registration, place: str, settings: dict[str, Any], seed: int) -> BenchConfig:
    """A table with light and this one device. ValueError for a place it cannot stand at."""
    where = place or PLACES.get(entry.kind, "") or (example_place(entry.kind) if entry.kind else "")
    try:
        return BenchConfig.model_validate(
            {
                "name": entry.model,
                "seed": seed,
                "source": {"pump_power_mw": PUMP_MW},
                "devices": {"unit": {"model": entry.model, "place": where, "settings": settings}},
            }
        )
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def _help_settings(entry: Registration) -> None:
    settings = entry.device.Settings
    for base in reversed(settings.__mro__[:-1]):
        print(inspect.getdoc(base) or "")
    print("\nSettings (--set KEY=VALUE):")
    print("\n".join(f"  {line}" for line in describe(settings)))
    print(f"\nWires (--address): {', '.join(entry.device.WIRES)}")
    print("\nFaults (--fault NAME,count=N,for_s=T):")
    known = entry.device.fault_names()
    print("\n".join(f"  {name:16} {doc}" for name, doc in known.items()))


class _Addresses:
    """Shows a person the ready line: one address per line; the rest is not shown."""

    def __init__(self, model: str) -> None:
        self._model = model

    def write(self, text: str) -> int:
        try:
            line = json.loads(text)
        except ValueError:
            return len(text)
        if line.get("ready"):
            for name, address in line["lines"]["unit"].items():
                print(address if name == "command" else f"{name}: {address}")
            print(f"control: {line['control']}", flush=True)
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()
