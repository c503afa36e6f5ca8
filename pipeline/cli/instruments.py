"""``photonlink instruments``: which instruments there are drivers for, and what each can do."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Annotated

import typer

from photonlink.pipeline.cli.options import JsonOption


def instruments(
    driver: Annotated[str | None, typer.Argument(help="One driver: its settings, limits.")] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Import every driver; exit 1 when one is not as it says."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the instruments that a station file may name, or one with all that can be set."""
    from photonlink.hal.pages import reference
    from photonlink.hal.registry import check_driver, load_driver, registry

    found = registry()
    if driver is not None:
        load_driver(driver)  # a wrong name is told with the nearest known one
        print(reference(found.drivers[driver]))
        return
    problems = [str(problem) for problem in found.problems]
    if check:
        for entry in found.drivers.values():
            problems += [f"{entry.id}: {what}" for what in check_driver(entry)]
    if as_json:
        rows = [dataclasses.asdict(entry) for entry in found.drivers.values()]
        print(json.dumps({"instruments": rows, "problems": problems}))
    else:
        for entry in found.drivers.values():
            print(f"{entry.id:24} {entry.title}")
            print(f"{'':24} {', '.join(entry.facets)} over {', '.join(entry.transports)}; ", end="")
            print(f"emulator {entry.emulator}, evidence {entry.evidence}")
        for problem in problems:
            print(f"not usable: {problem}", file=sys.stderr)
    if check and problems:
        raise typer.Exit(1)
