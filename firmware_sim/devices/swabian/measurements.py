"""A Time Tagger's measurements: they keep records of 16 bytes, or counts.

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

from photonlink.firmware_sim.kit.clicks import LosesEvents
from photonlink.firmware_sim.kit.clock import Clock
from photonlink.firmware_sim.kit.package import New, PackageDevice, PackageError
from photonlink.firmware_sim.kit.registers import command

RECORD = np.dtype(
    [("kind", "u1"), ("pad", "u1"), ("missed", "<u2"), ("channel", "<i4"), ("time", "<i8")]
)
Events = list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]]
TAG, BEGIN, END, MISSED = 0, 2, 3, 4
PULSE_PS = 10_000
TEST_PERIOD_PS = 1_250_000  # 403.2 MHz / 504
HELD_MAX = 1 << 22  # queued records for getData; more are an overflow


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
        share, rest = divmod(count, len(self.channels))
        for number, channel in enumerate(self.channels):
            left = share + (number < rest)
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
        """Up to ``limit`` queued records."""
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


class Measurements:
    """The measurements of one tagger: all see the same events, on the clock of the tagger."""

    def __init__(self, clock: Clock) -> None:
        self.running: list[Measurement] = []
        self._clock, self._epoch_ps, self._until_ps = clock, 0, 0

    @property
    def now_ps(self) -> int:
        return self._epoch_ps + self._until_ps

    def begin(self, kind: str, channels: list[int], limit: int, path: str) -> Measurement:
        """A new one; the first of all begins a time of the table."""
        if not self.running:
            self._epoch_ps, self._until_ps = round(self._clock.now_s() * 1e12), 0
        self.running.append(Measurement(kind, tuple(channels), limit, self.now_ps, path))
        return self.running[-1]

    def again(self, measurement: Measurement, duration_ps: int) -> None:
        measurement.begin(self.now_ps, duration_ps)
        if measurement not in self.running:
            self.running.append(measurement)

    def end(self, measurement: Measurement) -> None:
        if measurement in self.running:
            self.running.remove(measurement)
            measurement.close()

    def clear(self) -> None:
        for measurement in list(self.running):
            self.end(measurement)

    def record(
        self,
        came: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]],
        lost: list[tuple[int, int, int]],
        until_ps: int,
        settings: Mapping[tuple[str, int], Any],
    ) -> None:
        """Events of the table (ps since its start, input from 1), and the test signal's own."""
        events = [came]
        first = -(-max(self._until_ps, 0) // TEST_PERIOD_PS) * TEST_PERIOD_PS
        tested = [n for name, n in settings if name == "TestSignal" and settings[name, n]]
        for n in (n for n in tested if n > 0):
            test = np.arange(first, until_ps, TEST_PERIOD_PS, dtype=np.int64)
            events.append((test, np.full(len(test), n, np.int32)))
        self._until_ps = max(self._until_ps, until_ps)
        for measurement in list(self.running):
            measurement.record(events, lost, self._epoch_ps, self._until_ps, settings)


class MeasuringDevice(LosesEvents, PackageDevice):
    """The package's measurements, on a tagger with its own channels and settings."""

    values: dict[tuple[str, int], Any]
    """(setting, channel) → value."""

    def setup(self) -> None:
        super().setup()
        self.measurements, self.overflows = Measurements(self.clock), 0

    def channels(self) -> list[int]:
        raise NotImplementedError

    def channel(self, channel: int) -> int:
        """The channel; PackageError for an unknown number."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        return {"streaming": bool(self.measurements.running), "overflows": self.overflows}

    @command("TimeTagger.getOverflows")
    def _get_overflows(self, _: Any) -> int:
        return self.overflows

    @command("TimeTagger.clearOverflows")
    def _clear_overflows(self, _: Any) -> None:
        self.overflows = 0

    @command("TimeTagger.getOverflowsAndClear")
    def _overflows_and_clear(self, _: Any) -> int:
        found, self.overflows = self.overflows, 0
        return found

    def _begin(self, kind: str, channels: list[int], limit: int, path: str = "") -> New:
        channels = [self.channel(c) for c in channels or self.channels()]
        if not self.measurements.running:
            self.place.start()
        return New(kind, self.measurements.begin(kind, channels, limit, path))

    def end(self, measurement: Measurement) -> None:
        self.measurements.end(measurement)
        if not self.measurements.running:
            self.place.stop()

    @command("TimeTagStream")
    def _stream(self, _: Any, n_max_events: int, channels: list[int]) -> New:
        return self._begin("TimeTagStream", channels, n_max_events)

    @command("Countrate")
    def _countrate(self, _: Any, channels: list[int]) -> New:
        return self._begin("Countrate", channels, 0)

    @command("Dump")
    def _dump(self, _: Any, filename: str, max_tags: int, channels: list[int]) -> New:
        return self._begin("Dump", channels, max_tags, filename)

    @command("TimeTagStream.getData")
    def _get_data(self, stream: Measurement) -> New:
        taken = stream.take()
        values = {"size": len(taken), "tStart": stream.start_ps, "tGetData": stream.until_ps,
                  "hasOverflows": bool((taken["kind"] > 1).any())}  # fmt: skip
        return New("TimeTagStreamBuffer", taken, values)

    @command("Countrate.startFor", "TimeTagStream.startFor", "Dump.startFor")
    def _start_for(self, measurement: Measurement, duration_ps: int, clear: bool = True) -> None:
        self.measurements.again(measurement, int(duration_ps))

    @command("Countrate.waitUntilFinished")
    async def _wait(self, counter: Measurement, timeout: int = -1) -> bool:  # noqa: ASYNC109 - its name
        waited = 0.0
        while counter.running and (timeout < 0 or waited < timeout / 1000):
            await self.clock.sleep(0.005)
            waited += 0.005
        return not counter.running

    @command("TimeTagStream.stop", "Countrate.stop", "Dump.stop")
    def _stop(self, measurement: Measurement) -> None:
        self.end(measurement)

    def tick(self) -> None:
        if not self.measurements.running:
            return
        read = self.place.read()
        gone = self.lost_of(len(read.time_ps))
        lost: list[tuple[int, int, int]] = []
        if gone:
            lost.append((int(read.time_ps[0]), int(read.time_ps[gone - 1]) + 1, gone))
        if read.lost:
            lost.append((read.lost_from_ps, read.lost_to_ps, read.lost))
        self.overflows += len(lost)
        came = (read.time_ps[gone:], read.channel[gone:].astype(np.int32) + 1)
        self.measurements.record(came, lost, read.until_ps, self.values)
