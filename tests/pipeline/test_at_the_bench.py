"""docs/at_the_bench.md: every command runs and prints what the page shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from photonlink.pipeline.bench.new_station import emulated_station
from photonlink.pipeline.bench.target import with_sim

PAGE = Path(__file__).resolve().parents[2] / "docs" / "at_the_bench.md"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def commands() -> list[tuple[str, list[str]]]:
    """(command, the lines it prints), in the order of the page."""
    found: list[tuple[str, list[str]]] = []
    for block in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def normal(line: str) -> str:
    """A line without the parts that differ from run to run: numbers, serial numbers, bars."""
    line = re.sub(r"[▁▂▃▄▅▆▇█]+", "~", line)
    line = re.sub(r"[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?", "#", line)
    return line.rstrip()


def agree(shown: list[str], printed: list[str]) -> bool:
    """Whether the output matches the page; ``...`` stands for any number of lines."""
    pattern = "".join(
        "(?:.*\n)*" if line == "..." else re.escape(normal(line)) + "\n" for line in shown
    )
    return re.fullmatch(pattern, "".join(normal(line) + "\n" for line in printed)) is not None


def test_every_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    station = tmp_path / "running.toml"
    station.write_text(emulated_station("bench"))
    with with_sim(str(station), start=True):
        for command, shown in commands():
            words = shlex.split(command, comments=False)
            assert words[0] == "photonlink"
            done = subprocess.run(
                [sys.executable, "-m", "photonlink.pipeline.cli", *words[1:]],
                cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=120, check=False, env=os.environ | {"PYTHONIOENCODING": "utf-8"},
            )  # fmt: skip
            printed = done.stdout.splitlines()
            assert agree(shown, printed), f"$ {command}\n{done.stdout}"


@pytest.mark.parametrize(
    ("shown", "printed", "good"),
    [
        (["a 1 mA"], ["a 2.5 mA"], True),
        (["a 1 mA"], ["a 1 mA", "more"], False),
        (["a 1 mA", "..."], ["a 1 mA", "more"], True),
        (["all is off"], ["NOT all is off"], False),
    ],
)
def test_the_comparison_fires(shown: list[str], printed: list[str], good: bool) -> None:
    assert agree(shown, printed) is good
