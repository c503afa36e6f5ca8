"""Plays an attack against two sessions and computes with the oracle what Eve knows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import numpy as np

from photonlink.pipeline.attacks import on_light, on_line
from photonlink.pipeline.attacks.entry import (
    AGREED,
    AttackEntry,
    AttackOutcome,
    Parameters,
    calibrated,
)
from photonlink.pipeline.attacks.forger import Forger
from photonlink.pipeline.attacks.knowing import known_of
from photonlink.pipeline.attacks.light import STEP_PS, Light, make_light
from photonlink.pipeline.attacks.link import Line, LinkEnd
from photonlink.pipeline.attacks.oracle import Knowledge
from photonlink.pipeline.attacks.promises import broken_promise
from photonlink.pipeline.attacks.transcript import WireTranscript
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.protocol.setup import Limits, Role
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.agreed_times import agreed_times
from photonlink.pipeline.stages.bench_constants import BenchConstants

ATTACKS: dict[str, AttackEntry] = {a.name: a for a in (*on_light.ATTACKS, *on_line.ATTACKS)}
PSK_BYTES = 1 << 16


def play(attack: AttackEntry, seed: int, rng: np.random.Generator | None = None) -> AttackOutcome:
    """One run with the table's parameters, or with random ones. Never raises for a fault that an
    attack causes in the sessions: the outcome is then not ok.
    """
    p = attack.parameters(rng)
    try:
        return _played(attack, p, seed)
    except Exception as error:  # noqa: BLE001 - sessions must not raise
        why = f"crashed: {type(error).__name__}: {error}"[:200]
        return _row(attack, p, [], "", None, ok=False, why=why)


def agreed_for(attack: AttackEntry) -> AgreedParameters:
    """The table's link, as this attack changes it."""
    return dataclasses.replace(AGREED, **attack.agreed)


def bench_for(attack: AttackEntry, p: Parameters, light: Light) -> BenchConstants:
    """The calibration that both ends hold; it does not depend on the light."""
    return attack.bench(p) if attack.bench else calibrated()


def _played(attack: AttackEntry, p: Parameters, seed: int) -> AttackOutcome:
    agreed = agreed_for(attack)
    rule = agreed_times(agreed, attack.bench(p) if attack.bench else calibrated()).rule
    with_rule = {
        **p, "window_ps": rule.window_ps, "quiet_ps": rule.quiet_ps, "noise_ps": rule.scale_ps,
    }  # fmt: skip
    light = make_light(attack.request(with_rule, seed))
    if attack.edit is not None:
        light = attack.edit(light, p)
    line = _line(attack, p, agreed, bench_for(attack, p, light), seed)
    try:
        step = attack.step(p) if attack.step else None
        line.play(light.blocks(round(p.get("piece_ps", STEP_PS))), step)
        return _judged(attack, with_rule, light, line)
    finally:
        for end in line.ends.values():
            end.session.close(line.now_s)
            end.psk.close()


def _line(
    attack: AttackEntry, p: Parameters, agreed: AgreedParameters, bench: BenchConstants, seed: int
) -> Line:
    transcript = WireTranscript(agreed, bench)
    psk = PreSharedKey.generate(PSK_BYTES)
    limits = Limits(status_period_s=float(p.get("status_period_s", 0.5)))
    ends = [
        LinkEnd(
            role, key, bench, agreed, seed, limits=limits,
            randomness=attack.randomness(p, str(role)) if attack.randomness else None,
        )
        for role, key in ((Role.ALICE, psk), (Role.BOB, psk.copy()))
    ]  # fmt: skip
    hook = attack.hook(p) if attack.hook else None
    if attack.forge is not None:
        hook = Forger(psk, attack.forge(p))
    return Line(ends[0], ends[1], transcript, hook)


def _judged(attack: AttackEntry, p: Parameters, light: Light, line: Line) -> AttackOutcome:
    released = line.ends[Role.ALICE].keys().keys() | line.ends[Role.BOB].keys().keys()
    shown = line.ends[Role.BOB].states
    found = [
        known_of(attack, p, light, string, line.transcript, shown)
        for block in line.transcript.blocks
        if block.block in released and block.amplified
        for string in block.strings
    ]
    alarm, alarm_s = _first_alarm(line, float(p.get("start_s", 0.0)), attack.names)
    why = broken_promise(line, pads_may_repeat=attack.pads_may_repeat)
    if why:
        pass
    elif attack.in_model and any(k.known_bits or k.entropy_deficit for k in found):
        why = "she knows bits of a key that was released"
    elif attack.must_alarm and not alarm:
        why = "nobody noticed"
    elif attack.must_key and (alarm or not found):
        why = "an honest link raised an alarm or gave no key"
    elif attack.evades and not any(k.known_bits for k in found):
        why = "she who evades is said to know bits, and none was found"
    chosen = {name: p[name] for name in attack.defaults}
    return _row(attack, chosen, found, alarm, alarm_s, ok=not why, why=why)


def _row(
    attack: AttackEntry,
    p: Parameters,
    found: list[Knowledge],
    alarm: str,
    alarm_s: float | None,
    *,
    ok: bool,
    why: str,
) -> AttackOutcome:
    return AttackOutcome(
        name=attack.name,
        in_model=attack.in_model,
        parameters=p,
        released_bits=sum(k.released_bits for k in found),
        known_bits=sum(k.known_bits for k in found),
        entropy_deficit=round(sum(k.entropy_deficit for k in found), 1),
        alarm=alarm,
        alarm_s=alarm_s,
        ok=ok,
        why=why,
        assumption=attack.assumption,
        watched=attack.watched,
    )


def _first_alarm(line: Line, start_s: float, named: str) -> tuple[str, float | None]:
    """The first alarm, or reason for a block without key, at either end; of these ``named``."""
    raised = line.alarms()
    for end in line.ends.values():
        for when, report in end.reports:
            if report.abort and not report.abort.startswith("no_secret_bits"):
                raised.append((when, report.abort.partition(":")[0]))
    after = sorted(r for r in raised if r[0] >= start_s and named in ("", r[1]))
    return (after[0][1], round(after[0][0] - start_s, 1)) if after else ("", None)


# ---- many ----


def play_all(names: list[str] | None, seed: int = 1) -> Iterator[tuple[AttackOutcome, float]]:
    """The table: every attack once, in order, with the seconds it took. KeyError: no such name."""
    for attack in [ATTACKS[name] for name in names] if names else list(ATTACKS.values()):
        begun = time.monotonic()
        yield play(attack, seed), time.monotonic() - begun


def play_random(runs: int, seed: int) -> Iterator[tuple[AttackOutcome, float]]:
    """Random attacks in the model with random parameters."""
    rng = np.random.default_rng(seed)
    inside = [a for a in ATTACKS.values() if a.in_model and a.draw is not None]
    for run in range(runs):
        begun = time.monotonic()
        attack = inside[int(rng.integers(0, len(inside)))]
        # with random parameters it may change nothing at all
        if attack.light is None and attack.edit is None:
            attack = dataclasses.replace(attack, must_alarm=False)
        yield play(attack, seed + run, rng), time.monotonic() - begun
