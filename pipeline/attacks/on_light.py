"""The attacks on light (and the faults of detectors that she profits from)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from photonlink.pipeline.attacks.entry import (
    PROBE_BEHIND_PS,
    AttackEntry,
    Draw,
    Knowing,
    Parameters,
    calibrated,
)
from photonlink.pipeline.attacks.light import Letters, Light, Times
from photonlink.pipeline.attacks.link import Line
from photonlink.pipeline.stages.bench_constants import BenchConstants

PHOTON_COUNTING = (
    "detectors respond to every light as to single photons: delays, jitter, efficiencies and dead "
    "time are those of the calibration"
)
TRUSTED_LIGHT = "the light of check --calibrate is what its operator vouches for"
JITTER_FWHM_PS, FWHM_PER_SIGMA = 300.0, 2.3548
OWN_RANDOMNESS = "each node's random source is unpredictable"


def _phase(name: str, share: float = 1.0, start_s: float = 0.0, **numbers: float) -> Parameters:
    return {"name": name, "share": share, "start_s": start_s, "numbers": numbers}


def _intercept(p: Parameters) -> Parameters:
    return {"phases": [_phase("intercept", p["share"], p["start_s"], basis=p["basis"])]}


def _c2(p: Parameters) -> Parameters:
    x, y = p["learn_ps"], p["use_ps"]
    return {
        "phases": [
            _phase("by_basis", 0.5, hv_ps=x, da_ps=-x),
            _phase("by_basis", p["share"], p["use_from_s"], hv_ps=y, da_ps=-y),
        ]
    }


def _edge(p: Parameters) -> Parameters:
    d = p["residual_ps"]
    shift = p["window_ps"] + p["beyond_ps"]
    return {
        "phases": [_phase("time_shift", 1.0, shift_ps=shift)],
        "bob_delay_ps": [-d, d, 0, 0],
    }


def _loose(p: Parameters) -> BenchConstants:
    """A calibration that allows for the residual delay."""
    return calibrated(uncertainty_ps=abs(p["residual_ps"]))


def _edge_clue(p: Parameters, window_ps: float) -> float:
    """From the shares of V's and of H's photons that the window accepts: V comes late by the
    residual, H early by it; the jitter of both ends blurs, and so does their noise."""
    rng, n = np.random.default_rng(1), 400_000
    late = rng.normal(0, JITTER_FWHM_PS / FWHM_PER_SIGMA * math.sqrt(2), n)
    scale = p.get("noise_ps", 0.0)
    if scale:
        late = late + rng.laplace(0, scale, n) + rng.laplace(0, scale, n)
    late = late + window_ps + p["beyond_ps"]
    h, v = (float((np.abs(late + s * p["residual_ps"]) <= window_ps).mean()) for s in (-1, 1))
    return max(h, v) / (h + v) if h + v else 1.0


def _shift(p: Parameters) -> Parameters:
    return {"phases": [_phase("time_shift", p["share"], shift_ps=p["shift_ps"])]}


def _dead_time(p: Parameters) -> Parameters:
    numbers = {"lead_ps": p["lead_ps"], "photons": p["photons"]}
    phase = _phase("dead_time", p["share"], p["start_s"], **numbers)
    return {"phases": [phase], "dead_time_ps": p["dead_time_ps"]}


def _echo(p: Parameters) -> Parameters:
    """Her probe comes when a veto would be over that the pulse at 5 ns has prolonged, and one that
    the pulse at 12 ns has not yet."""
    probe = p["quiet_ps"] + PROBE_BEHIND_PS
    phase = _phase("echo", p["share"], p["start_s"], probe_ps=probe, photons=p["photons"])
    return {"phases": [phase], "dead_time_ps": p["dead_time_ps"]}


def _shadow(p: Parameters) -> Parameters:
    numbers = {name: p[name] for name in ("behind_ps", "photons", "quiet_ps", "filler_ps")}
    phase = _phase("shadow", p["share"], p["start_s"], **numbers)
    return {"phases": [phase], "dead_time_ps": p["dead_time_ps"]}


def _blinding(p: Parameters) -> Parameters:
    phase = _phase("blinding", 1.0, p["start_s"], period_ps=p["period_ps"])
    return {"phases": [phase], "bias_tau_ps": p["bias_tau_ps"]}


def _sparse(p: Parameters) -> Parameters:
    return {"phases": [_phase("sparse", 1.0, p["start_s"], gap_ps=p["gap_ps"])]}


def _dark(light: Light, p: Parameters) -> Light:
    """From a moment on she sends nothing."""
    until = p["dark_from_s"] * 1e12
    sides = [
        (time_ps[time_ps < until], channel[time_ps < until])
        for time_ps, channel in (light.alice, light.bob)
    ]
    return dataclasses.replace(light, alice=sides[0], bob=sides[1])


def _cut_in_the_dark(p: Parameters) -> Callable[[Line], None]:
    """And nothing passes on the line any more."""

    def step(line: Line) -> None:
        if not line.frozen and line.fed_ps >= p["dark_from_s"] * 1e12:
            line.cut()
            line.frozen = True

    return step


def _step(p: Parameters) -> Parameters:
    return {"bob_step_ps": [0, p["step_ps"], 0, 0], "step_s": p["start_s"]}


def _dead(p: Parameters) -> Parameters:
    return {"bob_efficiency": [1, p["efficiency"], 1, 1]}


def _slow(p: Parameters) -> BenchConstants:
    """The calibration holds the detectors' dead time."""
    return calibrated(quiet_time_ps=p["dead_time_ps"])


def _fake_calibration(p: Parameters) -> Parameters:
    return {"phases": [_phase("by_basis", 1.0, hv_ps=p["use_ps"], da_ps=-p["use_ps"])]}


def _faked(p: Parameters) -> BenchConstants:
    x = p["use_ps"]
    return calibrated(bob_ps=(x, x, -x, -x))


def _jump(light: Light, p: Parameters) -> Light:
    """Backwards as well: early arrivals overtake earlier ones."""
    time_ps, channel = light.bob
    late = time_ps >= p["start_s"] * 1e12
    return _moved(light, time_ps + late * round(p["jump_ps"]), channel)


def _ramp(light: Light, p: Parameters) -> Light:
    """From a moment on later and later, or earlier and earlier, by so much a second."""
    time_ps, channel = light.bob
    since_s = np.maximum(time_ps * 1e-12 - p["start_s"], 0.0)
    moved_ps = np.rint(since_s * p["ps_per_s"] + 0.5 * since_s**2 * p["ps_per_s2"])
    return _moved(light, time_ps + moved_ps.astype(np.int64), channel)


def _moved(light: Light, time_ps: Times, channel: Letters) -> Light:
    time_ps = np.maximum(time_ps, 0)
    order = np.argsort(time_ps, kind="stable")
    return dataclasses.replace(light, bob=(time_ps[order], channel[order]))


def _stuck(p: Parameters, role: str) -> Callable[[int], bytes] | None:
    """Alice's source gives ones with the probability ``ones``; Bob's works."""
    if role != "alice":
        return None
    rng = np.random.default_rng(1)

    def randomness(n: int) -> bytes:
        return np.packbits(rng.random(8 * n) < p["ones"]).tobytes()

    return randomness


def _uniform(**ranges: tuple[float, float]) -> Callable[[Draw], Parameters]:
    def draw(rng: Draw) -> Parameters:
        return {k: float(np.round(rng.uniform(a, b), 6)) for k, (a, b) in ranges.items()}

    return draw


ATTACKS: tuple[AttackEntry, ...] = (
    AttackEntry("honest", (), "nobody attacks", must_key=True),
    AttackEntry(
        "intercept_resend", (), "measures and resends a share of Bob's photons",
        defaults={"share": 0.1, "basis": 2, "start_s": 0.0}, light=_intercept,
        draw=_uniform(share=(0.0, 0.5), start_s=(0.0, 1.5)),
    ),
    AttackEntry(
        "intercept_resend_all", (), "measures and resends all of them", must_alarm=True,
        defaults={"share": 1.0, "basis": 2, "start_s": 0.0}, light=_intercept,
    ),
    AttackEntry(
        "intercept_resend_key_basis", (), "measures in the key basis only",
        defaults={"share": 0.15, "basis": 0, "start_s": 0.0}, light=_intercept,
        draw=_uniform(share=(0.0, 0.5)),
    ),
    AttackEntry(
        "bases_apart_in_time", ("C2",),
        "pairs of HV late and of DA early beside honest ones, from which delays could be learned",
        defaults={"learn_ps": 5700.0, "use_ps": 5700.0, "use_from_s": 1.5, "share": 0.5},
        light=_c2, draw=_uniform(learn_ps=(0, 8000), use_ps=(0, 8000), share=(0.2, 1.0)),
    ),
    AttackEntry(
        "edge_of_window", (),
        "Bob's photons beyond the window's edges, by a coin of hers: where detectors that differ "
        "within the calibration's uncertainty differ most in acceptance",
        defaults={"beyond_ps": 360.0, "residual_ps": 20.0, "pairs_hz": 100_000.0},
        light=_edge, clue=_edge_clue, bench=_loose,
        draw=_uniform(beyond_ps=(-1000, 1000), residual_ps=(0, 20)),
    ),
    AttackEntry(
        "time_shift", (), "Bob's photons early or late by a coin",
        defaults={"shift_ps": 300.0, "share": 1.0}, light=_shift,
        draw=_uniform(shift_ps=(0, 800), share=(0, 1)),
    ),
    AttackEntry(
        "dead_time", ("M7",), "a pulse before each photon leaves one detector alive",
        defaults={"share": 0.2, "lead_ps": 1e6, "photons": 200.0, "dead_time_ps": 2e6,
                  "start_s": 0.0},
        light=_dead_time, bench=_slow,
        draw=_uniform(share=(0.01, 1), photons=(5, 500), lead_ps=(5e4, 1.9e6)),
    ),
    AttackEntry(
        "shadow", ("M7",),
        "a pulse in the quiet time of an event that never pairs leaves one detector alive for the "
        "pair right behind it; other fillers keep the share of events with later clicks small",
        defaults={"share": 1.0, "behind_ps": 5000.0, "photons": 200.0, "dead_time_ps": 40_000.0,
                  "filler_ps": 1.5e6, "pairs_hz": 10_000.0, "duration_s": 5.0, "start_s": 1.0},
        light=_shadow, bench=_slow,
        draw=_uniform(share=(0.01, 1), photons=(5, 500), behind_ps=(2000, 8000)),
    ),
    AttackEntry(
        "echo", ("M7",), "pulses after each photon, whose clicks prolong a veto if the bit was 1",
        defaults={"share": 1.0, "photons": 200.0, "dead_time_ps": 40_000.0, "start_s": 0.0},
        light=_echo, bench=_slow, knowing=Knowing.PROBES,
        draw=_uniform(share=(0.01, 1), photons=(5, 500)),
    ),
    AttackEntry(
        "sparse_light", ("C4",), "one pair at a time, so that shown rates could tell each outcome",
        defaults={"gap_ps": 4e8, "piece_ps": 4e8, "status_period_s": 3e-4, "start_s": 1.0,
                  "duration_s": 3.8},
        agreed={"block_sifted_bits": 3000, "q_tol": 0.03, "bases": "one"},
        light=_sparse, knowing=Knowing.FIGURES,
    ),
    AttackEntry(
        "sparse_light_then_none", ("C4",),
        "as before; once there is key she cuts the line and sends nothing: rates shown now that "
        "reach back would tell each outcome when it drops out of them",
        defaults={"gap_ps": 4e8, "piece_ps": 4e8, "status_period_s": 3e-4, "start_s": 1.0,
                  "dark_from_s": 2.8, "duration_s": 4.9},
        agreed={"block_sifted_bits": 3000, "q_tol": 0.03, "bases": "one"},
        light=_sparse, edit=_dark, step=_cut_in_the_dark, knowing=Knowing.AFTERWARDS,
    ),
    AttackEntry(
        "detector_moves", ("H1",), "Bob's V moves by half a nanosecond in mid run", must_alarm=True,
        defaults={"step_ps": 500.0, "start_s": 1.2}, light=_step,
        draw=_uniform(step_ps=(400, 1000)),  # a block of the table shows moves from 360 ps on
    ),
    AttackEntry(
        "detector_leaves", ("H1",), "Bob's V is gone from the window in mid run", must_alarm=True,
        defaults={"step_ps": 20_000.0, "start_s": 1.6}, light=_step, knowing=Knowing.ZERO,
        draw=_uniform(start_s=(0.8, 2.0)),
    ),
    AttackEntry(
        "dead_detector", ("C3",), "Bob's V is dead: all his key bits would be 0", must_alarm=True,
        defaults={"efficiency": 0.0}, light=_dead, knowing=Knowing.ZERO,
    ),
    AttackEntry(
        "clock_jump", (), "the fibre, or Bob's clock, jumps",
        defaults={"jump_ps": 5000.0, "start_s": 1.2}, edit=_jump,
        draw=_uniform(jump_ps=(0, 1e8), start_s=(0.5, 2)),
    ),
    AttackEntry(
        "clock_jump_back", (), "the fibre becomes shorter at once, or Bob's clock goes back",
        defaults={"jump_ps": -5000.0, "start_s": 1.2}, edit=_jump,
        draw=_uniform(jump_ps=(-1e8, 0), start_s=(0.5, 2)),
    ),
    AttackEntry(
        "clock_ramp", (),
        "the fibre becomes longer all the time, as fast as the agreed limits allow: the clock "
        "follows it, all detectors alike",
        defaults={"ps_per_s": 400.0, "ps_per_s2": 0.0, "start_s": 0.5}, edit=_ramp, must_key=True,
    ),
    AttackEntry(
        "clock_ramp_too_fast", (), "as before, beyond the agreed limits", must_alarm=True,
        defaults={"ps_per_s": 2e6, "ps_per_s2": 0.0, "start_s": 1.2}, edit=_ramp,
    ),
    AttackEntry(
        "clock_ramps", (), "the fibre becomes longer or shorter, faster and faster",
        defaults={"ps_per_s": -1000.0, "ps_per_s2": 5000.0, "start_s": 0.5}, edit=_ramp,
        draw=_uniform(ps_per_s=(-1e5, 1e5), ps_per_s2=(-1e5, 1e5), start_s=(0.0, 2)),
    ),
    AttackEntry(
        "blinding", (), "continuous light blinds Bob; bright pulses choose his clicks",
        in_model=False, assumption=PHOTON_COUNTING, evades=True,
        watched="nothing that she cannot satisfy: this is the Eve who evades",
        defaults={"period_ps": 0.0, "bias_tau_ps": 1e6, "start_s": 0.0}, light=_blinding,
    ),
    AttackEntry(
        "blinding_pulsed", (), "pulses blind Bob; bright pulses choose his clicks",
        in_model=False, assumption=PHOTON_COUNTING,
        watched="multi-clicks: each blinding pulse clicks in all four detectors; she who evades "
        "blinds continuously (`blinding`)",
        must_alarm=True,
        defaults={"period_ps": 2.5e7, "bias_tau_ps": 2e7, "start_s": 0.0}, light=_blinding,
    ),
    AttackEntry(
        "fake_calibration", (), "the calibration was measured with Eve's light, then as C2",
        in_model=False, assumption=TRUSTED_LIGHT, evades=True,
        watched="the operator's name stands in the file; nothing afterwards can tell",
        defaults={"use_ps": 5700.0}, light=_fake_calibration, bench=_faked,
    ),
    AttackEntry(
        "stuck_random_source", (),
        "Alice's random bytes are zeros: key bits are raw bits, and a share of these was resent",
        in_model=False, assumption=OWN_RANDOMNESS, evades=True,
        watched="nothing: seeds that no honest source gives are as good as others to all checks",
        defaults={"ones": 0.0, "share": 0.1, "basis": 2, "start_s": 0.0}, light=_intercept,
        randomness=_stuck,
    ),
)  # fmt: skip
