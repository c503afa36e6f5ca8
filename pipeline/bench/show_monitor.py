"""``photonlink monitor`` on a terminal, in a pipe, and for programs."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping, Sequence

from photonlink.hal.errors import BenchError
from photonlink.hal.params import Value
from photonlink.hal.station import InstrumentEntry
from photonlink.pipeline.bench.monitor import OPENING_S, Picture, monitoring
from photonlink.pipeline.bench.reading import parameters_of
from photonlink.pipeline.bench.screen import Screen
from photonlink.pipeline.bench.sparkline import sparkline


async def show(
    entries: Mapping[str, InstrumentEntry],
    parameters: Sequence[str],
    rate_hz: float,
    duration_s: float | None,
    *,
    as_json: bool,
) -> None:
    """Until the time is over; Ctrl-C ends it as any command."""
    units = {n: {p.name: p.unit for p in parameters_of(e).values()} for n, e in entries.items()}
    screen = Screen()
    async with monitoring(entries, parameters, rate_hz=rate_hz) as picture:
        await picture.complete(OPENING_S)
        end = math.inf if duration_s is None else time.monotonic() + duration_s
        while time.monotonic() < end:
            await asyncio.sleep(min(1 / rate_hz, max(end - time.monotonic(), 0)))
            if as_json:
                print(json.dumps(_as_json(picture)), flush=True)
            elif screen.live:
                screen.draw(_lines(picture, units, plain=screen.plain))
            else:
                print("  ".join(_plain(picture, units)), flush=True)
        if all(row.value is None for row in picture.rows):
            names = ", ".join(entries)
            raise BenchError(f"nothing was read from {names}", hint="The lines above say why")


def _as_json(picture: Picture) -> dict[str, object]:
    values: dict[str, dict[str, Value | None]] = {}
    for row in picture.rows:
        values.setdefault(row.instrument, {})[row.parameter] = row.value
    return {"ts": time.time(), "values": values, "errors": picture.errors}


def _plain(picture: Picture, units: Mapping[str, Mapping[str, str]]) -> list[str]:
    told = [
        f"{r.instrument}.{r.parameter} {_value(r.value)} {units[r.instrument][r.parameter]}"
        for r in picture.rows
    ]
    return [
        *(text.rstrip() for text in told),
        *(f"{name}: {text}" for name, text in picture.errors.items()),
    ]


def _lines(picture: Picture, units: Mapping[str, Mapping[str, str]], *, plain: bool) -> list[str]:
    width = max(len(f"{r.instrument}.{r.parameter}") for r in picture.rows)
    lines = [
        f"{r.instrument + '.' + r.parameter:{width}}  {_value(r.value):>12} "
        f"{units[r.instrument][r.parameter]:4} {sparkline(r.history, plain=plain)}"
        for r in picture.rows
    ]
    return [*lines, *(f"{n}: {t.splitlines()[0]}" for n, t in sorted(picture.errors.items()))]


def _value(value: Value | None) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
