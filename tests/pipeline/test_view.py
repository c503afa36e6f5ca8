"""What a person sees: the figures that are there, a dash for those that are not."""

from __future__ import annotations

import dataclasses
import io
import re
from typing import Any

from rich.console import Console

from photonlink.pipeline.node.report import Reporter
from photonlink.pipeline.status.model import Alarm, BlockReport, LinkState, Phase, Severity
from photonlink.pipeline.status.payload import flatten
from photonlink.pipeline.status.terminal import LinkView

STATE = LinkState(
    Phase.SIFTING, rate_hz={"H": 40123.0}, coincidences_hz=23456.0, accidentals_hz=78.0,
    coincidence_to_accidental_ratio=300.7, clock_offset_s=0.0123456789, clock_frequency_ppm=-4.1,
    clock_drift_ppb_per_s=0.02, clock_lock_age_s=12.0, clock_locked=True, qber_hv=0.0201,
    qber_da=0.0263, sifted_bps=11801.0, skr_bps=2000.0, channel_bps=1.4e6, emulated=True,
    epsilon=3.03e-10, pads_left_bits=523136, key_stored_bits=95438,
)  # fmt: skip
BLOCK = BlockReport(
    4, 200_000, 100_000, 100_000, 0.02, 0.02, 15_000, 1.05, 64, 40_000, 1024, 38_976, 30_000,
    1.1e-10, 0.08, 40, 21.0, True,
)  # fmt: skip


def _shown(view: LinkView) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(view.render())
    return console.export_text()


def _event(kind: str, record: Any) -> dict[str, Any]:
    return {"event": kind, "node": "alice", **flatten(record)}


def test_a_link_is_shown_with_all_its_figures() -> None:
    view = LinkView("bench")
    view.update(
        {
            "event": "opened",
            "node": "alice",
            "instruments": [
                {
                    "name": "pump", "provenance": "emulated", "identity": "Toptica DLC pro",
                    "address": "tcp://127.0.0.1:1", "reason": "absent",
                }
            ],
        }
    )  # fmt: skip
    view.update(_event("state", STATE))
    view.update(_event("block", BLOCK))
    shown = _shown(view)
    for text in (
        "EMULATED", "DLC pro", "40,123", "23,456", "78.0", "301", "+12.345679 ms", "-4.1000 ppm",
        "2.01% / 2.63%", "11,801 bit/s", "3e-10", "523,136", "38,976 bits net", "f = 1.050",
        "30,000",
    ):  # fmt: skip
        assert text in shown, text


def test_a_block_without_key_says_why() -> None:
    view = LinkView("bench")
    view.update(_event("state", STATE))
    view.update(_event("block", dataclasses.replace(BLOCK, net_bits=0, abort="qber_above")))
    assert "no key: qber_above" in _shown(view)


def test_alarms_are_shown_and_cleared() -> None:
    view = LinkView("bench")
    alarm = Alarm("clock_lost", Severity.MAJOR, "looking for it again")
    view.update(_event("alarm", alarm))
    assert "! alice: clock_lost" in _shown(view)
    view.update(_event("alarm", dataclasses.replace(alarm, active=False)))
    assert "cleared: alice: clock_lost" in _shown(view)


def test_what_is_not_known_is_a_dash_and_what_was_known_stays() -> None:
    view = LinkView("bench")
    view.update(_event("state", LinkState(Phase.CONNECTING)))
    assert "not locked" in _shown(view)
    view.update(_event("state", STATE))
    view.update(_event("state", LinkState(Phase.CLOSED)))
    shown = _shown(view)
    assert "closed" in shown
    assert "23,456" in shown


def test_without_a_terminal_events_are_lines_to_read() -> None:
    out = io.StringIO()
    report = Reporter("alice", json_lines=False, out=out)
    report.record(STATE)
    report.record(BLOCK)
    opened = [{"name": "pump", "address": "tcp://a:1", "reason": ""}, {"name": "tagger"}]
    report.event("opened", instruments=opened)
    report.event("summary", secret_bits=0, qber=None, f_ec=1.0412345678, aborts=["one", "two"])
    stamped = out.getvalue().splitlines()
    first = re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00 (.*)", stamped[0])
    assert first
    lines = [re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+\+00:00 ", "", line) for line in stamped]
    assert first[1].startswith("block: block=4, sifted_bits=200000, ")
    assert "abort" not in lines[0]
    assert lines[1:] == [
        "opened instruments: name=pump, address=tcp://a:1",
        "opened instruments: name=tagger",
        "summary: secret_bits=0, f_ec=1.04123",
        "summary aborts: one",
        "summary aborts: two",
    ]
