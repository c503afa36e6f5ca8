"""Light for a reason and a time: the whole bench, watched by the light guard; switched off and read
back at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from photonlink.hal.errors import StationError
from photonlink.hal.facets import Emits, SafetyStep
from photonlink.hal.opening import open_bench
from photonlink.hal.safety import guard
from photonlink.pipeline.bench.tagging import lit
from photonlink.pipeline.bench.target import Target
from photonlink.pipeline.keys.locking import lock_node
from photonlink.pipeline.node.station import NodeStation

MARGIN_S = 2.0
"""Of the lease beyond the time asked for: the light ends by itself, not by its lease."""


async def light_for(
    target: Target, reason: str, seconds: float, tell: Callable[[str], None]
) -> str:
    """Bias and lasers on for ``seconds``; returns the signal that ended it early, or ""."""
    with contextlib.ExitStack() as locks:
        if isinstance(target.station, NodeStation):
            lock_node(target.station.node.state_dir, locks)
        bench = await open_bench(target.station)
        for name, why in bench.missing.items():
            tell(f"missing: {name}: {why.splitlines()[0]}")

        def report(steps: tuple[SafetyStep, ...]) -> None:
            for step in steps:
                tell(f"{step.action}: {step.readback if step.ok else 'NOT SAFE: ' + step.readback}")

        async with guard(bench, report=report) as state:
            lasers = bench.having(Emits)
            if not lasers:
                raise StationError("nothing on this bench emits light", where=target.station.name)
            async with lit(bench, reason, seconds + MARGIN_S):
                tell(f"light is ON: {', '.join(lasers)}, for {seconds:g} s: {reason}")
                await asyncio.sleep(seconds)
    return state.signal
