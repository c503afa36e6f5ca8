"""The rule about times that both ends derive from parameters and calibration."""

from __future__ import annotations

from dataclasses import replace

from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.agreed_times import agreed_times
from photonlink.pipeline.stages.bench_constants import ideal

BENCH = replace(ideal(), quiet_time_ps=50_000)


def test_with_a_hardware_hold_off_events_are_only_as_far_apart_as_pairing_needs() -> None:
    held = agreed_times(AgreedParameters(hardware_hold_off=1, noise_ps=1000), BENCH).rule
    assert held.quiet_ps == held.shortest_quiet_ps


def test_without_it_noise_lets_no_event_through_before_the_calibrated_quiet_time() -> None:
    quiet = [
        agreed_times(AgreedParameters(noise_ps=noise), BENCH).rule.quiet_ps for noise in (500, 1000)
    ]
    assert 50_000 + 40 * 500 < quiet[0] < 50_000 + 60 * 500
    assert quiet[1] - 50_000 > 1.9 * (quiet[0] - 50_000)
