"""What Eve knows of the raw key of a block: from her record, her probes, or the published rates."""

from __future__ import annotations

import numpy as np

from photonlink.pipeline.attacks.entry import PROBE_BEHIND_PS, AttackEntry, Knowing, Parameters
from photonlink.pipeline.attacks.light import Light, Times
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
    string_rows,
)
from photonlink.pipeline.status.model import LinkState

NEAR_PS = 10_000  # greatest distance of a time to her record; pairs lie 50 us apart
PROBE_PS = 3_000
# averaging time of Bob's rates, or the time since his start when that is shorter
_SHOWN_OVER_PS = 2 * 10**12
States = list[tuple[int, LinkState]]
Counts = list[tuple[int, list[float]]]
"""Of H, V, D, A, at times of Bob's."""
# positions, and the probability that her guess there is right
Shares = list[tuple[np.ndarray, float]]


def known_of(
    attack: AttackEntry,
    p: Parameters,
    light: Light,
    string: ObservedString,
    transcript: WireTranscript,
    shown: States,
) -> Knowledge:
    """Her knowledge of one key of a released block. shown: Bob's published states. A key is claimed
    to be secret given all bits of the other basis, so knowledge of those must not help her here.
    """
    assert string.amplification is not None  # noqa: S101 - chosen by the caller
    n = string.n
    positions = np.empty(0, np.int64)
    clues: dict[int, float] = {}
    if attack.clue is not None and string.basis == 0:
        clues = dict.fromkeys(range(n), attack.clue(p, float(transcript.window_ps)))
    elif attack.knowing == Knowing.PROBES:
        clues = _by_probes(p, light, string, transcript)
    elif attack.knowing == Knowing.FIGURES:
        positions = _by_counts(light, string, _counts(shown), 0)
    elif attack.knowing == Knowing.AFTERWARDS:
        positions = _by_counts(light, string, _left(shown), _SHOWN_OVER_PS)
    elif attack.knowing == Knowing.ZERO:
        since = float(p.get("start_s", 0.0)) * 1e12
        zero = (light.to_bench_ps(string.bob_ps) >= since) & (string.basis == 0)
        positions = np.flatnonzero(zero)
    else:
        positions = _by_record(light, string)
    final, told = string_rows(string)
    return knowledge(BlockView(n, final, told, positions, guess_from_record(n, positions, clues)))


def _by_record(light: Light, string: ObservedString) -> Times:
    """Raw bits whose state she has prepared."""
    nearest, near = _nearest(light.known_ps, light.to_bench_ps(string.bob_ps))
    letters = light.known_bob[nearest] if len(light.known_bob) else np.empty(0, np.uint8)
    if not len(letters):
        return np.empty(0, np.int64)
    return np.flatnonzero(near & (letters >> 1 == string.basis))


def _nearest(row: Times, times: Times) -> tuple[Times, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Index of the nearest entry of a sorted array, and whether it lies within the tolerance."""
    if len(row) < 2:
        return np.zeros(len(times), np.int64), np.zeros(len(times), np.bool_)
    at = np.clip(np.searchsorted(row, times), 1, len(row) - 1)
    at = np.where(np.abs(row[at] - times) < np.abs(row[at - 1] - times), at, at - 1)
    return at, np.abs(row[at] - times) <= NEAR_PS


def _bob_clicked(
    light: Light, key: Times
) -> tuple[Times, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """The truth, to score her guesses with: Bob's channel next to each time."""
    time_ps, channel = light.bob
    at, near = _nearest(light.to_bench_ps(time_ps), key)
    return channel[at].astype(np.int64), near


def _by_probes(
    p: Parameters, light: Light, string: ObservedString, transcript: WireTranscript
) -> dict[int, float]:
    """She takes a bit for 1 where her probe was announced. Her guesses are scored against the
    clicks; when they are no better than chance, she has no knowledge.
    """
    key = light.to_bench_ps(string.bob_ps)
    touched = np.flatnonzero(_nearest(light.known_ps, key)[1])
    announced = light.to_bench_ps(np.sort(np.concatenate(transcript.announced_ps)))
    probe = key[touched] + round(p["quiet_ps"] + PROBE_BEHIND_PS)
    low = np.searchsorted(announced, probe - PROBE_PS)
    guess = np.searchsorted(announced, probe + PROBE_PS) > low
    channel, near = _bob_clicked(light, key[touched])
    right, n = int((guess == (channel == 2 + 2 * string.basis))[near].sum()), int(near.sum())
    if not surely_better_than_chance(max(right, n - right), n):
        return {}
    return dict.fromkeys(touched.tolist(), max(right, n - right) / n)


def _by_counts(light: Light, string: ObservedString, counts: Counts, later_ps: int) -> Times:
    """She takes a bit where the count of one detector of its basis has grown by one, so much later
    than the click. The bits are scored against the clicks.
    """
    if len(counts) < 2:
        return np.empty(0, np.int64)
    at, rows = np.array([t for t, _ in counts]), np.array([c for _, c in counts])
    after = np.searchsorted(at, string.bob_ps + later_ps)
    usable = (after > 0) & (after < len(at))
    moved = rows[np.where(usable, after, 1)] - rows[np.where(usable, after - 1, 0)]
    mine = np.rint(moved[:, 2 * string.basis : 2 * string.basis + 2])
    told = usable & (mine.sum(axis=1) == 1)
    channel, near = _bob_clicked(light, light.to_bench_ps(string.bob_ps))
    right = (mine[:, 1] == 1) == (channel == 2 + 2 * string.basis)
    chosen = told & near
    sure = surely_better_than_chance(int(right[chosen].sum()), int(chosen.sum()))
    return np.flatnonzero(chosen & right) if sure else np.empty(0, np.int64)


def _left(shown: States) -> Counts:
    """Clicks that have left the time over which Bob's rates are averages: she sends nothing
    meanwhile, so that none come in."""
    seconds = _SHOWN_OVER_PS * 1e-12
    return [(t, [-s.rate_hz[c] * seconds for c in "HVDA"]) for t, s in shown if s.rate_hz]


def _counts(shown: States) -> Counts:
    """Clicks of H, V, D, A since Bob's start, at the ends of his tags."""
    found: Counts = [(0, [0.0] * 4)]
    ends = [0]
    for at, state in shown:
        if not state.rate_hz or at <= ends[-1]:
            continue
        since = int(np.searchsorted(ends, at - _SHOWN_OVER_PS, side="right")) - 1
        start, before = found[max(since, 0)]
        seconds = (at - start) * 1e-12
        found.append(
            (at, [b + state.rate_hz[c] * seconds for b, c in zip(before, "HVDA", strict=True)])
        )
        ends.append(at)
    return found
