"""Two sessions in memory: from tags to equal keys, and faults on the way."""

from __future__ import annotations

import itertools
import random
from collections import deque
from dataclasses import replace

import pytest
from link import (
    BENCH,
    SMALL,
    Node,
    Wire,
    bench_with,
    clicks_of,
    feed,
    keys,
    message_of,
    pair,
    run_link,
)

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.tags import LostInterval, Provenance
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.protocol.messages import (
    Announcement,
    IntervalKind,
    Request,
)
from photonlink.pipeline.protocol.setup import Effect, Publish, Role, Send
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.status.model import Alarm, Phase


def both(wire: Wire) -> tuple[Node, Node]:
    return wire.nodes[Role.ALICE], wire.nodes[Role.BOB]


def test_tags_become_equal_keys() -> None:
    alice, bob = both(wire := run_link())
    assert keys(alice)
    assert keys(alice) == keys(bob)
    assert alice.finished
    assert bob.finished
    assert alice.session.key_check(b"n" * 32) == bob.session.key_check(b"n" * 32)
    assert alice.session.key_check(b"n" * 32) != alice.session.key_check(b"m" * 32)
    good = [r for r in alice.reports if r.abort is None]
    assert [r.net_bits for r in good] == [r.net_bits for r in bob.reports if r.abort is None]
    assert sum(r.net_bits for r in good) == sum(
        e.net_bits for e in alice.ledger.state.blocks.values()
    )
    for report in good:
        assert report.authentication_bits == 2 * 128
        assert report.refill_bits > 0
        assert report.net_bits == report.secret_bits - report.refill_bits
        assert report.leak_bits > 0
        assert report.emulated
    assert alice.codes() | bob.codes() == set()
    assert wire.nodes[Role.ALICE].states[-1].phase is Phase.CLOSED


def test_a_block_has_exactly_the_agreed_number_of_pairs_and_the_rest_carries_over() -> None:
    alice, bob = both(run_link())
    pairs = [e.pairs for e in alice.ledger.state.blocks.values()]
    assert pairs[:2] == [SMALL.block_pairs()] * 2
    assert pairs[-1] <= SMALL.block_pairs()
    assert pairs == [e.pairs for e in bob.ledger.state.blocks.values()]
    assert [r.sifted_bits for r in alice.reports] == [r.sifted_bits for r in bob.reports]
    for report in alice.reports[:2]:
        assert report.sifted_bits == pytest.approx(SMALL.block_sifted_bits, rel=0.05)


def test_a_block_closes_on_time() -> None:
    parameters = replace(SMALL, block_sifted_bits=1_000_000, block_max_s=0.5)
    alice, _ = both(run_link(parameters=parameters))
    assert len(alice.reports) >= 2
    assert all(0.5 <= r.duration_s < 0.75 for r in alice.reports[:-1])


def test_the_rest_at_the_end_is_a_block_only_when_it_can_give_key() -> None:
    parameters = replace(SMALL, block_sifted_bits=1_000_000)
    alice, bob = both(run_link(parameters=parameters))
    assert len(alice.reports) == 1
    assert keys(alice) == keys(bob) != {}
    short = replace(BENCH, pairs_hz=400, singles_a_hz=400, singles_b_hz=400, duration_s=4.0)
    alice, bob = both(run_link(short, parameters=parameters))
    assert alice.finished
    assert alice.reports == []
    assert "too_few_sifted_bits" in alice.codes() or "clock_not_found" in alice.codes()


@pytest.mark.parametrize(("visibility", "key"), [(0.87, True), (0.80, False)])
def test_visibility_decides(visibility: float, key: bool) -> None:
    bench = replace(BENCH, visibility=visibility, pairs_hz=40_000, singles_a_hz=40_000,
                    singles_b_hz=40_000, duration_s=3.0)  # fmt: skip
    parameters = AgreedParameters(block_sifted_bits=30_000, multi_click_limit=0.002)
    alice, bob = both(run_link(bench, parameters=parameters))
    assert bool(keys(alice)) is key
    assert keys(alice) == keys(bob)
    if not key:
        assert alice.reports
        for node in (alice, bob):
            assert all(str(r.abort).startswith("qber_above_threshold") for r in node.reports)
            assert all(r.secret_bits == r.net_bits == 0 for r in node.reports)
            assert node.store._bits == {}  # type: ignore[attr-defined]


def test_too_many_multi_clicks_give_no_key() -> None:
    bench = replace(BENCH, duration_s=1.5, singles_a_hz=400_000)
    alice, bob = both(run_link(bench, parameters=replace(SMALL, multi_click_limit=1e-9)))
    assert keys(alice) == keys(bob) == {}
    assert any(str(r.abort).startswith("multi_clicks_above_limit") for r in alice.reports)


def test_a_lopsided_detector_gives_no_key() -> None:
    bench = replace(BENCH, weights_b=(1.0, 1.0, 1.0, 0.3))
    alice, bob = both(run_link(bench))
    assert keys(alice) == keys(bob) == {}
    assert any(str(r.abort).startswith("detector_efficiency") for r in alice.reports)
    assert "detector_efficiency" in alice.codes() & bob.codes()


def test_bases_are_asked_for_only_after_alice_has_recorded_and_answered_only_after_bob_has() -> (
    None
):
    """Alice's tags stop at 1.8 s, Bob's continue: no later slot is requested; and vice versa."""
    for behind in Role:
        alice, bob = pair()
        wire = Wire(alice, bob)
        wire.connect()
        for k, blocks in enumerate(zip(*clicks_of(BENCH), strict=True)):
            for role, block in zip(Role, blocks, strict=True):
                if role is not behind or k < 18:
                    wire.input(role, lambda s, b=block, w=wire: s.tags(b, w.now_s))  # type: ignore[misc]
            wire.tick()
        asked = [m for _, m in _messages(wire, Request) if m.kind != IntervalKind.ACQUIRE]
        answered = [m.slot for _, m in _messages(wire, Announcement)]
        assert asked
        reached = {m.slot: m.end_ps for m in asked}
        limit = 1.81e12  # 1.8 s; Bob's clock is 10 ms ahead
        if behind is Role.ALICE:
            assert max(reached.values()) <= limit
        else:
            assert max(reached[s] for s in answered if s in reached) <= limit


def _messages(wire: Wire, kind: type) -> list[tuple[Role, object]]:
    found = []
    for sender, data in wire.log:
        message = message_of(data)
        if isinstance(message, kind):
            found.append((sender, message))
    return found  # type: ignore[return-value]


def test_requests_cannot_be_foreseen_and_never_overlap() -> None:
    wire = run_link()
    requests = [m for _, m in _messages(wire, Request)]
    assert len({m.nonce for m in requests}) == len(requests)  # type: ignore[attr-defined]
    ends = [(m.start_ps, m.end_ps) for m in requests]  # type: ignore[attr-defined]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))
    kinds = {m.kind for m in requests}  # type: ignore[attr-defined]
    assert kinds == {0, 1}


def test_a_block_costs_two_pads_and_a_handshake_none() -> None:
    wire = run_link()
    blocks = len(keys(wire.nodes[Role.ALICE]))
    for node in both(wire):
        assert node.ledger.state.pads == {"alice/block": 16 * blocks, "bob/block": 16 * blocks}


def test_what_lies_in_a_lost_interval_is_dropped_on_both_sides() -> None:
    alice, bob = pair()
    wire = Wire(alice, bob)
    wire.connect()
    for k, (a, b) in enumerate(zip(*clicks_of(BENCH), strict=True)):
        if 13 <= k < 23:
            a = replace(a, lost=(LostInterval(a.start_ps, a.end_ps),))
        wire.input(Role.ALICE, lambda s, b=a: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.input(Role.BOB, lambda s, b=b: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.tick()
    for role in Role:
        wire.input(role, lambda s: s.end_of_input(wire.now_s))
    whole = run_link()
    lost = sum(r.sifted_bits for r in both(whole)[0].reports) - sum(
        r.sifted_bits for r in alice.reports
    )
    assert lost == pytest.approx(10_000, rel=0.15), "1 s at 10 kbit/s"
    assert keys(alice) == keys(bob)


def test_delays_of_the_calibration_are_taken_off_before_anything_else() -> None:
    delays = {"alice": (0, 900, 0, -700), "bob": (0, 3_000, -2_000, 500)}
    bench = replace(BENCH, delay_b_ps=delays["bob"], delay_a_ps=delays["alice"])
    constants = bench_with(**delays)
    alice, bob = both(run_link(bench, constants=constants))
    assert keys(alice) == keys(bob) != {}
    alice, bob = both(run_link(bench))  # with a calibration without these delays
    assert keys(alice) == keys(bob) == {}
    assert any(str(r.abort).startswith("detector_") for r in alice.reports + bob.reports)


def test_the_key_check_is_refused_for_real_key() -> None:
    psk = PreSharedKey.generate(4096)
    node = Node(Role.ALICE, psk)
    assert node.session.provenance is Provenance.REAL
    with pytest.raises(PhotonlinkError):
        node.session.key_check(b"nonce")


def test_secrets_never_show(caplog: pytest.LogCaptureFixture) -> None:
    wire = run_link()
    alice, bob = both(wire)
    secrets = [key[i : i + 8] for key in keys(alice).values() for i in range(0, len(key) - 8, 8)]
    shown = repr((alice.session, bob.session, alice.states, alice.reports, alice.ledger.state))
    shown += caplog.text + repr(alice.psk) + repr(alice.alarms)
    raw = b"".join(data for _, data in wire.log)
    for secret in secrets:
        assert secret.hex() not in shown
        assert repr(secret) not in shown
        assert secret not in raw


RESTARTED = "acquisition_restarted"


@pytest.mark.row("alarms that outlive their cause within a run")
def test_an_acquisition_that_starts_anew_starts_the_session_anew() -> None:
    from link import CAPABILITIES, AcquisitionStart

    alice, bob = pair()
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, end=False)
    before = dict(keys(alice))
    wire.input(
        Role.BOB,
        lambda s: s.acquisition_started(AcquisitionStart(1e9, 0.01), CAPABILITIES, wire.now_s),
    )
    wire.input(
        Role.ALICE,
        lambda s: s.acquisition_started(AcquisitionStart(1e9, 0.01), CAPABILITIES, wire.now_s),
    )
    raised = [a.active for node in (alice, bob) for a in node.alarms if a.code == RESTARTED]
    assert raised, "an alarm, while the link is down"
    assert all(raised)
    wire.connect()
    feed(wire, replace(BENCH, seed=2))
    assert keys(alice) == keys(bob)
    assert len(keys(alice)) > len(before)
    for node in (alice, bob):
        states = [a.active for a in node.alarms if a.code == RESTARTED]
        assert states in ([], [True, False]), "it ends with the next handshake"


@pytest.mark.parametrize("seed", range(6))
def test_any_interleaving_of_messages_and_tags_gives_equal_keys(seed: int) -> None:
    """Each direction keeps its order; everything else is in random order, with delays."""
    rng = random.Random(seed)
    delays = {"alice": (0, 0, 0, 0), "bob": (0, 900, 0, -400)}
    alice, bob = pair(constants=bench_with(**delays), seed=seed)
    bench = replace(BENCH, delay_b_ps=(0, 900, 0, -400), duration_s=2.2)
    waiting = {role: deque(side) for role, side in zip(Role, clicks_of(bench), strict=True)}
    pipes: dict[Role, deque[bytes]] = {role: deque() for role in Role}
    ended = set()

    def take(role: Role, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                pipes[role].append(effect.data)
            elif isinstance(effect, Publish) and isinstance(effect.record, Alarm):
                (alice if role is Role.ALICE else bob).alarms.append(effect.record)

    nodes = {Role.ALICE: alice, Role.BOB: bob}
    for role in Role:
        take(role, nodes[role].session.connected(0.0))
    for step in range(20_000):
        now_s = step * 1e-3
        role = rng.choice(list(Role))
        session = nodes[role].session
        if rng.random() < 0.9 and pipes[role.peer]:
            data = b"".join(pipes[role.peer].popleft() for _ in range(rng.randint(1, 3))
                            if pipes[role.peer])  # fmt: skip
            half = rng.randrange(len(data) + 1)
            take(role, session.receive(data[:half], now_s))
            take(role, session.receive(data[half:], now_s))
        elif waiting[role] and now_s > 0.06 * (22 - len(waiting[role])):
            take(role, session.tags(waiting[role].popleft(), now_s))
        elif not waiting[role] and role not in ended and rng.random() < 0.01:
            ended.add(role)
            take(role, session.end_of_input(now_s))
        elif rng.random() < 0.05:
            take(role, session.tick(now_s))
        if alice.session.finished and bob.session.finished:
            break
    assert alice.session.finished
    assert bob.session.finished
    assert alice.codes() | bob.codes() == set()
    assert keys(alice) == keys(bob) != {}
