"""Readiness: calibration tasks that are in date and within limits, their graph, their source."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import photonlink
from photonlink.hal.errors import PhotonlinkError, StationError
from photonlink.hal.station import parse_station
from photonlink.pipeline.bench.new_station import emulated_station
from photonlink.pipeline.bench.target import with_sim
from photonlink.pipeline.node.simulated_station import SimulatedStation
from photonlink.pipeline.readiness.done import Done, TasksUnreadable, load_done, save_done
from photonlink.pipeline.readiness.tasks import CalibrationTask, all_tasks, judge, problems

NOW = 1_800_000_000.0
HOUR = 3600.0


def tasks() -> list[CalibrationTask]:
    power = CalibrationTask(name="powers", valid_h=24, require=("pump.power_w > 0.001",))
    levels = CalibrationTask(name="thresholds", valid_h=168, after=("powers",))
    return all_tasks([levels, power], ("calibration",))


def why(done: dict[str, Done], power: float | None = 0.01) -> dict[str, str]:
    found = judge(tasks(), done, {"pump.power_w": power}, NOW)
    return {task.name: task.why for task in found}


GOOD = {
    "powers": Done(NOW - 3 * HOUR),
    "thresholds": Done(NOW - 2 * HOUR),
    "calibration": Done(NOW - HOUR, "Ada", NOW + HOUR),
}


def test_all_in_date_and_in_limits_is_ready() -> None:
    assert not any(why(GOOD).values())
    assert [task.name for task in tasks()].index("powers") < 2


@pytest.mark.parametrize(
    ("change", "power", "task", "told"),
    [
        ({"powers": None}, 0.01, "powers", "never done"),
        ({"powers": Done(NOW - 26 * HOUR)}, 0.01, "powers", "out of date for 2.0 h"),
        ({"powers": Done(NOW - HOUR)}, 0.01, "thresholds", "powers was done after it"),
        ({"powers": None}, 0.01, "thresholds", "waits for powers"),
        ({}, 0.0001, "powers", "not in limits: pump.power_w > 0.001, it reads 0.0001"),
        ({}, None, "powers", "pump.power_w cannot be read"),
        ({"calibration": Done(NOW - HOUR, "Ada", NOW - 1)}, 0.01, "calibration", "out of date"),
        ({"calibration": Done(0, problem="another key")}, 0.01, "calibration", "another key"),
        ({"thresholds": Done(NOW + HOUR)}, 0.01, "thresholds", "in the future"),
    ],
)
def test_what_is_not_ready_is_said(
    change: dict[str, Done | None], power: float | None, task: str, told: str
) -> None:
    done = {k: v for k, v in (GOOD | change).items() if v is not None}
    assert told in why(done, power)[task]


def test_a_graph_that_is_none_is_refused() -> None:
    one = CalibrationTask(name="one", after=("two",))
    two = CalibrationTask(name="two", after=("one",))
    assert "wait for each other" in problems([one, two], ())[0]
    assert "is no task" in problems([CalibrationTask(name="a", after=("b",))], ())[0]
    assert "stands here twice" in problems([CalibrationTask(name="a")] * 2, ())[0]
    assert not problems([CalibrationTask(name="a", after=("calibration",))], ("calibration",))


def test_done_is_kept_and_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    assert load_done(path) == {}
    save_done(path, {"powers": Done(NOW, "Ada")})
    assert load_done(path) == {"powers": Done(NOW, "Ada")}
    for bad in ("{", "[]", '{"done": {"a": {"at_s": NaN, "by": ""}}}', '{"done": 3}', "[" * 9999):
        path.write_text(bad)
        with pytest.raises(TasksUnreadable, match="cannot be read"):
            load_done(path)


TASKS = """
[[task]]
name = "powers"
require = ["pump.temperature_act_c < 40"]

[[task]]
name = "thresholds"
after = ["powers"]
"""


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('[[task]]\nname = "a"\nafter = ["b"]\n', "is no task"),
        ('[[task]]\nname = "a"\nrequire = ["laser.x > 1"]\n', "no such instrument"),
        ('[[task]]\nname = "a"\nrequire = ["pump above 1"]\n', "cannot be read"),
        ('[[task]]\nname = "a"\nvalid_d = 1\n', "unknown key"),
    ],
)
def test_a_station_with_wrong_tasks_is_refused(table: str, told: str) -> None:
    with pytest.raises(StationError, match=told):
        parse_station(emulated_station("bench") + table, SimulatedStation)


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("ready") / "bench.toml"
    path.write_text(emulated_station("bench") + TASKS)
    with with_sim(str(path), start=True):
        yield path


def ready(station: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "photonlink.pipeline.cli", "ready", str(station), "--json", *words],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def test_the_command_says_what_is_not_ready_until_it_is_done(station: Path) -> None:
    status, found = ready(station)
    assert (status, found["ready"]) == (1, False)
    assert found["tasks"]["thresholds"]["why"] == "never done"
    assert ready(station, "--done", "powers", "--operator", "Ada")[0] == 1
    status, found = ready(station, "--done", "thresholds", "--operator", "Ada")
    assert (status, found["ready"]) == (0, True)
    with photonlink.bench(station) as table:
        assert all(task.ok for task in table.readiness())
        table.set("pump", "current_set_ma", 90.0)
    file = station.with_name("bench.tasks.json")
    row = json.loads(file.read_text())["done"]["powers"]
    assert row["by"] == "Ada"
    assert abs(row["at_s"] - time.time()) < 600
    file.write_text(file.read_text().replace("at_s", "at"))
    with pytest.raises(PhotonlinkError, match="cannot be read"):
        load_done(file)
