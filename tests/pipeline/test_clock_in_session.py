"""The common clock in a session: a step beyond the agreed limits stops key generation, and its
size is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from link import BENCH, SMALL, keys, narrow_clock_search, run_link

from photonlink.pipeline.protocol.setup import Role

JUMP = replace(BENCH, jump_at_s=1.5, duration_s=4.0)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


@pytest.mark.parametrize("jump_ps", [-5000.0, 6000.0])
def test_a_step_beyond_the_limits_is_named_by_its_size_and_the_clock_is_found_again(
    jump_ps: float,
) -> None:
    wire = run_link(replace(JUMP, jump_ps=jump_ps))
    alice, bob = (wire.nodes[role] for role in Role)
    said = {a.code: a.text for a in alice.alarms if a.active}
    assert "clock_beyond_limits" in said["clock_drift"]
    assert "clock_beyond_limits" in said["clock_lost"]
    told = float(said["clock_drift"].split()[1].replace(",", ""))
    assert told == pytest.approx(jump_ps, abs=300)
    cleared = {a.code for a in alice.alarms if not a.active}
    assert {"clock_drift", "clock_lost"} <= cleared
    assert keys(alice) == keys(bob) != {}


def test_a_wider_limit_lets_the_same_step_pass() -> None:
    """The agreed limit decides: the same light passes under a wider limit."""
    wide = replace(SMALL, fibre_ps_per_s=20_000.0)
    wire = run_link(replace(JUMP, jump_ps=1500.0), parameters=wide)
    assert "clock_drift" not in wire.nodes[Role.ALICE].codes()
    assert wire.nodes[Role.ALICE].ledger.state.released_count > 0
    narrow = run_link(replace(JUMP, jump_ps=1500.0), parameters=replace(SMALL, fibre_ps_per_s=50.0))
    assert "clock_drift" in narrow.nodes[Role.ALICE].codes()
