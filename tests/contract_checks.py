"""The contract of every instrument, checked on an open one: an emulator or real hardware.

A check takes the instrument and raises AssertionError, or a photonlink error, when the contract is
broken. No check emits light, applies bias or changes a setting permanently.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import pytest

from photonlink.hal.decoders import decoder_for
from photonlink.hal.driver import Driver
from photonlink.hal.errors import InstrumentError, LimitError, PhotonlinkError
from photonlink.hal.facets import Instrument, StreamsTags
from photonlink.hal.opening import Bench
from photonlink.hal.params import Param, Value

QUERIES = 200
STALL_S = 0.2
"""Shorter stalls of the event loop disturb no measurement."""
STILL = 4
"""Parameters that are read to see whether an instrument answers what it is asked."""


def again_when_disturbed(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Repeat a test of rates and times, which fails on a host that is too slow to emulate light: up
    to three times, when it failed and the bench dropped time or our event loop was blocked.
    """

    @functools.wraps(test)
    async def run(program: Any, **more: Any) -> None:
        for attempt in range(4):
            dropped = program.ask(status=True)["status"]["dropped_s"]
            async with stalls() as longest:
                try:
                    await test(program, **more)
                    return
                except (AssertionError, PhotonlinkError, TimeoutError, pytest.fail.Exception):
                    for name in program.addresses:
                        program.fault(name, "none")
                    busy = program.ask(status=True)["status"]["dropped_s"] > dropped
                    if attempt == 3 or not (busy or longest[0] > STALL_S):
                        raise

    return run


@contextlib.asynccontextmanager
async def stalls() -> AsyncIterator[list[float]]:
    """The longest time (s) for which the event loop did not run during the body."""
    longest = [0.0]

    async def watch() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.02)
            longest[0] = max(longest[0], time.monotonic() - before)

    watching = asyncio.create_task(watch())
    try:
        yield longest
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def still(instrument: Any) -> dict[str, Value]:
    """Values of a few parameters that do not change by themselves: those that read the same twice
    and can be set, or were requested.
    """
    if not isinstance(instrument, Driver):
        return {}
    found: dict[str, Value] = {}
    for param in instrument.params.table.values():
        if param.get and param.set and not param.trips and len(found) < STILL:
            with contextlib.suppress(InstrumentError):  # not known yet (a stage that is not homed)
                value = await instrument.get(param.name)
                if param.agrees(value, await instrument.get(param.name)):
                    found[param.name] = value
    return found


async def right(instrument: Any, known: Mapping[str, Value]) -> None:
    """Every value of ``known`` reads as before; without any, the snapshot is complete."""
    if not known:
        readings = await instrument.snapshot()
        wrong = {k: v for k, v in readings.items() if k.endswith("error") and type(v) is str}
        assert not wrong, wrong
    for name, value in known.items():
        found = await instrument.get(name)
        assert instrument.params[name].agrees(value, found), f"{name} is {found}, was {value}"


async def reads(bench: Bench, name: str) -> None:
    """The instrument has an identity, and every declared parameter can be read."""
    assert bench.resolutions[name].identity.model
    readings = await bench.instruments[name].snapshot()
    assert readings
    assert not [key for key in readings if key.endswith("_error")], readings


async def answers_many(instrument: Any, queries: int = QUERIES) -> None:
    """Of many simultaneous questions, every one gets its own answer."""
    known = await still(instrument)
    if not known:
        keys = {frozenset(await instrument.snapshot()) for _ in range(2)}
        found = await asyncio.gather(*(instrument.snapshot() for _ in range(queries // 10)))
        assert {frozenset(readings) for readings in found} <= keys
        return
    names = [list(known)[n % len(known)] for n in range(queries)]
    found = await asyncio.gather(*(instrument.get(name) for name in names))
    for name, value in zip(names, found, strict=True):
        assert instrument.params[name].agrees(known[name], value), f"{name} was answered {value}"


async def survives_cancellation(instrument: Any) -> None:
    """A question that is cancelled, at any moment, does not disturb the answers to later ones."""
    known = await still(instrument)
    for pause_s in (0.0, 0.001, 0.003):
        task = asyncio.ensure_future(instrument.snapshot())
        await asyncio.sleep(pause_s)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await right(instrument, known)


def outside(param: Param) -> tuple[float, ...]:
    """Values that a parameter must refuse."""
    low, high = param.limits or (-math.inf, math.inf)
    around = (low - max(1.0, 0.01 * abs(low)), high + max(1.0, 0.01 * abs(high)))
    return (*(x for x in around if math.isfinite(x)), math.nan, math.inf)


async def keeps_limits(instrument: Any) -> None:
    """Values beyond limits, non-numbers and unknown parameters are refused and change nothing."""
    if not isinstance(instrument, Driver):
        return
    known = await still(instrument)
    for param in instrument.params.table.values():
        for wrong in outside(param) if param.set and param.numeric else ():
            with _refused(f"{param.name} = {wrong}"):
                await instrument.set(param.name, wrong)
        if param.set and param.choices is not None:
            with _refused(f"{param.name} = no such word"):
                await instrument.set(param.name, "no such word")
    with _refused("a parameter that does not exist"):
        await instrument.get("no_such_parameter")
    await right(instrument, known)


@contextlib.contextmanager
def _refused(what: str) -> Any:
    try:
        yield
    except LimitError:
        return
    raise AssertionError(f"{what} was not refused")


async def keeps_pace(instrument: Any) -> None:
    """Questions are sent no faster than the instrument's pace."""
    link = getattr(getattr(instrument, "codec", None), "link", None)
    if link is None or not link.pace_s:
        return
    known, asked = await still(instrument), []
    before, link.tap = link.tap, lambda way, _: asked.append(time.monotonic()) if way == ">" else 0
    try:
        await asyncio.gather(*(instrument.get(name) for name in [*known, *known]))
    finally:
        link.tap = before
    gaps = [b - a for a, b in itertools.pairwise(asked)]
    assert len(gaps) >= len(known)
    assert min(gaps) >= 0.95 * link.pace_s, f"questions only {min(gaps):.4f} s apart"


async def is_safe(instrument: Instrument) -> None:
    """The safe state is reached, read back, and reached again."""
    for _ in range(2):
        steps = await instrument.safe_state()
        assert all(step.ok for step in steps), steps


async def streams(instrument: Any, seconds: float) -> tuple[int, int, float]:
    """Events arrive complete and in order: (tags, gaps, seconds of the tagger)."""
    if not isinstance(instrument, StreamsTags):
        return 0, 0, 0.0
    await instrument.start()
    decoder = decoder_for(instrument.wire_format)
    tags = gaps = end = 0
    begin, last = time.monotonic(), 0
    try:
        async with aclosing(instrument.chunks()) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                block = decoder.feed(chunk)
                first = end == tags == 0  # the first may begin before zero: late records
                assert first or block.start_ps >= end, "time went back between two blocks"
                assert not len(block) or block.time_ps[0] >= last, "time went back"
                end, tags, gaps = block.end_ps, tags + len(block), gaps + len(block.lost)
                last = int(block.time_ps[-1]) if len(block) else last
                if end > seconds * 1e12 or time.monotonic() - begin > 3 * seconds + 10:
                    break
    finally:
        await instrument.stop()
    assert end > seconds * 1e12, f"only {end / 1e12:.2f} s of {seconds} s came"
    return tags, gaps, end / 1e12


async def after_fault(instrument: Any, known: Mapping[str, Value]) -> None:
    """After a fault at most one more question fails; then all values are right.

    An instrument that does not recover (a vendor's library that hung) is opened again, as by the
    supervisor.
    """
    with contextlib.suppress(PhotonlinkError):
        await right(instrument, known)
        return
    for pause_s in (0.0, 0.2, 1.0, 3.0, 6.0, 0.0):
        with contextlib.suppress(PhotonlinkError):
            if pause_s:
                await instrument.close()
                await asyncio.sleep(pause_s)  # wait for a call that hangs
                await instrument.open()
                await instrument.configure()
            await right(instrument, known)
            return
    await right(instrument, known)
