"""Interlock rules: reading, contradictions, durations, latch, optional parts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from photonlink.hal import interlock as interlock_module
from photonlink.hal.errors import BenchError, LinkBusy, LinkClosed, StationError
from photonlink.hal.interlock import InterlockRule, Interlocks, InterlockTripped, RuleState
from photonlink.hal.opening import open_bench
from photonlink.hal.ownership import Claims, owner_of
from photonlink.hal.station import BenchStation, parse_station
from photonlink.hal.supervisor import BackOff, Found, Lost, Supervisor

STATION = """schema = 2
name = "t"
[instruments.pump]
driver = "toptica.dlc_pro"
address = "tcp://127.0.0.1:1"
settings = { current_ma = 100.0 }
"""


def rules(*texts: str) -> BenchStation:
    tables = "".join(f"[[interlock]]\n{text}\n" for text in texts)
    return parse_station(STATION + tables, BenchStation)


def test_a_rule_is_read() -> None:
    rule = rules('when = "pump.temperature_act_c > 30"\nfor = 2\nthen = "safe pump"').interlock[0]
    assert (rule.for_s, rule.targets, rule.latch) == (2.0, ("pump",), True)
    assert rule.holds(31.0)
    assert not rule.holds(30.0)
    assert rule.holds(None)
    assert rule.holds(float("nan"))
    open_ = rules('when = "pump.interlock_open == true"').interlock[0]
    assert open_.holds(True)
    assert not open_.holds(False)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (('when = "pump is hot"',), "cannot be read"),
        (('when = "pmp.health > 1"',), "no instrument 'pmp'"),
        (('when = "pump.helth > 1"',), "no parameter 'helth'"),
        (('when = "pump.health > 1"\nthen = "safe bob"',), "no instrument 'bob'"),
        (('when = "pump.health > 1"\nthen = "open pump"',), "then"),
        (('when = "pump.interlock_open > 1"',), "no number"),
        (('when = "pump.interlock_open == 1"',), "not true or false"),
        (('when = "pump.health > nan"',), "not finite"),
        (('when = "pump.current_set_ma > 20000"',), "can never hold"),
        (('when = "pump.current_set_ma > 90"',), "the station itself sets current_set_ma to 100"),
        (
            ('when = "pump.temperature_act_c > 20"', 'when = "pump.temperature_act_c < 30"'),
            "contradict each other",
        ),
    ],
)
def test_a_rule_that_cannot_be_is_refused(tables: tuple[str, ...], words: str) -> None:
    with pytest.raises(StationError, match=words) as refused:
        rules(*tables)
    assert "station:" in str(refused.value), "with its line"


async def test_a_rule_trips_after_its_time_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(interlock_module.time, "monotonic", lambda: clock[0])
    values: dict[str, Any] = {"x": 1.0, "y": 1.0}
    told: list[tuple[str, bool]] = []
    made_safe: list[tuple[str, ...]] = []

    async def read(_: str, parameter: str) -> Any:
        if values[parameter] is None:
            raise LinkClosed("gone")
        return values[parameter]

    async def safe(names: tuple[str, ...]) -> None:
        made_safe.append(names)

    first = InterlockRule.model_validate({"when": "a.x > 5", "for": 2.0})
    second = InterlockRule(when="a.y > 5", then="safe b", latch=False)
    watch = Interlocks(
        {first: RuleState(), second: RuleState()}, read, safe,
        lambda rule, tripped: told.append((rule.when, tripped)),
    )  # fmt: skip
    await watch.check()
    values["x"] = 6.0
    with pytest.raises(InterlockTripped):
        await watch.check()
    assert not made_safe, "it has not held for 2 s"
    clock[0] = 2.0
    await watch.look()
    assert (made_safe, told) == ([()], [("a.x > 5", True)])
    values["x"] = 1.0
    with pytest.raises(InterlockTripped, match=r"a\.x > 5"):
        await watch.check()
    values["y"] = None
    await watch.look()
    assert made_safe[-1] == ("b",), "no reading counts as holding"
    values["y"] = 1.0
    await watch.look()
    assert told[-1] == ("a.y > 5", False)


async def test_a_bench_starts_without_what_is_optional() -> None:
    with pytest.raises(BenchError):
        await open_bench(rules())
    station = parse_station(STATION.replace("settings", "optional = true\nsettings"), BenchStation)
    bench = await open_bench(station)
    assert "nothing listens there" in bench.missing["pump"]
    events: list[Any] = []
    supervisor = Supervisor(bench, events.append, back_off=BackOff(0.01, 0.02))
    task = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(10):
        while not events:  # noqa: ASYNC110 - the supervisor's report
            await asyncio.sleep(0.01)
    assert isinstance(events[0], Lost)
    assert not [e for e in events if isinstance(e, Found)]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bench.close()


def test_an_instrument_has_one_owner() -> None:
    first, second = Claims(), Claims()
    first.claim("tcp://127.0.0.1:9?monitor=10", "pump")
    owner = owner_of("tcp://127.0.0.1:9")
    assert owner is not None
    assert owner.alive
    assert owner.instrument == "pump"
    with pytest.raises(LinkBusy, match="has it open"):
        second.claim("tcp://127.0.0.1:9", "pump")
    first.release()
    second.claim("tcp://127.0.0.1:9", "pump")
    second.release()
    assert owner_of("tcp://127.0.0.1:9") is None
