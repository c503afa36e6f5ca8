"""The hardware suite, run with its documented command against emulators of another process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODELS = {
    "switch": ("thorlabs-osw-e", "thorlabs.osw_e"),
    "laser": ("santec-tsl550", "santec.tsl550"),
}
CHECKS = 8


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """``photonlink emulate MODEL``, one program for each."""
    command = [sys.executable, "-m", "photonlink.firmware_sim", "emulate"]
    programs = {
        name: subprocess.Popen(
            [*command, model, "--json", "--until-stdin-closes"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name, (model, _) in MODELS.items()
    }  # fmt: skip
    found = {}
    for name, program in programs.items():
        assert program.stdout is not None
        found[name] = json.loads(program.stdout.readline())["addresses"]["unit"]
    yield found
    for program in programs.values():
        program.communicate(timeout=20)


def suite(station: Path, *arguments: str) -> tuple[int, str]:
    """``pytest -m hardware``: (exit status, output)."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "hardware", "-p", "no:cacheprovider"]
    more = ["--station", str(station), "--restarts", "2", "--stream-s", "0.2", *arguments]
    done = subprocess.run(
        [*command, *more, "tests/contract"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def station_of(path: Path, addresses: dict[str, str]) -> Path:
    text = 'schema = 2\nname = "mine"\n'
    for name, address in addresses.items():
        text += (
            f'[instruments.{name}]\ndriver = "{MODELS[name][1]}"\naddress = "{address}"\n'
            "settings = { reply_timeout_s = 1.0 }\n"
        )
    path.write_text(text, encoding="utf-8")
    return path


def test_it_passes_for_instruments_that_keep_the_contract(
    addresses: dict[str, str], tmp_path: Path
) -> None:
    status, output = suite(station_of(tmp_path / "my.toml", addresses))
    assert status == 0, output
    assert f"{CHECKS * len(MODELS)} passed" in output


def test_it_fails_for_one_that_is_not_there_and_needs_a_station(
    addresses: dict[str, str], tmp_path: Path
) -> None:
    absent = {"switch": f"serial://{tmp_path}/absent"}
    status, output = suite(station_of(tmp_path / "my.toml", absent), "-k", "who_it_is")
    assert status == 1, output
    assert "no such port" in output
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "hardware", "tests/contract"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "needs --station FILE" in done.stdout + done.stderr
