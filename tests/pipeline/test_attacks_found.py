"""Attacks that once succeeded. Beside each one is a run in which the rule that stops it is
disabled: the attack then succeeds, so the test can detect it. Test names contain the row.

C1, H4: test_tentative.py. H2: the store's tests. M4: test_transport.py. M6, M8 to M13: keys, node.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from eve_light import Pairs, entangled, fillers, product, tags
from forger import Forger
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
    narrow_clock_search,
    pair,
)

from photonlink.hal.tags import TagBlock
from photonlink.pipeline.protocol.channel import authentication
from photonlink.pipeline.protocol.distilling.alice import AliceDistilling
from photonlink.pipeline.protocol.messages import (
    Acquisition,
    Announcement,
    BlockBases,
    CloseBlock,
    Disclosure,
    Figures,
    Message,
    Paired,
    Ping,
    Refuse,
    Sift,
)
from photonlink.pipeline.protocol.setup import Role
from photonlink.pipeline.stages import estimate
from photonlink.pipeline.stages.bench_constants import BenchConstants
from photonlink.pipeline.status.model import LinkState, Severity
from photonlink.pipeline.status.payload import flatten

ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)
SHORT = replace(BENCH, duration_s=1.2)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def run_tags(
    light: tuple[list[TagBlock], list[TagBlock]], wire: Wire | None = None, **changes: object
) -> Wire:
    wire = wire or Wire(*pair(parameters=ONE_BLOCK, **changes))  # type: ignore[arg-type]
    wire.connect()
    for blocks in zip(*light, strict=True):
        for role, block in zip(Role, blocks, strict=True):
            wire.input(role, lambda s, b=block: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.tick()
    return wire


def nodes(wire: Wire) -> tuple[Node, Node]:
    return wire.nodes[Role.ALICE], wire.nodes[Role.BOB]


# ---- 1. Eve learns the key ----


def time_coded_light() -> tuple[list[TagBlock], list[TagBlock]]:
    """HH/VV at +5.7 ns, DD/AA at -5.7 ns, unpolarised filler pairs at 0; at first only fillers."""
    rng = np.random.default_rng(7)
    light = fillers(rng, 15_000, 0, 2)
    for basis, shift in ((0, 5_700.0), (1, -5_700.0)):
        light = light + product(rng, 15_000, 0.8, 2, basis, shift)
    return tags(rng, light, 2.0)


def test_c2_light_alone_does_not_decide_what_coincides() -> None:
    alice, bob = nodes(run_tags(time_coded_light()))
    assert keys(alice) == keys(bob) == {}
    assert alice.reports, "a block was tried"


def test_c2_with_delays_that_were_learned_from_eve_the_key_is_hers() -> None:
    """Without the rule: the delays that both sides would have learned from the attack's phase 1."""
    learned = bench_with(alice=(-2875, -2875, 2875, 2875), bob=(2875, 2875, -2875, -2875))
    alice, bob = nodes(run_tags(time_coded_light(), constants=learned))
    assert keys(alice) == keys(bob) != {}
    good = next(r for r in alice.reports if r.abort is None)
    assert good.qber_da < 0.01, "no error, and Eve prepared every bit"


DEAD_V = replace(SHORT, weights_b=(1.0, 0.0, 1.0, 1.0))


def test_c3_a_dead_detector_gives_no_key() -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, DEAD_V)
    assert keys(alice) == keys(bob) == {}
    assert "detector_efficiency" in alice.codes() & bob.codes()
    assert all("bob V is dead" in str(r.abort) for r in alice.reports)


def test_c3_without_the_verdict_a_block_of_zeros_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "judge_detectors", lambda *arguments: None)
    monkeypatch.setattr(estimate, "key_balanced", lambda *arguments: True)
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, DEAD_V)
    assert keys(alice) == keys(bob) != {}


def test_c3_the_private_balance_sees_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a yes or no is disclosed: the reason contains no number."""
    monkeypatch.setattr(estimate, "judge_detectors", lambda *arguments: None)
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, DEAD_V)
    assert keys(alice) == keys(bob) == {}
    reasons = {str(r.abort) for r in alice.reports + bob.reports}
    assert all(reason.startswith("key_unbalanced") for reason in reasons)
    assert not any(character.isdigit() for reason in reasons for character in reason)


def two_truths(undisclosed_flip: bool) -> tuple[list[TagBlock], list[TagBlock]]:
    """The same light; ``undisclosed_flip`` inverts every key outcome at both ends."""
    rng = np.random.default_rng(11)
    found = entangled(rng, 20_000, 0, 3.0)
    key = (found.alice < 2) & (found.bob < 2)
    flip = (key & undisclosed_flip).astype(np.int64)
    turned = Pairs(found.time_ps, found.shift_ps, found.alice ^ flip, found.bob ^ flip)
    return tags(rng, turned, 3.0)


OPEN = (Acquisition, Announcement, Paired, CloseBlock, BlockBases, Sift, Disclosure, Figures)


def left_the_nodes(wire: Wire) -> tuple[list[object], list[bytes]]:
    """All published records, and all bytes that are sent before error correction."""
    records: list[object] = []
    for node in wire.nodes.values():
        records += [flatten(state) for state in node.states]
        records += [(a.code, a.text, a.active) for a in node.alarms]
        records += [
            dataclasses.asdict(r) | {"leak_bits": 0, "rounds": 0, "costs": {}} for r in node.reports
        ]
    frames = [data[:-16] for _, data in wire.log if isinstance(message_of(data), OPEN)]
    acquire = bytes((Announcement.TYPE,))  # kind 0: before the lock, never key
    return records, [f for f in frames if not (f.startswith(acquire) and f[8] == 0)]


def test_c4_nothing_that_leaves_depends_on_key_outcomes_before_they_are_spent() -> None:
    first, second = (left_the_nodes(run_tags(two_truths(flip))) for flip in (False, True))
    assert len(first[0]) > 10
    assert len(first[1]) > 20
    assert first[1] == second[1]
    for one, other in zip(*(r[0] for r in (first, second)), strict=True):
        assert _without_lengths(one) == _without_lengths(other)


def _without_lengths(record: object) -> object:
    """The record without figures that follow from the parities, which are charged as leak."""
    if not isinstance(record, dict):
        return record
    charged = ("leak", "f_ec", "secret", "net", "skr", "channel", "stored", "rounds", "pads")
    return {k: v for k, v in record.items() if not any(word in k for word in charged)}


def test_c4_live_rates_are_shown_only_of_what_never_becomes_key() -> None:
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    light = clicks_of(SHORT)
    for k in range(5):
        wire.input(Role.ALICE, lambda s, k=k: s.tags(light[0][k], wire.now_s))  # type: ignore[misc]
        wire.tick()
    assert alice.states[-1].rate_hz, "in alignment, when no key is made"
    wire.connect()
    start = next(
        m for m in map(message_of, (d for s, d in wire.log if s is Role.ALICE))
        if isinstance(m, Acquisition)
    )  # fmt: skip
    assert start.start_ps >= 4 * 10**11, "what was on show is never announced"
    wire.tick(0.6)
    assert not alice.states[-1].rate_hz


def moving(at_s: float, delay_ps: int) -> tuple[list[TagBlock], list[TagBlock]]:
    """From ``at_s`` on, Bob's detector V clicks later."""
    bench = replace(BENCH, duration_s=3.0)
    before, after = (clicks_of(replace(bench, delay_b_ps=(0, d, 0, 0))) for d in (0, delay_ps))
    k = round(10 * at_s)
    return before[0], before[1][:k] + after[1][k:]


def test_h1_a_detector_that_moves_stops_key_at_once() -> None:
    alice, bob = nodes(run_tags(moving(1.5, 500)))
    released = len(keys(alice))
    assert keys(alice) == keys(bob)
    assert 0 < released <= 3, "those before the change"
    assert {"detector_delay", "detector_efficiency"} & alice.codes()
    tried = [r.abort for r in alice.reports]
    assert tried[:released] == [None] * released
    assert all(str(r).startswith("detector_") for r in tried[released:])
    assert len(tried) > released + 1, "and no later block is released"


def test_h1_without_the_verdict_later_blocks_are_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "judge_detectors", lambda *arguments: None)
    alice, _ = nodes(run_tags(moving(1.5, 500)))
    assert len(keys(alice)) > 4


# ---- 2. Unauthenticated bytes cause damage ----


HARM = [
    (Acquisition, {"host_time_s": 9e6}),
    (Acquisition, {"host_time_s": 1e300}),
    (Acquisition, {"uncertainty_s": 1e300}),
    (Acquisition, {"start_ps": -(1 << 63)}),
    (Acquisition, {"origin_ps": (1 << 63) - 1}),
    (Acquisition, {"resolution_ps": 1e-300}),
    (Figures, {"body": b'{"coincidences_hz":1' + b"0" * 400 + b"}"}),
    (Figures, {"body": b'{"clock_offset_s":"' + b"x" * 3000 + b'"}'}),
    (Announcement, {"body": bytes(8 << 20)}),
    (Announcement, {"body": bytes([1, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]) + bytes(1 << 20)}),
    (Announcement, {"end_ps": (1 << 63) - 1}),
    (Announcement, {"end_ps": -(1 << 63)}),
]


@pytest.mark.parametrize(
    ("kind", "fields", "sender"),
    [
        (kind, fields, sender)
        for kind, fields in HARM
        for sender in Role
        if (kind, sender) not in ((Figures, Role.BOB), (Announcement, Role.ALICE))
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_h3_what_a_proved_peer_says_is_bounded_before_it_is_used(
    kind: type[Message], fields: dict[str, object], sender: Role
) -> None:
    """The values are refused with a named reason or shown within bounds; nothing raises."""

    def alter(who: Role, message: Message) -> list[Message]:
        if isinstance(message, kind) and who is sender:
            return [replace(message, **fields)]
        return [message]

    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob, Forger(alice.psk, alter))
    wire.connect()
    feed(wire, SHORT)
    for node in (alice, bob):
        assert keys(node) == {}
        for state in node.states:
            numbers = [v for v in flatten(state).values() if isinstance(v, float)]
            assert all(abs(v) < 1e18 for v in numbers)


def test_h3_memory_of_collected_announcements_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from photonlink.pipeline.protocol.sifting import clockfinder

    monkeypatch.setattr(clockfinder, "_MAX_COLLECTED", 1000)
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, replace(SHORT, visibility=0.0, pairs_hz=1.0), end=False)
    line = alice.session._line
    assert line is not None
    assert line.role is not None
    finder = line.role._pull.clock  # type: ignore[union-attr]
    assert finder is not None
    assert len(finder._data) == 1, "the oldest go"


def test_m3_only_pings_arrive() -> None:
    """Eve can make MACs, drops all but Pings and adds some: an alarm names it within 10 s."""
    dropping = False

    def alter(who: Role, message: Message) -> list[Message]:
        if not dropping or isinstance(message, Ping):
            return [message]
        return [Ping()] if who is Role.BOB else []

    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob, Forger(alice.psk, alter))
    wire.connect()
    light = clicks_of(BENCH)
    for k, blocks in enumerate(zip(*light, strict=True)):
        dropping = k >= 8
        for role, block in zip(Role, blocks, strict=True):
            wire.input(role, lambda s, b=block: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.tick()
    since = wire.now_s
    while not alice.codes() and wire.now_s < since + 60:
        wire.tick(0.5)
    assert "phase_timeout" in alice.codes()
    assert wire.now_s - since <= 10


def test_low_a_refusal_from_anyone_sends_nobody_to_work() -> None:
    alice, _ = pair()
    before = dataclasses.asdict(alice.ledger.state)
    alice.session.connected(0.0)
    forged = Refuse(b'{"code":"ledger_rolled_back","text":"Exchange a new pre-shared key."}')
    effects = alice.session.receive(forged.encode(), 0.0)
    alarms = [e.record for e in effects if hasattr(e, "record")]
    found = {a.code: a.severity for a in alarms if not isinstance(a, LinkState)}
    assert found == {"refused_by_peer": Severity.MINOR}
    assert dataclasses.asdict(alice.ledger.state) == before


# ---- 3. The charge differs from the security statement ----


def test_m1_a_block_closes_before_any_basis_is_told() -> None:
    """Bases are sent only after CloseBlock and only for its pairs; announcements contain none."""
    wire = Wire(*pair(parameters=ONE_BLOCK))
    wire.connect()
    feed(wire, BENCH)
    told = [m for m in (message_of(d) for _, d in wire.log)
            if isinstance(m, CloseBlock | BlockBases | Sift | Disclosure)]  # fmt: skip
    kinds = [type(m).__name__ for m in told]
    assert kinds == ["CloseBlock", "BlockBases", "Sift", "Disclosure"] * (len(kinds) // 4)
    assert len({m.nonce for m in told if isinstance(m, BlockBases)}) == len(kinds) // 4
    for close, bases in zip(told[::4], told[1::4], strict=True):
        assert isinstance(close, CloseBlock)
        assert isinstance(bases, BlockBases)
        assert close.pairs == bases.pairs <= ONE_BLOCK.block_pairs()


def other_bases() -> tuple[list[TagBlock], list[TagBlock]]:
    """The same times, with the bases of both sides exchanged."""
    light = clicks_of(SHORT)
    turn = np.array([0, 3, 4, 1, 2], np.uint8)
    return tuple(  # type: ignore[return-value]
        [replace(b, channel=turn[b.channel]) for b in side] for side in light
    )


def test_m1_what_closes_a_block_is_a_function_of_times_alone() -> None:
    def until_bases(light: tuple[list[TagBlock], list[TagBlock]]) -> list[bytes]:
        wire = run_tags(light)
        frames = []
        for _, data in wire.log:
            message = message_of(data)
            if isinstance(message, BlockBases):
                break
            if isinstance(message, CloseBlock) or (
                isinstance(message, Announcement | Paired) and getattr(message, "kind", 1) == 1
            ):
                frames.append(message.encode())
        return frames

    assert until_bases(clicks_of(SHORT)) == until_bases(other_bases())


def test_m2_attempts_are_charged_at_both_ends_before_bases_are_told() -> None:
    parameters = replace(ONE_BLOCK, q_tol=0.001)  # every block aborts
    seen: list[tuple[float, float]] = []
    alice, bob = pair(parameters=parameters)

    def hook(n: int, sender: Role, data: bytes) -> list[bytes]:
        if isinstance(message_of(data), BlockBases):
            seen.append((alice.ledger.state.epsilon, bob.ledger.state.epsilon))
        return [data]

    wire = Wire(alice, bob, hook)
    wire.connect()
    feed(wire, BENCH)
    p = parameters
    each = p.eps_sec + 2 * p.eps_cor + p.eps_auth
    assert len(seen) >= 2
    for k, charged in enumerate(seen, 1):
        assert charged == pytest.approx((k * each, k * each))
    assert keys(alice) == keys(bob) == {}
    assert alice.states[-1].epsilon == pytest.approx(len(seen) * each)


def test_f3_bob_compares_the_leak_with_the_parities_that_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = AliceDistilling.on_reconciled

    def stingy(self: AliceDistilling, message: object) -> None:
        self.block.hv.leak_bits //= 8
        plain(self, message)  # type: ignore[arg-type]

    monkeypatch.setattr(AliceDistilling, "on_reconciled", stingy)
    wire = Wire(*pair(parameters=ONE_BLOCK))
    wire.connect()
    feed(wire, SHORT)
    for node in nodes(wire):
        assert keys(node) == {}
        assert all(str(r.abort).startswith("leak_mismatch") for r in node.reports)


def test_f3_each_side_checks_eps_auth_before_a_pad_is_spent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authentication, "tag_epsilon", lambda covered_bytes: ONE_BLOCK.eps_auth)
    wire = Wire(*pair(parameters=ONE_BLOCK))
    wire.connect()
    feed(wire, SHORT)
    for node in nodes(wire):
        assert str(node.reports[0].abort).startswith("authentication_too_weak")
        assert keys(node) == {}
        assert node.ledger.state.pads == {}


# ---- 4. Pads ----


def test_m5_trouble_costs_no_pads() -> None:
    """A misaligned source, blocks too small to pay, cuts: pads before = pads after."""
    for bench, parameters in (
        (replace(BENCH, visibility=0.6), replace(ONE_BLOCK, block_sifted_bits=1_000)),
        (BENCH, replace(ONE_BLOCK, block_sifted_bits=200, eps_sec=1e-20)),
    ):
        alice, bob = pair(parameters=parameters)
        wire = Wire(alice, bob)
        wire.connect()
        feed(wire, bench)
        assert len(alice.reports) > 5
        assert alice.ledger.state.pads == bob.ledger.state.pads == {}
    alice, bob = pair(parameters=ONE_BLOCK)
    wire = Wire(alice, bob)
    for k in range(30):
        wire.now_s = 10.0 * k
        wire.connect()
        wire.cut()
    assert alice.ledger.state.pads == bob.ledger.state.pads == {}


@pytest.mark.parametrize("side", ["alice", "bob"])
def test_constants_that_differ_between_the_ends_are_refused(side: str) -> None:
    other: BenchConstants = bench_with(alice=(0, 0, 0, 1), bob=(0, 0, 0, 0))
    alice, bob = pair()
    changed = Node(Role(side), alice.psk.copy(), constants=other)
    ends = (changed, bob) if side == "alice" else (alice, changed)
    wire = Wire(*ends)
    wire.connect()
    for node in ends:
        assert "calibration_differs" in node.codes()
        assert keys(node) == {}
