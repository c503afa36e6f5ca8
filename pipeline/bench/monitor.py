"""Repeated readings of some instruments, with their history."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from photonlink.hal.errors import LimitError
from photonlink.hal.foreign import ours
from photonlink.hal.params import Value
from photonlink.hal.station import InstrumentEntry
from photonlink.pipeline.bench.reading import Reader, live_parameters, parameters_of, reading

HISTORY = 120
OPENING_S = 10.0
AGAIN_S = 2.0  # interval between attempts to reach an absent instrument


@dataclass
class MonitorRow:
    """One parameter. history: numbers, NaN where there was no reading."""

    instrument: str
    parameter: str
    value: Value | None = None
    history: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))


@dataclass
class Picture:
    """All rows with their last readings. errors: instrument → reason. waiting: not yet tried."""

    rows: list[MonitorRow]
    errors: dict[str, str]
    waiting: set[str] = field(default_factory=set)
    _complete: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, timeout_s: float) -> None:
        """Wait until every instrument was read or has failed once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._complete.wait()

    def told(self, name: str) -> None:
        """Signal that an instrument was read or has failed."""
        self.waiting.discard(name)
        if not self.waiting:
            self._complete.set()


@contextlib.asynccontextmanager
async def monitoring(
    entries: Mapping[str, InstrumentEntry],
    parameters: Sequence[str] = (),
    *,
    rate_hz: float = 2.0,
) -> AsyncIterator[Picture]:
    """A picture that is updated while the body runs; a slow instrument delays no other.

    parameters: names, of those instruments that have them; none: the numbers that move.
    LimitError when no instrument has any of them.
    """
    named = {
        name: [p for p in parameters if p in parameters_of(entry)]
        if parameters
        else live_parameters(entry)
        for name, entry in entries.items()
    }
    picture = Picture([MonitorRow(n, p) for n, found in named.items() for p in found], {})
    picture.waiting.update(n for n, found in named.items() if found)
    if not picture.rows:
        known = sorted({p for entry in entries.values() for p in parameters_of(entry)})
        raise LimitError("nothing to show", hint=f"Known: {', '.join(known) or 'none'}")
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_watch(picture, n, entries[n], found, rate_hz), name=f"monitor {n}")
            for n, found in named.items()
            if found
        ]
        try:
            yield picture
        finally:
            for task in tasks:
                task.cancel()


async def _watch(
    picture: Picture, name: str, entry: InstrumentEntry, parameters: list[str], rate_hz: float
) -> None:
    rows = [row for row in picture.rows if row.instrument == name]
    while True:
        try:
            async with reading(name, entry) as reader:
                await _rounds(picture, name, reader, rows, rate_hz)
        except Exception as error:  # noqa: BLE001 - the other instruments are shown all the same
            picture.errors[name] = str(ours(error, name, "monitor"))
            picture.told(name)
            for row in rows:
                row.value = None
                row.history.append(math.nan)
            await asyncio.sleep(AGAIN_S)


async def _rounds(
    picture: Picture, name: str, reader: Reader, rows: list[MonitorRow], rate_hz: float
) -> None:
    due = time.monotonic()
    while True:
        values = await reader.read([row.parameter for row in rows])
        picture.errors.pop(name, None)
        for row in rows:
            row.value = values.get(row.parameter)
            number = isinstance(row.value, (int, float)) and not isinstance(row.value, bool)
            row.history.append(float(row.value) if number and row.value is not None else math.nan)
        picture.told(name)
        due = max(due + 1 / rate_hz, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
