"""The leak fixture: a test that leaves something open fails, and the message names it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import asyncio, os, threading, time
import pytest
import leaks
{fixtures}

leaks.GRACE_S = 1.0

def test_thread():
    threading.Thread(target=time.sleep, args=(60,), name="forgotten", daemon=True).start()

def test_descriptor(tmp_path):
    os.open(tmp_path, os.O_RDONLY)

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(60), name="never awaited"))

async def slowly():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(10.5)

async def test_slow_to_cancel():
    task = asyncio.create_task(slowly())
    await asyncio.sleep(0)
    task.cancel()

@pytest.mark.leaks("this one may")
def test_allowed():
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()

async def test_clean(tmp_path):
    (tmp_path / "x").write_text("x")
    await asyncio.to_thread(time.sleep, 0.01)
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()

kept = []
"""


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("test_thread", "threads left behind: forgotten"),
        ("test_descriptor", "descriptors left open: "),
        ("test_task", "tasks left behind: never awaited"),
        ("test_allowed", ""),
        ("test_clean", ""),
        ("test_slow_to_cancel", ""),
    ],
)
def test_what_is_left_behind_is_named(tmp_path: Path, test: str, words: str) -> None:
    fixtures = "from leaks import _no_task_is_left, no_task_is_left, nothing_is_left_open"
    (tmp_path / "test_it.py").write_text(TESTS.format(fixtures=fixtures), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nmarkers = leaks(why): x\n"
        f"pythonpath = {Path(__file__).resolve().parents[1]}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_it.py::{test}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) == (not words), done.stdout
    assert words in done.stdout
