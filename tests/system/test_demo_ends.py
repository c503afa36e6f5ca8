"""However the demo ends: JSON on request, no node left running, no folder with a key left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest
from running import PHOTONLINK, Running, running

DEADLINE_S = 60.0


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found |= {int(entry.name)} | _descendants(int(entry.name))
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _nodes(demo: Running) -> list[int]:
    found = []
    for pid in _descendants(demo.process.pid):
        with contextlib.suppress(OSError):
            if b"node" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def _with_nodes(demo: Running) -> set[int]:
    """All processes of the demo once both nodes have opened their instruments."""
    deadline = time.monotonic() + DEADLINE_S
    while len(_nodes(demo)) < 2:
        assert demo.process.poll() is None, demo.tail()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.0)
    return _descendants(demo.process.pid)


@pytest.mark.row("kill -9 or HUP of the demo leaves nodes and the key's folder")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP], ids=lambda n: n.name)
def test_a_demo_that_goes_leaves_no_nodes_and_no_key(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running(*PHOTONLINK, "demo", "--duration", "600", "--seed", "6", "--json") as demo:
        programs = _with_nodes(demo)
        assert len(programs) >= 4, "emulators, two nodes, their guards, a broker, a watchdog"
        demo.process.send_signal(number)
        demo.finish()
        if number is signal.SIGHUP:
            assert demo.process.returncode == 130
            assert json.loads(demo.output.strip().splitlines()[-1])["lasers_off"] is True
        deadline = time.monotonic() + DEADLINE_S
        while (left := {p for p in programs if _runs(p)}) or list(tmp_path.glob("photonlink-*")):
            assert time.monotonic() < deadline, (left, list(tmp_path.glob("photonlink-*")))
            time.sleep(0.1)


@pytest.mark.row("demo --json prints no JSON when a node dies")
def test_a_node_that_dies_does_not_take_the_json_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running(*PHOTONLINK, "demo", "--duration", "600", "--seed", "6", "--json") as demo:
        _with_nodes(demo)
        os.kill(_nodes(demo)[0], signal.SIGKILL)
        assert demo.finish() == 1, demo.tail()
        result = json.loads(demo.output.strip().splitlines()[-1])
    assert result["keys_match"] is False
    assert any("ended without an account" in reason for reason in result["aborts"])
    assert b"Traceback" not in demo.errors


def test_a_folder_in_the_way_still_gives_json(tmp_path: Path) -> None:
    with running(*PHOTONLINK, "demo", "--folder", str(tmp_path), "--json") as demo:
        assert demo.finish() == 1
        assert str(tmp_path) in json.loads(demo.output.strip().splitlines()[-1])["aborts"][0]
