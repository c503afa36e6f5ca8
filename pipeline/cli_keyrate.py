"""The commands for people who plan links: ``keyrate`` and ``plan``; and ``claim``, the proof."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from photonlink.pipeline.cli_recordings import JsonOption


def keyrate(
    links: Annotated[
        list[Path] | None, typer.Argument(help="Link files or presets; several: one picture.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Published links beside our figures.")
    ] = False,
    presets: Annotated[bool, typer.Option("--presets", help="Names of the presets.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Secret key rate of links against distance or loss, with every finite-size penalty."""
    from photonlink.pipeline.planning.model import preset_names

    if presets:
        print(json.dumps(preset_names()) if as_json else "\n".join(preset_names()))
    elif published:
        _published(as_json)


def _published(as_json: bool) -> None:
    from photonlink.pipeline.claim import published

    rows = published.published_links()
    missed = [row.name for row in rows if row.required and not row.met]
    if as_json:
        print(json.dumps([published.as_json(row) for row in rows]), flush=True)
    else:
        table = Table("link", "published", "ours", "unit", "met")
        for row in rows:
            met = "yes" if row.met else "NO" if row.required else "no (shown only)"
            table.add_row(row.name, f"{row.published}", f"{row.ours:.5g}", row.unit, met)
        Console().print(table)
    if missed:
        raise typer.Exit(1)
