"""``photonlink replay --alice FILE --bob FILE``: two recordings of other software, to a key.

How sharp the coincidence peak is belongs to an agreement between live nodes; recordings bring
none, so it is measured first, on the beginning of both files, and the window follows it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from photonlink.hal.recordings import Recording, open_recording
from photonlink.hal.tags import TagBlock
from photonlink.pipeline.protocol.parameters import Parameters
from photonlink.pipeline.replay import replay_pair
from photonlink.pipeline.stages.clock import ClockParameters, ClockRecovery, Lock
from photonlink.pipeline.stages.events import DetectorMap
from photonlink.pipeline.stages.window import Int64s

LOOK_S = (1.0, 5.0)  # of both recordings, for the width of the peak
_SIGMA_TO_FWHM = 2 * math.sqrt(2 * math.log(2))
_FIELDS = (
    "secret_bits", "keys_match", "qber", "sifted_bits", "leak_bits", "f_ec", "epsilon",
    "skr_bps", "emulated", "blocks", "aborts", "clock_offset_s", "clock_frequency_ppm",
    "duration_s",
)  # fmt: skip


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
    recordings = [open_recording(path) for path in (alice, bob)]
    maps = [DetectorMap(channels) for channels in (map_alice, map_bob)]
    parameters = Parameters(**changes)
    if "jitter_ps" not in changes:
        jitter = _jitter_ps(recordings, maps)
        if jitter is not None:
            parameters = dataclasses.replace(parameters, jitter_ps=jitter)
    result = replay_pair(
        recordings[0].blocks(),
        recordings[1].blocks(),
        maps[0],
        maps[1],
        (recordings[0].resolution_ps, recordings[1].resolution_ps),
        parameters,
    )
    account = {name: getattr(result, name) for name in _FIELDS}
    account["warnings"] = [str(r.error) for r in recordings if r.error is not None]
    return account


def _jitter_ps(recordings: list[Recording], maps: list[DetectorMap]) -> float | None:
    """FWHM of one side's jitter as the coincidence peak shows it, or None without a peak."""
    for seconds in LOOK_S:
        alice, bob = (
            _beginning(r.blocks(), m, seconds) for r, m in zip(recordings, maps, strict=True)
        )
        if not (len(alice) and len(bob)):
            return None
        for hint in (0, int(bob[0]) - int(alice[0])):
            clock = ClockRecovery(ClockParameters(sigma_ps=500.0), hint_offset_s=hint * 1e-12)
            lock = clock.acquire(alice, bob)
            if isinstance(lock, Lock):
                roundings = sum(r.resolution_ps**2 for r in recordings) / 12
                sigma = math.sqrt(max(lock.residual_sigma_ps**2 - roundings, 50.0**2))
                return _SIGMA_TO_FWHM * sigma / math.sqrt(2)
    return None


def _beginning(blocks: Iterator[TagBlock], detectors: DetectorMap, seconds: float) -> Int64s:
    """Times of the mapped detectors in the first seconds of a recording."""
    channels = np.array(sorted(detectors.channels.values()), np.uint8)
    times: list[Int64s] = []
    first: int | None = None
    for block in blocks:
        first = block.start_ps if first is None else first
        times.append(block.time_ps[np.isin(block.channel, channels)])
        if block.end_ps - first > seconds * 1e12:
            break
    if not times:
        return np.empty(0, np.int64)
    joined = np.concatenate(times)
    return joined[: int(np.searchsorted(joined, (first or 0) + seconds * 1e12))]
