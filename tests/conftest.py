"""Shared by all tests: the vectors, and the shared recordings where they are there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# helpers of the tests are imported by name, whatever the import mode
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "system")]

import brokers  # noqa: E402
from leaks import _no_task_is_left, no_task_is_left, nothing_is_left_open  # noqa: E402

from photonlink.pipeline.node.locked_memory import go_unlocked_if_needed  # noqa: E402

__all__ = ["_no_task_is_left", "no_task_is_left", "nothing_is_left_open"]
UNLOCKED = go_unlocked_if_needed()
# tests of core files and of memory need a process that may be looked into
os.environ.setdefault("PHOTONLINK_DEBUGGER", "allowed")


def pytest_report_header() -> list[str]:
    return ["secrets are NOT in locked memory here: raise ulimit -l"] if UNLOCKED else []


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real recordings; the test is skipped where a clone has none."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"the real recordings are not here ({folder})")
    return folder


@pytest.fixture(scope="session")
def security_vectors() -> list[dict[str, Any]]:
    """The numeric vectors of key lengths, hashes and tags (``tests/vectors``)."""
    path = Path(__file__).parent / "vectors" / "security_vectors.json"
    vectors: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["vectors"]
    return vectors


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[brokers.Mosquitto]:
    """A running Mosquitto on a free port of loopback."""
    broker = brokers.find_mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()
