"""The catalogue of alarms contains every alarm in the sources, and each alarm can end."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from link import Wire, pair

from photonlink.hal.supervisor import Lost
from photonlink.pipeline.node.node import Node
from photonlink.pipeline.protocol.messages import Refuse
from photonlink.pipeline.status.alarms import (
    CATALOGUE,
    CLEARED_BY_HANDSHAKE,
    OF_INSTRUMENTS,
    KeyWatch,
    alarm,
    instrument_code,
    kind_of,
)
from photonlink.pipeline.status.model import Alarm, BlockReport

PIPELINE = Path(__file__).parents[2] / "pipeline"
RAISES = re.compile(r'(?:raise_alarm|ProtocolError|[^_.]alarm|_alarm)\(\s*"([a-z0-9_]+)"')


def _raised() -> set[str]:
    sources = "\n".join(p.read_text() for p in PIPELINE.rglob("*.py") if p.name != "alarms.py")
    return set(RAISES.findall(sources))


def test_every_alarm_that_the_sources_raise_is_in_the_catalogue() -> None:
    raised = _raised()
    assert len(raised) > 25, "the search finds them"
    assert not {code for code in raised if kind_of(code) is None}


def test_every_entry_says_what_to_do_and_what_ends_it() -> None:
    for kind in (*CATALOGUE.values(), *OF_INSTRUMENTS.values()):
        assert kind.cause
        assert kind.action
        assert re.fullmatch(r"[a-z0-9_]+", kind.code)
        assert kind.clears


def test_an_unknown_alarm_is_refused() -> None:
    with pytest.raises(KeyError):
        alarm("no_such_thing")
    with pytest.raises(KeyError):
        instrument_code("pump", "no_such_thing")
    assert instrument_code("spd-h", "lost") == "spd_h_lost"


@pytest.mark.row("alarms that outlive their cause within a run")
def test_alarms_of_a_connection_end_with_the_next_handshake() -> None:
    assert {"acquisition_restarted", "refused_by_peer", "phase_timeout"} <= set(
        CLEARED_BY_HANDSHAKE
    )


@pytest.mark.row("alarms that outlive their cause within a run")
def test_a_refusal_is_an_alarm_until_the_next_handshake() -> None:
    alice, bob = pair()
    wire = Wire(alice, bob, lambda n, who, data: [Refuse(b'{"code":"x","text":"y"}').encode()])
    wire.connect()
    refused = [a.active for a in alice.alarms if a.code == "refused_by_peer"]
    assert refused
    assert all(refused)
    wire.hook = None
    wire.connect()
    assert [a.active for a in alice.alarms if a.code == "refused_by_peer"] == [*refused, False]


@pytest.mark.row("spd_h_lost: without a reason")
@pytest.mark.parametrize("reason", ["no reply within 0.5 s", ""])
def test_the_alarm_of_a_lost_instrument_has_a_reason(reason: str) -> None:
    told: list[Alarm] = []
    node: Any = SimpleNamespace(_record=told.append, _losses=0)
    Node._instrument_event(node, Lost("spd-h", reason))
    assert told == [alarm("spd_h_lost", f"spd-h: {reason or 'it gave no reason'}")]


def _block(abort: str | None) -> BlockReport:
    return BlockReport(
        1, 1000, 500, 500, 1000, 0, 0.1, 0.14, 0, None, 64, 0, 0, 0, 0, 0.0, 0.08, 0.08, 4, 1.0,
        True, abort,
    )  # fmt: skip


@pytest.mark.row("no alarm for aborted blocks, a bench that did not open, zero key")
def test_blocks_above_the_threshold_and_zero_key_are_alarms_until_there_is_key() -> None:
    watch = KeyWatch()
    above = "qber_above_threshold: 14.0% in DA, 8.0% agreed"
    assert watch.block(_block(above)) == watch.block(_block(above)) == []
    raised = watch.block(_block(above))
    assert [a.code for a in raised] == ["qber_above_threshold", "no_key"]
    assert "14.0%" in raised[0].text
    assert watch.block(_block(above)) == [], "said once"
    cleared = watch.block(_block(None))
    assert {(a.code, a.active) for a in cleared} == {
        ("qber_above_threshold", False),
        ("no_key", False),
    }
