"""What a Time Tagger's measurements keep of its events: records of 16 bytes, or counts.

Record as ``Dump`` writes it, little-endian: type, reserved, uint16 missed events, int32 channel,
int64 ps. Types: 0 tag, 1 error, 2 overflow begins, 3 ends, 4 missed events. A falling edge comes
``PULSE_PS`` after its rising edge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.kit.package import PackageError

RECORD = np.dtype(
    [("kind", "u1"), ("pad", "u1"), ("missed", "<u2"), ("channel", "<i4"), ("time", "<i8")]
)
Events = list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]]
TAG, BEGIN, END, MISSED = 0, 2, 3, 4
PULSE_PS = 10_000
HELD_MAX = 1 << 22  # records that wait for getData; more are an overflow


def special(kind: int, time_ps: int, channel: int = 0, missed: int = 0) -> npt.NDArray[Any]:
    return np.array([(kind, 0, missed, channel, time_ps)], RECORD)


class Measurement:
    """One measurement on some channels; times in ps of the tagger's own clock."""

    def __init__(
        self, kind: str, channels: tuple[int, ...], limit: int, start_ps: int, path: str = ""
    ) -> None:
        self.kind, self.channels, self.limit = kind, channels, limit
        self._file: BinaryIO | None = None
        if path:
            try:
                self._file = Path(path).open("wb")  # noqa: SIM115 - closed by close
            except OSError as error:
                raise PackageError("RuntimeError", f"could not open {path}: {error}") from None
        self.begin(start_ps, 0)

    def begin(self, start_ps: int, duration_ps: int) -> None:
        """Start anew; duration 0: until it is stopped."""
        self.start_ps = self.until_ps = start_ps
        self.end_ps = start_ps + duration_ps if duration_ps else 1 << 62
        self.counts = np.zeros(len(self.channels), np.int64)
        self._held: deque[npt.NDArray[Any]] = deque()
        self._waiting = 0

    @property
    def running(self) -> bool:
        return self.until_ps < self.end_ps

    @property
    def span_ps(self) -> int:
        return min(self.until_ps, self.end_ps) - self.start_ps

    def record(
        self,
        events: Events,
        lost: list[tuple[int, int, int]],
        epoch_ps: int,
        until_ps: int,
        settings: Mapping[tuple[str, int], Any],
    ) -> None:
        """Take the tagger's events up to ``until_ps`` (after the epoch); lost: (from, to, n)."""
        parts = [special(TAG, 0)[:0]]
        for times, numbers in events:
            for channel in self.channels:
                own = times[numbers == abs(channel)] + epoch_ps + (PULSE_PS if channel < 0 else 0)
                own = own[:: settings["EventDivider", abs(channel)]]
                own = own[(own >= self.start_ps) & (own < self.end_ps)]
                part = np.zeros(len(own), RECORD)
                part["channel"] = channel
                part["time"] = own + settings["InputDelay", abs(channel)]
                parts.append(part)
                self.counts[self.channels.index(channel)] += len(own)
        for start, end, count in lost:
            parts += self._told(epoch_ps + start, epoch_ps + end, count)
        found = np.concatenate(parts)
        found = found[np.argsort(found["time"], kind="stable")]
        self.until_ps = max(self.until_ps, epoch_ps + until_ps)
        if self.kind != "Countrate":
            self._keep(found)

    def _told(self, start: int, end: int, count: int) -> list[npt.NDArray[Any]]:
        parts = [special(BEGIN, start)]
        share = -(-count // len(self.channels))
        for channel in self.channels:
            left = share
            while left > 0:
                parts.append(special(MISSED, end, channel, min(left, 0xFFFF)))
                left -= 0xFFFF
        return [*parts, special(END, end)]

    def _keep(self, found: npt.NDArray[Any]) -> None:
        if self._file is not None:
            self._file.write(found.tobytes())
            self._file.flush()
        elif self._waiting + len(found) <= HELD_MAX:
            self._held.append(found)
            self._waiting += len(found)
        elif len(found):
            parts = self._told(int(found["time"][0]), int(found["time"][-1]) + 1, len(found))
            self._held.append(np.concatenate(parts))

    def take(self) -> npt.NDArray[Any]:
        """Up to ``limit`` records that wait."""
        parts, room = [special(TAG, 0)[:0]], max(self.limit, 1)
        while self._held and room > 0:
            first = self._held.popleft()
            if len(first) > room:
                self._held.appendleft(first[room:])
                first = first[:room]
            room -= len(first)
            parts.append(first)
        found = np.concatenate(parts)
        self._waiting = max(0, self._waiting - len(found))
        return found

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
