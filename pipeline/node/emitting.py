"""Light for the body of a ``with``: bias and all lasers on, dark afterwards, whatever happens.

When the light goes off before the body is done, the body is cancelled and LightWentOff says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator

from photonlink.hal.errors import InstrumentError
from photonlink.hal.facets import Emits
from photonlink.hal.foreign import ours
from photonlink.hal.opening import Bench
from photonlink.pipeline.node.emission import Emission

SAID_S = 1.0
"""How long the reason is waited for when a laser reads dark."""


class LightWentOff(InstrumentError):
    """The light went off before the task that needs it was done."""


class GuardedLight:
    """The light for one ``with`` body."""

    def __init__(self, bench: Bench) -> None:
        self._where = ", ".join(bench.having(Emits)) or "light"
        self._body: asyncio.Task[object] | None = asyncio.current_task()
        self.interrupted = False
        self.why = ""
        """Why it went off; "" while it is on."""

    def went_off(self, why: str) -> None:
        """Cancel the body, in the task that entered it. Only the first reason is kept."""
        if not self.why:
            self.why = why
            if self._body is not None:
                self.interrupted = self._body.cancel()

    async def look(self, bench: Bench, emission: Emission) -> None:
        """At the end of the body, check that all lasers still emit; when not, wait a moment for the
        reason.
        """
        dark = emission.dark
        for name, laser in bench.having(Emits).items():
            if not dark and not await laser.emission():
                dark = f"{name} reads dark"
        if dark:
            for _ in range(round(SAID_S / 0.02)):
                if self.why:
                    return
                await asyncio.sleep(0.02)
            self.went_off(dark)

    async def over(self, *, told: bool) -> bool:
        """The body is done and is not cancelled any more. told: it ended by a cancellation.

        Returns True when that was ours and no other cancellation is pending.
        """
        self._body, task = None, asyncio.current_task()
        if not self.interrupted or task is None:
            return False
        if not told:  # a cancellation may be pending
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        return not task.uncancel()

    def require(self) -> None:
        """Raise LightWentOff when the light is off. For bodies that are not a task."""
        if self.why:
            raise LightWentOff(
                f"the light went off: {self.why}", where=self._where,
                hint="What was measured meanwhile may be dark; ask for light again",
            )  # fmt: skip


@contextlib.asynccontextmanager
async def emitting(
    bench: Bench, reason: str = "measurement", max_s: float = math.inf
) -> AsyncIterator[GuardedLight]:
    """All lasers of an open bench emit for the body, leased and watched; then they are dark.

    Their detectors are biased first: the guard watches both. When the light goes off earlier (the
    time of ``max_s`` is over, an interlock tripped, the guard or the watch ended) the body is
    cancelled and LightWentOff raised in its place; at the end at the latest.
    """
    light = GuardedLight(bench)

    def alarm(code: str, text: str, active: bool) -> None:
        if active:
            light.went_off(f"{code}: {text}")

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            light.went_off(str(ours(error, "light", "watch")))

    async with Emission(bench, lambda _: None, alarm, reason=reason, max_s=max_s) as emission:
        watch = asyncio.create_task(emission.run(), name="emission")
        watch.add_done_callback(ended)
        try:
            await emission.bias()
            await emission.on()
            yield light
            await light.look(bench, emission)
            await light.over(told=False)
            light.require()
        except asyncio.CancelledError:
            if not await light.over(told=True):
                raise
            light.require()
        except BaseException:
            await light.over(told=False)  # the body's own error goes first
            raise
        finally:
            watch.remove_done_callback(ended)
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            steps = [s for laser in bench.having(Emits).values() for s in await laser.safe_state()]
            emission.closed(tuple(steps))
