"""One catalogue, from which the page is made; alarms are raised once and cleared once."""

from __future__ import annotations

import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from photonlink.pipeline.node.health import HOT_LOOKS, Health
from photonlink.pipeline.status.alarm_page import PAGE, page
from photonlink.pipeline.status.alarms import (
    CATALOGUE,
    OF_INSTRUMENTS,
    OF_WATCHERS,
    alarm,
    kind_of,
)
from photonlink.pipeline.status.model import Alarm, BlockReport, LinkState, Phase, Severity
from photonlink.pipeline.status.payload import schema
from photonlink.pipeline.status.system_log import SystemLog

ROOT = Path(__file__).parents[2]
Usage = namedtuple("Usage", "total used free")


def test_the_page_is_that_of_the_catalogue() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("kinds", [CATALOGUE, OF_INSTRUMENTS, OF_WATCHERS])
def test_every_entry_says_cause_and_action(kinds: dict[str, object]) -> None:
    pattern = schema("alarm")["properties"]["code"]["pattern"]
    import re

    for code in kinds:
        kind = kind_of(code if kinds is not OF_INSTRUMENTS else f"spd_h_{code}")
        assert kind is not None
        assert kind.cause
        assert kind.action
        assert re.fullmatch(pattern, code)


class Told(list[tuple[str, bool]]):
    """Alarms in order: code and whether active."""

    def __call__(self, record: Alarm) -> None:
        self.append((record.code, record.active))


@pytest.fixture
def told() -> Told:
    return Told()


def _health(told: Told, tmp_path: Path) -> Health:
    return Health(tmp_path, 600.0, told)


def test_a_full_disk_is_raised_once_and_cleared_once(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = _health(told, tmp_path)
    free = [1 << 20]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free[0]))
    for _ in range(3):
        health.look({}, 0.0)
    free[0] = 1 << 40
    health.look({}, 0.0)
    health.look({}, 0.0)
    assert told == [("disk_low", True), ("disk_low", False)]


def test_a_hot_detector_is_named_after_half_a_minute(told: Told, tmp_path: Path) -> None:
    health = _health(told, tmp_path)
    warm = {"spd-h": {"temperature_act_c": -10.0, "temperature_set_c": -20.0, "bias": True},
            "pump": {"temperature_act_c": 40.0}}  # fmt: skip
    for _ in range(HOT_LOOKS - 1):
        health.look(warm, 0.0)
    assert told == [], "it may be cooling down"
    health.look(warm, 0.0)
    health.look({"spd-h": {"temperature_act_c": -19.9, "temperature_set_c": -20.0}}, 0.0)
    assert told == [("spd_h_hot", True), ("spd_h_hot", False)]


def _state(h_hz: float = 20e3, phase: Phase = Phase.SIFTING, pads: int = 0) -> LinkState:
    rates = {"H": h_hz, "V": 20e3, "D": 20e3, "A": 20e3}
    return LinkState(phase, rate_hz=rates, pads_left_bits=pads)


def test_a_silent_detector_is_named_and_cleared(told: Told, tmp_path: Path) -> None:
    health = _health(told, tmp_path)
    for t in range(40):
        health.state(_state(h_hz=3.0), float(t))
    health.state(_state(), 41.0)
    health.state(LinkState(Phase.SIFTING), 42.0)
    assert told == [("detector_silent", True), ("detector_silent", False)]


def _block(net: int) -> BlockReport:
    return BlockReport(
        4, 200_000, 100_000, 100_000, 200_000, 0, 0.02, 0.02, 15_000, 1.05, 64, net, 1024, net,
        30_000, 1.1e-10, 0.08, 0.08, 40, 21.0, True,
    )  # fmt: skip


def test_key_that_is_overdue_is_named_until_the_next_block(told: Told, tmp_path: Path) -> None:
    health = _health(told, tmp_path)
    health.look({}, 1e6)
    health.state(_state(), 0.0)
    health.look({}, 1790.0)
    assert told == []
    health.look({}, 1801.0)
    health.look({}, 1900.0)
    health.block(_block(0), 1950.0)
    health.look({}, 1951.0)
    health.block(_block(100), 2000.0)
    health.look({}, 2001.0)
    assert told == [("key_overdue", True), ("key_overdue", False)]
    health.state(_state(phase=Phase.CONNECTING), 2002.0)
    health.look({}, 9000.0)
    assert len(told) == 2, "without a peer the link says so itself"


def test_days_of_pads_are_those_of_the_last_hour(told: Told, tmp_path: Path) -> None:
    health = _health(told, tmp_path)
    shown = [health.state(_state(pads=86_400_000 - 100 * t), float(t)) for t in range(0, 7200, 6)]
    assert shown[0].pads_days is None
    assert shown[-1].pads_days == pytest.approx(9.9, abs=0.2)
    low = health.told(alarm("pads_low", "a quarter is left"))
    assert "they last 9.9 days" in low.text
    growing = _health(told, tmp_path)
    found = [growing.state(_state(pads=100 * t), float(t)).pads_days for t in range(0, 600, 6)]
    assert found[-1] is None


@pytest.mark.parametrize("kind", ["journal", "syslog"])
def test_alarms_reach_the_systems_log(tmp_path: Path, kind: str) -> None:
    paths = {"journal": tmp_path / "journal", "syslog": tmp_path / "syslog"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(paths[kind]))
        log.settimeout(5)
        system = SystemLog(**paths)
        assert system.where == kind
        system.alarm("lab/l0-alice", Alarm("no_key", Severity.MAJOR, "three\nblocks"))
        said = log.recv(4096).decode()
        system.close()
    assert "lab/l0-alice: raised no_key: three blocks" in said, "one line, whatever the text"
    if kind == "journal":
        assert "PHOTONLINK_ALARM=no_key\n" in said
        assert "PRIORITY=3\n" in said
    else:
        assert said.startswith("<27>photonlink: ")


def test_without_a_system_log_nothing_waits_or_fails(tmp_path: Path) -> None:
    system = SystemLog(tmp_path / "none", tmp_path / "neither")
    assert system.where == ""
    system.alarm("n", Alarm("no_key", Severity.MAJOR, "x"))
    system.close()
