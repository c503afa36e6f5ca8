"""A bench for notebooks and scripts: the same instruments, without ``async``.

::

    import photonlink

    with photonlink.bench("station.toml") as table:
        table.get("pump", "temperature_act_c")
        with table.light("looking at pairs", 60):
            delay_ps, pairs = table.correlate(1, 2, seconds=5)

The bench lives in a thread of its own with its light guard. Light goes off at the end of the block,
when the time is over, when the notebook's process ends in any way, or on ``photonlink safe``.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from photonlink.hal.driver import Driver
from photonlink.hal.errors import LimitError, PhotonlinkError
from photonlink.hal.facets import StreamsTags
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.params import Value
from photonlink.hal.safety import Guard, guard
from photonlink.pipeline.bench.ready import own_tasks, tasks_file
from photonlink.pipeline.bench.tagging import (
    LiveHistogram,
    OpenTagger,
    Rates,
    blocks,
    check_inputs,
    lit,
)
from photonlink.pipeline.bench.target import parse_target, with_sim
from photonlink.pipeline.keys.locking import lock_node
from photonlink.pipeline.node.emitting import GuardedLight
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.readiness.done import load_done
from photonlink.pipeline.readiness.tasks import Done, Standing, all_tasks, judge

T = TypeVar("T")
MAX_TAGS = 50_000_000


def bench(station: str | Path, *, sim: bool = False) -> NotebookBench:
    """Open a station's bench. sim: start the emulators of its [sim] table first.

    Raises what opening raises (BenchError, StationError); InUseError when its node runs.
    """
    return NotebookBench(str(station), sim=sim)


class NotebookBench:
    """An open bench. ``close`` makes it safe; so does the end of a ``with`` block."""

    def __init__(self, station: str, *, sim: bool = False) -> None:
        self._station, self._sim = station, sim
        self._opened: Future[tuple[Bench, Guard]] = Future()
        self._light: GuardedLight | None = None
        self._own: dict[str, Done] = {}  # tasks of the program itself, when it was opened
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._live, name="bench", daemon=True)
        self._thread.start()
        try:
            self._bench, self._state = self._opened.result()
        except BaseException:
            self._thread.join()
            raise
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Everything off and read back, then the instruments are given back."""
        atexit.unregister(self.close)
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    # ---- for the user ----
    @property
    def names(self) -> tuple[str, ...]:
        """The instruments that are open."""
        return tuple(self._bench.instruments)

    @property
    def missing(self) -> Mapping[str, str]:
        """Optional instruments that are not there, and why."""
        return dict(self._bench.missing)

    @property
    def emulated(self) -> bool:
        """True when anything on this bench is not real."""
        return self._bench.emulated

    def get(self, instrument: str, parameter: str) -> Value:
        """Read one parameter, in its unit."""
        return self._run(self._driver(instrument).get(parameter))

    def set(self, instrument: str, parameter: str, value: Value) -> None:
        """Set one parameter: checked, read back. Nothing is switched on here: use ``light``."""
        driver = self._driver(instrument)
        for step in driver.OFF:
            if step.param == parameter and value != step.value:
                raise LimitError(
                    f"{parameter} = {value} would switch it on past the light guard",
                    where=instrument, hint="Use light(reason, seconds)",
                )  # fmt: skip
        self._run(driver.set(parameter, value))

    def snapshot(self) -> dict[str, Mapping[str, Value]]:
        """All readings of all instruments."""
        return self._run(self._bench.snapshot())

    def readiness(self) -> list[Standing]:
        """How each calibration task of the station stands: ``name``, ``ok``, ``why``, ``how``."""
        station = self._target.station
        tasks = all_tasks(station.task, station.own_tasks)
        done = load_done(tasks_file(station, self._target.path or Path(self._station))) | self._own
        flat = {f"{n}.{k}": v for n, values in self.snapshot().items() for k, v in values.items()}
        return judge(tasks, done, flat, time.time())

    def rates(self, seconds: float = 1.0) -> dict[int, float]:
        """Events per second of each input of the time tagger."""

        async def count() -> dict[int, float]:
            opened = self._tagger()
            rates = Rates(opened.tagger.capabilities.channels)
            await _each(opened, seconds, rates.add)
            return rates.take()

        return self._measure(count())

    def tags(self, seconds: float = 1.0) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """(time_ps, input) of every event. LimitError beyond 50 million of them."""

        async def collect() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
            times, inputs, n = [np.empty(0, np.int64)], [np.empty(0, np.uint8)], 0

            def keep(block: Any) -> None:
                nonlocal n
                n += len(block)
                if n > MAX_TAGS:
                    raise LimitError(f"more than {MAX_TAGS:,} tags", hint="Use a shorter time")
                times.append(block.time_ps)
                inputs.append(block.channel)

            await _each(self._tagger(), seconds, keep)
            return np.concatenate(times), np.concatenate(inputs)

        return self._measure(collect())

    def correlate(
        self, a: int, b: int, seconds: float = 1.0, *,
        low_ns: float = -20.0, high_ns: float = 20.0, bin_ps: int = 500,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint64]]:  # fmt: skip
        """(delay of each bin's centre in ps, pairs) of two inputs: b minus a."""
        found = LiveHistogram(a, b, round(low_ns * 1e3), round(high_ns * 1e3), bin_ps)

        async def correlate() -> None:
            opened = self._tagger()
            check_inputs(opened, (a, b))
            await _each(opened, seconds, found.add)

        self._measure(correlate())
        centres = np.arange(len(found.hist), dtype=np.float64) + 0.5
        return found.low_ps + np.float64(bin_ps) * centres, found.hist

    @contextlib.contextmanager
    def light(self, reason: str, seconds: float) -> Iterator[None]:
        """Bias and lasers on for the block, at most ``seconds``, under a lease with a reason.

        When the light goes off before the block is done, the measurement that it spoils raises
        LightWentOff, or the end of the block does.
        """
        stack = AsyncExitStack()
        self._light = self._run(stack.enter_async_context(lit(self._bench, reason, seconds)))
        try:
            yield
        except BaseException:
            # an error of the block itself has precedence
            with contextlib.suppress(PhotonlinkError):
                self._run(stack.aclose())
            raise
        else:
            self._run(stack.aclose())
        finally:
            self._light = None

    # ---- inside ----
    def _driver(self, name: str) -> Driver:
        found = self._bench.instruments.get(name)
        if not isinstance(found, Driver):
            known = ", ".join(self.names)
            raise PhotonlinkError(f"there is no instrument {name!r}", hint=f"Known: {known}")
        return found

    def _tagger(self) -> OpenTagger:
        name = self._bench.tagger_name
        return OpenTagger(self._bench, name, self._bench.having(StreamsTags)[name], self._state)

    def _measure(self, work: Coroutine[Any, Any, T]) -> T:
        """As ``_run``; LightWentOff when the light of its block went off before or meanwhile."""
        found = self._run(work)
        if self._light is not None:
            self._light.require()
        return found

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            work.close()
            raise PhotonlinkError(
                "this bench is closed" + (f" ({self._state.signal})" if self._state.signal else ""),
                where=self._station, hint="Open it again",
            )  # fmt: skip
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _live(self) -> None:
        try:
            with ExitStack() as stack:
                stack.enter_context(with_sim(self._station, start=self._sim))
                target = self._target = parse_target(self._station)
                if isinstance(target.station, NodeStation):
                    self._own = own_tasks(target.station, lambda _: None)
                    lock_node(target.station.node.state_dir, stack)
                with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                    runner.run(self._open_until_stopped(target.only()))
        except BaseException as error:  # noqa: BLE001 - it is raised where the bench was asked for
            if not self._opened.done():
                self._opened.set_exception(error)
        finally:
            if not self._loop.is_closed():  # the runner was interrupted before it closed the loop
                self._loop.close()

    async def _open_until_stopped(self, station: Any) -> None:
        opened = await open_bench(station)
        async with guard(opened) as state:
            self._opened.set_result((opened, state))
            await self._stop.wait()


async def _each(opened: OpenTagger, seconds: float, take: Callable[[Any], None]) -> None:
    async with contextlib.aclosing(blocks(opened, seconds)) as stream:
        async for block in stream:
            take(block)
