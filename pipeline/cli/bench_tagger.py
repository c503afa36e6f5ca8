"""The commands for a time tagger that makes no key: ``count``, ``histogram``, ``record``."""

from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.bench import TargetArgument
from photonlink.pipeline.cli.options import JsonOption
from photonlink.pipeline.cli.terminal import finite

LightOption = Annotated[
    bool,
    typer.Option("--light", help="Open the whole bench: bias on, lasers on under a lease."),
]
SimOption = Annotated[
    bool, typer.Option("--sim", help="Start the emulators of the station's [sim] first.")
]
Duration = Annotated[
    float | None, typer.Option(help="Seconds; none: until Ctrl-C.", min=0.1, callback=finite)
]


def add(app: typer.Typer) -> None:
    """Give ``app`` these commands."""
    for command in (count, histogram, record):
        app.command()(command)


def count(
    target: TargetArgument,
    duration: Duration = None,
    every: Annotated[float, typer.Option(help="Seconds per reading.", min=0.1, max=60)] = 0.5,
    light: LightOption = False,
    sim: SimOption = False,
    as_json: JsonOption = False,
) -> None:
    """Live rates per input of a time tagger. Refused while it makes key."""
    import asyncio

    from photonlink.pipeline.bench.show_tagger import ShowOptions, show_rates
    from photonlink.pipeline.bench.target import parse_target, with_sim

    with with_sim(target, start=sim):
        options = ShowOptions(duration, every, "photonlink count" if light else "", as_json)
        asyncio.run(show_rates(parse_target(target), options))


def histogram(
    target: TargetArgument,
    a: Annotated[int, typer.Argument(help="Start input.")],
    b: Annotated[int, typer.Argument(help="Stop input.")],
    low: Annotated[float, typer.Option("--from", help="Shortest delay, ns.")] = -20.0,
    high: Annotated[float, typer.Option("--to", help="Longest delay, ns.")] = 20.0,
    bin_ps: Annotated[int, typer.Option("--bin", help="Bin, ps.", min=1)] = 500,
    duration: Duration = None,
    every: Annotated[float, typer.Option(help="Seconds per picture.", min=0.1, max=60)] = 0.5,
    light: LightOption = False,
    sim: SimOption = False,
    csv: Annotated[Path | None, typer.Option(help="At the end, write it here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Live correlation of two inputs: delays stop minus start. Refused while it makes key."""
    import asyncio

    from photonlink.pipeline.bench.show_tagger import ShowOptions, show_histogram
    from photonlink.pipeline.bench.tagging import LiveHistogram
    from photonlink.pipeline.bench.target import parse_target, with_sim

    found = LiveHistogram(a, b, round(low * 1e3), round(high * 1e3), bin_ps)
    with with_sim(target, start=sim):
        options = ShowOptions(duration, every, "photonlink histogram" if light else "", as_json)
        asyncio.run(show_histogram(parse_target(target), found, options, csv))


def record(
    target: TargetArgument,
    file: Annotated[Path, typer.Argument(help="New file; 'photonlink analyze' reads it.")],
    duration: Annotated[
        float, typer.Option(help="Seconds.", min=0.1, max=86_400, callback=finite)
    ] = 10.0,
    light: LightOption = False,
    sim: SimOption = False,
) -> None:
    """Record a time tagger's events into a file. Refused while it makes key."""
    import asyncio

    from photonlink.pipeline.bench.show_tagger import record_to
    from photonlink.pipeline.bench.target import parse_target, with_sim

    if file.exists():
        raise typer.BadParameter(f"{file} exists already: name a new file")
    with with_sim(target, start=sim):
        reason = "photonlink record" if light else ""
        print(asyncio.run(record_to(parse_target(target), file, duration, reason)))
