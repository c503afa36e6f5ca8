"""The commands of the bench, as a user types them, against an emulated bench."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from photonlink.hal.errors import BenchError, LimitError, LinkBusy, PhotonlinkError, StationError
from photonlink.pipeline.bench.safe import make_safe
from photonlink.pipeline.bench.target import parse_target, with_sim
from photonlink.pipeline.cli.main import app
from photonlink.pipeline.keys.locking import InUseError

RUN = CliRunner()
PHOTONLINK = (sys.executable, "-m", "photonlink.pipeline.cli")
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The station that ``station new`` writes, with its emulators running."""
    path = tmp_path_factory.mktemp("bench") / "bench.toml"
    assert RUN.invoke(app, ["station", "new", str(path)]).exit_code == 0
    with with_sim(str(path), start=True):
        yield path


def run(*arguments: object) -> str:
    """Standard output of a command that succeeds; a refusal is raised."""
    done = RUN.invoke(app, [str(a) for a in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_new_station_is_good_and_never_overwrites(bench: Path) -> None:
    assert "good: pump, tagger, spd-h" in run("station", "check", bench)
    with pytest.raises(FileExistsError):
        run("station", "new", bench)
    bad = bench.with_name("bad.toml")
    bad.write_text(bench.read_text().replace("backend", "bakend", 1))
    done = RUN.invoke(app, ["station", "check", str(bench), str(bad)])
    assert done.exit_code == 1
    assert "did you mean 'backend'" in done.stderr


def test_every_instrument_says_who_it_is(bench: Path) -> None:
    found = json.loads(run("identify", bench, "--json"))
    assert found["pump"]["model"] == "DLCpro"
    assert "emulated at" in found["pump"]["how"]
    assert found["tagger"]["model"] == "TDC1"


def test_a_driver_at_an_address_needs_no_file(bench: Path) -> None:
    address = parse_target(f"{bench}:pump").entries["pump"].emulator
    assert "DLCpro" in run("identify", f"toptica.dlc_pro@{address}")
    with pytest.raises(BenchError, match="could not be opened") as refused:
        run("identify", f"sfifteen.tdc1@{address}")

    assert refused.value.causes


def test_one_parameter_is_read_with_its_unit(bench: Path) -> None:
    assert run("get", f"{bench}:spd-h", "threshold_v") == "threshold_v = 0.05 V\n"
    assert json.loads(run("get", f"{bench}:pump", "interlock_open", "--json")) == {
        "interlock_open": False
    }
    with pytest.raises(StationError, match="Did you mean 'pump'"):
        run("get", f"{bench}:pmp")
    with pytest.raises(StationError, match="which of pump, tagger"):
        run("get", bench)
    with pytest.raises(LimitError, match="current_set_ma"):
        run("get", f"{bench}:pump", "curent")


def test_a_parameter_is_set_within_its_limits_only(bench: Path) -> None:
    told = run("set", f"{bench}:pump", "current_set_ma=70", "--dry-run")
    assert 'would send b"(param-set! \'laser1:dl:cc:current-set 70.0)\\n"' in told
    before = run("get", f"{bench}:pump", "current_set_ma")
    assert "70.0" not in before, "a dry run sends nothing"
    assert "reads back 71.0" in run("set", f"{bench}:pump", "current_set_ma=71")
    for change, words in (
        ("current_set_ma=1e9", "outside 0…10000"),
        ("current_set_ma=much", "must be a number"),
        ("current_act_ma=3", "can only be read"),
        ("drive_enabled=on", "photonlink light"),
        ("curent=3", "no parameter"),
    ):
        with pytest.raises(LimitError, match=words):
            run("set", f"{bench}:pump", change)
    assert "reads back False" in run("set", f"{bench}:pump", "drive_enabled=off")


def test_readings_are_watched(bench: Path) -> None:
    lines = run("monitor", bench, "temperature_act_c", "--rate", "10", "--duration", "1", "--json")
    pictures = [json.loads(line) for line in lines.splitlines()]
    assert len(pictures) >= 3
    last = pictures[-1]["values"]
    assert set(last) == {"pump", "spd-h", "spd-v", "spd-d", "spd-a"}
    assert last["pump"]["temperature_act_c"] == pytest.approx(25, abs=1)
    with pytest.raises(LimitError, match="nothing to show"):
        run("monitor", bench, "no_such", "--duration", "1")


def test_clicks_are_counted_in_the_light_and_in_the_dark(bench: Path) -> None:
    lit = run("count", bench, "--light", "--duration", "1", "--every", "0.4", "--json")
    rates = json.loads(lit.splitlines()[-1])
    assert all(rates["rates_hz"][str(n)] > 10_000 for n in (1, 2, 3, 4))
    assert rates["provenance"] == "emulated"
    dark = run("count", bench, "--duration", "1", "--every", "0.4")
    assert "EMULATED" in dark
    assert "1: 0 /s" in dark, "without bias there is no click, and nothing was left on"


def test_two_inputs_are_correlated(bench: Path, tmp_path: Path) -> None:
    csv = tmp_path / "h.csv"
    found = json.loads(
        run("histogram", bench, "1", "1", "--bin", "2000", "--light", "--duration", "1",
            "--csv", csv, "--json")
    )  # fmt: skip
    assert found["peak_ps"] == pytest.approx(1000), "each event with itself, in the bin from 0 on"
    assert found["peak_pairs"] == pytest.approx(found["counts"]["1"], rel=0.01)
    assert len(csv.read_text().splitlines()) == 1 + len(found["histogram"])
    with pytest.raises(LimitError, match="no input 9"):
        run("histogram", bench, "1", "9", "--duration", "1")
    with pytest.raises(LimitError, match="bins"):
        run("histogram", bench, "1", "2", "--from", "5", "--to", "-5")


def test_what_is_recorded_is_analysed(bench: Path, tmp_path: Path) -> None:
    file = tmp_path / "tags"
    assert "EMULATED" in run("record", bench, file, "--light", "--duration", "1")
    found = json.loads(run("analyze", file, "--json"))
    assert sum(found["counts"].values()) > 10_000
    assert RUN.invoke(app, ["record", str(bench), str(file)]).exit_code == 2


def test_a_snapshot_is_compared_and_restored(bench: Path, tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    run("set", f"{bench}:pump", "current_set_ma=60", "temperature_set_c=25")
    assert "6 instruments" in run("snapshot", "take", bench, "-o", file)
    assert run("snapshot", "diff", file, file) == ""
    run("set", f"{bench}:pump", "current_set_ma=65")
    done = RUN.invoke(app, ["snapshot", "diff", str(file), str(bench), "--settings"])
    assert done.exit_code == 1
    assert "pump.current_set_ma: 60.0 → 65.0" in done.stdout
    told = run("snapshot", "restore", file, bench, "--dry-run")
    assert "current-set 60.0" in told
    assert "drive_enabled" not in told
    assert "65.0" in run("get", f"{bench}:pump", "current_set_ma")
    run("snapshot", "restore", file, bench)
    assert "60.0" in run("get", f"{bench}:pump", "current_set_ma")
    with pytest.raises(PhotonlinkError, match="no snapshot"):
        run("snapshot", "diff", bench, file)


@contextlib.contextmanager
def light(bench: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """``photonlink light`` in a separate process, with the light on."""
    process = subprocess.Popen(
        [*PHOTONLINK, "light", str(bench), "--reason", "a test", "--duration", "300"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "light is ON: pump, for 300 s: a test" in line
        yield process
    finally:
        process.kill()
        process.communicate()


def emission(bench: Path) -> bool:
    return bool(json.loads(run("get", f"{bench}:pump", "emission", "--json"))["emission"])


@pytest.mark.row("no command to switch everything off")
def test_safe_asks_the_owner_who_is_named_meanwhile(bench: Path, tmp_path: Path) -> None:
    with light(bench, tmp_path) as owner:
        assert emission(bench), "read through the owner"
        assert f"through process {owner.pid}" in run("identify", f"{bench}:pump")
        for refused in (("count", bench), ("set", f"{bench}:pump", "current_set_ma=1")):
            with pytest.raises((LinkBusy, BenchError), match=f"process {owner.pid}"):
                run(*refused)
        assert emission(bench), "whoever is refused switches nothing"
        told = run("safe", bench)
        assert "pump: emission off: off" in told
        assert "everything is off" in told
        assert owner.wait(DEADLINE_S) == 0
    assert not emission(bench)
    assert "no program of ours" in run("safe")


async def test_safe_ends_an_owner_that_stands_still(bench: Path, tmp_path: Path) -> None:
    with light(bench, tmp_path) as owner:
        os.kill(owner.pid, signal.SIGSTOP)
        told: list[str] = []
        report = await make_safe(parse_target(str(bench)).station, told.append, patience_s=0.3)
        assert report.ok, report
        assert any("has not let go" in text for text in told)
        assert [text for text in report.ended if str(owner.pid) in text]
        assert any("emission off" in step.action for step in report.steps)


def test_safe_says_what_it_could_not_reach(bench: Path, tmp_path: Path) -> None:
    station = tmp_path / "gone.toml"
    station.write_text(
        bench.read_text().split("[sim]")[0]
        + '[instruments.lost]\ndriver = "toptica.dlc_pro"\naddress = "tcp://127.0.0.1:1"\n'
    )
    done = RUN.invoke(app, ["safe", str(station)])
    assert done.exit_code == 1
    assert "lost: NOT REACHED" in done.stdout
    assert "NOT everything is known to be off" in done.stdout


def test_a_killed_light_leaves_no_light(bench: Path, tmp_path: Path) -> None:
    for number in (signal.SIGKILL, signal.SIGHUP):
        with light(bench, tmp_path) as owner:
            os.kill(owner.pid, number)
            owner.wait(DEADLINE_S)
            end = time.monotonic() + DEADLINE_S
            while emission(bench):
                assert time.monotonic() < end


def test_a_tagger_that_makes_key_is_refused(bench: Path, tmp_path: Path) -> None:
    from photonlink.pipeline.keys.locking import lock_node

    station = tmp_path / "node.toml"
    state = tmp_path / "state"
    text = bench.read_text().replace("bench-run", str(bench.with_name("bench-run")))
    station.write_text(
        text + '\n[node]\nrole = "alice"\npsk = "k"\nstate_dir = "state"\n'
        '[peer]\nlisten = "127.0.0.1:1"\n[channels]\nH = 1\nV = 2\nD = 3\nA = 4\n'
    )
    with contextlib.ExitStack() as stack:
        lock_node(state, stack)
        for command in (["count"], ["histogram", "1", "2"], ["record", str(tmp_path / "r")]):
            with pytest.raises(InUseError, match="uses this directory"):
                run(command[0], station, *command[1:])


def test_an_editor_checks_a_station_by_its_schema(bench: Path) -> None:
    import tomllib

    import jsonschema

    schema: dict[str, Any] = json.loads(run("station", "schema"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    good = tomllib.loads(bench.read_text())
    validator.validate(good)
    bias: dict[str, Any] = {"bias_v": 400.0}
    for change in ({"driver": "no.such"}, {"adress": "x"}, {"settings": bias}, {"settings": {}}):
        wrong = tomllib.loads(bench.read_text())
        wrong["instruments"]["spd-h"] |= change
        assert list(validator.iter_errors(wrong)), change


def test_version_and_completion_are_there() -> None:
    assert run("--version").startswith("photonlink 0.")
    assert "--install-completion" in run("--help")
