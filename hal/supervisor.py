"""Lost and found again: one report per loss, back-off, same serial number, outputs off.

A real device that is lost is waited for; it is never replaced by an emulator. It returns configured
from the station file, with light and bias off: light must be requested again.

For a time tagger the loss is part of the stream: ``tagger_stream`` yields ``Started`` whenever an
acquisition begins (with a new time zero, unrelated to the old one), ``WireChunk`` while
it runs and ``Lost`` when it broke off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass

from photonlink.hal import machine
from photonlink.hal.errors import (
    AcquisitionError,
    BenchError,
    IdentityError,
    LinkError,
    PhotonlinkError,
)
from photonlink.hal.facets import Condition, Identity, Instrument, StreamsTags
from photonlink.hal.foreign import ours
from photonlink.hal.opening import Bench, configure, open_and_match
from photonlink.hal.params import Value
from photonlink.hal.station import Match
from photonlink.hal.tags import AcquisitionStart, WireChunk


@dataclass(frozen=True, slots=True)
class Lost:
    """An instrument was lost, or an acquisition broke off."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class WrongDevice:
    """While searching a lost instrument, another one answered. It is not used."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """The same instrument is back, configured, outputs off."""

    name: str
    identity: Identity
    after_s: float


@dataclass(frozen=True, slots=True)
class Started:
    """A new acquisition: the tagger's time zero and what is known about it."""

    name: str
    start: AcquisitionStart


@dataclass(frozen=True, slots=True)
class Notice:
    """An unrequested message of an instrument: an interlock opened, emission ended."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ConditionChanged:
    """A condition that stops light or measurement began (``active``) or ended."""

    name: str
    code: str
    text: str
    active: bool


Event = Lost | WrongDevice | Found | Notice | ConditionChanged


@dataclass(frozen=True, slots=True)
class BackOff:
    """Waiting times between attempts: doubling, capped, each shortened at random by up to half,
    so that several devices on one hub are not tried at the same time."""

    first_s: float = 0.25
    longest_s: float = 10.0

    def waits(self) -> Iterator[float]:
        """Endless."""
        wait_s = self.first_s
        while True:
            yield wait_s * machine.jitter()
            wait_s = min(2 * wait_s, self.longest_s)


class Supervisor:
    """Watches the instruments of a bench. ``run`` in a task; ``tagger_stream`` by its consumer."""

    def __init__(
        self,
        bench: Bench,
        on_event: Callable[[Event], None],
        *,
        poll_s: float = 1.0,
        back_off: BackOff | None = None,
    ) -> None:
        self._bench = bench
        self._on_event = on_event
        self._poll_s = poll_s
        self._back_off = back_off or BackOff()
        self.readings: dict[str, Mapping[str, Value]] = {}
        """The last snapshot of each instrument that is there, but for what detectors clicked; a
        lost one has none."""
        self.lost: dict[str, str] = {}
        """Instruments that are lost now, and why."""
        self._conditions: dict[str, dict[str, Condition]] = {}

    async def run(self) -> None:
        """Watch everything but time taggers until cancelled; those are watched by their stream."""
        async with asyncio.TaskGroup() as group:
            for name in list(self._bench.instruments):
                self._begin(group, name)
            for name in list(self._bench.missing):
                group.create_task(self._await_missing(group, name), name=f"await {name}")

    def _begin(self, group: asyncio.TaskGroup, name: str) -> None:
        instrument = self._bench.instruments[name]
        if not isinstance(instrument, StreamsTags):
            group.create_task(self._watch(name, instrument), name=f"watch {name}")
            group.create_task(self._listen(name, instrument), name=f"hear {name}")

    async def _await_missing(self, group: asyncio.TaskGroup, name: str) -> None:
        """An optional instrument that was not there: reported as lost, opened when it appears."""
        begin, reason = machine.monotonic_s(), self._bench.missing[name]
        self.lost[name] = reason
        self._on_event(Lost(name, reason))
        told = ""
        for wait_s in self._back_off.waits():
            await asyncio.sleep(wait_s)
            try:
                identity = (await self._bench.take_in(name)).identity
                break
            except BenchError:
                pass  # still away: tried again later
            except Exception as error:  # noqa: BLE001 - it is there, and something keeps it out
                text = str(ours(error, name, "take in"))
                if text != told:
                    self._on_event(Notice(name, text))
                told = text
        self.lost.pop(name, None)
        self._on_event(Found(name, identity, machine.monotonic_s() - begin))
        self._begin(group, name)

    async def _listen(self, name: str, instrument: Instrument) -> None:
        waits = self._back_off.waits()
        while True:
            try:
                async for text in instrument.notices():
                    self._on_event(Notice(name, text))
                    waits = self._back_off.waits()
                return
            except LinkError:
                await asyncio.sleep(next(waits))  # the watch reports the loss
            except Exception as error:  # noqa: BLE001 - a broken instrument never ends the node
                self._on_event(Notice(name, str(ours(error, name, "notices"))))
                return

    async def _watch(self, name: str, instrument: Instrument) -> None:
        doubted = False
        while True:
            await _until_gone(instrument, 0 if doubted else self._poll_s)
            readings, reason, certain = await self._look(name, instrument)
            if reason and not certain and not doubted:
                doubted = True  # look once more
                if not readings:
                    self._on_event(Notice(name, f"it does not answer and is asked again: {reason}"))
                continue
            doubted = False
            self.keep(name, instrument, readings)
            self._compare_conditions(name, instrument, readings)
            if reason:
                await self._lose_and_find(name, instrument, reason)

    def keep(self, name: str, instrument: Instrument, readings: Mapping[str, Value]) -> None:
        """The part of a snapshot that may be published."""
        hidden = instrument.of_clicks
        self.readings[name] = {k: v for k, v in readings.items() if k not in hidden}

    async def _look(
        self, name: str, instrument: Instrument
    ) -> tuple[Mapping[str, Value], str, bool]:
        """(readings, why the instrument counts as lost or "", whether one look is enough)."""
        try:
            readings = await instrument.snapshot()
            if _uptime(readings) < _uptime(self.readings.get(name, {})):
                return readings, "it restarted by itself", True
            # One difference is no proof: a setting may have been changed during the reading.
            return readings, instrument.deviation(readings), False
        except LinkError as error:
            return {}, str(error), not error.retryable  # the link resynchronises before a retry
        except Exception as error:  # noqa: BLE001 - a broken instrument never ends the node
            return {"error": str(ours(error, name, "snapshot"))}, "", True

    def _compare_conditions(
        self, name: str, instrument: Instrument, readings: Mapping[str, Value]
    ) -> None:
        before = self._conditions.get(name, {})
        try:
            now = {c.code: c for c in instrument.conditions(readings)}
        except Exception as error:  # noqa: BLE001 - a broken instrument never ends the node
            fault = ours(error, name, "conditions")
            now = {"driver_fault": Condition("driver_fault", fault.what)}
        self._conditions[name] = now
        for code, condition in now.items():
            if code not in before:
                self._on_event(ConditionChanged(name, code, condition.text, True))
        for code, condition in before.items():
            if code not in now:
                self._on_event(ConditionChanged(name, code, condition.text, False))

    async def _lose_and_find(self, name: str, instrument: Instrument, reason: str) -> None:
        begin = machine.monotonic_s()
        self.readings.pop(name, None)
        self.lost[name] = reason
        self._on_event(Lost(name, reason))
        identity = await self._find(name, instrument)
        self.lost.pop(name, None)
        self._on_event(Found(name, identity, machine.monotonic_s() - begin))

    async def _find(self, name: str, instrument: Instrument) -> Identity:
        known = self._bench.resolutions[name].identity
        entry = self._bench.entries[name]
        match = Match(serial=known.serial or None, model=known.model)
        told: set[str] = set()
        await _close(instrument)
        for wait_s in self._back_off.waits():
            await asyncio.sleep(wait_s)
            try:
                identity = await open_and_match(instrument, match, name, entry.open_timeout_s)
                await configure(instrument, name, entry.open_timeout_s)
                await self._bench.admit(name, instrument)
            except IdentityError as error:
                if error.seen + error.what not in told:
                    told.add(error.seen + error.what)
                    self._on_event(WrongDevice(name, str(error)))
            except Exception:  # noqa: BLE001, S110
                pass  # still away, or not ready yet: tried again later
            else:
                return identity
            await _close(instrument)
        raise AssertionError("back-off never ends")

    async def tagger_stream(self) -> AsyncIterator[Started | WireChunk | Lost]:
        """The tagger's acquisition, restarted as often as needed, until the consumer closes it.

        A tagger that stopped by itself is started again; one that is lost is searched first.
        """
        tagger, name = self._bench.tagger, self._bench.tagger_name
        try:
            while True:
                try:
                    yield Started(name, await tagger.start())
                    async with contextlib.aclosing(_generator(tagger)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                    raise AcquisitionError("the stream ended", where=name)
                except AcquisitionError as error:
                    yield Lost(name, str(error))
                    await self._stop_or_find(name, tagger)
                except PhotonlinkError as error:
                    yield Lost(name, str(error))
                    await self._lose_and_find(name, self._bench.instruments[name], str(error))
        finally:
            await _stop(tagger)

    async def _stop_or_find(self, name: str, tagger: StreamsTags) -> None:
        try:
            await tagger.stop()
            await asyncio.sleep(self._back_off.first_s)
        except PhotonlinkError as error:
            await self._lose_and_find(name, self._bench.instruments[name], str(error))


async def _generator(tagger: StreamsTags) -> AsyncGenerator[WireChunk, None]:
    # Closed as soon as the consumer leaves, and with it the driver's own generator.
    chunks = tagger.chunks()
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _uptime(readings: Mapping[str, Value]) -> float:
    value = readings.get("uptime_s", 0)
    return float(value) if isinstance(value, (int, float)) else 0.0


async def _until_gone(instrument: Instrument, longest_s: float) -> None:
    """Wait so long, or until the other end of the wire is found gone."""
    gone = instrument.gone
    if gone is None or gone.is_set():  # of a link that is closed already, the next look tells
        await asyncio.sleep(longest_s)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(longest_s):
            await gone.wait()


async def _close(instrument: Instrument) -> None:
    with contextlib.suppress(Exception):  # it is gone; closing may fail
        async with asyncio.timeout(5.0):
            await instrument.close()


async def _stop(tagger: StreamsTags) -> None:
    with contextlib.suppress(Exception):  # closing the bench reports what matters
        await tagger.stop()
