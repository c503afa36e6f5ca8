"""Time tags of tdcbase outside the instrument: file formats, ring buffer, counters, test pulses.

Times are int64 in units of the time base, channels uint8 from 0. Formats as the header tdcbase.h
describes them; the 40 bytes of a file's header are not documented, and zeros here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
Channels = npt.NDArray[np.uint8]
ASCII, BINARY, COMPRESSED, RAW, NONE = range(5)
HEADER = bytes(40)
RECORD = np.dtype([("time", "<i8"), ("channel", "<u2")])
TIME_BITS = 37
EMPTY = (np.empty(0, np.int64), np.empty(0, np.uint8))


def encode(fmt: int, time: Times, channel: Channels) -> bytes:
    """Events encoded as in a file, without its header. Markers are not in COMPRESSED."""
    if fmt == ASCII:
        rows = zip(time.tolist(), channel.tolist(), strict=True)
        return "".join(f"{t},{c + 1 if c < 100 else c}\n" for t, c in rows).encode()
    if fmt == COMPRESSED:
        kept = channel < 8
        word = time[kept] & ((1 << TIME_BITS) - 1) | channel[kept].astype(np.int64) << TIME_BITS
        return word.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :5].tobytes()
    records = np.empty(len(time), RECORD)
    records["time"], records["channel"] = time, channel
    return records.tobytes()


def decode(fmt: int, data: bytes) -> tuple[Times, Channels]:
    """Events of a binary file, with its header or without. Unfinished records are left out."""
    if data.startswith(HEADER):
        data = data[len(HEADER) :]
    if fmt == COMPRESSED:
        whole = np.frombuffer(data, np.uint8, len(data) // 5 * 5).reshape(-1, 5)
        word = np.zeros((len(whole), 8), np.uint8)
        word[:, :5] = whole
        value = word.view("<i8").ravel()
        time = value & ((1 << TIME_BITS) - 1)
        wraps = np.cumsum(np.diff(time, prepend=time[:1]) < 0)
        return time + (wraps << TIME_BITS), (value >> TIME_BITS).astype(np.uint8)
    records = np.frombuffer(data, RECORD, len(data) // RECORD.itemsize)
    return records["time"].astype(np.int64), records["channel"].astype(np.uint8)


class Ring:
    """The last ``size`` events."""

    def __init__(self) -> None:
        self.resize(0)

    def resize(self, size: int) -> None:
        """Empty it too."""
        self.size = size
        self.time, self.channel = EMPTY

    def put(self, time: Times, channel: Channels) -> None:
        if self.size and len(time):
            self.time = np.concatenate((self.time, time))[-self.size :]
            self.channel = np.concatenate((self.channel, channel))[-self.size :]

    def get(self, reset: bool) -> tuple[Times, Channels]:
        found = self.time, self.channel
        if reset:
            self.resize(self.size)
        return found


def subsets(
    singles: Sequence[int], coincident: Sequence[int], *, by_highest: bool
) -> list[tuple[int, ...]]:
    """The counters in their order: singles, then pairs, triples, …; each of these in the order of
    their highest channels (12 13 23 14) or of their lowest (12 13 14 23)."""
    found: list[tuple[int, ...]] = [(c,) for c in singles]
    for size in range(2, len(coincident) + 1):
        sets: list[tuple[int, ...]] = list(itertools.combinations(coincident, size))
        found += sorted(sets, key=lambda s: s[::-1]) if by_highest else sets
    return found


def count(
    time: Times, channel: Channels, sets: Sequence[tuple[int, ...]], window: int
) -> list[int]:
    """Events of each single channel; of each set those of its first channel that have one of
    every other within ``window``."""
    of = {c: time[channel == c] for c in {c for s in sets for c in s}}
    near: dict[tuple[int, int], npt.NDArray[np.bool_]] = {}
    counts = []
    for first, *others in sets:
        hit = np.ones(len(of[first]), np.bool_)
        for other in others:
            if (first, other) not in near:
                low = np.searchsorted(of[other], of[first] - window)
                high = np.searchsorted(of[other], of[first] + window, "right")
                near[first, other] = high > low
            hit = hit & near[first, other]
        counts.append(int(np.count_nonzero(hit)))
    return counts


def pulses(start: int, end: int, period: int, burst: int, distance: int) -> Times:
    """Times in [start, end) of test pulses: bursts of ``burst`` periods, ``distance`` apart."""
    cycle = burst * period + distance
    first, last = start // cycle, end // cycle
    at = np.arange(first, last + 1, dtype=np.int64)[:, None] * cycle
    every = (at + np.arange(burst, dtype=np.int64) * period).ravel()
    return every[(every >= start) & (every < end)]
