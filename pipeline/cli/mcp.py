"""``photonlink mcp``: the bench for agents, reading by default."""

from pathlib import Path
from typing import Annotated

import typer


def mcp(
    station: Annotated[Path, typer.Argument(help="Station file.")],
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="What may be set: INSTRUMENT.PARAMETER, * for any. Repeat it. None: nothing.",
            metavar="PATTERN",
        ),
    ] = None,
    allow_real: Annotated[
        bool, typer.Option("--allow-real", help="It may be set on real instruments too.")
    ] = False,
    audit: Annotated[
        Path | None, typer.Option(help="Audit log; default: STATION.mcp.jsonl beside it.")
    ] = None,
    sim: Annotated[bool, typer.Option("--sim", help="Start the emulators of [sim] first.")] = False,
) -> None:
    """Serve the bench to an agent over the Model Context Protocol, on standard input and output.

    Reading switches nothing. What --allow names can be set, on emulated instruments unless
    --allow-real; all limits are checked before anything is sent; light, bias and outputs are never
    switched on. Needs the extra: pip install 'photonlink[mcp]'.
    """
    import asyncio

    from photonlink.pipeline.agents.server import serve

    log = audit or station.with_name(f"{station.stem}.mcp.jsonl")
    asyncio.run(serve(station, allow or [], log, real=allow_real, sim=sim))
