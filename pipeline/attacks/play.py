"""Play an attack against two sessions and ask the oracle what it gave."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from photonlink.pipeline.attacks import on_light, on_line
from photonlink.pipeline.attacks.entry import (
    AGREED,
    AttackEntry,
    AttackOutcome,
    Knowing,
    Parameters,
    calibrated,
)
from photonlink.pipeline.attacks.light import Light, Times, make_light
from photonlink.pipeline.attacks.link import Line, LinkEnd
from photonlink.pipeline.attacks.oracle import (
    BlockView,
    Knowledge,
    guess_from_record,
    knowledge,
    surely_better_than_chance,
)
from photonlink.pipeline.attacks.transcript import (
    ObservedString,
    WireTranscript,
    amplification_rows,
    public_rows,
)
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.protocol.setup import Role
from photonlink.pipeline.stages.bench_constants import BenchConstants

ATTACKS: dict[str, AttackEntry] = {a.name: a for a in (*on_light.ATTACKS, *on_line.ATTACKS)}
NEAR_PS = 10_000  # of a time to her record: pairs lie 50 us apart
PROBE_PS = 30_000
PSK_BYTES = 1 << 16


def play(attack: AttackEntry, seed: int, rng: np.random.Generator | None = None) -> AttackOutcome:
    """One run with the table's parameters, or with random ones. Never raises for what an
    attack does to the sessions: that is a row which is not ok."""
    p = attack.parameters(rng)
    try:
        return _played(attack, p, seed)
    except Exception as error:  # noqa: BLE001 - whatever it is, the sessions should not have raised it
        why = f"crashed: {type(error).__name__}: {error}"[:200]
        return _row(attack, p, [], "", None, ok=False, why=why)


def _played(attack: AttackEntry, p: Parameters, seed: int) -> AttackOutcome:
    light = make_light(attack.request(p, seed))
    if attack.edit is not None:
        light = attack.edit(light, p)
    bench = attack.bench(p) if attack.bench else calibrated()
    line = _line(attack, p, bench, seed)
    try:
        line.play(light.blocks(), attack.step(p) if attack.step else None)
        return _judged(attack, p, light, line)
    finally:
        for end in line.ends.values():
            end.session.close(line.now_s)
            end.psk.close()


def _line(attack: AttackEntry, p: Parameters, bench: BenchConstants, seed: int) -> Line:
    transcript = WireTranscript(AGREED, bench)
    psk = PreSharedKey.generate(PSK_BYTES)
    ends = [
        LinkEnd(
            role, key, bench, AGREED, seed,
            randomness=attack.randomness(p, str(role)) if attack.randomness else None,
        )
        for role, key in ((Role.ALICE, psk), (Role.BOB, psk.copy()))
    ]  # fmt: skip
    return Line(ends[0], ends[1], transcript, attack.hook(p) if attack.hook else None)


def _judged(attack: AttackEntry, p: Parameters, light: Light, line: Line) -> AttackOutcome:
    keys = [line.ends[role].keys() for role in Role]
    both = keys[0].keys() & keys[1].keys()
    same = all(keys[0][block] == keys[1][block] for block in both)
    released = keys[0].keys() | keys[1].keys()
    found = [
        _known(attack, p, light, string, line.transcript)
        for block in line.transcript.blocks
        if block.block in released and block.amplified
        for string in block.strings
    ]
    alarm, alarm_s = _first_alarm(line, float(p.get("start_s", 0.0)))
    why = ""
    if not same:
        why = "the two ends released different keys"
    elif attack.in_model and any(k.known_bits or k.entropy_deficit for k in found):
        why = "she knows bits of a key that was released"
    elif attack.must_alarm and not alarm:
        why = "nobody noticed"
    elif attack.must_key and (alarm or not found):
        why = "an honest link raised an alarm or gave no key"
    return _row(attack, p, found, alarm, alarm_s, ok=not why, why=why)


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


def _first_alarm(line: Line, start_s: float) -> tuple[str, float | None]:
    """The first alarm, or reason for a block without key, at either end."""
    raised = line.alarms()
    for end in line.ends.values():
        for when, report in end.reports:
            if report.abort and not report.abort.startswith("no_secret_bits"):
                raised.append((when, report.abort.partition(":")[0]))
    after = sorted(r for r in raised if r[0] >= start_s)
    return (after[0][1], round(after[0][0] - start_s, 1)) if after else ("", None)


# ---- what she knows of a block ----


def _known(
    attack: AttackEntry,
    p: Parameters,
    light: Light,
    string: ObservedString,
    transcript: WireTranscript,
) -> Knowledge:
    """Of one key of a block. A key is claimed to be secret given all bits of the other basis, so
    nothing that is known of those can help her here."""
    assert string.amplification is not None  # noqa: S101 - chosen by the caller
    n, (seed, length) = string.n, string.amplification
    positions = _positions(attack, light, string, transcript)
    clues: dict[int, float] = {}
    if attack.clue is not None:
        clues = dict.fromkeys(range(n), attack.clue(p, float(transcript.window_ps)))
    return knowledge(
        BlockView(
            n,
            amplification_rows(n, seed, length) if length else np.zeros((0, n), np.uint8),
            public_rows(string),
            positions,
            guess_from_record(n, positions, clues),
        )
    )


def _positions(
    attack: AttackEntry, light: Light, string: ObservedString, transcript: WireTranscript
) -> Times:
    """Raw bits that she holds."""
    if attack.knowing == Knowing.ZERO:
        return np.arange(string.n if string.basis == 0 else 0)
    nearest, near = _nearest(light.known_ps, light.to_bench_ps(string.bob_ps))
    if attack.knowing == Knowing.PROBES:
        return _by_probes(light, string, transcript, np.flatnonzero(near))
    letters = light.known_bob[nearest] if len(light.known_bob) else np.empty(0, np.uint8)
    own = letters >> 1 == string.basis
    return np.flatnonzero(near & own) if len(letters) else np.empty(0, np.int64)


def _nearest(row: Times, times: Times) -> tuple[Times, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Index of the nearest entry of a sorted row, and whether it is near."""
    if len(row) < 2:
        return np.zeros(len(times), np.int64), np.zeros(len(times), np.bool_)
    at = np.clip(np.searchsorted(row, times), 1, len(row) - 1)
    at = np.where(np.abs(row[at] - times) < np.abs(row[at - 1] - times), at, at - 1)
    return at, np.abs(row[at] - times) <= NEAR_PS


def _by_probes(
    light: Light, string: ObservedString, transcript: WireTranscript, touched: Times
) -> Times:
    """She takes a bit for 1 where her probe was announced. Her guesses are scored against the
    clicks; where they are no better than a coin, she holds nothing."""
    veto = 58_000  # after the key click: pulses at 5 and 12 ns, the veto's 50 ns, 3 ns
    announced = light.to_bench_ps(np.sort(np.concatenate(transcript.announced_ps)))
    key = light.to_bench_ps(string.bob_ps[touched])
    low = np.searchsorted(announced, key + veto - PROBE_PS)
    guess = np.searchsorted(announced, key + veto + PROBE_PS) > low
    time_ps, channel = light.bob
    clicks = light.to_bench_ps(time_ps)
    at, near = _nearest(clicks, key)
    right = int((guess == (channel[at] == 2 + 2 * string.basis))[near].sum())
    return touched if surely_better_than_chance(right, int(near.sum())) else touched[:0]


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
        yield play(attack, seed + run, rng), time.monotonic() - begun
