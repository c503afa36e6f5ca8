"""``photonlink history`` by node, by link, as a table and as CSV; unknown values are marked."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner
from watch import figures as f

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.cli.main import app
from photonlink.pipeline.watch.history import History


@pytest.fixture
def file(tmp_path: Path) -> str:
    path, now = tmp_path / "h.sqlite", time.time()
    store = History(path)
    for role in f.ROLES:
        for i in range(10):
            t = now - 60 + i
            store.state(
                "lab", f"l0-{role}", "l0", t, f.state("lab", "l0", role, t, skr_bps=100 * i)
            )
    store.close()
    return str(path)


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["history", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_without_a_station_all_are_listed(file: str) -> None:
    assert said("--history", file).splitlines() == ["lab/l0-alice\tlink l0", "lab/l0-bob\tlink l0"]


@pytest.mark.parametrize("station", ["lab/l0-alice", "l0-alice", "l0"])
def test_a_station_is_named_in_three_ways(file: str, station: str) -> None:
    shown = said(station, "--history", file, "--since", "90m")
    assert "lab/l0-alice, 90m" in shown
    assert "900" in shown


def test_csv_has_every_point(file: str) -> None:
    shown = said("l0", "--csv", "--since", "90m", "--figures", "skr_bps", "--history", file)
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [float(r["skr_bps"]) for r in rows] == [100.0 * i for i in range(10)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["nowhere"], "is not in this history"), (["l0", "--since", "soon"], "is no time"),
     (["l0", "--figures", "pressure"], "no figure is called")],
)  # fmt: skip
def test_what_it_does_not_know_it_says(file: str, arguments: list[str], says: str) -> None:
    with pytest.raises(PhotonlinkError, match=says):
        said(*arguments, "--history", file)


def test_a_history_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotonlinkError, match="no history file"):
        said("--history", str(tmp_path / "none"))
