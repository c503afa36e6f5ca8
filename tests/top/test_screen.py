"""The terminal's screen: the reason for no key, figures with units, no text cut off."""

from __future__ import annotations

import dataclasses
import io
import re
from typing import Any

import pytest
from top.conftest import NOW, Heard, alarm, say

from photonlink.pipeline.node.report import Reporter
from photonlink.pipeline.status.model import (
    Alarm,
    BlockReport,
    InstrumentState,
    LinkState,
    Phase,
    Severity,
)
from photonlink.pipeline.status.payload import flatten
from photonlink.pipeline.top.lines import Lines
from photonlink.pipeline.top.marks import bar, quantity, spark
from photonlink.pipeline.top.model import LOG_LINES, Model
from photonlink.pipeline.top.screen import Choice, frame, head, link_rows, pane, situation

STATE = LinkState(
    Phase.SIFTING, rate_hz={"H": 40123.0}, coincidences_hz=23456.0, accidentals_hz=78.0,
    coincidence_to_accidental_ratio=300.7, clock_offset_s=0.0123456789, clock_frequency_ppm=-4.1,
    clock_drift_ppb_per_s=0.02, clock_lock_age_s=12.0, clock_locked=True, qber_hv=0.0201,
    qber_da=0.0263, sifted_bps=11801.0, skr_bps=2000.0, channel_bps=1.4e6, emulated=True,
    epsilon=3.03e-10, pads_left_bits=523136, key_stored_bits=95438, calibration_left_s=7000.0,
    assumptions="HOLD_OFF",
)  # fmt: skip
BLOCK = BlockReport(
    4, 200_000, 100_000, 100_000, 200_000, 0, 0.02, 0.02, 15_000, 1.05, 64, 40_000, 1024, 38_976,
    30_000, 1.1e-10, 0.08, 0.08, 40, 21.0, True,
)  # fmt: skip
PUMP = {
    "name": "pump", "driver": "toptica.dlc_pro", "provenance": "emulated",
    "identity": "Toptica DLC pro", "address": "tcp://127.0.0.1:1", "reason": "real one is absent",
}  # fmt: skip


def event(kind: str, record: Any, node: str = "alice") -> dict[str, Any]:
    return {"event": kind, "node": node, **flatten(record)}


def opened(node: str = "alice", *instruments: dict[str, Any]) -> dict[str, Any]:
    rows = list(instruments or (PUMP,))
    return {"event": "opened", "node": node, "link": "demo", "role": node, "instruments": rows}


def shown(model: Model, choice: Choice | None = None, width: int = 160) -> str:
    choice = choice or Choice(link=next(iter(model.board.links()), ""))
    lines = [head(model, width), *situation(model, choice, width), *pane(model, choice, width)]
    return "\n".join(line.plain for line in lines)


def from_events(*events: dict[str, Any]) -> Model:
    model = Model("bench", clock=lambda: NOW)
    for one in events:
        model.event(one)
    return model


def test_the_calibrations_time_left_and_the_assumptions_in_force_are_shown() -> None:
    found = shown(from_events(opened(), event("state", STATE)))
    assert "calibration valid for" in found
    assert "assumes HOLD_OFF" in found
    none = dataclasses.replace(STATE, calibration_left_s=None, assumptions="")
    found = shown(from_events(opened(), event("state", none)))
    assert "no calibration, assumes nothing of its own" in found


def test_a_nodes_events_show_the_link_with_all_its_figures() -> None:
    model = from_events(opened(), event("state", STATE), event("block", BLOCK))
    for text in (
        "EMULATED", "DLC PRO, emulated", "40.1 k/s", "23.5 k/s", "78.0 /s", "+12345.679 µs",
        "-4.1000 ppm", "2.01 %", "2.63 %", "of 8.00 %", "11.8 kbit/s", "2.00 kbit/s", "3.0e-10",
        "523 kbit", "95.4 kbit", "39.0 kbit net", "leak 15.0 kbit", "119 bit per sifted bit",
    ):  # fmt: skip
        assert text in shown(model), text


@pytest.mark.row("the terminal view loses QBER, key and alarms at 80x24")
def test_qber_key_and_alarms_are_there_at_80_columns(heard: Heard) -> None:
    """Ten instruments must not push QBER, key and alarms off a screen of 80×24."""
    model = heard("l0")
    for i in range(10):
        say(model, "l0", "alice", "instrument", f"spd-{i}", driver="sfifteen.irspd1",
            provenance="emulated", state="ok", last_error="")  # fmt: skip
    alarm(model, "l0", "bob", "no_key", text="3 blocks in a row without key")
    lines = shown(model, width=80).splitlines()
    assert len(lines) < 24
    assert all(len(line) <= 80 for line in lines)
    for text in (
        "QBER",
        "2.40 %",
        "key rate",
        "no key: 3 blocks",
        "12 × IRSPD1, emulated",
        "no_key",
    ):
        assert text in "\n".join(lines), text


def test_what_stops_key_comes_first_with_since_when(heard: Heard) -> None:
    model = heard("a", "b")
    alarm(model, "b", "alice", "qber_above_threshold", text="QBER 9.1 %")
    alarm(model, "b", "bob", "qber_above_threshold", text="QBER 9.1 %")
    lines = [line.plain for line in situation(model, Choice(), 100)]
    assert lines[0].startswith("▲ b: no key: QBER 9.1 % since ")
    assert lines[1] == "▲ qber_above_threshold b-alice, b-bob: QBER 9.1 %", "one line for both ends"
    assert [key for key, _ in link_rows(model, Choice(), 100, 5)] == ["b", "a"]
    say(model, "b", "alice", "alarm", "qber_above_threshold")
    say(model, "b", "bob", "alarm", "qber_above_threshold")
    assert not situation(model, Choice(), 100)


def test_many_alarms_are_counted_where_there_is_no_room(heard: Heard) -> None:
    model = heard("l0")
    for i in range(9):
        alarm(model, "l0", "alice", f"spd_{i}_lost", text="does not answer")
    lines = [line.plain for line in situation(model, Choice(), 80, most=4)]
    assert len(lines) == 4
    assert lines[-1] == "… 7 more: key 3"
    assert "spd_8_lost" in shown(model, Choice(pane="alarms"))


def test_lost_instruments_come_first_and_say_why(heard: Heard) -> None:
    model = heard("l0")
    say(model, "l0", "alice", "instrument", "pump", driver="toptica.dlc_pro", provenance="real",
        state="lost", last_error="no answer for 5 s")  # fmt: skip
    lines = shown(model, Choice("l0", "instruments")).splitlines()
    first = next(i for i, line in enumerate(lines) if "(l0-alice)" in line) + 1
    assert lines[first].startswith("▲ DLC PRO, real  pump  LOST")
    assert "no answer for 5 s" in lines[first + 1]
    assert "2 × IRSPD1, emulated  spd-h, spd-v" in "\n".join(lines)
    unfolded = shown(model, Choice("l0", "instruments", unfolded=True))
    assert "● IRSPD1, emulated  spd-h\n" in unfolded
    assert "temperature_act_c -20.1" in unfolded


def test_a_block_without_key_says_why() -> None:
    burnt = dataclasses.replace(BLOCK, net_bits=0, abort="qber_above_threshold")
    model = from_events(opened(), event("state", STATE), event("block", burnt))
    assert "last: no key: qber_above_threshold" in shown(model)
    assert "alice: block 4: no key: qber_above_threshold" in shown(model, Choice(pane="log"))


def test_alarms_are_shown_and_cleared() -> None:
    lost = Alarm("clock_lost", Severity.MAJOR, "looking for it again")
    model = from_events(opened(), event("state", STATE), event("alarm", lost))
    assert "▲ clock_lost alice: looking for it again" in shown(model)
    model.event(event("alarm", dataclasses.replace(lost, active=False)))
    assert "▲ clock_lost" not in shown(model)
    assert "cleared: alice: clock_lost" in shown(model, Choice(pane="log"))


def test_what_is_not_known_is_a_dash() -> None:
    model = from_events(opened(), event("state", LinkState(Phase.CONNECTING)))
    assert "waiting for the peer" in shown(model)
    assert "not locked" in shown(model)
    assert "key rate –" in shown(model)


def test_an_instrument_that_is_lost_keeps_what_was_known_of_it() -> None:
    model = from_events(opened())
    gone = InstrumentState("pump", "toptica.dlc_pro", "1", "emulated", "lost", "unplugged")
    model.event(event("instrument", gone))
    lines = shown(model, Choice("demo", "instruments"))
    assert "LOST" in lines
    assert "unplugged" in lines
    assert "Toptica DLC pro" in lines


def test_a_broker_that_is_away_is_named(heard: Heard) -> None:
    model = heard("l0")
    model.trouble = lambda: "nothing listens at the broker's address"
    assert "▲ broker: nothing listens" in shown(model)


@pytest.mark.parametrize("payload", [b"[" * 5000, b"x" * 30_000, b'{"v":3,"ts":1}', b"\xff"])
def test_a_hostile_message_is_named_and_changes_nothing(heard: Heard, payload: bytes) -> None:
    model = heard("l0")
    before = shown(model)
    for _ in range(3):
        model.message("photonlink/v2/lab/l0-alice/link/l0/state", payload)
    assert shown(model) == before
    assert model.board.refused == 3
    assert "lab/l0-alice: message refused" in model.log[-1].text
    assert "refused" not in model.log[-2].text, "said once"


def test_control_characters_of_a_publisher_do_not_reach_the_terminal(heard: Heard) -> None:
    model = heard("l0")
    alarm(model, "l0", "alice", "no_key", text="\x1b[2J\x1b]0;owned\x07 boo")
    assert "\x1b" not in shown(model)
    assert "\x07" not in shown(model, Choice(pane="log"))


def test_the_log_has_a_bound(heard: Heard) -> None:
    model = heard("l0")
    for i in range(LOG_LINES + 10):
        model.say("soft", str(i))
    assert len(model.log) == LOG_LINES


def test_150_links_are_listed_around_the_chosen_one(heard: Heard) -> None:
    model = heard(*(f"l{i:03}" for i in range(150)))
    rows = link_rows(model, Choice(link="l120", sort="name"), 80, 8)
    assert len(rows) == 8
    assert "l120" in [key for key, _ in rows]
    assert "150 of 150 links make key" in head(model, 80).plain
    assert [key for key, _ in link_rows(model, Choice(filter="l12"), 80, 20)] == [
        f"l12{i}" for i in range(10)
    ]


def test_the_frame_at_the_end_has_every_link(heard: Heard) -> None:
    text = frame(heard("l0", "l1"), 80).plain
    assert text.count("key rate") == 2


def test_lines_have_time_stamps_and_figures() -> None:
    now = [NOW]
    model, out = Model("demo", clock=lambda: now[0]), io.StringIO()
    lines = Lines(model, out)
    for one in (opened(), event("state", STATE), event("block", BLOCK)):
        lines.event(one)
    now[0] += 11
    lines.event(event("state", STATE))
    said = out.getvalue().splitlines()
    assert all(re.match(r"20\d\d-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d ", line) for line in said)
    assert any("alice: block 4: 38,976 bits net of 200,000 sifted" in line for line in said)
    assert said[-1].endswith("demo: making key, 2.00 kbit/s, QBER 2.63 %, EMULATED")


def test_lines_survive_a_reader_that_has_gone() -> None:
    out = io.StringIO()
    lines = Lines(Model("demo"), out)
    out.close()
    lines.event(opened())


@pytest.mark.row("no time stamp in any line")
def test_without_a_terminal_a_nodes_events_are_lines_to_read() -> None:
    out = io.StringIO()
    report = Reporter("alice", json_lines=False, out=out)
    report.record(STATE)
    report.record(BLOCK)
    rows = [{"name": "pump", "address": "tcp://a:1", "reason": ""}, {"name": "tagger"}]
    report.event("opened", instruments=rows)
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


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (0.0, "0 b"), (0.5, "0.500 b"), (1.0, "1.00 b"),
     (999.9, "1000 b"), (2345.0, "2.35 kb"), (1.5e6, "1.50 Mb"), (2e10, "20.0 Gb")],
)  # fmt: skip
def test_quantities_have_three_digits_and_a_unit(value: float | None, text: str) -> None:
    assert quantity(value, "b") == text


def test_bars_and_sparklines() -> None:
    assert bar(0.5, 4) == "██··"
    assert bar(None, 2) == "··"
    assert bar(7.0, 3) == "███"
    assert spark([None, 0.0, 4.0, 8.0], 5) == "  ▁▅█"
    assert spark([], 3) == "   "
