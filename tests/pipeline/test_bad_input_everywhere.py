"""Every command that takes a file, with every kind of bad file: one sentence and an exit status.

Each row of COMMANDS is one argument of one command; KINDS lists the files passed to it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.demo.files import write_demo_files

RUNNER = Path(__file__).with_name("command_runner.py")
FILE = "@"  # replaced by the path of the bad file
SECONDS = 60.0
HOSTILE = b"no\xff \x1b[31mname"  # bytes that are not UTF-8, and an escape sequence

STATION = (
    "identify @", "get @", "monitor @ --duration 0.2", "set @ a=1", "count @ --duration 0.2",
    "histogram @ 1 2 --duration 0.2", "record @ out.bin --duration 0.2",
    "light @ --reason test --duration 1", "safe @", "check @ --seconds 1",
    "check alice.toml @ --seconds 1", "node @ --duration 1", "node @ --sim --duration 1",
    "psk replace @ link.psk", "key list @", "key take @ 1 out.key", "key check @", "key anchor @",
    "key migrate @", "key restart @", "station check @", "snapshot take @",
)  # fmt: skip
OTHERS = (
    "psk show @", "psk replace alice.toml @", "snapshot diff @ @", "snapshot restore @ alice.toml",
    "analyze @", "analyze @ --json", "replay @", "replay --alice @ --bob @",
    "keyrate @ --points 2", "plan @", "claim --vectors @ --runs 100",
    "watch --history :memory: --passwords @", "history --history @",
    "watch --history :memory: --broker mqtts://127.0.0.1:1 --ca @",
    "watch --history :memory: --certificate @ --key @", "top --plain --password-file @",
    "watch --history :memory: --password-file @",
)  # fmt: skip
STARTED = ("serve-wire @", "compare-wire @ toptica-dlc-pro")  # separate programs, slower


def _write(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


KINDS: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "socket": _socket,
    "circle": lambda path: path.symlink_to(path),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "empty": _write(b""),
    "mark": _write(b"\xef\xbb\xbf"),
    "utf-16": _write("schema = 2\n".encode("utf-16")),
    "latin-1": _write(b"# caf\xe9\n"),
    "zeros": _write(bytes(4000)),
    "noise": _write(bytes((i * i * 193 + i // 7) % 251 for i in range(4000))),
    "list": _write(b"[]"),
    "table": _write(b"{}"),
    "deep": _write(b"[" * 100_000),
}
RIGHT = {("history --history @", "empty")}  # an empty file is an empty database


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("b")
    write_demo_files(folder, 1883, 7101, seed=None, block_bits=None)
    return folder


@pytest.fixture(scope="module")
def ask(place: Path) -> Iterator[Callable[[list[str]], dict[str, Any]]]:
    """Run one command in the folder of a demo."""
    program = subprocess.Popen(
        [sys.executable, str(RUNNER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdin is not None
    assert program.stdout is not None
    to, back = program.stdin, program.stdout

    def run(arguments: list[str]) -> dict[str, Any]:
        job = {"arguments": arguments, "folder": str(place), "seconds": SECONDS}
        to.write(json.dumps(job) + "\n")
        to.flush()
        answer: dict[str, Any] = json.loads(back.readline())
        return answer

    try:
        yield run
    finally:
        to.close()
        program.wait(60)
        back.close()


def _check(done: dict[str, Any], what: str) -> None:
    assert done["status"] in (ExitStatus.FAILURE, ExitStatus.USAGE), (what, done)
    said = done["err"]
    assert said.strip(), what
    for word in ("Traceback", "Errno", "pydantic", "fault of photonlink", "\x1b", "object at 0x"):
        assert word not in said + done["out"], (what, done)
    assert len(said.splitlines()) <= 12, (what, said)


@pytest.mark.row("bad input of any kind to any command")
@pytest.mark.parametrize("command", [*STATION, *OTHERS])
def test_every_kind_of_bad_file_is_one_sentence(
    command: str, place: Path, ask: Callable[[list[str]], dict[str, Any]], tmp_path: Path
) -> None:
    for kind, make in KINDS.items():
        if (command, kind) in RIGHT:
            continue
        path = tmp_path / f"{kind}.x"
        make(path)
        done = ask([str(path) if word == FILE else word for word in command.split()])
        what = f"{command}: {kind}"
        _check(done, what)
        assert f"{kind}.x" in done["err"], (what, done["err"])


@pytest.mark.parametrize("command", [*STATION, *OTHERS])
def test_a_name_that_no_terminal_should_see_is_spelled_out(
    command: str, ask: Callable[[list[str]], dict[str, Any]], tmp_path: Path
) -> None:
    path = f"{tmp_path}/" + HOSTILE.decode("utf-8", "surrogateescape")
    _check(ask([path if word == FILE else word for word in command.split()]), command)


@pytest.mark.parametrize(
    "command",
    ["keyrate gys2004 --points 2 --csv @", "keyrate gys2004 --points 2 --png @", "psk new @",
     "key new-store-key @", "station new @", "station from-scan @", "key take alice.toml 1 @"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["folder", "circle", "full", "below a file"])
def test_what_cannot_be_written_is_named(
    command: str, kind: str, ask: Callable[[list[str]], dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    if kind == "below a file":
        path.write_text("")
        path = path / "y"
    elif kind == "full":
        path.symlink_to("/dev/full")
    else:
        KINDS[kind](path)
    done = ask([str(path) if word == FILE else word for word in command.split()])
    _check(done, f"{command}: {kind}")


@pytest.mark.parametrize("command", STARTED)
@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "latin-1", "deep"])
def test_programs_of_the_emulators_refuse_alike(
    command: str, kind: str, ask: Callable[[list[str]], dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / f"{kind}.x"
    KINDS[kind](path)
    done = ask([str(path) if word == FILE else word for word in command.split()])
    _check(done, f"{command}: {kind}")
    assert f"{kind}.x" in done["err"]
