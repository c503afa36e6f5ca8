"""``photonlink align``: find the polarization of a link."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.options import JsonOption
from photonlink.pipeline.cli.terminal import finite


def align(
    stations: Annotated[list[Path], typer.Argument(help="One station file, or both of a bench.")],
    seconds: Annotated[
        float, typer.Option(help="Seconds of clicks at each setting.", min=0.5, callback=finite)
    ] = 3.0,
    as_json: JsonOption = False,
) -> None:
    """Bring the polarization from anywhere to the bench's own floor, in at most ten moves.

    At both ends at the same time. The end whose station has [alignment] turns its controllers; a
    model of them is fitted to the counts. All clicks are disclosed, none becomes key. The node
    starts from what was found, and follows drift from there.
    """
    import asyncio

    from photonlink.pipeline.check.align import AlignOptions, align_stations
    from photonlink.pipeline.node.station import load_node_station

    loaded = [load_node_station(path) for path in stations]

    def tell(text: str) -> None:
        print(text, file=sys.stderr if as_json else sys.stdout, flush=True)

    found = asyncio.run(align_stations(loaded, AlignOptions(seconds), tell))
    told = next((each for each in found if each.record is not None), found[0])
    if as_json:
        print(json.dumps(told.as_dict()), flush=True)
        return
    print(f"aligned in {told.moves} moves: QBER {told.qber:.2%}", end="")
    if told.record is not None:
        emulated = " EMULATED" if told.record.emulated else ""
        print(f", the bench's own is {told.record.floor:.2%}{emulated}")
        for station in loaded:
            if station.alignment is not None:
                print(f"wrote {station.alignment_path}")
    else:
        print(" (the other end has turned)")
