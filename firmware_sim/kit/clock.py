"""The time of an emulated instrument. No code under ``devices/`` reads the host's time itself.

The runner gives every device one clock: :class:`Clock` follows the host's monotonic clock,
``speed`` times as fast; with virtual time it is another object with the same methods.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Device time in seconds. ``speed``: device seconds per second of the host, 0.01 … 100."""

    def __init__(self, speed: float = 1.0) -> None:
        if not 0.01 <= speed <= 100.0:
            raise ValueError(f"speed must lie in 0.01 … 100, not {speed}")
        self.speed = speed
        self._origin_s = time.monotonic()
        self._epoch_s = time.time()

    def now_s(self) -> float:
        """Device seconds since this clock was made; never goes back."""
        return (time.monotonic() - self._origin_s) * self.speed

    def utc(self) -> datetime:
        """Date and time as displayed by the instrument."""
        return datetime.fromtimestamp(self._epoch_s + self.now_s(), UTC)

    async def sleep(self, duration_s: float) -> None:
        """Wait so many device seconds."""
        await asyncio.sleep(max(duration_s, 0.0) / self.speed)

    def call_later(self, delay_s: float, call: Callable[[], object]) -> asyncio.TimerHandle:
        """Call ``call`` in the event loop after so many device seconds; the handle cancels."""
        loop = asyncio.get_running_loop()
        return loop.call_later(max(delay_s, 0.0) / self.speed, call)


class LoopClock(Clock):
    """The time of the event loop that the devices run on, for loops with a time of their own.

    epoch_s: date and time when this clock was made, in seconds since 1970.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch_s: float) -> None:
        super().__init__()
        self._loop, self._epoch_s = loop, epoch_s
        self._origin_s = loop.time()

    def now_s(self) -> float:
        return self._loop.time() - self._origin_s
