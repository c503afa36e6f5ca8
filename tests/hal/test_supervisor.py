"""The supervisor without wires: back-off, one report per loss, restarted acquisitions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import pytest

from photonlink.hal.errors import (
    AcquisitionError,
    InstrumentError,
    LinkClosed,
    LinkNotFound,
    LinkTimeout,
)
from photonlink.hal.facets import Identity, Instrument, StreamsTags
from photonlink.hal.opening import Bench, Resolution
from photonlink.hal.station import InstrumentEntry
from photonlink.hal.supervisor import (
    BackOff,
    Found,
    Lost,
    Notice,
    Started,
    Supervisor,
    WrongDevice,
)
from photonlink.hal.tags import (
    AcquisitionStart,
    Provenance,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)

ME = Identity("v", "m", "serial-1")


class FakeTagger(Instrument, StreamsTags):
    """Yields ``script``: numbers are chunks, exceptions are raised; ``openings`` likewise."""

    def __init__(self, script: list[Any], openings: list[Any] | None = None) -> None:
        self.script, self.openings = list(script), list(openings or [])
        self.log: list[str] = []
        self.starts = itertools.count(1)

    async def open(self) -> Identity:
        self.log.append("open")
        outcome = self.openings.pop(0) if self.openings else ME
        if isinstance(outcome, Exception):
            raise outcome
        return Identity(*outcome) if isinstance(outcome, tuple) else outcome

    async def configure(self) -> None:
        self.log.append("configure")

    async def close(self) -> None:
        self.log.append("close")

    async def snapshot(self) -> Mapping[str, float | int | bool | str]:
        item = self.script.pop(0) if self.script else {"steady": 1}
        if isinstance(item, Exception):
            raise item
        return dict(item)

    @property
    def capabilities(self) -> TaggerCapabilities:
        return TaggerCapabilities((1,), 1.0, 1e6)

    @property
    def wire_format(self) -> WireFormat:
        return WireFormat("t2", {"resolution_ps": 1.0})

    gone: asyncio.Event | None = None

    def deviation(self, readings: Mapping[str, float | int | bool | str]) -> str:
        return "bias_v is 0" if readings.get("bias_v") == 0 else ""

    async def start(self) -> AcquisitionStart:
        self.log.append("start")
        return AcquisitionStart(float(next(self.starts)), 0.1)

    async def chunks(self) -> AsyncIterator[WireChunk]:
        while self.script:
            item = self.script.pop(0)
            if isinstance(item, Exception):
                raise item
            yield WireChunk(bytes([item]))

    async def stop(self) -> None:
        self.log.append("stop")


class FakeInstrument(FakeTagger):
    """A FakeTagger that is watched by polling."""


def make_bench(instrument: Any) -> Bench:
    entry = InstrumentEntry(driver="x.y", address="tcp://h:1", open_timeout_s=1.0)
    resolution = Resolution("it", "x.y", "real", "tcp://h:1", Provenance.REAL, ME, ())
    return Bench({"it": instrument}, {"it": resolution}, {"it": entry})


async def stream(tagger: FakeTagger, count: int) -> tuple[list[Any], list[Any]]:
    events: list[Any] = []
    supervisor = Supervisor(make_bench(tagger), events.append, back_off=BackOff(0.001, 0.004))
    items = []
    async with asyncio.timeout(5), aclosing(supervisor.tagger_stream()) as source:
        async for item in source:
            items.append(item)
            if len(items) == count:
                break
    return items, events


async def test_a_tagger_that_stops_by_itself_starts_anew_without_being_reopened() -> None:
    tagger = FakeTagger([1, 2, AcquisitionError("FIFO overran"), 3])
    items, events = await stream(tagger, 6)
    assert [type(i).__name__ for i in items] == [
        "Started",
        "WireChunk",
        "WireChunk",
        "Lost",
        "Started",
        "WireChunk",
    ]
    assert (items[0].start.host_time_s, items[4].start.host_time_s) == (1.0, 2.0)
    assert "overran" in items[3].reason
    assert events == []
    assert tagger.log == ["start", "stop", "start", "stop"]


@pytest.mark.parametrize("error", [LinkClosed("unplugged"), LinkTimeout("silent")])
async def test_a_tagger_that_is_lost_is_reopened_configured_and_started(error: Exception) -> None:
    away = LinkNotFound("still away")
    tagger = FakeTagger([1, error, 2], [away, away, ME])
    items, events = await stream(tagger, 5)
    assert [type(i) for i in items] == [Started, WireChunk, Lost, Started, WireChunk]
    assert [type(e) for e in events] == [Lost, Found], "one report however many attempts"
    assert events[1].identity == ME
    assert tagger.log.count("open") == 3
    assert tagger.log[-4:] == ["open", "configure", "start", "stop"]


async def test_only_the_same_device_is_taken_back() -> None:
    other = ("v", "m", "serial-2")
    tagger = FakeTagger([LinkClosed("unplugged"), 1], [other, other, ME])
    _, events = await stream(tagger, 4)
    assert [type(e) for e in events] == [Lost, WrongDevice, Found]
    assert "serial-1" in events[1].reason
    assert "serial-2" in events[1].reason


async def test_a_stream_that_merely_ends_is_no_silent_end() -> None:
    items, _ = await stream(FakeTagger([1]), 4)
    assert [type(i) for i in items] == [Started, WireChunk, Lost, Started]


@pytest.mark.row("a foreign exception in snapshot ends supervisor and node")
async def test_a_fault_of_a_driver_is_a_loss_and_keeps_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    items, events = await stream(FakeTagger([1, ZeroDivisionError("by zero"), 2]), 4)
    assert [type(i) for i in items] == [Started, WireChunk, Lost, Started]
    assert "ZeroDivisionError: by zero" in items[2].reason
    assert [type(e) for e in events] == [Lost, Found]
    assert "Traceback" in caplog.text


class NotTagger:
    """Makes a FakeTagger look like a laser or detector to the supervisor."""

    def __init__(self, inner: FakeTagger) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def watch(script: list[Any], openings: list[Any] | None = None) -> tuple[Any, list[Any]]:
    inner, events = FakeInstrument(script, openings), []
    bench = make_bench(NotTagger(inner))
    supervisor = Supervisor(bench, events.append, poll_s=0.002, back_off=BackOff(0.001, 0.002))
    task = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(5):
        while inner.script or supervisor.lost:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return supervisor, events


@pytest.mark.row("a foreign exception in snapshot ends supervisor and node")
async def test_a_fault_in_a_snapshot_is_shown_and_the_supervisor_goes_on() -> None:
    inner, events = FakeInstrument([RuntimeError("vendor's own")] * 10**6), []
    supervisor = Supervisor(make_bench(NotTagger(inner)), events.append, poll_s=0.002)
    task = asyncio.create_task(supervisor.run())
    try:
        async with asyncio.timeout(30):
            while "error" not in supervisor.readings.get("it", {}):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert "RuntimeError: vendor's own" in str(supervisor.readings["it"]["error"])
            inner.script.clear()
            while supervisor.readings.get("it") != {"steady": 1}:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert not task.done()
        assert not supervisor.lost
        assert not [e for e in events if isinstance(e, Lost)]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_timeout_is_no_loss_two_are() -> None:
    silent = LinkTimeout("silent")
    supervisor, events = await watch([silent, {"a": 1}, silent, {"a": 1}])
    assert [type(e) for e in events] == [Notice, Notice], "each is told, and nothing is lost"
    assert "silent" in events[0].text
    assert supervisor.readings == {"it": {"steady": 1}}
    _, events = await watch([silent, silent])
    assert [type(e) for e in events] == [Notice, Lost, Found]


async def test_a_wire_that_is_found_gone_is_looked_at_at_once() -> None:
    """It is polled without waiting for the interval, and only once while the wire stays gone."""
    inner, events = FakeInstrument([{"a": 1}]), []
    inner.gone = asyncio.Event()
    supervisor = Supervisor(make_bench(NotTagger(inner)), events.append, poll_s=3600.0)
    task = asyncio.create_task(supervisor.run())
    try:
        for _ in range(20):  # let the watch begin to wait
            await asyncio.sleep(0)
        inner.gone.set()
        async with asyncio.timeout(5):
            while not supervisor.readings:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert inner.script == []
        assert supervisor.readings == {"it": {"a": 1}}, "asked once"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_setting_that_differs_twice_in_a_row_is_a_restart() -> None:
    _, events = await watch([{"bias_v": 0}, {"bias_v": 60}, {"bias_v": 0}, {"bias_v": 60}])
    assert events == [], "it was being changed while it was read"
    _, events = await watch([{"bias_v": 0}, {"bias_v": 0}])
    assert [type(e) for e in events] == [Lost, Found]
    assert "bias_v is 0" in events[0].reason


async def test_a_refusal_is_no_loss() -> None:
    _, events = await watch([InstrumentError("no"), {"a": 1}])
    assert events == []


async def test_uptime_that_runs_backwards_is_a_restart() -> None:
    _, events = await watch([{"uptime_s": 50}, {"uptime_s": 51}, {"uptime_s": 1}])
    assert [type(e) for e in events] == [Lost, Found]
    assert "restarted" in events[0].reason


def test_back_off_doubles_is_capped_and_jittered() -> None:
    back_off = BackOff(0.25, 10.0)
    runs = [list(itertools.islice(back_off.waits(), 12)) for _ in range(20)]
    for waits in runs:
        for number, wait_s in enumerate(waits):
            full = min(0.25 * 2**number, 10.0)
            assert full / 2 <= wait_s <= full
    assert len({waits[0] for waits in runs}) > 10
