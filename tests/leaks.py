"""Fails a test that leaves a task, a thread or an open descriptor behind.

Objects of fixtures with a wider scope existed before the test and are not counted. A test that
leaves something on purpose has a mark: ``@pytest.mark.leaks("why")``.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

GRACE_S = 10.0
"""A thread that was asked to end, a child's pipe or a task may need a moment."""
CANCELLED_S = 20.0
"""A cancelled task needs turns of the loop, which a busy machine gives late. It is waited for no
longer than it takes."""
_FDS = Path("/proc/self/fd")


def descriptors() -> dict[int, str]:
    """Open descriptors and their targets; empty where the system does not list them."""
    found = {}
    for name in os.listdir(_FDS) if _FDS.is_dir() else ():
        try:
            found[int(name)] = os.readlink(_FDS / name)
        except OSError:
            continue  # the descriptor of this listing
    return found


def _new_descriptors(before: dict[int, str]) -> list[str]:
    return sorted(
        what
        for number, what in descriptors().items()
        if before.get(number) != what
        and not what.startswith(("/dev/null", "/dev/urandom"))
        and "/site-packages/" not in what  # a package's own cache (matplotlib's fonts)
    )


def _new_threads(before: set[threading.Thread]) -> list[str]:
    return sorted(t.name for t in threading.enumerate() if t not in before and t.is_alive())


@pytest.fixture(autouse=True)
def nothing_is_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """After the test, threads and descriptors are the same as before it."""
    if request.node.get_closest_marker("leaks"):
        yield
        return
    threads, fds = set(threading.enumerate()), descriptors()
    yield
    end = time.monotonic() + GRACE_S
    while (left := _new_threads(threads)) or _new_descriptors(fds):
        gc.collect()
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    assert not left, f"threads left behind: {', '.join(left)}"
    open_ = _new_descriptors(fds)
    assert not open_, f"descriptors left open: {', '.join(open_)}"


@pytest.fixture
async def _no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    cancelled = {t for t in left if t.cancelling()}
    for tasks, seconds in ((cancelled, CANCELLED_S), (left - cancelled, GRACE_S)):
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
    names = sorted(f"{t.get_name()} ({t.get_coro()})" for t in left if not t.done())
    assert not names, f"tasks left behind: {', '.join(names)}"


@pytest.fixture(autouse=True)
def no_task_is_left(request: pytest.FixtureRequest, nothing_is_left_open: None) -> None:
    """The check for tests that are coroutines."""
    wanted = inspect.iscoroutinefunction(getattr(request.node, "obj", None))
    function = getattr(request, "function", None)
    if (wanted or inspect.iscoroutinefunction(function)) and not request.node.get_closest_marker(
        "leaks"
    ):
        request.getfixturevalue("_no_task_is_left")
