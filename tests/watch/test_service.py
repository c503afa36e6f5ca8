"""Alarms at the watcher: they end with their node, and flapping is counted."""

from __future__ import annotations

from typing import Any

import pytest
from watch import figures as f

from photonlink.pipeline.watch.history import History
from photonlink.pipeline.watch.service import Watch

NOW = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Any:
    made = Watch(History(":memory:"), clock=clock)
    for topic, payload, _ in f.whole_link("lab", "l0", NOW):
        made.feed(topic, payload)
    yield made
    made.history.close(NOW)


def raise_(watch: Watch, code: str = "no_key") -> str:
    topic = f.topic("lab", "l0", "alice", "alarm", code)
    watch.feed(topic, f.dump(f.alarm("lab", "l0", "alice", NOW, code)))
    return topic


def kinds(watch: Watch) -> list[str]:
    watch.history.flush(watch.clock())
    found = watch.history.events(0, 2 * NOW)
    return [
        f"{e['kind']} {e['code']}" for e in reversed(found) if e["kind"] in ("raised", "cleared")
    ]


def test_an_alarm_is_raised_once_and_cleared_once(watch: Watch) -> None:
    topic = raise_(watch)
    raise_(watch)
    watch.feed(topic, b"")
    watch.feed(topic, b"")
    assert kinds(watch) == ["raised no_key", "cleared no_key"]
    assert watch.alarms() == []


def test_no_alarm_outlives_a_node_that_goes(watch: Watch) -> None:
    raise_(watch)
    gone = f.head("lab", "l0", "alice", NOW) | {"status": "offline"}
    watch.feed(f.topic("lab", "l0", "alice", "status"), f.dump(gone))
    assert watch.alarms() == []
    assert watch.snapshot()["links"][0]["alarms"] == 0
    assert kinds(watch) == ["raised no_key", "cleared no_key"]
    raise_(watch)  # a retained message of the ended run reaches a watch that starts later
    assert watch.alarms() == []


def test_flapping_is_counted_for_a_day(watch: Watch, clock: Clock) -> None:
    for _ in range(5):
        watch.feed(raise_(watch), b"")
    raise_(watch)
    assert watch.alarms()[0]["raised_in_a_day"] == 6
    clock.now += 90_000
    assert watch.flaps("lab/l0-alice", "no_key", clock.now) == 0


def test_a_clock_that_is_off_is_an_alarm_until_it_is_right(watch: Watch, clock: Clock) -> None:
    for ahead in (86_400.0, 86_400.0, 0.0):
        state = f.state("lab", "l0", "alice", clock.now + ahead)
        watch.feed(f.topic("lab", "l0", "alice", "link", "l0", "state"), f.dump(state))
        watch.look()
    assert kinds(watch) == ["raised host_clock_off", "cleared host_clock_off"]


def test_a_node_that_is_online_and_silent_is_an_alarm(watch: Watch, clock: Clock) -> None:
    clock.now += 31
    watch.look()
    watch.look()
    assert {a["code"] for a in watch.alarms()} == {"node_silent"}
    assert all(a["action"] for a in watch.alarms())
    for topic, payload, _ in f.whole_link("lab", "l0", clock.now):
        watch.feed(topic, payload)
    watch.look()
    assert watch.alarms() == []


def test_what_is_refused_is_logged_once(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    topic = f.topic("lab", "l0", "alice", "link", "l0", "state")
    for _ in range(3):
        watch.feed(topic, b'{"v":3,"ts":1}')
    assert [r.getMessage() for r in caplog.records] == [
        "lab/l0-alice: message refused: schema version '3', not 2"
    ]
    assert watch.detail("l0")["ends"][0]["refused_why"] == "schema version '3', not 2"  # type: ignore[index]


def test_ten_thousand_topics_and_a_mebibyte_harm_nothing(watch: Watch) -> None:
    for i in range(10_000):
        body = f.dump(f.state("lab", f"x{i}", "alice", NOW))
        watch.feed(f.topic("lab", f"x{i}", "alice", "link", f"x{i}", "state"), body)
    topic = f.topic("lab", "l0", "bob", "link", "l0", "state")
    watch.feed(topic, b"x" * (1 << 20))
    watch.feed(topic, b'{"a":' * 100_000)
    assert len(watch.board.nodes) == 2_000
    assert watch.board.refused == 8_004
    shown = watch.snapshot()
    assert "more than 2000 nodes" in shown["refused_elsewhere"]
    link = next(t for t in shown["links"] if t["key"] == "l0")
    assert (link["words"], link["refused"]) == ("making key", 2)
