"""All instruments in parallel, with every fault that a wire can do to a reply.

All benches run and all their stations are open for the whole module; each test does one thing to
all instruments in parallel and names those that failed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import contract_checks as checks
import pytest
import pytest_asyncio
from contract_cases import BENCHES, CASES

from photonlink.firmware_sim.kit.registration import models
from photonlink.hal.errors import LinkTimeout, PhotonlinkError
from photonlink.hal.opening import Bench, open_and_match, open_bench
from photonlink.hal.station import Match

FAILED = pytest.fail.Exception
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.leaks("the instruments stay open for the whole module, and reconnect"),
]
Work = Callable[[str, Any], Awaitable[None]]
DEADLINE_S, LATE_S, SLOW_S = 4.0, 5.5, 0.2
"""Deadline of a reply, and a reply that comes after it and long before it."""
AT_ONCE = 6
"""Instruments side by side: more would wait for the processor, not for each other."""


class All:
    """The open benches, one for each instrument."""

    def __init__(self, programs: dict[int, Any]) -> None:
        where = {name: number for number, bench in enumerate(BENCHES) for name in bench}
        self.program = {name: programs[number] for name, number in where.items()}
        self.bench: dict[str, Bench] = {}
        self.known: dict[str, Any] = {}

    async def open(self, name: str) -> None:
        station = self.program[name].station(name, deadline_s=DEADLINE_S, open_s=30.0)
        self.bench[name] = await open_bench(station)
        self.known[name] = await checks.still(self.instrument(name))

    async def fault(self, name: str, fault: str, **more: Any) -> None:
        """Start a fault without blocking the drivers' event loop."""
        await asyncio.to_thread(self.program[name].fault, name, fault, **more)

    def instrument(self, name: str) -> Any:
        return self.bench[name].instruments[name]

    async def each(self, work: Work, names: Any = CASES, *, at_once: int = AT_ONCE) -> None:
        """Do ``work`` for all instruments; AssertionError names each failure."""
        room = asyncio.Semaphore(at_once)

        async def one(name: str) -> str:
            try:
                async with room, asyncio.timeout(240):
                    await work(name, self.instrument(name))
            except (PhotonlinkError, AssertionError, TimeoutError, FAILED) as error:
                return f"{name} ({CASES[name].id}): {type(error).__name__}: {error}"
            finally:
                await self.fault(name, "none")
            return ""

        names = list(names)
        assert names
        said = [text for text in await asyncio.gather(*map(one, names)) if text]
        assert not said, "\n" + "\n".join(said)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything(all_programs: dict[int, Any]) -> AsyncIterator[All]:
    """All instruments of all benches, open."""
    found = All(all_programs)
    for at in range(0, len(CASES), AT_ONCE):
        await asyncio.gather(*(found.open(name) for name in list(CASES)[at : at + AT_ONCE]))
    yield found
    await asyncio.gather(*(bench.close() for bench in found.bench.values()))


def able(fault: str) -> list[str]:
    """The instruments that can have this fault."""
    return [n for n, e in CASES.items() if fault in models()[e.emulator].device.fault_names()]


async def test_all_of_them_read_what_they_declare(everything: All) -> None:
    async def work(name: str, _: Any) -> None:
        await checks.reads(everything.bench[name], name)

    await everything.each(work)


async def test_200_questions_at_once_each_get_their_own_answer(everything: All) -> None:
    async def work(_: str, instrument: Any) -> None:
        link = getattr(getattr(instrument, "codec", None), "link", None)
        pace_s = getattr(link, "pace_s", 0.0)
        if pace_s:
            link.pace_s = 0.0  # pace has its own test, and 200 questions would take too long
        try:
            await checks.answers_many(instrument)
        finally:
            if pace_s:
                link.pace_s = pace_s

    await everything.each(work)


async def test_questions_that_are_given_up(everything: All) -> None:
    await everything.each(lambda _, instrument: checks.survives_cancellation(instrument))


async def test_limits_words_and_names_are_kept(everything: All) -> None:
    await everything.each(lambda _, instrument: checks.keeps_limits(instrument))


async def test_no_question_comes_faster_than_the_instrument_bears(everything: All) -> None:
    await everything.each(lambda _, instrument: checks.keeps_pace(instrument))


async def test_safe_state_is_reached_and_read_back(everything: All) -> None:
    await everything.each(lambda _, instrument: checks.is_safe(instrument))


async def test_every_step_of_the_safe_state_runs_when_another_fails(everything: All) -> None:
    async def work(_: str, instrument: Any) -> None:
        for failing in getattr(instrument, "OFF", ()):
            steps = await _safe_without(instrument, failing.param)
            said = [(step.ok, instrument.name in step.action) for step in steps]
            wanted = [(off.param != failing.param, True) for off in instrument.OFF]
            assert said == wanted, f"{failing.action}: {steps}"
            bad = [step.readback for step in steps if not step.ok]
            assert all("seeded" in words for words in bad), bad
        await checks.is_safe(instrument)

    await everything.each(work)


async def _safe_without(instrument: Any, param: str) -> Any:
    """Result of the safe state while reading and writing one parameter fails."""
    read, write = instrument.params._read, instrument.params._write

    def failing(call: Any) -> Any:
        async def guarded(which: Any, *value: Any) -> Any:
            if which.name == param:
                raise RuntimeError("seeded failure")
            return await call(which, *value)

        return guarded

    instrument.params._read, instrument.params._write = failing(read), failing(write)
    try:
        return await instrument.safe_state()
    finally:
        instrument.params._read, instrument.params._write = read, write


async def test_a_reply_that_never_comes_ends_at_the_deadline(everything: All) -> None:
    async def work(name: str, instrument: Any) -> None:
        await everything.fault(name, "silent", count=1)
        with pytest.raises(PhotonlinkError) as caught:
            await checks.right(instrument, everything.known[name])
        if not set(CASES[name].transports) & {"lib", "package"}:
            assert isinstance(caught.value, LinkTimeout)
            at = everything.program[name].addresses[name].partition("://")[2].partition("?")[0]
            assert at in caught.value.where
        await checks.after_fault(instrument, everything.known[name])

    await everything.each(work, able("silent"), at_once=len(CASES))


async def test_a_late_reply_is_never_credited_to_another_question(everything: All) -> None:
    async def work(name: str, instrument: Any) -> None:
        if set(CASES[name].transports) & {"lib", "package"}:
            return  # a call returns to its own caller, however late
        await everything.fault(name, "late", count=1, delay_s=LATE_S)
        with pytest.raises(LinkTimeout):
            await checks.right(instrument, everything.known[name])
        await asyncio.sleep(LATE_S)  # the late reply is there before the next question
        await checks.right(instrument, everything.known[name])

    await everything.each(work, able("late"), at_once=len(CASES))


@pytest.mark.parametrize(
    "fault", [{"fault": "bytewise"}, {"fault": "late", "delay_s": SLOW_S}], ids=lambda f: f["fault"]
)
async def test_a_slow_instrument_is_waited_for(everything: All, fault: dict[str, Any]) -> None:
    """A reply that comes byte by byte, or delayed, is read without error."""

    async def work(name: str, instrument: Any) -> None:
        await everything.fault(name, count=2, **fault)
        await checks.right(instrument, everything.known[name])

    await everything.each(work, able(fault["fault"]))


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "garbled"}, {"fault": "truncated"}, {"fault": "truncated", "at": 1},
        {"fault": "truncated", "at": -1}, {"fault": "wrong-end"}, {"fault": "twice"},
        {"fault": "echo"}, {"fault": "extra"},
    ],
    ids=lambda f: " ".join(map(str, f.values())),
)  # fmt: skip
async def test_damaged_replies_do_no_lasting_harm(everything: All, fault: dict[str, Any]) -> None:
    async def work(name: str, instrument: Any) -> None:
        await everything.fault(name, count=1, **fault)
        with contextlib.suppress(PhotonlinkError):
            await instrument.snapshot()
        await everything.fault(name, "none")
        await checks.after_fault(instrument, everything.known[name])

    await everything.each(work, able(fault["fault"]))


async def test_another_unit_at_the_address_is_refused(everything: All) -> None:
    async def work(name: str, instrument: Any) -> None:
        known = everything.bench[name].resolutions[name].identity
        if not known.serial:
            return  # it has no identification
        await instrument.close()
        await everything.fault(name, "wrong-identity")
        match = Match(serial=known.serial)
        with pytest.raises(PhotonlinkError):  # another serial number, or an impossible one
            await open_and_match(instrument, match, name, 5.0)
        await everything.fault(name, "none")
        await open_and_match(instrument, match, name, 5.0)
        await instrument.configure()
        await checks.right(instrument, everything.known[name])

    await everything.each(work, able("wrong-identity"))


async def test_a_broken_promise_is_named() -> None:
    """The checks fail for an instrument that answers another question."""

    class Liar:
        params: Any = None

        async def snapshot(self) -> dict[str, Any]:
            return {"a_error": "nonsense"}

    with pytest.raises(AssertionError, match="nonsense"):
        await checks.right(Liar(), {})
