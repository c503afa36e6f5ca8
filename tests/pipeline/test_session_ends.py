"""The end of input: at different times on the two sides; a last block comes of it, or none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from link import BENCH, SMALL, Wire, clicks_of, keys, narrow_clock_search, pair

from photonlink.pipeline.protocol.setup import Role

LAG = 8  # pieces of 0.1 s that one side gets only after the other has ended
TIMED = replace(SMALL, block_sifted_bits=1_000_000)  # all of the run is the rest


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def end_apart(late: Role, *, lag: int = LAG, lost_from: int | None = None) -> Wire:
    """One side records everything and ends; the other gets its last ``lag`` pieces after that."""
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
    """The last block closes once; a lag of 25 reaches back to before the clock is found."""
    wire = end_apart(late, lag=lag)
    whole = end_apart(late, lag=0)
    for node in wire.nodes.values():
        (report,) = node.reports
        assert report.abort is None
        assert node.finished
        (reference,) = whole.nodes[node.role].reports
        assert report.sifted_bits == pytest.approx(reference.sifted_bits, rel=0.15)
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
