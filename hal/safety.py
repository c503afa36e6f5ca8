"""Making light safe: emission leases, and a guard that switches a bench off in every case.

**Software is no interlock.** It cannot act when the machine hangs, loses power or its network.
A laser that can harm eyes needs its hardware interlock and key switch; what is here keeps a
forgotten, crashed or interrupted program from leaving the light on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

from photonlink.hal import machine
from photonlink.hal.control import control_socket
from photonlink.hal.errors import InstrumentError
from photonlink.hal.facets import Emits, Instrument, SafetyStep
from photonlink.hal.opening import Bench

_log = logging.getLogger(__name__)

T = TypeVar("T")
Report = Callable[[tuple[SafetyStep, ...]], None]


ENDING_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if name in signal.Signals.__members__
)
"""What a person, a service manager or a closed terminal ends a program with."""


class LeaseExpired(InstrumentError):
    """The permission to emit expired, or its holder sent no heartbeat: the light goes off."""


class Lease:
    """Permission to emit. Its holder calls ``renew`` more often than every ``heartbeat_s``."""

    def __init__(self, reason: str, max_s: float, heartbeat_s: float) -> None:
        now = machine.monotonic_s()
        self.reason = reason
        self.ends = now + max_s
        self._heartbeat_s = heartbeat_s
        self._due = now + heartbeat_s
        self.expired = ""

    def renew(self) -> None:
        """Renew the lease. LeaseExpired when the light is off or going off."""
        if self.expired:
            raise LeaseExpired(self.expired, hint="Arm the laser again")
        self._due = machine.monotonic_s() + self._heartbeat_s

    def remaining_s(self) -> float:
        """Time until the light goes off unless renewed."""
        return min(self.ends, self._due) - machine.monotonic_s()


@contextlib.asynccontextmanager
async def arm(
    laser: Emits,
    reason: str,
    max_s: float,
    *,
    heartbeat_s: float = 5.0,
    report: Report | None = None,
) -> AsyncIterator[Lease]:
    """Emission on for the body, at most ``max_s``; off with read-back however the body ends."""
    lease = Lease(reason, max_s, heartbeat_s)

    async def off() -> None:
        steps = await laser.safe_state()
        if report is not None:
            report(steps)

    async def watch() -> None:
        while (left := lease.remaining_s()) > 0:  # noqa: ASYNC110 - renew() only moves a time
            await asyncio.sleep(left)
        over = machine.monotonic_s() >= lease.ends
        lease.expired = (
            f"the time of {max_s:g} s is over" if over else "its holder gave no sign of life"
        )
        await off()

    try:
        await laser.set_emission(True)
        watcher = asyncio.create_task(watch(), name=f"lease: {reason}")
        try:
            yield lease
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
    finally:
        await _shielded(off())


async def _shielded(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end even while this task is being cancelled; then the cancellation goes on."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    return task.result()


class Guard:
    """The value that ``guard`` gives its body: ``signal`` names the signal that ended it, if one
    did.
    """

    def __init__(self) -> None:
        self.signal = ""
        self.steps: tuple[SafetyStep, ...] = ()


@contextlib.asynccontextmanager
async def guard(
    bench: Bench,
    *,
    report: Report | None = None,
    signals: Iterable[signal.Signals] = ENDING_SIGNALS,
    watchdog_s: float = 5.0,
) -> AsyncIterator[Guard]:
    """Own a bench: however the body ends, light and bias go off, are read back and reported.

    A signal cancels the body; ``Guard.signal`` then tells which, and the cancellation ends here.
    So does ``photonlink safe``, through the bench's control socket; ``signal`` is "SAFE" then.
    Further signals do not interrupt the safe state. When the loop does not run for ``watchdog_s``,
    a thread sends "off" itself.
    """
    state, task = Guard(), asyncio.current_task()
    if task is None:
        raise RuntimeError("guard needs a running task")

    def ended(by: str) -> None:
        if not state.signal:
            state.signal = by
            task.cancel()

    def interrupted(number: signal.Signals) -> None:
        ended(number.name)

    with _signal_handlers(signals, interrupted), _watched(bench, watchdog_s):
        try:
            async with control_socket(bench, ended):
                yield state
        except asyncio.CancelledError:
            if not state.signal:
                raise
            task.uncancel()
        finally:
            try:
                await _shielded(_finish(bench, state, report))
            except asyncio.CancelledError:  # a signal that came only now; an error has precedence
                if not state.signal:
                    raise
                task.uncancel()


async def _finish(bench: Bench, state: Guard, report: Report | None) -> None:
    state.steps = await bench.close()
    if report is not None:
        try:
            report(state.steps)
        except OSError as error:  # the terminal is closed; the bench is safe nevertheless
            _log.warning("the safe state could not be reported: %s", error)


@contextlib.contextmanager
def _signal_handlers(
    signals: Iterable[signal.Signals], handler: Callable[[signal.Signals], None]
) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals; its owner must end us
        return

    def from_signal(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(handler, signal.Signals(number))

    before = {number: signal.signal(number, from_signal) for number in signals}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _watched(bench: Bench, timeout_s: float) -> contextlib.AbstractContextManager[object]:
    if machine.instruments_are_outside():
        return Watchdog(bench.instruments.values(), timeout_s)
    return contextlib.nullcontext()


class Watchdog:
    """A thread that watches the event loop. When the loop does not run, it sends "off" itself."""

    def __init__(self, instruments: Iterable[Instrument], timeout_s: float) -> None:
        self._instruments = instruments  # one that comes later is among them
        self._timeout_s = timeout_s
        self._beat = time.monotonic()
        self._stop = threading.Event()
        self._handle: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self.fired = 0

    def __enter__(self) -> Watchdog:
        self._tick(asyncio.get_running_loop())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._handle is not None:
            self._handle.cancel()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beat = time.monotonic()
        self._handle = loop.call_later(self._timeout_s / 8, self._tick, loop)

    def _watch(self) -> None:
        while not self._stop.wait(self._timeout_s / 8):
            if time.monotonic() - self._beat <= self._timeout_s:
                continue
            self.fired += 1
            _log.critical("the event loop stands still: light and bias are sent off past it")
            for instrument in list(self._instruments):
                try:
                    instrument.emergency_off()
                except Exception:  # noqa: BLE001 - the next instrument must get its turn
                    _log.exception("emergency off failed")
            self._stop.wait(self._timeout_s)
