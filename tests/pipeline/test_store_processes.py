"""Real processes on one store: sealed by a passphrase or a systemd credential; a second start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shells import write_files

CLI = (sys.executable, "-m", "photonlink.pipeline.cli")
HOLD = """
import sys
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.station import load_node_station
from pathlib import Path
with open_store(load_node_station(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def run(*words: str, words_in: str | None = None, **environment: str) -> tuple[int, str, str]:
    """Status, output and errors of a command; ``words_in``: a passphrase, passed by descriptor."""
    read_end, write_end = os.pipe()
    if words_in is not None:
        os.write(write_end, words_in.encode() + b"\n")
        environment["PHOTONLINK_PASSPHRASE_FD"] = str(read_end)
    os.close(write_end)
    try:
        done = subprocess.run(
            [*CLI, *words], env=os.environ | environment, pass_fds=(read_end,),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        os.close(read_end)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def station(tmp_path: Path) -> Path:
    return write_files(tmp_path)[0]["alice"]


def without_key_file(station: Path, instead: str = "") -> None:
    lines = [
        instead if line.startswith("store_key") else line
        for line in station.read_text().splitlines()
    ]
    station.write_text("\n".join(lines))
    (station.parent / "alice-store.key").unlink()


def test_m8_a_store_is_sealed_by_a_passphrase(station: Path) -> None:
    """The passphrase opens it in another process; a wrong one and a changed salt are reported."""
    without_key_file(station, "store_passphrase = true")
    psk = station.parent / "link.psk"
    assert run("psk", "show", str(station), words_in="correct horse")[0] == 0
    assert run("key", "list", str(station), words_in="correct horse")[0] == 0
    code, _, errors = run("key", "list", str(station), words_in="battery staple")
    assert code == 1
    assert "another passphrase" in errors
    salt = station.parent / "alice-state" / "salt"
    before = salt.read_bytes()
    for at in (10, len(before) - 1):
        changed = bytearray(before)
        changed[at] ^= 4
        salt.write_bytes(bytes(changed))
        code, _, errors = run("key", "list", str(station), words_in="correct horse")
        assert code == 1, at
        assert "salt" in errors
        assert "correct horse" not in errors
    salt.write_bytes(before)
    code, said, errors = run("key", "check", str(station), words_in="correct horse")
    assert (code, said) == (0, "every record opens\n"), errors
    assert psk.exists()


def test_m8_a_store_is_sealed_by_a_systemd_credential(station: Path) -> None:
    folder = station.parent / "credentials"
    folder.mkdir()
    shutil.copy(station.parent / "alice-store.key", folder / "photonlink-store-key")
    (folder / "photonlink-store-key").chmod(0o400)  # the mode that systemd sets
    assert run("psk", "show", str(station))[0] == 0
    without_key_file(station)
    assert run("key", "check", str(station), CREDENTIALS_DIRECTORY=str(folder))[0] == 0
    code, _, errors = run("key", "check", str(station))
    assert code == 1
    assert "LoadCredentialEncrypted=photonlink-store-key" in errors


@pytest.mark.parametrize("command", [("node",), ("key", "list")])
def test_m12_a_second_process_is_told_who_holds_the_store(
    station: Path, command: tuple[str, ...]
) -> None:
    """No instrument of this station exists: opening one would give a different error."""
    assert run("psk", "show", str(station))[0] == 0
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(station)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin
    assert holder.stdout
    try:
        assert holder.stdout.readline() == b"held\n"
        state = station.parent / "alice-state"
        before = {p: p.read_bytes() for p in state.rglob("*") if p.is_file()}
        code, _, errors = run(*command, str(station))
        assert code == 1
        assert f"process {holder.pid}" in errors
        assert {p: p.read_bytes() for p in state.rglob("*") if p.is_file()} == before
    finally:
        holder.stdin.close()
        holder.wait(20)
        holder.stdout.close()


def test_a_node_whose_store_cannot_be_made_opens_no_instrument_and_says_why(station: Path) -> None:
    (station.parent / "alice-state").write_text("a file is in the way")
    code, _, errors = run("node", str(station), "--json-lines")
    assert code == 1
    assert "alice-state" in errors
    assert "absent-tdc1" not in errors
