"""Switches all instruments off at once and reports, including those that other processes hold.

1. It asks the owning processes, through their control sockets, to switch off and end.
2. It kills an owner that still holds its instrument one second after the light guard's lease.
3. It opens every instrument that is not yet known to be off, which switches it off, and reads it
back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from photonlink.hal.control import ask_owner
from photonlink.hal.errors import LinkError
from photonlink.hal.facets import SafetyStep
from photonlink.hal.light_guard import LEASE_S
from photonlink.hal.opening import candidates, open_bench
from photonlink.hal.ownership import Owner, owner_of, owners
from photonlink.hal.station import BenchStation
from photonlink.pipeline.bench.reading import owner_of_entry

PATIENCE_S = LEASE_S + 1.0
_LOOK_S = 0.05
_GONE_S = 2.0
_TRY_S = 2.0


@dataclass
class SafeReport:
    """steps: what was switched off, with its read-back. unreached: instrument → why."""

    steps: list[SafetyStep] = field(default_factory=list)
    unreached: dict[str, str] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every instrument was reached and reads back off."""
        return all(step.ok for step in self.steps) and not self.unreached


async def make_safe(
    station: BenchStation | None, tell: Callable[[str], None], *, patience_s: float = PATIENCE_S
) -> SafeReport:
    """A station's instruments off; without a station, those of all our processes."""
    begin, report = time.monotonic(), SafeReport()
    if station is None:
        held = [owner for owner in owners() if owner.pid != os.getpid()]
    else:
        found = (owner_of_entry(entry) for entry in station.instruments.values())
        held = [owner for owner in found if owner is not None]
    asked = {owner.pid: owner for owner in held}
    done = await asyncio.gather(*(_owner_off(o, tell, report, patience_s) for o in asked.values()))
    obeyed = {pid for pid, good in zip(asked, done, strict=True) if good}
    if station is not None:
        off = {owner.address for owner in held if owner.pid in obeyed}
        rest = {
            name: entry
            for name, entry in station.instruments.items()
            if off.isdisjoint(address for _, address in candidates(entry))
        }
        await _open_and_close(station.model_copy(update={"instruments": rest}), report)
    report.took_s = time.monotonic() - begin
    return report


async def _owner_off(
    owner: Owner, tell: Callable[[str], None], report: SafeReport, patience_s: float
) -> bool:
    """True when the owner switched everything off and closed its instruments."""
    tell(f"{owner} owns {owner.instrument}: asking it to switch off")
    deadline = time.monotonic() + patience_s
    answered = False
    try:
        reply = await ask_owner(owner, {"safe": True}, patience_s)
        report.steps += [SafetyStep(**step) for step in reply["steps"]]
        answered = True
    except LinkError as error:
        tell(error.what)
    if not await _lets_go(owner, deadline):
        tell(f"{owner} has not let go within {patience_s:g} s: ending it")
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if owner.alive:
                os.kill(owner.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        report.ended.append(str(owner))
        await _lets_go(owner, time.monotonic() + _GONE_S)
        return False
    return answered


async def _lets_go(owner: Owner, deadline: float) -> bool:
    """Whether a process gives its instrument back in time."""
    while True:
        now = owner_of(owner.address)
        if now is None or now.pid != owner.pid:
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_LOOK_S)


async def _open_and_close(station: BenchStation, report: SafeReport) -> None:
    """Opening switches off and reads back; a failure is reported and does not affect other
    instruments.

    A port may be held for a moment by the light guard of an owner that was ended.
    """
    end, rest = time.monotonic() + _TRY_S, dict(station.instruments)
    while rest:
        bench = await open_bench(
            station.model_copy(update={"instruments": rest}), all_optional=True
        )
        report.steps += await bench.close()
        rest = {name: entry for name, entry in rest.items() if name in bench.missing}
        if time.monotonic() >= end:
            report.unreached |= bench.missing
            return
        await asyncio.sleep(_LOOK_S)
