"""A bench that may name its emulators: what the commands of a bench and a node's station share.

Apart from the node's station: reading a bench must not load what makes key.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self, TypeVar

from pydantic import model_validator

from photonlink.hal.errors import StationError
from photonlink.hal.station import EMULATOR_NAME, BenchStation
from photonlink.hal.toml_file import TableModel
from photonlink.pipeline.readiness.tasks import CalibrationTask
from photonlink.pipeline.readiness.tasks import problems as task_problems


class SimSection(TableModel):
    """Where ``node --sim`` starts emulators, and where ``emulator = "sim:NAME"`` finds them.

    bench: the emulators' bench file; none: their default bench. run_dir: their run folder,
    relative to the station file.
    """

    run_dir: Path
    bench: Path | None = None
    seed: int | None = None


class SimulatedStation(BenchStation):
    """A bench that may name its emulators, ``emulator = "sim:NAME"``."""

    sim: SimSection | None = None
    task: tuple[CalibrationTask, ...] = ()

    @property
    def own_tasks(self) -> tuple[str, ...]:
        """Calibration tasks that the program itself carries out."""
        return ()

    @model_validator(mode="after")
    def _tasks_are_a_graph(self) -> Self:
        found = task_problems(self.task, self.own_tasks)
        for task in self.task:
            for rule in task.rules:
                if rule.parts[0] not in self.instruments:
                    found.append(
                        f"task {task.name!r} asks {rule.when!r}: there is no such instrument; "
                        f"known: {', '.join(self.instruments)}"
                    )
        if found:
            raise ValueError("; ".join(found))
        return self


S = TypeVar("S", bound=SimulatedStation)


def with_sim_paths(station: S, folder: Path) -> S:
    """The paths of [sim], relative to the folder of the file."""
    if station.sim is None:
        return station
    bench = station.sim.bench
    paths = {
        "run_dir": folder / station.sim.run_dir,
        "bench": folder / bench if bench else None,
    }
    return station.model_copy(update={"sim": station.sim.model_copy(update=paths)})


def with_emulator_addresses(station: S) -> S:
    """Replace every ``emulator = "sim:NAME"`` by the address the emulator program wrote down.

    An emulator that is not running keeps its name, which ``auto`` then reports.
    """
    if station.sim is None:
        wanted = [n for n, i in station.instruments.items() if _sim_name(i.emulator)]
        if wanted:
            raise StationError(
                f'emulator = "sim:..." of {", ".join(wanted)} needs a [sim] table with run_dir',
                where=station.name,
            )
        return station
    found = read_addresses(station.sim.run_dir)
    instruments = {
        name: (
            entry.model_copy(update={"emulator": found.get(sim, entry.emulator)})
            if (sim := _sim_name(entry.emulator))
            else entry
        )
        for name, entry in station.instruments.items()
    }
    return station.model_copy(update={"instruments": instruments})


def read_addresses(run_dir: Path) -> dict[str, str]:
    """Addresses of running emulators by name; empty when there are none."""
    try:
        written = json.loads((run_dir / "addresses.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, json.JSONDecodeError) as error:
        raise StationError(
            "the emulators' addresses cannot be read", where=str(run_dir), seen=str(error)
        ) from error
    addresses: dict[str, str] = written.get("addresses", {})
    return addresses


def _sim_name(emulator: str | None) -> str | None:
    if emulator is not None and emulator.startswith(EMULATOR_NAME):
        return emulator.removeprefix(EMULATOR_NAME)
    return None
