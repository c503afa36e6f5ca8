"""Reads and writes when each task was done: a JSON file of the station, and the files of the
program's own tasks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.calibration.alignment import AlignmentUnreadable, read
from photonlink.pipeline.calibration.files import Prover, write
from photonlink.pipeline.calibration.model import Calibration, CalibrationError
from photonlink.pipeline.readiness.tasks import Done

MAX_BYTES = 1 << 16
FILE_NAME = "tasks.json"


class TasksUnreadable(PhotonlinkError):
    """The file of done tasks is damaged."""


def load_done(path: Path) -> dict[str, Done]:
    """Tasks by name; none where there is no file. TasksUnreadable when it is damaged."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_BYTES))
        done = {str(k): Done(float(v["at_s"]), str(v["by"])) for k, v in found["done"].items()}
        if not all(math.isfinite(each.at_s) for each in done.values()):
            raise ValueError("a time is not finite")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TasksUnreadable(
            "the file of done tasks cannot be read", where=str(path),
            seen=f"{type(error).__name__}: {error}"[:200],
            hint="Delete it; every task then counts as never done",
        ) from None  # fmt: skip
    return done


def save_done(path: Path, done: Mapping[str, Done]) -> None:
    """Replace the file as a whole."""
    rows = {name: {"at_s": each.at_s, "by": each.by} for name, each in sorted(done.items())}
    write(path, json.dumps({"done": rows}, indent=1).encode() + b"\n")


def of_calibration(load: Calibration | CalibrationError) -> Done | None:
    """The link's calibration as a task, or why it is not valid."""
    if isinstance(load, CalibrationError):
        return None if load.code == "calibration_missing" else Done(0.0, problem=load.what)
    operators = {load.alice.operator, load.bob.operator}
    return Done(load.measured_at_s, " and ".join(sorted(operators)), load.valid_until_s)


def of_alignment(path: Path, psk: Prover) -> Done | None:
    """The alignment as a task; None where there is none."""
    if not path.exists():
        return None
    try:
        found = read(path, psk)
    except AlignmentUnreadable as error:
        return Done(0.0, problem=error.what)
    return Done(found.measured_at_s, "photonlink align", found.valid_until_s)
