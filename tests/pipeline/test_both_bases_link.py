"""Key from both bases over the whole protocol: its yield, and thresholds and block sizes that
adapt to the link. A failed block has a named reason and gives no bit; a later block succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from clicks import Bench
from link import BENCH, SMALL, Node, Wire, clicks_of, keys, narrow_clock_search, pair, run_link

from photonlink.pipeline.protocol.setup import Role
from photonlink.pipeline.stages.finite_key import EarlierBlock

BRIGHT = replace(BENCH, duration_s=1.6, pairs_hz=40_000, singles_a_hz=40_000, singles_b_hz=40_000)
FAST = replace(SMALL, block_sifted_bits=4_000)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def ends(wire: Wire) -> tuple[Node, Node]:
    return wire.nodes[Role.ALICE], wire.nodes[Role.BOB]


def linked(**changes: object) -> Wire:
    alice, bob = pair(parameters=replace(FAST, **changes))  # type: ignore[arg-type]
    wire = Wire(alice, bob)
    wire.connect()
    return wire


def feed_pieces(wire: Wire, bench: Bench, pieces: range) -> None:
    """Feed the bench 0.1 s at a time; pieces of benches that differ only in light can be joined."""
    both = list(zip(*clicks_of(bench), strict=True))
    for piece in pieces:
        for role, block in zip(Role, both[piece], strict=True):
            wire.input(role, lambda s, b=block: s.tags(b, wire.now_s))  # type: ignore[misc]
        wire.tick()


def good_after_bad(wire: Wire, reason: str) -> None:
    """Both ends report the reason, no bit of it is stored, and a later block gives equal keys."""
    alice, bob = ends(wire)
    for node in (alice, bob):
        aborts = [str(r.abort) for r in node.reports]
        bad = next(i for i, abort in enumerate(aborts) if abort.startswith(reason))
        assert node.reports[bad].secret_bits == node.reports[bad].net_bits == 0
        assert node.reports[bad].block not in keys(node)
        assert any(r.abort is None for r in node.reports[bad + 1 :]), aborts
    assert keys(alice) == keys(bob) != {}


def test_two_keys_of_a_block_are_nearly_twice_the_key() -> None:
    net = {}
    for bases in ("both", "one"):
        wire = run_link(BRIGHT, parameters=replace(FAST, bases=bases, block_sifted_bits=10_000))
        alice, bob = ends(wire)
        assert keys(alice) == keys(bob) != {}
        assert all(r.abort is None for r in alice.reports)
        net[bases] = sum(r.net_bits for r in alice.reports)
        report = alice.reports[0]
        assert report.test_bits == (0 if bases == "both" else report.sifted_bits_da)
        assert report.key_bits_in + report.test_bits == report.sifted_bits
    assert 1.6 < net["both"] / net["one"] < 2.4


def test_thresholds_follow_the_blocks_before_and_are_the_same_at_both_ends() -> None:
    alice, bob = ends(run_link(BRIGHT, parameters=FAST))
    told = [(r.q_tol_hv, r.q_tol_da) for r in alice.reports]
    assert told == [(r.q_tol_hv, r.q_tol_da) for r in bob.reports]
    assert told[0] == pytest.approx((FAST.q_tol, FAST.q_tol), abs=2e-5)
    assert told[1][0] is not None
    assert told[1][0] < 0.6 * FAST.q_tol
    fixed, _ = ends(run_link(BRIGHT, parameters=replace(FAST, abort_probability=0.0)))
    assert {r.q_tol_da for r in fixed.reports} == {told[0][1]}


def test_ends_that_hold_other_errors_name_it_and_begin_anew() -> None:
    wire = linked()
    feed_pieces(wire, BRIGHT, range(5))
    line = ends(wire)[1].session._line
    assert line is not None
    line.view.earlier.da.append(EarlierBlock(100, 1_000))
    feed_pieces(wire, BRIGHT, range(5, 16))
    good_after_bad(wire, "thresholds_differ")


def test_an_error_rate_that_leaps_is_refused_and_followed() -> None:
    """The errors of the refused block raise the thresholds of the next."""
    wire, longer = linked(block_sifted_bits=6_000), replace(BRIGHT, duration_s=2.4)
    feed_pieces(wire, longer, range(6))
    feed_pieces(wire, replace(longer, visibility=0.95), range(6, 24))
    good_after_bad(wire, "qber_above_threshold")


@pytest.mark.parametrize("visibility", [0.85, 0.7, 0.0])
def test_far_too_many_errors_are_called_errors_at_both_ends(visibility: float) -> None:
    """Also where correction would exceed the parity cap: the errors found so far are stated."""
    wire = linked()
    feed_pieces(wire, replace(BRIGHT, visibility=visibility), range(8))
    for node in ends(wire):
        aborts = [str(r.abort) for r in node.reports]
        assert aborts
        assert all(a.startswith("qber_above_threshold") for a in aborts), aborts
        assert visibility > 0.7 or "at least" in aborts[0]


@pytest.mark.parametrize(
    ("weights", "reason"),
    [((1, 1, 0, 0), "no_bits_in_one_basis"), ((1, 1, 1, 0), "detector_efficiency")],
    ids=["one basis", "three detectors"],
)
def test_bits_missing_in_a_basis_are_named(
    weights: tuple[float, float, float, float], reason: str
) -> None:
    wire = linked()
    feed_pieces(wire, replace(BRIGHT, weights_b=weights), range(8))
    feed_pieces(wire, BRIGHT, range(8, 16))
    good_after_bad(wire, reason)


def test_blocks_double_from_the_first_size_to_the_largest() -> None:
    wire = run_link(BRIGHT, parameters=replace(FAST, first_block_sifted_bits=2_000, q_tol=0.08))
    alice, bob = ends(wire)
    pairs = [alice.ledger.state.blocks[r.block].pairs for r in alice.reports]
    assert pairs[:4] == [4_000, 8_000, 8_000, 8_000]
    assert pairs == [bob.ledger.state.blocks[r.block].pairs for r in bob.reports]
