"""A bench heals by itself: ``python benchmarks/heal.py [RESTARTS]``.

Every instrument of an emulated bench (laser, time tagger, four detectors) is restarted RESTARTS
(100) times while a supervisor watches: rebooted and unplugged in turn, all instruments at once, the
supervisor with a node's own intervals. Detectors have bias before, so that a reboot shows. An
instrument is healed when it was reported lost, was found again, reads what the station asks for,
and is dark. Prints one JSON object; status 1 when an instrument did not heal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.control import ask
from photonlink.hal.facets import Biased
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.supervisor import Event, Found, Lost, Started, Supervisor
from photonlink.hal.tags import WireChunk
from photonlink.pipeline.bench.new_station import emulated_station
from photonlink.pipeline.bench.target import parse_target, with_sim

NAMES = {"tagger": "alice-tagger"} | {f"spd-{x}": f"alice-spd-{x}" for x in "hvda"}
"""Instrument → its name on the emulated table, where that differs."""
GIVE_UP_S = 90.0
AWAY_S = 0.5


class Watched:
    """The supervisor's reports, per instrument."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.found: dict[str, int] = dict.fromkeys(bench.instruments, 0)
        self.lost: dict[str, int] = dict.fromkeys(bench.instruments, 0)
        self.tags = 0
        self.changed = asyncio.Event()

    def event(self, event: Event) -> None:
        if isinstance(event, Found):
            self.found[event.name] += 1
        elif isinstance(event, Lost):
            self.lost[event.name] += 1
        self.changed.set()

    async def until(self, condition: Any) -> bool:
        """Wait for the condition; whether it became true in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_UP_S):
                while not condition():
                    self.changed.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await self.changed.wait()
                return True
        return False


async def stream(watched: Watched, supervisor: Supervisor) -> None:
    """Consume the tagger's stream and count."""
    async for item in supervisor.tagger_stream():
        if isinstance(item, WireChunk):
            watched.tags += len(item.data)
        elif isinstance(item, Started):
            watched.found["tagger"] += 1
        else:
            watched.lost["tagger"] += 1
        watched.changed.set()


async def what_is_wrong(instrument: Any) -> str:
    """Deviations of an instrument after it was found again: settings that differ, or outputs on."""
    lit = [step.param for step in instrument.OFF if await instrument.get(step.param) != step.value]
    if lit:
        return f"{', '.join(lit)}: on"
    return str(instrument.deviation(await instrument.snapshot()))


async def restart(watched: Watched, control: str, name: str, n: int) -> dict[str, Any]:
    """Restart one instrument n times."""
    healed, took = 0, []
    for i in range(n):
        instrument = watched.bench.instruments[name]
        if isinstance(instrument, Biased):
            await instrument.set_bias(True)
        before, tags, begin = watched.found[name], watched.tags, time.monotonic()
        order = {"fault": "reboot"} if i % 2 else {"fault": "unplug", "for_s": AWAY_S}
        request = {"device": NAMES.get(name, name), **order}
        reply = await asyncio.to_thread(ask, control, request)
        assert reply["ok"], reply
        if not await watched.until(lambda before=before: watched.found[name] > before):
            return {"healed": healed, "stuck": order["fault"]}
        if name == "tagger":
            wrong = "" if await watched.until(lambda tags=tags: watched.tags > tags) else "no tags"
        else:
            wrong = await what_is_wrong(instrument)
        if wrong:
            return {"healed": healed, "stuck": wrong}
        took.append(time.monotonic() - begin)
        healed = i + 1
    took.sort()
    return {"healed": n, "median_s": round(took[n // 2], 2), "longest_s": round(took[-1], 2)}


async def measure(station: Path, n: int) -> dict[str, Any]:
    """Restart all instruments at once."""
    control = str(station.with_name("bench-run") / "control.sock")
    bench = await open_bench(parse_target(str(station)).station)
    watched = Watched(bench)
    supervisor = Supervisor(bench, watched.event)
    tasks = [asyncio.create_task(w) for w in (supervisor.run(), stream(watched, supervisor))]
    try:
        await watched.until(lambda: watched.found["tagger"] > 0)
        names = list(bench.instruments)
        found = await asyncio.gather(*(restart(watched, control, name, n) for name in names))
        ended = [str(task.exception()) for task in tasks if task.done()]
        return {"restarts": n, **dict(zip(names, found, strict=True)), "ended": ended}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bench.close()


def main(n: int = 100) -> int:
    """Restart all, print, compare with the goal."""
    with tempfile.TemporaryDirectory() as folder:
        station = Path(folder) / "bench.toml"
        station.write_text(emulated_station("bench"))
        with with_sim(str(station), start=True):
            found = asyncio.run(measure(station, n))
    print(json.dumps(found))
    parts = [part for part in found.values() if isinstance(part, dict)]
    return int(any(part["healed"] < n for part in parts) or bool(found["ended"]))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
