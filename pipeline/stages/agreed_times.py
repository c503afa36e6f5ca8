"""The rule about times that both ends derive from the agreed parameters and the calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass

from photonlink.pipeline.native.quiet import MAX_GRID_BITS, MAX_TAILS
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import BenchConstants
from photonlink.pipeline.stages.clock.follower import ClockLimits
from photonlink.pipeline.stages.quiet import (
    TimeRule,
    TimeRuleError,
    noise_bound_ps,
    quiet_length_ps,
)
from photonlink.pipeline.stages.sift import coincidence_parameters
from photonlink.pipeline.stages.window_choice import best_window_ps

EVENTS = 1e8  # of a station in a block, at most, for the bounds below
SHARE = 0.01  # of eps_sec for each of the four: cut and quiet time at both stations
_COARSEST_PS = 16


@dataclass(frozen=True, slots=True)
class AgreedTimes:
    """rule: noise, quiet time, window, grid. sigma_ps: expected standard deviation of residuals.
    limits: of the change of the common clock offset."""

    rule: TimeRule
    sigma_ps: float
    limits: ClockLimits


def agreed_times(parameters: AgreedParameters, bench: BenchConstants) -> AgreedTimes:
    """Raises TimeRuleError for parameters that contradict each other."""
    p, (alice_ps, bob_ps) = parameters, bench.ticks_ps
    bare = coincidence_parameters(alice_ps, bob_ps, p.jitter_ps, p.jitter_ps)
    delta, scale = SHARE * p.eps_sec, p.noise_ps
    best = max(best_window_ps(bare.sigma_ps, scale), math.ceil(alice_ps), math.ceil(bob_ps))
    window = round(p.window_ps / 2) or best
    finest = max(scale, bare.bin_ps, _COARSEST_PS)
    grid_bits = min(math.floor(math.log2(finest)), MAX_GRID_BITS)
    bound = min(noise_bound_ps(scale, EVENTS, delta), MAX_TAILS * scale) if scale else 0
    no_second_candidate = math.ceil((2 * window + (1 << grid_bits)) * (1 + 1e-4)) + 1
    quiet = no_second_candidate
    if not p.hardware_hold_off:
        quiet = max(quiet, quiet_length_ps(bench.quiet_time_ps, scale, EVENTS, delta))
    rule = TimeRule(scale, bound, quiet, window, grid_bits)
    limits = ClockLimits(
        1.05e-6 * p.clock_frequency_ppm, 1e-9 * p.clock_drift_ppb_per_s, p.fibre_ps_per_s
    )
    if limits.slew_ps(p.slot_s) >= window:
        raise TimeRuleError(
            f"fibre_ps_per_s and clock_drift_ppb_per_s let the clocks move by "
            f"{limits.slew_ps(p.slot_s):,.0f} ps within slot_s, the coincidence window reaches "
            f"{window:,} ps",
            hint="Shorter slots, narrower limits or a wider window in [protocol].",
        )
    return AgreedTimes(rule, math.hypot(bare.sigma_ps, 2 * scale), limits)
