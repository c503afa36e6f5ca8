"""``count``, ``histogram`` and ``record`` on a terminal, in a pipe, and for programs."""

from __future__ import annotations

import json
import math
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.bench.screen import Screen
from photonlink.pipeline.bench.sparkline import sparkline
from photonlink.pipeline.bench.tagging import (
    LiveHistogram,
    OpenTagger,
    Rates,
    blocks,
    check_inputs,
    open_tagger,
    record,
)
from photonlink.pipeline.bench.target import Target

_FOREVER_S = 1e9
_COLUMNS = 61


@dataclass(frozen=True, slots=True)
class ShowOptions:
    """duration_s: None until Ctrl-C. every_s: between two pictures. light: its reason, or ""."""

    duration_s: float | None
    every_s: float
    light: str
    as_json: bool

    @property
    def seconds(self) -> float:
        return _FOREVER_S if self.duration_s is None else self.duration_s


def _stopped(opened: OpenTagger) -> None:
    if opened.state.signal == "SAFE":
        raise PhotonlinkError(
            "photonlink safe switched this bench off", where=opened.bench.resolutions[
                opened.name].name
        )  # fmt: skip
    if opened.state.signal:
        raise KeyboardInterrupt


def _mark(opened: OpenTagger) -> str:
    provenance = opened.bench.resolutions[opened.name].provenance
    return "" if provenance == "real" else f" {str(provenance).upper()}"


async def show_rates(target: Target, options: ShowOptions) -> None:
    """Rates per input, again and again."""
    screen, history = Screen(), dict[int, list[float]]()
    async with open_tagger(target, light=options.light) as opened:
        rates = Rates(opened.tagger.capabilities.channels)
        due = time.monotonic() + options.every_s
        async with aclosing(blocks(opened, options.seconds)) as stream:
            async for block in stream:
                rates.add(block)
                block.wipe()
                if time.monotonic() < due:
                    continue
                due += options.every_s
                found, lost_ps = rates.take(), rates.lost_ps
                for number, rate in found.items():
                    history.setdefault(number, []).append(rate)
                    del history[number][:-120]
                _show_rates(screen, opened, found, history, lost_ps, options)
    _stopped(opened)


def _show_rates(
    screen: Screen, opened: OpenTagger, found: dict[int, float],
    history: dict[int, list[float]], lost_ps: int, options: ShowOptions,
) -> None:  # fmt: skip
    provenance = str(opened.bench.resolutions[opened.name].provenance)
    if options.as_json:
        print(json.dumps({
            "ts": time.time(), "rates_hz": {str(n): round(r, 3) for n, r in found.items()},
            "lost_s": lost_ps / 1e12, "provenance": provenance,
        }), flush=True)  # fmt: skip
        return
    lost = f"  lost {lost_ps / 1e9:.1f} ms" if lost_ps else ""
    if screen.live:
        rows = [
            f"input {n:3}  {rate:14,.0f} /s  {sparkline(history[n], plain=screen.plain)}"
            for n, rate in found.items()
        ]
        total = f"together   {sum(found.values()):14,.0f} /s{lost}{_mark(opened)}"
        screen.draw([*rows, total])
    else:
        told = "  ".join(f"{n}: {rate:,.0f} /s" for n, rate in found.items())
        print(f"{told}{lost}{_mark(opened)}", flush=True)


async def show_histogram(
    target: Target, found: LiveHistogram, options: ShowOptions, csv: Path | None
) -> None:
    """The correlation as it grows; at the end the last picture, and the file."""
    screen = Screen()
    try:
        async with open_tagger(target, light=options.light) as opened:
            check_inputs(opened, (found.a, found.b))
            due = time.monotonic() + options.every_s
            async with aclosing(blocks(opened, options.seconds)) as stream:
                async for block in stream:
                    found.add(block)
                    block.wipe()
                    if screen.live and time.monotonic() >= due:
                        due += options.every_s
                        screen.draw(_picture(found, screen, opened))
            if not options.as_json:
                screen.draw(_picture(found, screen, opened))
    finally:
        if csv is not None and found.seconds:
            write_csv(found, csv)
    if options.as_json:
        print(json.dumps(_as_json(found, opened)), flush=True)
    _stopped(opened)


def _as_json(found: LiveHistogram, opened: OpenTagger) -> dict[str, object]:
    delay_ps, highest, mean = found.peak()
    return {
        "a": found.a, "b": found.b, "seconds": round(found.seconds, 6),
        "counts": {str(k): v for k, v in found.counts.items()},
        "low_ps": found.low_ps, "bin_ps": found.bin_ps,
        "histogram": [int(n) for n in found.hist],
        "peak_ps": delay_ps, "peak_pairs": highest, "mean_pairs": mean,
        "provenance": str(opened.bench.resolutions[opened.name].provenance),
    }  # fmt: skip


def _picture(found: LiveHistogram, screen: Screen, opened: OpenTagger) -> list[str]:
    delay_ps, highest, mean = found.peak()
    groups = np.array_split(found.hist.astype(np.float64), min(_COLUMNS, len(found.hist)))
    line = sparkline([float(g.sum()) for g in groups], _COLUMNS, plain=screen.plain)
    high_ps = found.low_ps + found.bin_ps * len(found.hist)
    sigma = (highest - mean) / math.sqrt(mean) if mean > 0 else 0.0
    rates = ", ".join(f"input {n}: {c / max(found.seconds, 1e-9):,.0f} /s"
                      for n, c in found.counts.items())  # fmt: skip
    verdict = (
        f"peak at {delay_ps / 1e3:+.2f} ns: {highest:,} pairs in {found.bin_ps} ps, "
        f"{mean:,.1f} on average"
        if sigma > 6 and highest > 10
        else f"no peak: {mean:,.1f} pairs per bin"
    )
    return [
        f"{found.low_ps / 1e3:+.0f} ns |{line}| {high_ps / 1e3:+.0f} ns",
        f"{verdict}{_mark(opened)}",
        f"{found.seconds:.1f} s, {rates}",
    ]


def write_csv(found: LiveHistogram, path: Path) -> None:
    """``delay_ps,pairs``, one bin a line; delay is the bin's lower edge."""
    rows = [f"{found.low_ps + i * found.bin_ps},{int(n)}" for i, n in enumerate(found.hist)]
    path.write_text("delay_ps,pairs\n" + "\n".join(rows) + "\n", encoding="utf-8")


async def record_to(target: Target, path: Path, seconds: float, light: str) -> str:
    """Record; one line about what was written. FileExistsError when there is a file."""
    async with open_tagger(target, light=light) as opened:
        n_bytes = await record(opened, path, seconds)
    _stopped(opened)
    return f"wrote {path}: {n_bytes:,} bytes of {opened.name}{_mark(opened)}"
