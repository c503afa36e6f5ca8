"""A node's light: registered with the guard before it is switched on, off when interlocks fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from photonlink.hal import light_guard, opening
from photonlink.hal.errors import LinkNotFound
from photonlink.hal.facets import DarkCommand, Emits, Identity, Instrument, SafetyStep
from photonlink.hal.interlock import InterlockRule, InterlockTripped, RuleState
from photonlink.hal.light_guard import LightGuard, LightGuardError
from photonlink.hal.opening import Bench
from photonlink.hal.station import InstrumentEntry
from photonlink.hal.supervisor import BackOff, Found, Notice, Supervisor
from photonlink.pipeline.node import emission as emission_module
from photonlink.pipeline.node import store_watch
from photonlink.pipeline.node.emission import Emission
from photonlink.pipeline.node.store_watch import mind_store
from photonlink.pipeline.status.alarms import kind_of


def datagrams() -> socket.socket:
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.bind(("127.0.0.1", 0))
    wire.setblocking(False)
    return wire


class Laser(Instrument, Emits):
    """A laser whose light is a flag; a datagram "off" from any sender switches it off."""

    def __init__(self, *_: object, scheme: str = "udp", **__: object) -> None:
        self.lit, self.there, self.scheme = False, False, scheme
        self.emitted = 0
        self.readings: dict[str, Any] = {"x": 1.0}
        self.wire = datagrams()

    async def open(self) -> Identity:
        if not self.there:
            raise LinkNotFound("nobody there")
        return Identity("Acme", "Laser", "1")

    async def configure(self) -> None: ...

    async def close(self) -> None:
        self.lit = False

    async def snapshot(self) -> dict[str, Any]:
        return self.readings

    async def safe_state(self) -> tuple[SafetyStep, ...]:
        self.lit = False
        return (SafetyStep("laser: emission off", True, "False"),)

    async def set_emission(self, on: bool) -> None:
        self.lit = on
        self.emitted += on

    async def emission(self) -> bool:
        return self.lit

    def dark_command(self) -> DarkCommand:
        port = self.wire.getsockname()[1]
        return DarkCommand(f"{self.scheme}://127.0.0.1:{port}", b"off")

    def heard_off(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            return self.wire.recv(16) == b"off"
        return False


@pytest.fixture
def laser(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Laser()

    class Kind:
        class Settings:
            @staticmethod
            def model_validate(_: object) -> None: ...

        def __new__(cls, *_: object, **__: object) -> Any:
            return made

    monkeypatch.setattr(opening, "load_driver", lambda _: Kind)
    yield made
    made.wire.close()


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the condition is in another process
            await asyncio.sleep(0.01)


class Watched:
    """A bench whose optional laser is missing; its emission and supervisor run."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.alarms: list[tuple[str, str, bool]] = []
        self.events: list[Any] = []
        self.emission = Emission(bench, lambda _: None, self._alarm)
        self.supervisor = Supervisor(
            bench, self.events.append, poll_s=0.02, back_off=BackOff(0.01, 0.05)
        )

    def _alarm(self, code: str, text: str, active: bool) -> None:
        self.alarms.append((code, text, active))

    def raised(self, code: str, active: bool = True) -> bool:
        return any(c == code and a is active for c, _, a in self.alarms)

    def found(self) -> int:
        return sum(isinstance(event, Found) for event in self.events)


@contextlib.asynccontextmanager
async def watched(*rules: InterlockRule) -> AsyncIterator[Watched]:
    entry = InstrumentEntry(driver="a.b", address="udp://127.0.0.1:1", optional=True)
    states = {rule: RuleState() for rule in rules}
    it = Watched(Bench({}, {}, {"laser": entry}, {"laser": "away"}, interlock=states))
    async with it.emission:
        tasks = [asyncio.create_task(w) for w in (it.emission.run(), it.supervisor.run())]
        try:
            yield it
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            it.emission.closed(await it.bench.close())


def guard_of(it: Watched) -> LightGuard:
    return it.emission._guard


async def test_a_laser_that_comes_later_is_known_to_the_guard_that_runs(laser: Any) -> None:
    async with watched() as it:
        await it.emission.start_guard()
        laser.there = True
        await until(lambda: it.found() == 1, "taken in")
        await it.emission.on()
        assert laser.lit
        process: Any = guard_of(it)._process
        process.stdin.close()  # as if the node had died
        await until(laser.heard_off, "the guard's command")


async def test_a_laser_that_is_found_again_is_told_anew(laser: Any) -> None:
    laser.there = True
    async with watched() as it:
        await it.emission.start_guard()
        await until(lambda: it.found() == 1, "taken in")
        old, laser.wire = laser.wire, datagrams()  # "off" now goes to another address
        laser.readings = {"uptime_s": 9}
        await until(lambda: it.supervisor.readings.get("laser") == {"uptime_s": 9}, "read")
        laser.readings = {"uptime_s": 1}
        await until(lambda: it.found() == 2, "found again")
        process: Any = guard_of(it)._process
        process.stdin.close()
        await until(laser.heard_off, "the guard's command")
        with old, pytest.raises(BlockingIOError):
            old.recv(16)


async def test_a_laser_that_the_guard_cannot_know_is_kept_away(laser: Any) -> None:
    laser.there, laser.scheme = True, "visa"
    async with watched() as it:
        await it.emission.start_guard()
        await until(lambda: any(isinstance(e, Notice) for e in it.events), "said")
        await asyncio.sleep(0.2)  # several attempts
        notices = [e.text for e in it.events if isinstance(e, Notice)]
        assert len(notices) == 1
        assert "cannot reach" in notices[0]
        assert it.bench.instruments == {}
        laser.scheme = "udp"
        await until(lambda: it.found() == 1, "taken in once the guard can know it")


@contextlib.asynccontextmanager
async def without_a_ledger(it: Watched) -> AsyncIterator[list[str]]:
    """Within the context the ledger cannot be written and the light is off; afterwards it can."""
    told: list[str] = []
    broken = True

    async def works() -> bool:
        return not broken

    losses = [0]
    it.losses = losses  # type: ignore[attr-defined]
    task = asyncio.create_task(mind_store(works, it.emission, told.append, lambda: losses[0]))
    try:
        await until(lambda: it.emission.lit == (), "dark")
        yield told
        broken = False
        await until(lambda: "can be written again" in " ".join(told), "told")
        await asyncio.sleep(0.05)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def lit(it: Watched, laser: Any) -> None:
    await until(lambda: it.found() == 1, "taken in")
    await it.emission.on()
    assert laser.lit


async def test_light_comes_back_with_the_ledger(
    laser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_watch, "LOOK_S", 0.01)
    laser.there = True
    async with watched() as it:
        await lit(it, laser)
        async with without_a_ledger(it):
            assert not laser.lit
        await until(lambda: bool(laser.lit), "lit again")


async def test_an_order_while_light_comes_back_is_obeyed(
    laser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_watch, "LOOK_S", 0.01)
    laser.there = True
    async with watched() as it:
        await lit(it, laser)
        bias = it.emission.bias

        async def ordered_meanwhile() -> None:
            await it.emission.off()
            await bias()

        async with without_a_ledger(it):
            monkeypatch.setattr(it.emission, "bias", ordered_meanwhile)
        await until(lambda: laser.emitted == 2 and not laser.lit, "dark again")


@pytest.mark.parametrize("order", ["off", "switch", "interlock", "lost", "on and off"])
async def test_no_laser_comes_back_with_the_ledger_against_an_order(
    laser: Any, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(store_watch, "LOOK_S", 0.01)
    laser.there = True
    async with watched() as it:
        await lit(it, laser)
        async with without_a_ledger(it) as told:
            if order == "off":
                await it.emission.off()
            elif order == "switch":
                await it.emission.switch(on=False)
            elif order == "interlock":
                await it.emission._trip(())
            elif order == "lost":
                it.losses[0] += 1  # type: ignore[attr-defined]
            else:  # a person switches it on: without a ledger it is switched off again
                await it.emission.on()
                await until(lambda: it.emission.lit == (), "dark again")
                await it.emission.off()
        await until(lambda: "stays off" in told[-1], "said")
        assert not laser.lit


async def test_a_guard_that_does_not_answer_is_an_error(
    laser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = LightGuard(lambda _: None)
    await guard.start([])
    monkeypatch.setattr(light_guard, "READY_TIMEOUT_S", 0.1)
    process: Any = guard._process
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(LightGuardError, match="does not answer"):
        await guard.watch("laser", laser)
    process.kill()
    await process.wait()
    await guard.watch("laser", laser)  # the guard is not running: start sends this again
    await guard.stop()


class Broken(InterlockRule):
    """A rule whose comparison raises while FAULTS is not empty."""

    def holds(self, reading: Any) -> bool:
        if FAULTS:
            raise ZeroDivisionError(FAULTS[0])
        return False


FAULTS: list[str] = []


async def test_a_watch_of_interlocks_that_fails_makes_the_bench_dark(
    laser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emission_module, "LOOK_S", 0.02)
    laser.there = True
    async with watched(Broken(when="laser.x > 5")) as it:
        await until(lambda: it.found() == 1, "taken in")
        await it.emission.on()
        assert laser.lit
        FAULTS.append("a fault of the program")
        try:
            await until(lambda: it.raised("interlock_failed"), "an alarm")
            assert not laser.lit
            with pytest.raises(InterlockTripped, match="cannot be judged"):
                await it.emission.on()
            await asyncio.sleep(0.1)
            assert laser.emitted == 1
            assert len([a for a in it.alarms if a[0] == "interlock_failed"]) == 1
        finally:
            FAULTS.clear()
        await until(lambda: it.raised("interlock_failed", active=False), "its end")
        assert not laser.lit, "it stays dark until asked"
        await it.emission.on()
        assert laser.lit
    assert kind_of("interlock_failed") is not None


@pytest.mark.parametrize("fault", [ValueError("no number"), asyncio.CancelledError()])
async def test_a_reading_that_fails_in_any_way_trips_its_rule(
    laser: Any, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    monkeypatch.setattr(emission_module, "LOOK_S", 0.02)
    laser.there = True
    async with watched(InterlockRule(when="laser.x > 5", latch=False)) as it:
        await until(lambda: it.found() == 1, "taken in")
        await until(lambda: it.raised("interlock_tripped", active=False), "readable")
        await it.emission.on()

        async def snapshot() -> dict[str, Any]:
            raise fault

        laser.snapshot, it.alarms[:] = snapshot, []
        await until(lambda: it.raised("interlock_tripped"), "tripped")
        assert not laser.lit


async def test_a_watch_that_has_ended_ends_the_light(laser: Any) -> None:
    """Even if the alarm cannot be raised, the task of the light ends, and the node with it."""
    laser.there = True
    FAULTS.append("a fault")

    def alarm(code: str, text: str, active: bool) -> None:
        raise OSError("nobody listens")

    entry = InstrumentEntry(driver="a.b", address="udp://127.0.0.1:1")
    bench = Bench({"laser": laser}, {}, {"laser": entry})
    bench.interlock[Broken(when="laser.x > 5")] = RuleState()
    try:
        async with Emission(bench, lambda _: None, alarm) as emission:
            laser.lit = True
            with pytest.raises(InterlockTripped, match="has ended"):
                async with asyncio.timeout(10):
                    await emission.run()
            assert not laser.lit
            emission.closed(())
    finally:
        FAULTS.clear()
