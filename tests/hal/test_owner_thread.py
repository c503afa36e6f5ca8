"""The one thread of a library: calls that wait for their turn, and one that hangs."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from photonlink.hal.errors import LinkTimeout
from photonlink.hal.links.owner_thread import OwnerThread


async def test_calls_that_wait_for_their_turn_are_not_late() -> None:
    thread = OwnerThread("t")
    try:
        work = [thread.run(lambda n=n: time.sleep(0.05) or n, 0.4) for n in range(20)]  # type: ignore[misc]
        assert await asyncio.gather(*work) == list(range(20)), "1 s in all, none longer than 0.05 s"
    finally:
        thread.stop()


async def test_a_call_that_hangs_ends_those_behind_it_too() -> None:
    thread, release = OwnerThread("t"), threading.Event()
    try:
        calls = [thread.run(release.wait, 0.1), thread.run(lambda: 1, 0.1)]
        said = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in said] == [LinkTimeout, LinkTimeout]
        release.set()
        assert await thread.run(lambda: 2, 5.0) == 2
    finally:
        release.set()
        thread.stop()


async def test_a_caller_that_gives_up_leaves_nothing_behind() -> None:
    thread, release, ran = OwnerThread("t"), threading.Event(), []
    try:
        first = asyncio.ensure_future(thread.run(release.wait, 5.0))
        second = asyncio.ensure_future(thread.run(lambda: ran.append(1), 5.0))
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        release.set()
        await first
        await thread.run(lambda: None, 5.0)
        assert ran == [], "it was given up before it began"
    finally:
        thread.stop()
