"""``photonlink replay --alice FILE --bob FILE``: two recordings of other software, to a key.

Live nodes agree on the jitter beforehand; recordings have no such value, so the width of the
coincidence peak is measured first, on the beginning of both files, and the window follows from it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.recordings import Recording, open_recording
from photonlink.hal.tags import LostInterval, TagBlock
from photonlink.pipeline.recordings.replay import ReplayResult, from_first_click, replay_pair
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.clock.recovery import ClockParameters, ClockRecovery, Lock
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.stages.window import Int64s

MAX_JUMP_PS = 60 * 10**12  # seconds without an event that mean a damaged file, not a dark link
_NEVER = -(1 << 63)
LOOK_S = (1.0, 5.0)  # seconds of both recordings, for the width of the peak
_SIGMA_TO_FWHM = 2 * math.sqrt(2 * math.log(2))
_FIELDS = (
    "secret_bits", "keys_match", "qber", "sifted_bits", "leak_bits", "f_ec", "epsilon",
    "skr_bps", "emulated", "blocks", "aborts", "alarms", "clock_offset_s",
    "clock_frequency_ppm", "duration_s",
)  # fmt: skip


class ReplayError(PhotonlinkError, ValueError):
    """The recordings do not fit the channel map."""


@dataclass(slots=True)
class _Played:
    """One recording as it is played, and what was missing in it."""

    recording: Recording
    detectors: DetectorMap
    intervals: int = 0
    lost_ps: int = 0
    start_ps: int | None = None
    first: LostInterval | None = None
    end_ps: int = _NEVER  # of the latest lost interval

    def check_map(self) -> None:
        """ReplayError for a channel that never clicks; reads only as far as needed."""
        missing = dict(self.detectors.channels)
        there = np.zeros(256, np.bool_)
        for block in self.recording.blocks(max_jump_ps=MAX_JUMP_PS):
            there[block.channel] = True
            missing = {letter: c for letter, c in missing.items() if not there[c]}
            if not missing:
                return
        letter, channel = next(iter(missing.items()))
        numbers = ", ".join(str(c) for c in np.flatnonzero(there)) or "none"
        raise ReplayError(
            f"channel {channel} ({letter}) has no events in {self.recording.path}",
            hint=f"Channels with events: {numbers}",
        )

    def blocks(self) -> Iterator[TagBlock]:
        """The blocks of the recording up to its end, or up to damage that ends reading."""
        for block in self.recording.blocks(max_jump_ps=MAX_JUMP_PS):
            if self.start_ps is None and len(block):
                self.start_ps = int(block.time_ps[0])
            for gap in block.lost:
                self._count(gap)
            yield block

    def _count(self, gap: LostInterval) -> None:
        self.first = self.first or gap
        self.intervals += gap.start_ps > self.end_ps  # else reading goes on
        self.lost_ps += max(gap.end_ps - max(gap.start_ps, self.end_ps), 0)
        self.end_ps = max(self.end_ps, gap.end_ps)

    def warnings(self) -> list[str]:
        """At most one warning for missing parts, and one for the place where reading ended."""
        texts = []
        if self.first is not None:
            at_s = (self.first.start_ps - (self.start_ps or 0)) / 1e12
            position = self.recording.damage_at
            where = "" if position is None else f"at byte {position}: "
            texts.append(
                f"{self.recording.path}: {where}{self.first.reason}; lost intervals: "
                f"{self.intervals}, together {self.lost_ps / 1e12:.6g} s, the first "
                f"{at_s:.6f} s after the first event"
            )
        if self.recording.error is not None:
            texts.append(str(self.recording.error))
        return texts


def _played(path: Path, numbers: dict[str, int]) -> _Played:
    recording = open_recording(path)
    channels = {letter: recording.channel(number) for letter, number in numbers.items()}
    return _Played(recording, DetectorMap(channels))


def replay_files(
    alice: Path,
    bob: Path,
    map_alice: dict[str, int],
    map_bob: dict[str, int],
    changes: dict[str, Any],
) -> dict[str, Any]:
    """The demo's figures and the clock at the start; ``changes`` overrides agreed parameters.

    A damaged file is read up to the damage; the result then names it in ``warnings``.
    """
    result, _, warnings = play_files(alice, bob, map_alice, map_bob, changes)
    account = {name: getattr(result, name) for name in _FIELDS}
    account["warnings"] = warnings
    return account


def play_files(
    alice: Path,
    bob: Path,
    map_alice: dict[str, int],
    map_bob: dict[str, int],
    changes: dict[str, Any],
) -> tuple[ReplayResult, AgreedParameters, list[str]]:
    """The result, its agreed parameters, and the faults of the files."""
    played = [_played(path, channels) for path, channels in ((alice, map_alice), (bob, map_bob))]
    for one in played:
        one.check_map()
    parameters = AgreedParameters(**changes)
    if "jitter_ps" not in changes:
        jitter = _jitter_ps(played)
        if jitter is not None:
            parameters = dataclasses.replace(parameters, jitter_ps=jitter)
    result = replay_pair(
        played[0].blocks(),
        played[1].blocks(),
        played[0].detectors,
        played[1].detectors,
        (played[0].recording.resolution_ps, played[1].recording.resolution_ps),
        parameters,
    )
    return result, parameters, [text for one in played for text in one.warnings()]


def _jitter_ps(played: list[_Played]) -> float | None:
    """FWHM of one side's jitter as the coincidence peak shows it, or None without a peak."""
    for seconds in LOOK_S:
        alice, bob = (_beginning(one, seconds) for one in played)
        if not (len(alice) and len(bob)):
            return None
        for hint in (0, int(bob[0]) - int(alice[0])):
            clock = ClockRecovery(ClockParameters(sigma_ps=500.0), hint_offset_s=hint * 1e-12)
            lock = clock.acquire(alice, bob, explain=False)
            if isinstance(lock, Lock):
                roundings = sum(r.resolution_ps**2 for r in (one.recording for one in played)) / 12
                sigma = math.sqrt(max(lock.residual_sigma_ps**2 - roundings, 50.0**2))
                return _SIGMA_TO_FWHM * sigma / math.sqrt(2)
    return None


def _beginning(one: _Played, seconds: float) -> Int64s:
    """Times of the mapped detectors in the first seconds from their first click on."""
    channels = np.array(sorted(one.detectors.channels.values()), np.uint8)
    times: list[Int64s] = []
    first: int | None = None
    blocks = one.recording.blocks(max_jump_ps=MAX_JUMP_PS)
    for block in from_first_click(blocks, one.detectors):
        first = block.start_ps if first is None else first
        times.append(block.time_ps[np.isin(block.channel, channels)])
        if block.end_ps - first > seconds * 1e12:
            break
    if not times:
        return np.empty(0, np.int64)
    joined = np.concatenate(times)
    return joined[: int(np.searchsorted(joined, (first or 0) + seconds * 1e12))]
