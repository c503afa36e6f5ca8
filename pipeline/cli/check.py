"""``photonlink check``: look at a bench, or calibrate it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.options import JsonOption
from photonlink.pipeline.cli.terminal import console, finite


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
        from photonlink.pipeline.check.calibrate import (
            CalibrateOptions,
            calibrate_stations,
            describe,
        )

        if not operator.strip():
            raise typer.BadParameter("--calibrate needs --operator: who vouches for the light?")
        options = CalibrateOptions(operator.strip(), seconds, valid_hours, detector)
        found = asyncio.run(calibrate_stations(loaded, options))
        if as_json:
            written = {s.node.role: str(s.calibration_path) for s in loaded}
            print(
                json.dumps(found[0].as_dict() | {"digest": found[0].digest, "files": written}),
                flush=True,
            )
        else:
            print("\n".join(describe(found[0], time.time())))
            for station in loaded:
                print(f"wrote {station.calibration_path}")
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
