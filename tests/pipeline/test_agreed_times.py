"""The time rule that both ends derive from parameters and calibration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from photonlink.pipeline.stages.agreed import AgreedParameters, ParametersError
from photonlink.pipeline.stages.agreed_times import agreed_times
from photonlink.pipeline.stages.bench_constants import ideal
from photonlink.pipeline.stages.quiet import TimeRuleError

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


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fibre_ps_per_s": 1e6, "clock_frequency_ppm": 0.5}, "fibre_ps_per_s"),
        ({"clock_drift_ppb_per_s": 900.0, "clock_frequency_ppm": 0.5}, "clock_drift_ppb_per_s"),
        ({"clock_frequency_ppm": 0.0}, "clock_frequency_ppm"),
        ({"fibre_ps_per_s": -1.0}, "fibre_ps_per_s"),
    ],
)
def test_limits_that_contradict_each_other_are_refused_by_name(
    changes: dict[str, float], named: str
) -> None:
    with pytest.raises(ParametersError) as caught:
        AgreedParameters(**changes)  # type: ignore[arg-type]
    assert caught.value.parameter == named


@pytest.mark.parametrize("changes", [{"fibre_ps_per_s": 1e5}, {"slot_s": 2.0}])
def test_clocks_that_may_leave_the_window_within_a_slot_are_refused(
    changes: dict[str, float],
) -> None:
    with pytest.raises(TimeRuleError, match="fibre_ps_per_s and clock_drift_ppb_per_s"):
        agreed_times(AgreedParameters(**changes), BENCH)  # type: ignore[arg-type]


def test_the_limits_of_clocks_and_fibre_are_those_agreed() -> None:
    limits = agreed_times(
        AgreedParameters(clock_frequency_ppm=2, clock_drift_ppb_per_s=1, fibre_ps_per_s=50), BENCH
    ).limits
    assert (limits.rate, limits.drift_per_s, limits.step_ps_per_s) == (2.1e-6, 1e-9, 50)
    assert limits.slew_ps(2.0) == pytest.approx(50 * 2 + 0.5 * 1e3 * 4)


def test_announced_times_are_no_finer_than_the_noise_is_wide() -> None:
    """A grid finer than the noise costs bits on the channel and does not improve pairing."""
    for noise in (500, 1000, 4000):
        rule = agreed_times(AgreedParameters(noise_ps=noise), BENCH).rule
        assert noise / 2 < 1 << rule.grid_bits <= noise
