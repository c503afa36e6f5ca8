"""``photonlink pc-rpc``: the bench for ARTIQ, and for any client of sipyco."""

from pathlib import Path
from typing import Annotated

import typer


def pc_rpc(
    station: Annotated[Path, typer.Argument(help="Station file.")],
    allow: Annotated[
        list[str],
        typer.Option(
            help="INSTRUMENT may be read; INSTRUMENT.PARAMETER may be set too. Repeat it.",
            metavar="NAME",
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0: a free one.", min=0, max=65535)] = 3249,
    sim: Annotated[bool, typer.Option("--sim", help="Start the emulators of [sim] first.")] = False,
) -> None:
    """Serve instruments of a station as targets of a sipyco server (ARTIQ's controllers).

    Only what --allow names is there; light, bias and outputs can never be switched on from there.
    There is no authentication: keep it on the loopback address. Ctrl-C or another signal ends
    it, and makes the bench safe.
    """
    import asyncio

    from photonlink.pipeline.agents.pc_rpc import serve

    asyncio.run(
        serve(station, allow, host, port, sim=sim, told=lambda text: print(text, flush=True))
    )
