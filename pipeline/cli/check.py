"""``photonlink check``: look at a bench, or calibrate it."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.options import JsonOption
from photonlink.pipeline.cli.terminal import console, finite

if TYPE_CHECKING:
    from photonlink.pipeline.check.calibrate import CalibrateOptions
    from photonlink.pipeline.node.station import NodeStation


def check(
    stations: Annotated[list[Path], typer.Argument(help="One station file, or both of a bench.")],
    seconds: Annotated[
        float, typer.Option(help="Seconds of clicks to look at.", min=0.5, callback=finite)
    ] = 5.0,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure the detectors and write the calibration.")
    ] = False,
    operator: Annotated[
        str, typer.Option(help="With --calibrate: who vouches for the light.")
    ] = "",
    valid_hours: Annotated[
        float,
        typer.Option(
            help="With --calibrate: for how long it holds.", min=0.01, max=8784, callback=finite
        ),
    ] = 24.0,
    detector: Annotated[
        str | None, typer.Option(help="With --calibrate: only this one was replaced, e.g. bob.V.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a bench before key is made: rates, dark counts, delays, visibility; with hints.

    With --calibrate, at both ends at the same time: measure each detector's delay, efficiency,
    jitter and dead time, and write the calibration without which no key is made.
    """
    import asyncio

    from photonlink.pipeline.node.station import load_node_station

    loaded = [load_node_station(s) for s in stations]
    if calibrate:
        if not operator.strip():
            raise typer.BadParameter("--calibrate needs --operator: who vouches for the light?")
        from photonlink.pipeline.check.calibrate import CalibrateOptions

        options = CalibrateOptions(operator.strip(), seconds, valid_hours, detector)
        _calibrate(loaded, options, as_json=as_json)
        return
    if operator or detector:
        raise typer.BadParameter("--operator and --detector belong to --calibrate")
    from photonlink.pipeline.check.verdicts import check_stations, print_report

    report = asyncio.run(check_stations(loaded, seconds))
    if as_json:
        print(json.dumps(report.as_dict()), flush=True)
    else:
        print_report(report, console())
    if not report.ok:
        raise typer.Exit(ExitStatus.FAILURE)


def _calibrate(
    stations: "list[NodeStation]", options: "CalibrateOptions", *, as_json: bool
) -> None:
    """Calibrate, and say what was written where."""
    import asyncio

    from photonlink.pipeline.check.calibrate import calibrate_stations, describe

    found = asyncio.run(calibrate_stations(stations, options))[0]
    if as_json:
        files = {s.node.role: str(s.calibration_path) for s in stations}
        print(json.dumps(found.as_dict() | {"digest": found.digest, "files": files}), flush=True)
        return
    print("\n".join(describe(found, time.time())))
    for station in stations:
        print(f"wrote {station.calibration_path}")
