"""``photonlink ready``: which calibration tasks are in date and in limits."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.options import JsonOption


def ready(
    station: Annotated[Path, typer.Argument(help="Station file.")],
    done: Annotated[
        str | None, typer.Option(help="Write down that this task was done now.", metavar="TASK")
    ] = None,
    operator: Annotated[str, typer.Option(help="With --done: by whom.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Is the bench ready? Its calibration tasks: in date, in limits, or why not. If not: status 1.

    Reads what the tasks require; switches nothing.
    """
    import asyncio

    from photonlink.pipeline.bench import ready as readiness
    from photonlink.pipeline.bench.target import load_any_station
    from photonlink.pipeline.node.simulated_station import with_emulator_addresses

    loaded = with_emulator_addresses(load_any_station(station))
    if done is not None:
        if not operator.strip():
            raise typer.BadParameter("--done needs --operator: who has done it?")
        readiness.mark_done(loaded, station, done, operator.strip())

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    found = asyncio.run(readiness.standing(loaded, station, tell))
    good = all(task.ok for task in found)
    if as_json:
        rows = {t.name: {"ok": t.ok, "why": t.why, "left_s": t.left_s, "how": t.how} for t in found}
        print(json.dumps({"ready": good, "tasks": rows}))
    else:
        for task in found:
            if task.ok:
                at = time.strftime("%F %R", time.localtime(task.done_at_s))
                print(f"{task.name}: good, done {at}, {(task.left_s or 0) / 3600:.1f} h left")
            else:
                print(f"{task.name}: {task.why}. Do: {task.how}")
        print("READY" if good else "NOT READY")
    if not good:
        raise typer.Exit(ExitStatus.FAILURE)
