"""The synchronous interface, and the examples that use it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from photonlink.hal.errors import LimitError, PhotonlinkError, StationError
from photonlink.hal.interlock import InterlockTripped
from photonlink.pipeline.bench.new_station import emulated_station
from photonlink.pipeline.bench.notebook import NotebookBench, bench
from photonlink.pipeline.bench.target import with_sim
from photonlink.pipeline.node.emitting import LightWentOff

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("notebook") / "bench.toml"
    path.write_text(emulated_station("bench"))
    with with_sim(str(path), start=True):
        yield path


@pytest.fixture
def table(station: Path) -> Iterator[NotebookBench]:
    with bench(station) as opened:
        yield opened


def test_it_reads_sets_and_measures(table: NotebookBench) -> None:
    assert table.names[:2] == ("pump", "tagger")
    assert table.emulated
    table.set("pump", "current_set_ma", 110.0)
    assert table.get("pump", "current_set_ma") == 110.0
    with table.light("a test", 60):
        assert table.get("pump", "emission") is True
        assert all(rate > 1000 for rate in table.rates(0.5).values())
        times, inputs = table.tags(0.3)
        assert len(times) == len(inputs) > 1000
        delay_ps, pairs = table.correlate(1, 1, 0.3, bin_ps=2000)
        assert delay_ps[pairs.argmax()] == 1000.0
    assert table.get("pump", "emission") is False
    assert set(table.snapshot()) == set(table.names)


def test_what_is_wrong_is_raised_here(station: Path, table: NotebookBench) -> None:
    with pytest.raises(LimitError, match="past the light guard"):
        table.set("pump", "drive_enabled", True)
    with pytest.raises(LimitError, match="no input 9"):
        table.correlate(1, 9, 0.3)
    with pytest.raises(PhotonlinkError, match="no instrument 'pmp'"):
        table.get("pmp", "emission")
    with pytest.raises(PhotonlinkError, match="has it open"):
        bench(station)
    with pytest.raises(StationError):
        bench(station.with_name("none.toml"))
    table.close()
    with pytest.raises(PhotonlinkError, match="closed"):
        table.rates()


@pytest.mark.parametrize(
    ("words", "said"), [(("bench.py",), "light is off: True"), (("g2.py", "1", "2"), "-19.0 ns")]
)
def test_examples_run(station: Path, words: tuple[str, ...], said: str) -> None:
    script, *rest = words
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), str(station), *rest],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def wait_for_dark(table: NotebookBench) -> None:
    end = time.monotonic() + 30
    while table.get("pump", "emission"):
        assert time.monotonic() < end, "the light stays on"
        time.sleep(0.1)


def test_a_measurement_in_the_dark_is_no_measurement(table: NotebookBench) -> None:
    def measure() -> None:
        with table.light("a test", 0.5):
            wait_for_dark(table)
            time.sleep(1.0)
            table.rates(0.2)
            raise AssertionError("rates of a dark bench were given")

    with pytest.raises(LightWentOff, match="is over"):
        measure()


def test_an_interlock_ends_the_light_and_keeps_it_off(station: Path, tmp_path: Path) -> None:
    rule = '[[interlock]]\nwhen = "pump.current_act_ma > 50"\n'
    guarded = tmp_path / "guarded.toml"
    text = station.read_text().replace("bench-run", str(station.with_name("bench-run")))
    guarded.write_text(text + rule.replace(">", "above"))
    with pytest.raises(StationError, match="write instrument"):
        bench(guarded)
    guarded.write_text(text + rule)
    with bench(guarded) as table:
        with (
            pytest.raises(LightWentOff, match="interlock_tripped"),
            table.light("a test", 60),
        ):
            wait_for_dark(table)
        with pytest.raises(InterlockTripped, match="keeps the light off"), table.light("again", 9):
            pass
        assert table.get("pump", "emission") is False
