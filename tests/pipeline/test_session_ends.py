"""The end of input at different times on the two sides, with and without a last block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from link import BENCH, SMALL, Wire, clicks_of, keys, narrow_clock_search, pair, run_link

from photonlink.pipeline.protocol import roles
from photonlink.pipeline.protocol.channel import authentication
from photonlink.pipeline.protocol.setup import Role
from photonlink.pipeline.protocol.sifting.blockrule import rest_pays
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.amplify import StringAccount, block_lengths
from photonlink.pipeline.stages.block_thresholds import BlockThresholds, EarlierErrors
from photonlink.pipeline.stages.finite_key import binary_entropy

LAG = 8  # pieces of 0.1 s that one side receives only after the other has ended
TIMED = replace(SMALL, block_sifted_bits=1_000_000)  # the whole run is one partial block


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def end_apart(late: Role, *, lag: int = LAG, lost_from: int | None = None) -> Wire:
    """One side records everything and ends; the other then gets its last ``lag`` pieces."""
    wire = Wire(*pair(parameters=TIMED))
    wire.connect()
    sides = dict(zip(Role, clicks_of(BENCH), strict=True))
    pieces = len(sides[late])

    def give(role: Role, k: int) -> None:
        wire.input(role, lambda s: s.tags(sides[role][k], wire.now_s))

    for k in range(pieces):
        for role in Role:
            if role is not late or k < pieces - lag:
                give(role, k)
        wire.tick()
    wire.input(late.peer, lambda s: s.end_of_input(wire.now_s))
    for k in range(pieces - lag, lost_from or pieces):
        wire.tick()
        wire.tick()
        assert not wire.nodes[late].finished
        give(late, k)
    wire.tick()
    wire.input(late, lambda s: s.end_of_input(wire.now_s))
    wire.tick()
    wire.tick()
    return wire


@pytest.mark.parametrize("late", list(Role))
@pytest.mark.parametrize("lag", [LAG, 25])
def test_a_side_that_ends_first_waits_for_what_the_other_has_still_to_record(
    late: Role, lag: int
) -> None:
    """The last block closes once; a lag of 25 pieces begins before the clock is found."""
    wire = end_apart(late, lag=lag)
    whole = end_apart(late, lag=0)
    for node in wire.nodes.values():
        (report,) = node.reports
        assert report.abort is None
        assert node.finished
        (reference,) = whole.nodes[node.role].reports
        assert report.sifted_bits == pytest.approx(reference.sifted_bits, rel=0.25)
    alice, bob = wire.nodes.values()
    assert keys(alice) == keys(bob) != {}


@pytest.mark.parametrize("late", list(Role))
def test_a_late_side_that_stops_short_ends_the_link_with_what_both_recorded(late: Role) -> None:
    wire = end_apart(late, lost_from=len(clicks_of(BENCH)[0]) - LAG // 2)
    alice, bob = wire.nodes.values()
    assert [r.abort for r in alice.reports] == [r.abort for r in bob.reports] == [None]
    assert keys(alice) == keys(bob) != {}
    assert alice.finished
    assert bob.finished


def _ended_with_a_small_rest(monkeypatch: pytest.MonkeyPatch, *, first: bool) -> Wire:
    """Try the last, partial block whatever its expected yield; ``first``: no block precedes it."""
    monkeypatch.setattr(roles, "rest_pays", lambda *figures: True)
    if first:
        return run_link(replace(BENCH, duration_s=0.5), parameters=replace(TIMED, eps_sec=1e-20))
    (all_of_it,) = run_link(parameters=TIMED).nodes[Role.ALICE].reports
    return run_link(parameters=replace(TIMED, block_sifted_bits=all_of_it.sifted_bits - 300))


def test_a_rest_that_cannot_pay_is_no_block_and_no_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = _ended_with_a_small_rest(monkeypatch, first=False)
    for node in wire.nodes.values():
        assert [r.abort for r in node.reports] == [None]
        assert node.ledger.state.blocks[2].status == "aborted", "it was tried"
        assert node.ledger.state.blocks[2].reason.startswith("no_secret_bits")
        assert node.states[-1].last_abort is None
        assert node.finished


def test_a_run_of_nothing_but_a_rest_says_why_it_gives_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = _ended_with_a_small_rest(monkeypatch, first=True)
    for node in wire.nodes.values():
        (report,) = node.reports
        assert str(report.abort).startswith("no_secret_bits")


@pytest.mark.parametrize("rate", [0.01, 0.03, 0.05])
def test_a_rest_is_tried_only_if_it_pays_also_with_more_errors_than_before(rate: float) -> None:
    parameters = AgreedParameters()

    def thresholds(n: int) -> BlockThresholds:
        return EarlierErrors().thresholds(parameters, 4 * n)

    def pays(n: int, seen: float | None = rate) -> bool:
        return rest_pays(parameters, thresholds(n), seen)

    least = min(n for n in range(1_000, 100_000, 250) if pays(n))
    worse = rate + 2.5 * (rate * (1 - rate) / least) ** 0.5
    leak = round(1.2 * least * binary_entropy(worse))
    strings = [StringAccount(least, None, leak) for _ in range(2)]
    assert block_lengths(parameters, thresholds(least), *strings).length > 0
    assert not pays(least // 2)
    assert pays(least, None)
    assert not pays(0, None)


def test_hash_keys_that_wear_are_named_before_they_stop_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authentication, "BLOCKS_PER_KEY", 2)
    wire = run_link()
    for node in wire.nodes.values():
        said = [a.text for a in node.alarms if a.code == "pads_low"]
        assert any("hash keys serve" in text for text in said)
        assert node.ledger.state.released_count == 2
    ends = {r.abort for r in wire.nodes[Role.ALICE].reports if r.abort}
    assert any("hash keys are worn" in abort for abort in ends)
