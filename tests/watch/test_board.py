"""The board of watch: the state of a link as text, alarms, and refused messages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watch import figures as f

from photonlink.pipeline.watch.board import MAX_ALARMS, Board, detail, tile, words
from photonlink.pipeline.watch.intake import MAX_PAYLOAD_BYTES, Refused, number, parse

NOW = 1_700_000_000.0


def fed(*messages: tuple[str, bytes, bool], now: float = NOW) -> Board:
    board = Board()
    for topic, payload, _ in messages:
        board.feed(parse(topic, payload), now)
    return board


def link_words(board: Board, now: float = NOW) -> tuple[str, str, float | None]:
    (nodes,) = board.links().values()
    return words(nodes, now)


def test_a_link_that_makes_key_says_so() -> None:
    board = fed(*f.whole_link("lab", "l0", NOW))
    assert link_words(board)[:2] == ("ok", "making key")
    (nodes,) = board.links().values()
    shown = tile("l0", nodes, NOW)
    assert shown["emulated"] is True
    assert shown["qber"] == pytest.approx(0.024)


def test_a_major_alarm_says_why_and_since_when() -> None:
    board = fed(*f.whole_link("lab", "l0", NOW))
    body = f.dump(f.alarm("lab", "l0", "alice", NOW - 500, "qber_above_threshold"))
    board.feed(parse(f.topic("lab", "l0", "alice", "alarm", "qber_above_threshold"), body), NOW)
    assert link_words(board) == ("bad", "no key: QBER 9.1 %", NOW - 500)
    board.feed(parse(f.topic("lab", "l0", "alice", "alarm", "qber_above_threshold"), b""), NOW)
    assert link_words(board)[0] == "ok"


def test_a_node_that_is_offline_or_silent_shows_no_key() -> None:
    board = fed(*f.whole_link("lab", "l0", NOW))
    assert link_words(board, NOW + 31)[:2] == ("off", "offline")
    for role in f.ROLES:
        gone = f.head("lab", "l0", role, NOW) | {"status": "offline"}
        board.feed(parse(f.topic("lab", "l0", role, "status"), f.dump(gone)), NOW)
    assert link_words(board)[0] == "off"


def test_alarms_of_a_dead_node_do_not_decide() -> None:
    """After the broker published a node's will, its earlier messages are not valid."""
    board = fed(*f.whole_link("lab", "l0", NOW))
    code = "connection_lost"
    body = f.dump(f.alarm("lab", "l0", "bob", NOW, code))
    board.feed(parse(f.topic("lab", "l0", "bob", "alarm", code), body), NOW)
    gone = f.head("lab", "l0", "bob", NOW) | {"status": "offline"}
    board.feed(parse(f.topic("lab", "l0", "bob", "status"), f.dump(gone)), NOW)
    assert "connection_lost" not in link_words(board)[1]


def test_two_links_of_one_name_are_told_apart_by_site() -> None:
    board = fed(*f.whole_link("one", "l0", NOW), *f.whole_link("two", "l0", NOW))
    assert sorted(board.links()) == ["l0@one", "l0@two"]


def test_a_link_between_two_sites_is_one() -> None:
    messages = [m for m in f.whole_link("west", "l0", NOW) if "alice" in m[0]]
    messages += [m for m in f.whole_link("east", "l0", NOW) if "bob" in m[0]]
    board = fed(*messages)
    assert list(board.links()) == ["l0"]


def test_a_clock_that_is_wrong_by_a_day_is_named() -> None:
    board = fed(*f.whole_link("lab", "l0", NOW + 86_400))
    (nodes,) = board.links().values()
    assert tile("l0", nodes, NOW)["clock_off_s"] == pytest.approx(86_400)


HOSTILE = {
    "huge": b"{" + b" " * MAX_PAYLOAD_BYTES + b"}",
    "deep": b"[" * 9_000,
    "no object": b"[1]",
    "no json": b"\xff\xfe",
    "nan": b'{"v":2,"ts":NaN}',
    "future version": b'{"v":3,"ts":1}',
    "time is text": b'{"v":2,"ts":"now"}',
    "time is huge": b'{"v":2,"ts":1' + b"0" * 400 + b"}",
    "many fields": json.dumps({"v": 2, "ts": 1} | {str(i): i for i in range(500)}).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_payload_is_refused_and_named(name: str) -> None:
    board = fed(*f.whole_link("lab", "l0", NOW))
    with pytest.raises(Refused) as why:
        parse(f.topic("lab", "l0", "alice", "link", "l0", "state"), HOSTILE[name])
    board.refuse(why.value, NOW)
    (nodes,) = board.links().values()
    assert tile("l0", nodes, NOW)["refused"] == 1
    assert detail("l0", nodes, NOW)["ends"][0]["refused_why"]


@pytest.mark.parametrize(
    "topic",
    ["", "photonlink/v2", "photonlink/v2/lab", "photonlink/v1/lab/n/status", "photonlink/v2/L/n/x",
     "photonlink/v2/lab/n/key/secret", "photonlink/v2/lab/n/alarm/<img>",
     "photonlink/v2/" + "a/" * 300],
)  # fmt: skip
def test_a_topic_outside_the_layout_is_refused(topic: str) -> None:
    with pytest.raises(Refused):
        parse(topic, b"{}")


def test_fields_of_the_wrong_type_are_no_numbers() -> None:
    body = f.state("lab", "l0", "alice", NOW, skr_bps="fast", qber_hv=[1], qber_da=True)
    message = parse(f.topic("lab", "l0", "alice", "link", "l0", "state"), f.dump(body))
    assert number(message.body, "skr_bps") is None
    assert number(message.body, "qber_da") is None


def test_names_are_bounded() -> None:
    board = fed(*f.whole_link("lab", "l0", NOW))
    body = f.dump(f.alarm("lab", "l0", "alice", NOW, "x"))
    messages = [
        parse(f.topic("lab", "l0", "alice", "alarm", f"a{i}"), body) for i in range(MAX_ALARMS + 1)
    ]
    for message in messages[:-1]:
        board.feed(message, NOW)
    with pytest.raises(Refused, match="alarms"):
        board.feed(messages[-1], NOW)


@settings(max_examples=150)
@given(st.binary(max_size=300), st.sampled_from(["status", "meta", "link/l0/state", "alarm/x"]))
def test_no_payload_raises_anything_but_refused(payload: bytes, rest: str) -> None:
    board = Board()
    for role in f.ROLES:
        try:
            message = parse(f.topic("lab", "l0", role, *rest.split("/")), payload)
            board.feed(message, NOW)
        except Refused:
            continue
    for key, nodes in board.links().items():
        json.dumps(detail(key, nodes, NOW))


def test_a_node_tells_its_place_where_it_has_one() -> None:
    import jsonschema

    from photonlink.pipeline.status.payload import encode_meta, schema
    from photonlink.pipeline.status.topics import Speaker

    def meta(position: tuple[float, float] | None) -> dict[str, object]:
        speaker = Speaker("lab", "n", "l0", "alice", position)
        payload = encode_meta(speaker, 1.0, peer_node=None, software="x", emulated=True)
        found: dict[str, object] = json.loads(payload)
        jsonschema.validate(found, schema("meta"))
        return found

    assert "latitude" not in meta(None)
    assert meta((48.2, 16.4))["longitude"] == 16.4
