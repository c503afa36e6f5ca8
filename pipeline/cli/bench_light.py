"""``light``: light on under a lease. ``safe``: everything off, whichever process owns it."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.options import JsonOption
from photonlink.pipeline.cli.terminal import finite


def add(app: typer.Typer) -> None:
    """Give ``app`` these commands."""
    app.command()(light)
    app.command()(safe)


def light(
    station: Annotated[Path, typer.Argument(help="Station file.")],
    reason: Annotated[str, typer.Option(help="What the light is for; it is shown and logged.")],
    duration: Annotated[
        float, typer.Option(help="Seconds until it goes off.", min=0.1, max=86_400, callback=finite)
    ] = 60.0,
) -> None:
    """Lasers and bias on for a time and a reason, watched; off and read back however it ends."""
    import asyncio

    from photonlink.pipeline.bench.light import light_for
    from photonlink.pipeline.bench.target import parse_target

    if not reason.strip():
        raise typer.BadParameter("--reason: what is the light for?")

    def tell(text: str) -> None:
        print(text, flush=True)

    signal = asyncio.run(light_for(parse_target(str(station)), reason.strip(), duration, tell))
    if signal and signal != "SAFE":
        raise typer.Exit(ExitStatus.INTERRUPTED)


def safe(
    station: Annotated[
        Path | None, typer.Argument(help="Station file; none: all that our programs have open.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Everything off, now: light, what drives it, what lets it pass, bias. With read-back.

    A process that has the instruments is asked to switch off and end; one that stands still is
    ended after 6 s and the instruments are switched off from here. Status 0: all reads back off.
    """
    import asyncio
    import dataclasses

    from photonlink.pipeline.bench.safe import make_safe
    from photonlink.pipeline.bench.target import parse_target

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    bench = parse_target(str(station)).station if station is not None else None
    report = asyncio.run(make_safe(bench, tell))
    if as_json:
        print(json.dumps(dataclasses.asdict(report) | {"ok": report.ok}))
    else:
        for step in report.steps:
            print(f"{step.action}: {step.readback}" if step.ok
                  else f"{step.action}: NOT SAFE: {step.readback}")  # fmt: skip
        for name, why in report.unreached.items():
            print(f"{name}: NOT REACHED: {why}")
        if not report.steps and not report.unreached:
            print("nothing here has light, bias or outputs" if station
                  else "no program of ours has an instrument open")  # fmt: skip
        print(f"{'everything is off' if report.ok else 'NOT everything is known to be off'} "
              f"({report.took_s:.1f} s)")  # fmt: skip
    if not report.ok:
        raise typer.Exit(ExitStatus.FAILURE)
