"""``emitting``: an exception reports that the light went off; late detectors get their bias."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Any

import pytest

from photonlink.hal.errors import LinkTimeout
from photonlink.hal.facets import Biased, DarkCommand, Emits, Identity, Instrument, SafetyStep
from photonlink.hal.interlock import InterlockRule, RuleState
from photonlink.hal.opening import Bench
from photonlink.pipeline.node import emission as emission_module
from photonlink.pipeline.node.emission import Emission
from photonlink.pipeline.node.emitting import LightWentOff, emitting


class Thing(Instrument):
    """An instrument that can be switched on and off."""

    def __init__(self) -> None:
        self.on = False
        self.fault = 0.0

    async def open(self) -> Identity:
        return Identity("Acme", "Thing", "1")

    async def configure(self) -> None: ...

    async def close(self) -> None:
        self.on = False

    async def snapshot(self) -> dict[str, Any]:
        return {"fault": self.fault}

    async def safe_state(self) -> tuple[SafetyStep, ...]:
        self.on = False
        return (SafetyStep("off", True, "False"),)

    def dark_command(self) -> DarkCommand | None:
        return None


class Laser(Thing, Emits):
    async def set_emission(self, on: bool) -> None:
        self.on = on

    async def emission(self) -> bool:
        return self.on


class Detector(Thing, Biased):
    refuses = False

    async def set_bias(self, on: bool, channel: int | None = None) -> None:
        if self.refuses:
            raise LinkTimeout("no answer", where="spd")
        self.on = on


def bench(*rules: InterlockRule) -> tuple[Bench, Laser, Detector]:
    laser, detector = Laser(), Detector()
    states = {rule: RuleState() for rule in rules}
    return Bench({"laser": laser, "spd": detector}, {}, interlock=states), laser, detector


async def test_a_body_has_light_and_leaves_none() -> None:
    table, laser, detector = bench()
    async with emitting(table) as light:
        assert laser.on
        assert detector.on
        light.require()
    assert not laser.on
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def wait(table: Bench, reason: str = "test", max_s: float = math.inf) -> None:
    async with emitting(table, reason, max_s):
        await asyncio.sleep(30)


async def test_a_body_is_ended_when_its_time_is_over() -> None:
    table, laser, _ = bench()
    with pytest.raises(LightWentOff, match="the time of 0"):
        await wait(table, max_s=0.05)
    assert not laser.on
    await asyncio.sleep(0)  # no cancellation is left over


async def test_a_body_that_does_not_wait_learns_it_at_its_end() -> None:
    table, laser, _ = bench()

    async def body() -> None:
        async with emitting(table, "test", 0.05):
            await until(lambda: not laser.on)

    with pytest.raises(LightWentOff, match="is over"):
        await body()
    await asyncio.sleep(0)


async def test_a_body_is_ended_by_an_interlock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emission_module, "LOOK_S", 0.01)
    table, laser, _ = bench(InterlockRule(when="laser.fault > 0"))

    async def body() -> None:
        async with emitting(table):
            laser.fault = 1.0
            await asyncio.sleep(30)

    with pytest.raises(LightWentOff, match=r"interlock_tripped: laser\.fault > 0"):
        await body()
    assert not laser.on


async def test_a_body_is_ended_when_the_guard_dies() -> None:
    table, laser, _ = bench()

    async def body() -> None:
        async with emitting(table):
            watch: Any = table.joining[0]
            watch.__self__._process.kill()
            await asyncio.sleep(30)

    with pytest.raises(LightWentOff, match="light_guard_lost"):
        await body()
    assert not laser.on


async def test_a_watch_that_fails_is_told_to_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(self: Emission) -> None:
        await asyncio.sleep(0.02)
        raise OSError("the watch is broken")

    monkeypatch.setattr(Emission, "run", run)
    table, laser, _ = bench()
    with pytest.raises(LightWentOff, match="the watch is broken"):
        await wait(table)
    assert not laser.on
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("lease")], "kept on"


async def test_who_cancels_the_body_from_outside_is_heard() -> None:
    table, laser, _ = bench()
    inside = asyncio.Event()

    async def body() -> None:
        async with emitting(table):
            inside.set()
            await asyncio.sleep(30)

    task = asyncio.create_task(body())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not laser.on


async def test_the_bodys_own_error_goes_first() -> None:
    table, laser, _ = bench()

    async def body() -> None:
        async with emitting(table) as light:
            light.went_off("at the same moment")
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await body()
    assert not laser.on
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(table: Bench, reports: list[SafetyStep]) -> Any:
    async with Emission(table, reports.extend, lambda *_: None) as emission:
        task = asyncio.create_task(emission.run())
        try:
            yield emission
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            emission.closed(())


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a flag of the other task
            await asyncio.sleep(0.005)


async def test_a_detector_that_comes_late_gets_its_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emission_module, "BEAT_S", 0.01)
    table, _, first = bench()
    reports: list[SafetyStep] = []
    async with running(table, reports) as emission:
        late, broken = Detector(), Detector()
        table.instruments["too-early"] = late
        await asyncio.sleep(0.05)
        assert not late.on, "nobody has asked for bias yet"
        await emission.bias()
        assert late.on
        table.instruments["late"] = late = Detector()
        await until(lambda: late.on)
        broken.refuses = True
        table.instruments["broken"] = broken
        await until(lambda: reports)
        assert not reports[0].ok
        assert "no answer" in reports[0].readback
        await asyncio.sleep(0.05)
        assert len(reports) == 1, "told once"
        first.on = False  # reconnected without bias, which returns only on request
        await asyncio.sleep(0.05)
        assert not first.on
        broken.refuses = False
        assert all(step["ok"] for step in await emission.switch(on=True))
        assert first.on
        assert broken.on


async def test_a_body_that_ends_right_after_its_light_learns_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("photonlink.pipeline.node.emitting.SAID_S", 0.04)
    table, laser, _ = bench()

    async def body() -> None:
        async with emitting(table):
            laser.on = False  # switched off by its key switch

    with pytest.raises(LightWentOff, match="laser reads dark"):
        await body()
