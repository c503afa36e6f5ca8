"""The contract suite's cases: every registered driver, taken from the registry.

An optical table has one place for each instrument. Instruments for the same place are put on
different benches: the first bench holds those whose case names a place, the next ones the rest.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.places import example_place, place_kind, taken_by
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.registry import Registration, registry


def _place(entry: Registration) -> str:
    """The place of its emulator; "" when it needs none or is not on the table."""
    kind = models()[entry.emulator].kind
    return str(entry.case.get("place", example_place(kind) if kind else ""))


def _claims(entry: Registration) -> frozenset[str]:
    """Places that no other instrument on its bench may have. Detectors whose case names no place
    claim their side's tagger as well: without bias they would give it no clicks.
    """
    place = _place(entry)
    if not place:
        return frozenset()
    claims = taken_by(place)
    if "place" not in entry.case and "detector" in place_kind(place).kind:
        claims |= {f"{place.partition('.')[0]}.tagger"}
    return claims


def _benches() -> list[dict[str, tuple[Registration, str]]]:
    """For each bench: name of the emulator → (driver, place)."""
    found: list[dict[str, tuple[Registration, str]]] = [{}]
    entries = sorted(registry().drivers.values(), key=lambda e: "place" not in e.case)
    for entry in entries:
        place = _place(entry)
        for bench in found:
            if not _claims(entry) & {c for other, _ in bench.values() for c in _claims(other)}:
                break
        else:
            bench = {}
            found.append(bench)
        at_home = place and bench is found[0] and "place" in entry.case
        bench[(place if at_home else entry.id).replace(".", "-")] = entry, place
    return found


BENCHES = _benches()
CASES = {name: entry for bench in BENCHES for name, (entry, _) in bench.items()}
"""Every registered driver, under the name of its emulator."""
PLACES = {name: place for bench in BENCHES for name, (_, place) in bench.items()}


def bench_text(number: int) -> str:
    """The bench file of one bench."""
    text = f'name = "contract"\nseed = {7 + number}\n[devices]\n'
    for name, (entry, place) in BENCHES[number].items():
        at = f', place = "{place}"' if place else ""
        text += f'{name} = {{ model = "{entry.emulator}"{at} }}\n'
    return text


BENCH = bench_text(0)


def settings_text(name: str, deadline_s: float = 5.0) -> str:
    """The example settings of a driver as TOML, with this deadline of replies."""
    timeout_s = max(CASES[name].case.get("reply_timeout_s", 0.5), deadline_s)
    settings = {"reply_timeout_s": timeout_s, **CASES[name].settings}
    return "".join(f"{key} = {_toml(value)}\n" for key, value in settings.items())


def _toml(value: Any) -> str:
    """A value in the notation of a station file."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


@contextlib.asynccontextmanager
async def opened(program: Any, *names: str, deadline_s: float = 5.0) -> AsyncIterator[Bench]:
    """An open bench of these instruments at their emulators; faults are removed at the end."""
    bench = await open_bench(program.station(*names, deadline_s=deadline_s))
    try:
        yield bench
    finally:
        for name in names:
            program.fault(name, "none")
        await bench.close()
