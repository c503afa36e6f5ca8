"""Whether the bench is ready: its calibration tasks, from station file, other files and
instruments.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.params import Value
from photonlink.pipeline.bench.reading import reading
from photonlink.pipeline.calibration.files import load
from photonlink.pipeline.calibration.model import CalibrationError
from photonlink.pipeline.keys.locking import InUseError
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.simulated_station import SimulatedStation
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.readiness.done import (
    FILE_NAME,
    load_done,
    of_alignment,
    of_calibration,
    save_done,
)
from photonlink.pipeline.readiness.tasks import (
    ALIGNMENT,
    CALIBRATION,
    Done,
    Standing,
    all_tasks,
    judge,
    wanted_readings,
)

Tell = Callable[[str], None]


def tasks_file(station: SimulatedStation, path: Path) -> Path:
    """Where a station's done tasks are written: with a node's state, or beside the station file."""
    if isinstance(station, NodeStation):
        return station.node.state_dir / FILE_NAME
    return path.with_name(f"{path.stem}.{FILE_NAME}")


async def standing(station: SimulatedStation, path: Path, tell: Tell) -> list[Standing]:
    """The present state of every task. Instruments that a running node holds are read from its
    status.
    """
    tasks = all_tasks(station.task, station.own_tasks)
    done = load_done(tasks_file(station, path))
    if isinstance(station, NodeStation):
        done |= own_tasks(station, tell)
    return judge(tasks, done, await _readings(station, tell), time.time())


def mark_done(station: SimulatedStation, path: Path, name: str, by: str) -> None:
    """Write down that a task was done now. PhotonlinkError for one that the program does itself."""
    known = [task.name for task in station.task if task.name not in (CALIBRATION, ALIGNMENT)]
    if name not in known:
        raise PhotonlinkError(
            f"{name!r} is no task that one marks as done", where=str(path),
            hint=f"Tasks of this station: {', '.join(known) or 'none'}",
        )  # fmt: skip
    file = tasks_file(station, path)
    done = {k: v for k, v in load_done(file).items() if k in known}
    save_done(file, done | {name: Done(time.time(), by)})


def own_tasks(station: NodeStation, tell: Tell) -> dict[str, Done]:
    """The program's own tasks, from files that are authenticated first."""
    try:
        with open_store(station) as store, contextlib.closing(store.psk(station.node.psk)) as psk:
            try:
                found = of_calibration(load(station.calibration_path, psk))
            except CalibrationError as error:
                found = of_calibration(error)
            own = {CALIBRATION: found, ALIGNMENT: of_alignment(station.alignment_path, psk)}
    except InUseError as error:
        tell(f"{error.what}: it tells its own calibration and alignment in its status")
        running = Done(0.0, problem="the node that runs tells it in its status")
        own = {CALIBRATION: running, ALIGNMENT: running}
    return {name: did for name, did in own.items() if did is not None}


async def _readings(station: SimulatedStation, tell: Tell) -> dict[str, Value | None]:
    wanted = wanted_readings(station.task)

    async def one(name: str, parameters: list[str]) -> dict[str, Value | None]:
        try:
            async with reading(name, station.instruments[name]) as reader:
                values = await reader.read(parameters)
        except PhotonlinkError as error:
            tell(f"{name}: {error}")
            return {}
        return {f"{name}.{key}": value for key, value in values.items()}

    found = await asyncio.gather(*(one(name, keys) for name, keys in wanted.items()))
    return {key: value for each in found for key, value in each.items()}
