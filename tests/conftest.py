"""Shared by all tests: the vectors, and the shared recordings where they exist."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Verbosity, settings

# helpers of the tests are imported by name, whatever the import mode
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "system")]

import brokers  # noqa: E402
from leaks import _no_task_is_left, no_task_is_left, nothing_is_left_open  # noqa: E402

from photonlink.hal.station import BenchStation, load_station  # noqa: E402
from photonlink.pipeline.node.locked_memory import go_unlocked_if_needed  # noqa: E402

__all__ = ["_no_task_is_left", "no_task_is_left", "nothing_is_left_open"]
os.environ["PHOTONLINK_RUN_DIR"] = _RUN = tempfile.mkdtemp(prefix="photonlink-")
atexit.register(shutil.rmtree, _RUN, ignore_errors=True)
UNLOCKED = go_unlocked_if_needed()
# tests of core files and of memory need a process that may be inspected
os.environ.setdefault("PHOTONLINK_DEBUGGER", "allowed")

# The test command must not fail by chance or on a slow machine: property tests run from fixed
# examples. `.ci/explore` draws new ones and prints a failing example, to be added to the test.
settings.register_profile(
    "fixed", derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
settings.register_profile(
    "explore", deadline=None, print_blob=True, suppress_health_check=list(HealthCheck),
    verbosity=Verbosity.normal,
)  # fmt: skip
settings.load_profile(os.environ.get("PHOTONLINK_HYPOTHESIS", "fixed"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """``-m hardware``: the contract against real instruments (``tests/contract``)."""
    group = parser.getgroup("hardware", "the contract of instruments, against a station")
    group.addoption("--station", type=Path, help="the station file whose instruments are tested")
    group.addoption("--stream-s", type=float, default=10.0, help="how long a tagger streams")
    group.addoption("--restarts", type=int, default=10, help="how often each is opened again")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test of the hardware suite for each instrument of the station."""
    if "on_station" in metafunc.fixturenames:
        file = metafunc.config.getoption("station")
        names = list(load_station(file, BenchStation).instruments) if file else []
        metafunc.parametrize("on_station", names or ["no station"])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Set the order of the tests, and for ``.ci/explore`` the number of examples."""
    _only_with_a_station(config, items)
    items.sort(key=lambda item: "system" not in item.path.parts)  # long tests first, in parallel
    _more_examples(items, int(os.environ.get("PHOTONLINK_EXAMPLES", "1")))


def _more_examples(items: list[pytest.Item], factor: int) -> None:
    """Multiply the number of examples of each property test. Cases of one parametrized test are one
    function with one set of settings, so they share the additional examples."""
    tests = Counter(getattr(item, "obj", None) for item in items)
    for test, cases in tests.items():
        asked = getattr(test, "_hypothesis_internal_use_settings", None)
        if factor > 1 and asked is not None:
            times = max(1.0, factor / cases)
            more = settings(
                asked, max_examples=round(times * asked.max_examples), derandomize=False
            )
            test._hypothesis_internal_use_settings = more  # type: ignore[union-attr]


def _only_with_a_station(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect hardware tests without a station; ``-m hardware`` without one is an error."""
    if config.getoption("station"):
        return
    if "hardware" in config.getoption("markexpr") and "not hardware" not in config.getoption(
        "markexpr"
    ):
        raise pytest.UsageError("-m hardware needs --station FILE: which instruments?")
    hardware = [item for item in items if item.get_closest_marker("hardware")]
    items[:] = [item for item in items if item not in hardware]
    config.hook.pytest_deselected(items=hardware)


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
