"""One thread that owns a blocking resource: a vendor library, a VISA resource, a Windows port.

Two threads on one VISA resource gave 386 wrong replies of 800 and not one exception (measured);
vendor libraries promise no re-entrancy either. So each has exactly one thread. A call that hangs
cannot be killed: its await ends at the deadline, and so do those of later calls. As long as calls
return, queued calls do not time out.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from photonlink.hal.errors import LinkClosed, LinkTimeout

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any] | None", "asyncio.AbstractEventLoop | None"]


class OwnerThread:
    """Runs functions one after the other in a daemon thread of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._previous: threading.Thread | None = None
        self._running = self._finished = 0

    @property
    def busy(self) -> bool:
        """True while a call runs, also one whose caller gave up."""
        return self._running > 0

    def post(self, function: Callable[[], object]) -> None:
        """Call ``function`` in the thread, from any thread, without waiting."""
        self._start()
        self._jobs.put((function, None, None))

    def _start(self) -> None:
        if self._thread is None:
            # Daemon: a hung library must not keep the program from ending.
            self._thread = threading.Thread(
                target=self._work, args=(self._previous,), name=self._name, daemon=True
            )
            self._thread.start()

    async def run(self, function: Callable[[], T], timeout_s: float) -> T:
        """Call ``function`` in the thread; exceptions pass. LinkTimeout when no call at all has
        come back for ``timeout_s``."""
        self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((function, future, loop))
        try:
            finished = -1
            while not future.done():
                if finished == self._finished:
                    raise LinkTimeout(
                        f"the call did not return within {timeout_s:g} s", where=self._name
                    )
                finished = self._finished
                await asyncio.wait({future}, timeout=timeout_s)
            return future.result()
        finally:
            future.cancel()

    def stop(self) -> None:
        """End the thread after what is queued. Does not wait for a call that hangs."""
        if self._thread is not None:
            self._jobs.put(None)
            self._previous, self._thread = self._thread, None
            self._jobs = queue.SimpleQueue()

    def _work(self, previous: threading.Thread | None) -> None:
        jobs = self._jobs
        if previous is not None:
            previous.join()  # never two threads at once, even when the old one hangs
        while (job := jobs.get()) is not None:
            function, future, loop = job
            if future is not None and future.cancelled():
                continue  # the caller gave up before the call began
            self._running += 1
            try:
                result, error = function(), None
            except BaseException as caught:  # noqa: BLE001 - handed to the caller
                result, error = None, caught
            finally:
                self._running -= 1
                self._finished += 1
            if future is None or loop is None:
                continue  # the caller does not wait for the result
            with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(_resolve, future, result, error)


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, (StopIteration, KeyboardInterrupt, SystemExit)):
        future.set_exception(LinkClosed(f"the call ended with {type(error).__name__}"))
    else:
        future.set_exception(error)
