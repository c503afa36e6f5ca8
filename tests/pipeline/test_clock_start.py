"""The clock at the start, told from what was tracked after the first lock."""

from __future__ import annotations

import numpy as np
import pytest
from clicks import Bench, generate

from photonlink.pipeline.stages.clock.recovery import ClockParameters, ClockRecovery

PS = 10**12


@pytest.mark.parametrize("drift_ppb_per_s", [5.0, -5.0, 0.0])
@pytest.mark.parametrize("locked_after_s", [1.0, 5.0])
@pytest.mark.parametrize("bob_more_s", [0.2, -0.4])
def test_a_drifting_clock_is_bent_back_to_its_start(
    drift_ppb_per_s: float, locked_after_s: float, bob_more_s: float
) -> None:
    """Straight on from the lock it would be wrong by up to 50 ns and 22 ppb."""
    bench = Bench(
        seed=4, duration_s=13, pairs_hz=5_000, singles_a_hz=30_000, singles_b_hz=30_000,
        drift_ppb_per_s=drift_ppb_per_s,
    )  # fmt: skip
    made = generate(bench)
    alice, bob = made.alice.time_ps, made.bob.time_ps
    clock = ClockRecovery(ClockParameters(sigma_ps=200.0), hint_offset_s=0.1, alice_start_ps=0)
    assert clock.at_start is None
    first = int(np.searchsorted(alice, locked_after_s * PS))
    lock = clock.acquire(
        alice[:first], bob[: np.searchsorted(bob, (locked_after_s + bob_more_s) * PS)]
    )
    assert lock
    for k in range(round(2 * locked_after_s), 24):
        start, end = k * PS // 2, (k + 1) * PS // 2
        own = slice(*np.searchsorted(alice, (start, end)))
        peers = slice(*np.searchsorted(bob, (clock.to_bob(start), clock.to_bob(end))))
        clock.track(alice[own], bob[peers])
    assert clock.at_start is not None
    offset_s, frequency_ppm = clock.at_start
    assert offset_s == pytest.approx(bench.offset_s, abs=0.5e-9)
    assert frequency_ppm == pytest.approx(bench.frequency_ppm, abs=0.3e-3)
