"""Listens without a screen: prints lines until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any

from photonlink.pipeline.top.lines import Lines

TELL_S = 0.5


async def in_lines(lines: Lines, listening: Coroutine[Any, Any, None]) -> None:
    """Print messages until SIGINT or SIGTERM, or until the listener fails."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, ended.set)
    task = asyncio.create_task(listening)
    try:
        while not ended.is_set() and not task.done():
            lines.tell()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELL_S):
                    await ended.wait()
        lines.tell()
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
