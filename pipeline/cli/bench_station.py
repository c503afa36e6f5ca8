"""``photonlink station``: new, from-scan, check, schema."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.failure import say

app = typer.Typer(
    help="Station files: a new one, one from what is plugged in, a check, a schema for editors.",
    rich_markup_mode=None,
)
NewFile = Annotated[Path, typer.Argument(help="New file.")]


@app.command()
def new(
    file: NewFile,
    drivers: Annotated[
        list[str] | None,
        typer.Argument(help="Drivers ('photonlink drivers'); none: an emulated bench."),
    ] = None,
) -> None:
    """Write a station file: an emulated bench to try, or a frame for these drivers."""
    from photonlink.pipeline.bench import new_station

    name = file.stem
    text = new_station.station_of(name, drivers) if drivers else new_station.emulated_station(name)
    new_station.write_new(file, text)
    print(f"wrote {file}" + (": fill in the addresses" if drivers else ": emulated instruments"))


@app.command("from-scan")
def from_scan(
    file: NewFile,
    root: Annotated[
        Path,
        typer.Option(
            help="Root of another tree with sys/ and dev/.",
            show_default=False,
            exists=True,
            file_okay=False,
        ),
    ] = Path("/"),
) -> None:
    """Write a station file with the instruments that are plugged in. Opens none of them."""
    from photonlink.pipeline.bench import new_station
    from photonlink.pipeline.bench.scan import scan

    text, left = new_station.station_from_scan(file.stem, scan(root))
    new_station.write_new(file, text)
    for why in left:
        print(f"left out: {why}", file=sys.stderr)
    print(f"wrote {file}: {text.count('[instruments.')} instruments")


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Station files.")],
) -> None:
    """Check station files without opening anything: every mistake with its line."""
    from photonlink.hal.errors import StationError
    from photonlink.pipeline.bench.target import load_any_station

    bad = False
    for file in files:
        try:
            station = load_any_station(file)
        except StationError as error:
            say(str(error))
            bad = True
        else:
            print(f"{file}: good: {', '.join(station.instruments) or 'no instruments'}")
    if bad:
        raise typer.Exit(ExitStatus.FAILURE)


@app.command()
def schema(
    node: Annotated[bool, typer.Option("--node", help="Of a node's station file.")] = False,
) -> None:
    """Print the JSON Schema of station files; TOML editors complete and check by it."""
    from photonlink.pipeline.bench.new_station import schema as made

    print(json.dumps(made(node=node), indent=1))
