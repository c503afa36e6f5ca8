"""Peers that are incompatible, request too much, send invalid messages, or exhaust resources."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from link import (
    BENCH,
    SMALL,
    Node,
    Wire,
    feed,
    keys,
    narrow_clock_search,
    pair,
)

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.protocol.messages import (
    LIMITS,
    MESSAGES,
    Bye,
    Hello,
    Refuse,
    decode,
)
from photonlink.pipeline.protocol.setup import Effect, Publish, Role
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.reconcile import Corrector
from photonlink.pipeline.status.model import Alarm, Phase

SHORT = replace(BENCH, duration_s=1.2)
ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def test_wrong_pre_shared_key_is_named_and_makes_no_key() -> None:
    first, second = PreSharedKey.generate(4096), PreSharedKey.generate(4096)
    same_id = PreSharedKey(first.key_id, second.copy()._secret)
    for other in (second, same_id):
        alice, bob = pair(first.copy(), other)
        wire = Wire(alice, bob)
        wire.connect()
        feed(wire, SHORT)
        for node in (alice, bob):
            assert "psk_mismatch" in node.codes()
            assert any("different pre-shared keys" in a.text for a in node.alarms)
            assert node.ledger.state.pads == {}, "no pad was spent"
            assert keys(node) == {}
        assert Phase.REFUSED in {s.phase for s in alice.states}


def _other(name: str) -> int | float | str:
    if name == "bases":
        return "one"
    value = getattr(SMALL, name)
    low = {
        "q_tol": 0.06,
        "window_ps": 5000.0,
        "leak_factor": 2.0,
        "hardware_hold_off": 1,
        "charge_mismatch": 0,
    }
    return low.get(name, value * 2 if isinstance(value, int) else value / 2)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(AgreedParameters)])
def test_every_different_parameter_is_refused_and_named_on_both_sides(name: str) -> None:
    psk = PreSharedKey.generate(4096)
    changed = replace(SMALL, **{name: _other(name)})
    alice = Node(Role.ALICE, psk)
    bob = Node(Role.BOB, psk.copy(), parameters=changed)
    wire = Wire(alice, bob)
    wire.connect()
    for node in (alice, bob):
        texts = [a.text for a in node.alarms if a.code == "parameter_mismatch"]
        assert len(texts) == 1
        for expected in (name, repr(getattr(SMALL, name)), repr(getattr(changed, name))):
            assert expected in texts[0]
        assert node.ledger.state.pads == {}


def test_two_of_the_same_role_are_refused() -> None:
    psk = PreSharedKey.generate(4096)
    first, second = Node(Role.ALICE, psk), Node(Role.ALICE, psk.copy(), seed=1)
    hello = [e.data for e in second.session.connected(0.0) if hasattr(e, "data")]
    first.session.connected(0.0)
    effects = first.session.receive(hello[0], 0.0)
    assert any("role_conflict" in repr(e) for e in effects)


@pytest.mark.parametrize("version", [1, 2, 4])
def test_another_protocol_version_is_named(version: int) -> None:
    def hook(n: int, sender: Role, data: bytes) -> list[bytes]:
        if data[0] == Hello.TYPE:
            other = b'"protocol":%d' % version
            return [Hello(data[4:].replace(b'"protocol":3', other)).encode()]
        return [data]

    alice, bob = pair()
    Wire(alice, bob, hook).connect()
    for node in (alice, bob):
        assert any(
            a.code == "version_mismatch" and f"peer {version}" in a.text and "Install" in a.text
            for a in node.alarms
        )


def test_a_ledger_that_was_rolled_back_is_held() -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, SHORT)
    assert keys(bob)
    fresh = Node(Role.BOB, bob.psk, parameters=ONE_BLOCK, seed=9)  # its ledger was lost: empty
    alice.start()
    wire = Wire(alice, fresh)
    spent = dict(alice.ledger.state.pads)
    wire.connect()
    for node in (alice, fresh):
        assert "ledger_rolled_back" in node.codes()
    assert alice.ledger.state.pads == spent
    assert fresh.ledger.state.pads == {}


def alarms(effects: list[Effect], code: str) -> list[Alarm]:
    found = [e.record for e in effects if isinstance(e, Publish) and isinstance(e.record, Alarm)]
    return [alarm for alarm in found if alarm.code == code]


def test_a_refused_node_ends_with_its_input() -> None:
    alice, bob = pair(bob_psk=PreSharedKey.generate(4096))
    wire = Wire(alice, bob)
    wire.connect()
    for role in Role:
        wire.input(role, lambda s: s.end_of_input(wire.now_s))
    wire.tick()
    assert not alice.finished, "the peer with the right key may still come"
    wire.tick(10.0)  # longer than the allowed silence
    assert alice.finished
    assert bob.finished


def test_a_cut_handshake_costs_no_pad() -> None:
    """The line is cut after each of a hundred handshakes."""
    alice, bob = pair()
    wire = Wire(alice, bob)
    for second in range(100):
        wire.now_s = float(second)
        wire.log.clear()
        wire.connect()
        wire.cut()
    for node in (alice, bob):
        assert node.ledger.state.pads == {}


def test_a_stranger_cannot_drain_the_pads() -> None:
    node = Node(Role.ALICE, PreSharedKey.generate(4096))
    stranger = Node(Role.BOB, PreSharedKey(node.psk.key_id, PreSharedKey.generate(4096)._secret))
    for _ in range(50):
        wire = Wire(node, stranger)
        wire.connect()
        wire.cut()
    assert node.ledger.state.pads == {}


def test_a_forged_goodbye_does_not_end_a_running_node() -> None:
    alice, bob = pair()
    wire = Wire(alice, bob)
    wire.connect()
    forged = Bye().encode()[:1] + b"\0\0\x10" + bytes(16)
    bob.session.receive(forged, 0.0)
    assert not bob.session.finished
    wire.cut()
    wire.connect()
    feed(wire, BENCH)
    assert keys(alice) == keys(bob) != {}


def test_silence_and_a_stuck_handshake_end_the_connection() -> None:
    alice, bob = pair()
    wire = Wire(alice, bob)
    wire.connect()
    alice.session.tick(100.0)
    assert (
        "peer_silent" in repr(alice.session.tick(100.0)) or alice.session.phase is Phase.CONNECTING
    )
    lone = Node(Role.ALICE, PreSharedKey.generate(4096))
    lone.session.connected(0.0)
    effects = lone.session.tick(6.0)
    assert any("handshake_timeout" in repr(e) for e in effects)


@pytest.mark.parametrize("limits", [{}, {"max_rounds": 3}])
def test_a_peer_that_asks_too_many_parities_gets_no_more(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    """Bob repeats his first request: every answer is charged, until the cap ends the block."""
    monkeypatch.setattr(Corrector, "receive", lambda self, parities: None)
    alice, bob = pair(parameters=replace(ONE_BLOCK, **limits))  # type: ignore[arg-type]
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, SHORT)
    assert alice.reports
    for node in (alice, bob):
        assert all(str(r.abort).startswith("leak_cap_reached") for r in node.reports)
        assert keys(node) == {}
    report = alice.reports[0]
    caps = map(ONE_BLOCK.leak_cap_bits, (report.sifted_bits_hv, report.sifted_bits_da))
    assert 0 < report.leak_bits <= sum(caps)
    if limits:
        assert report.rounds == 3


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=600), after_hello=st.booleans())
def test_random_bytes_never_crash_a_node(data: bytes, after_hello: bool) -> None:
    alice, bob = GARBAGE
    wire = Wire(alice, bob)
    wire.now_s = GARBAGE_TIME[0] = GARBAGE_TIME[0] + 10
    if after_hello:
        wire.connect()
    else:
        alice.session.connected(wire.now_s)
    alice.session.receive(data, wire.now_s)
    bob.session.receive(data, wire.now_s)
    for node in (alice, bob):
        node.session.disconnected(wire.now_s, "over")
        assert not node.session.finished
        assert keys(node) == {}


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(MESSAGES)), body=st.binary(max_size=300))
def test_random_messages_never_crash_an_established_session(kind: int, body: bytes) -> None:
    body = body[: LIMITS[kind]]
    alice, bob = GARBAGE
    wire = Wire(alice, bob)
    wire.now_s = GARBAGE_TIME[0] = GARBAGE_TIME[0] + 10
    wire.connect()
    frame = bytes((kind,)) + len(body).to_bytes(3, "big") + body
    for node in (alice, bob):
        node.session.receive(frame, wire.now_s)
        node.session.disconnected(wire.now_s, "over")
        assert keys(node) == {}


GARBAGE = pair(PreSharedKey.generate(1 << 16))
GARBAGE_TIME = [0.0]


def test_nothing_but_photonlink_errors_leave_the_parser() -> None:
    for kind, cls in MESSAGES.items():
        for size in (0, 1, 7, cls.max_payload_bytes() % 5000):
            try:
                decode(kind, bytes(range(256))[:1] * size)
            except PhotonlinkError:
                continue


def test_the_refusal_of_a_peer_is_shown_safely() -> None:
    alice, bob = pair()
    alice.session.connected(0.0)
    bob.session.connected(0.0)
    evil = Refuse(b'{"code":"psk_mismatch","text":"\\u001b[31m' + b"x" * 3000 + b'"}').encode()
    effects = alice.session.receive(evil, 0.0)
    text = repr(effects)
    assert "\x1b" not in text
    assert len(text) < 6000
