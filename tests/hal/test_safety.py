"""Leases, the guard and the watchdog: the light goes off however a program ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping

import pytest

from photonlink.hal.errors import InstrumentError
from photonlink.hal.facets import Emits, Identity, Instrument, SafetyStep
from photonlink.hal.opening import Bench
from photonlink.hal.safety import LeaseExpired, Watchdog, arm, guard


class FakeLaser(Instrument, Emits):
    def __init__(self, *, fail_off: bool = False) -> None:
        self.on = False
        self.fail_off = fail_off
        self.log: list[str] = []

    async def open(self) -> Identity:
        return Identity("v", "m", "s")

    async def close(self) -> None:
        self.log.append("close")

    async def snapshot(self) -> Mapping[str, float | int | bool | str]:
        return {"emission": self.on}

    async def set_emission(self, on: bool) -> None:
        self.on = on

    async def emission(self) -> bool:
        return self.on

    async def set_current_ma(self, value: float) -> None: ...

    async def safe_state(self) -> tuple[SafetyStep, ...]:
        await asyncio.sleep(0.02)
        if self.fail_off:
            raise InstrumentError("it does not answer")
        self.on = False
        self.log.append("safe")
        return (SafetyStep("emission off", True, "off"),)

    def emergency_off(self) -> None:
        self.log.append("emergency")
        if self.fail_off:
            raise OSError("gone")
        self.on = False


def bench_of(**lasers: FakeLaser) -> Bench:
    return Bench(dict(lasers), {})


async def test_a_lease_ends_with_its_body_and_is_reported() -> None:
    laser, reports = FakeLaser(), []
    async with arm(laser, "alignment", 10.0, report=reports.append) as lease:
        assert laser.on
        assert lease.reason == "alignment"
        lease.renew()
    assert not laser.on
    assert reports[0][0].readback == "off"


async def test_a_lease_ends_on_an_exception() -> None:
    laser = FakeLaser()
    with pytest.raises(ZeroDivisionError):
        async with arm(laser, "x", 10.0):
            raise ZeroDivisionError
    assert not laser.on


async def test_cancellation_waits_for_the_light_to_be_off() -> None:
    laser = FakeLaser()

    async def hold() -> None:
        async with arm(laser, "x", 10.0):
            await asyncio.sleep(60)

    task = asyncio.create_task(hold())
    await asyncio.sleep(0.02)
    assert laser.on
    task.cancel()
    await asyncio.sleep(0.005)
    task.cancel()  # a second cancellation does not interrupt it
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not laser.on
    assert laser.log == ["safe"]


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition, however slow the machine is."""
    async with asyncio.timeout(60.0):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_without_a_sign_of_life_the_light_goes_off() -> None:
    laser = FakeLaser()
    async with arm(laser, "x", 600.0, heartbeat_s=30.0) as lease:
        for _ in range(4):
            await asyncio.sleep(0.005)
            lease.renew()
        assert laser.on
    async with arm(laser, "x", 600.0, heartbeat_s=0.05) as lease:
        await until(lambda: not laser.on)
        with pytest.raises(LeaseExpired, match="sign of life"):
            lease.renew()


async def test_the_longest_time_holds_even_with_heartbeats() -> None:
    laser = FakeLaser()
    async with arm(laser, "x", 0.15, heartbeat_s=60.0) as lease:
        while not lease.expired:
            lease.renew()
            await asyncio.sleep(0.02)
        await until(lambda: not laser.on)
        with pytest.raises(LeaseExpired, match="is over"):
            lease.renew()


async def test_every_step_runs_when_an_earlier_one_fails() -> None:
    first, second = FakeLaser(fail_off=True), FakeLaser()
    second.on = True
    steps = await bench_of(first=first, second=second).safe_state()
    assert [(s.ok, s.action) for s in steps] == [
        (False, "first: safe state"),
        (True, "emission off"),
    ]
    assert "does not answer" in steps[0].readback
    assert not second.on


async def test_the_guard_makes_safe_on_an_exception_and_reports() -> None:
    laser, reports = FakeLaser(), []

    async def fail() -> None:
        async with guard(bench_of(laser=laser), report=reports.append):
            laser.on = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not laser.on
    assert laser.log == ["safe", "close"]
    assert len(reports) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_body_and_says_which(number: signal.Signals) -> None:
    laser = FakeLaser()
    before = signal.getsignal(number)
    async with guard(bench_of(laser=laser)) as state:
        laser.on = True
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)
        os.kill(os.getpid(), number)  # a second signal changes nothing
        await asyncio.sleep(10)
    assert state.signal == number.name
    assert not laser.on
    assert laser.log == ["safe", "close"]
    assert signal.getsignal(number) is before


async def test_a_signal_during_the_safe_state_neither_stops_it_nor_hides_an_error() -> None:
    laser = FakeLaser()

    async def fail() -> None:
        async with guard(bench_of(laser=laser)):
            laser.on = True
            asyncio.get_running_loop().call_later(0.005, os.kill, os.getpid(), signal.SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert laser.log == ["safe", "close"]
    laser = FakeLaser()
    async with guard(bench_of(laser=laser)) as state:
        asyncio.get_running_loop().call_later(0.005, os.kill, os.getpid(), signal.SIGTERM)
    assert state.signal == "SIGTERM"
    assert laser.log == ["safe", "close"]
    await asyncio.sleep(0)  # the cancellation has no later effect


async def test_the_guard_lets_a_foreign_cancellation_through() -> None:
    laser = FakeLaser()

    async def body() -> None:
        async with guard(bench_of(laser=laser)):
            laser.on = True
            await asyncio.sleep(60)

    task = asyncio.create_task(body())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not laser.on


async def test_the_watchdog_acts_when_the_loop_stands_still_and_only_then() -> None:
    lasers = [FakeLaser(fail_off=True), FakeLaser()]
    with Watchdog(lasers, 30.0) as dog:
        for _ in range(6):
            await asyncio.sleep(0.01)
        assert dog.fired == 0
    with Watchdog(lasers, 0.2) as dog:
        lasers[1].on = True
        end = time.monotonic() + 60.0
        while lasers[1].on and time.monotonic() < end:
            time.sleep(0.01)  # noqa: ASYNC251 - the loop must be blocked
        assert not lasers[1].on, "the second goes off although the first could not"
    assert dog.fired >= 1
    dog._thread.join(60.0)
    assert not dog._thread.is_alive(), "it ends with its block"


def test_a_program_killed_politely_leaves_no_light() -> None:
    program = textwrap.dedent("""
        import asyncio, sys
        sys.path.insert(0, {here!r})
        from test_safety import FakeLaser, bench_of
        from photonlink.hal.safety import guard

        async def main():
            laser = FakeLaser()
            async with guard(bench_of(laser=laser), report=lambda s: print(s[0].readback)) as g:
                await laser.set_emission(True)
                print("lit", flush=True)
                await asyncio.sleep(60)
            print(g.signal, laser.on)

        asyncio.run(main())
    """).format(here=os.path.dirname(__file__))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "lit\n"
        process.terminate()
        out, _ = process.communicate(timeout=30)
    assert out.split() == ["off", "SIGTERM", "False"]
    assert process.returncode == 0
