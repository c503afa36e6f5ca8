"""What unequal detectors and following clicks cost in key length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from link import BENCH, SMALL, Wire, feed, keys, narrow_clock_search, pair

from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.amplify import StringAccount, block_lengths, echo_bits
from photonlink.pipeline.stages.bench_constants import ideal
from photonlink.pipeline.stages.block_thresholds import EarlierErrors

AGREED = AgreedParameters(q_tol=0.03)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def length(parameters: AgreedParameters, ratio: float = 1.0) -> int:
    thresholds = EarlierErrors().thresholds(parameters, 400_000)
    strings = [StringAccount(100_000, 2_500, 18_000) for _ in range(2)]
    return block_lengths(parameters, thresholds, strings[0], strings[1], ratio).length


def test_a_ratio_between_detectors_costs_key_and_a_large_one_all_of_it() -> None:
    found = [length(AGREED, ratio) for ratio in (1.0, 1.05, 1.2, 1.5, 1e3)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[2] > 0
    assert found[-1] == 0


def test_followers_are_charged_unless_all_detectors_are_held_off_together() -> None:
    held = replace(AGREED, hardware_hold_off=1)
    assert length(held) - length(AGREED) == pytest.approx(2 * echo_bits(AGREED, 100_000), abs=2)
    assert echo_bits(held, 100_000) == 0
    assert held.assumptions == ("HOLD_OFF",)
    assert AGREED.assumptions == ()


def test_both_ends_charge_the_ratio_of_their_constants() -> None:
    sums = []
    for ratio, charge in ((1.0, 1), (1.3, 1), (1.3, 0)):
        constants = replace(ideal(), ratio=ratio)
        parameters = replace(SMALL, q_tol=0.02, charge_mismatch=charge)
        alice, bob = pair(constants=constants, parameters=parameters)
        wire = Wire(alice, bob)
        wire.connect()
        feed(wire, BENCH)
        assert keys(alice) == keys(bob)
        sums.append(sum(r.net_bits for r in alice.reports))
    assert sums[0] == sums[2] > sums[1]
