"""Common part of quTAG, quTAU and ID800/ID801 behind ``libtdcbase.so``: they run from ``TDC_init``
on, tag, count coincidences, keep the last events, write files.

Names, ranges and return codes are those of tdcbase.h 1.15 (2019). Unverified, chosen here: time
zero at ``TDC_init``, the 40 bytes of a file's header (zeros), the highest rate of the USB line,
which events a full line loses (the newest).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from photonlink.firmware_sim.devices.qutools import timestamps as tags
from photonlink.firmware_sim.kit.clicks import FAR_PAST, Sorter, dead_time
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.library import CallError, LibraryDevice
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.vendor_library.prototypes import PrototypeFunction

NOT_CONNECTED, NO_DEVICE, OUT_OF_RANGE, CANT_OPEN, NOT_AVAILABLE = 2, 9, 10, 11, 14
DELAY_MAX_PS = 100_000
RING_MAX, BATCH_MAX = 1_000_000, 2_000_000
LINE_TAGS_PER_S = 25e6
LVTTL, NIM, MISC = 1, 2, 3
PRESET = {LVTTL: (1, 2.0), NIM: (0, -0.6)}  # edge, threshold in V


@dataclass
class TdcSettings(DeviceSettings):
    """device_id: what TDC_init must ask for, or -1.  pulse_v, pulse_width_ps: of the pulses at the
    inputs.  resolution_ps: the time base."""

    device_id: int = 1
    pulse_v: float = 2.5
    pulse_width_ps: int = 10_000
    resolution_ps: float = 1.0
    counter_start: int = 0


class TdcBase(LibraryDevice):
    """Settings, the running stream, and its results. Subclasses declare a model's features."""

    UNBUILT = NOT_AVAILABLE
    TICK_S = 0.02
    INPUTS: ClassVar[int]
    SINGLES: ClassVar[tuple[int, ...]]
    COINCIDENT: ClassVar[tuple[int, ...]]
    BY_HIGHEST: ClassVar[bool]
    DIVIDERS: ClassVar[tuple[int, ...]]
    TEST_UNITS_PS: ClassVar[tuple[int, int]]
    """Of period and distance of the selftest."""

    def setup(self) -> None:
        super().setup()
        self.place.configure(
            inputs=self.INPUTS, resolution_ps=self.config.resolution_ps, fifo_tags=1 << 22
        )
        self._sets = tags.subsets(self.SINGLES, self.COINCIDENT, by_highest=self.BY_HIGHEST)
        self._sorter, self._ring = Sorter(), tags.Ring()
        self._next_start: int | None = None
        self._error = NOT_CONNECTED
        self._file: Any = None
        self._defaults()

    def _defaults(self) -> None:
        n = self.INPUTS
        self.mask, self.window, self.exposure_ms = 0, 1, 100
        self.edges, self.thresholds = [1] * n, [1.0] * n
        self.delays_ps, self.dead_ps, self._last = [0] * n, [0] * n, [FAR_PAST] * n
        self.divider = self.reconstruct = 1
        self._divided = self._lose = 0
        self.selftest = (0, 2, 1, 0)
        self.input_on, self.frozen, self.lost = True, False, False
        self._counts, self._updates = [0] * len(self._sets), 0
        self._exposed: list[tuple[tags.Times, tags.Channels]] = []
        self._exposure_from = self._until = self._origin = self._pulsed = 0
        self._sorter.clear()
        self._ring.resize(0)
        self._close_file()

    # ---- life ----------------------------------------------------------------------------------

    def check(self, function: PrototypeFunction, arguments: list[Any]) -> None:
        if self.faults.use("error"):
            raise CallError(self._error)

    def opened(self) -> None:
        self._defaults()
        start = self.config.counter_start if self._next_start is None else self._next_start
        self._origin, self._next_start = start, None
        self._until = self._exposure_from = self._pulsed = start
        self.place.start()
        for channel in range(self.INPUTS):
            self.apply(channel)

    def closed(self) -> None:
        self.place.stop()
        self._close_file()

    def unplug(self) -> None:
        self.closed()
        super().unplug()

    def reboot(self) -> None:
        self.unplug()
        self.clock.call_later(0.1, self.replug)

    def state(self) -> dict[str, Any]:
        return {"open": self.owner is not None, "mask": self.mask, "lost": self.lost}

    def put(self, name: str, value: Any, low: float = 0, high: float | None = None) -> None:
        """A client's set of one attribute; with ``high`` within limits."""
        if high is not None and not low <= value <= high:
            raise CallError(OUT_OF_RANGE)
        if not self.faults.use("ignore-sets"):
            setattr(self, name, value)

    def numbered(self, channel: int) -> int:
        if not 0 <= channel < self.INPUTS:
            raise CallError(OUT_OF_RANGE)
        return channel

    def enabled(self, channel: int) -> bool:
        return bool(self.mask >> channel & 1)

    def apply(self, channel: int) -> None:
        """A comparator fires for a pulse when its level lies between the base line and the top."""
        level, pulse = self.thresholds[channel], self.config.pulse_v
        seen = level * pulse > 0 and abs(level) < abs(pulse)
        self.place.set_enabled(channel, self.enabled(channel) and seen)

    # ---- faults --------------------------------------------------------------------------------

    @fault("error", "calls end with this number", "code")
    def _fault_error(self, order: Mapping[str, Any]) -> Callable[[], object]:
        self._error = int(order.get("code", NOT_CONNECTED))
        return lambda: None

    @fault("lose", "events vanish; flagged: data loss is signalled", "events", "flagged")
    def _fault_lose(self, order: Mapping[str, Any]) -> None:
        self._lose += int(order.get("events", 1000))
        self.lost = self.lost or bool(order.get("flagged", False))

    @fault("overrun", "the USB line was full: data loss is signalled")
    def _fault_overrun(self, _: Mapping[str, Any]) -> None:
        self._lose, self.lost = self._lose + 1000, True

    @fault("rollover", "the next start lies so many ticks before the 37 bits wrap", "before")
    def _fault_rollover(self, order: Mapping[str, Any]) -> None:
        self._next_start = (1 << tags.TIME_BITS) - int(order.get("before", 1000))

    # ---- the stream ----------------------------------------------------------------------------

    def tick(self) -> None:
        """Process the events since the last tick."""
        if self.owner is None:
            return
        read = self.place.read(BATCH_MAX)
        unit = self.config.resolution_ps
        self.lost = self.lost or read.lost > 0
        until = int(read.until_ps / unit) + self._origin
        time, channel = self._shifted(read.time_ps, read.channel)
        if self.selftest[0]:
            time, channel = self._with_pulses(time, channel, until)
        ready = max(self._until, until - round(DELAY_MAX_PS / unit))
        time, channel = self._sorter.sort(time, channel, ready)
        keep = time >= self._until
        time, channel = self._alive(time[keep], channel[keep])
        gone = min(self._lose, len(time))
        self._lose -= gone
        self._until = ready
        self._expose(time, channel)
        if self.input_on:
            self.take(time[gone:], channel[gone:])

    def _shifted(self, time_ps: Any, channel: Any) -> tuple[tags.Times, tags.Channels]:
        """To the time base, delays and pulse ends added."""
        late = int(self.config.pulse_v > 0)  # with this edge a comparator fires at the start
        ends = [self.config.pulse_width_ps * (edge != late) for edge in self.edges]
        shift = np.array(self.delays_ps, np.int64) + np.array(ends, np.int64)
        time = ((time_ps + shift[channel]) / self.config.resolution_ps).astype(np.int64)
        return time + self._origin, channel

    def _with_pulses(self, time: Any, channel: Any, until: int) -> tuple[Any, Any]:
        mask, period, burst, distance = self.selftest
        unit = self.config.resolution_ps
        units = (self.TEST_UNITS_PS[0] * period, burst, self.TEST_UNITS_PS[1] * distance)
        start = self._pulsed
        chosen = [c for c in range(self.INPUTS) if mask >> c & 1 and self.enabled(c)]
        room = int(LINE_TAGS_PER_S * self.TICK_S * 4)
        if (until - start) * unit / units[0] * len(chosen) > room:
            self.lost, start = True, until - int(room * units[0] / unit / max(len(chosen), 1))
        self._pulsed = until
        every = tags.pulses(round(start * unit), round(until * unit), *units)
        ticks = (every / unit).astype(np.int64)
        for number in chosen:
            time = np.concatenate((time, ticks))
            channel = np.concatenate((channel, np.full(len(ticks), number, np.uint8)))
        return time, channel

    def _alive(self, time: Any, channel: Any) -> tuple[tags.Times, tags.Channels]:
        """Dead times, and the divider of the first input unless its events are reconstructed."""
        keep = np.ones(len(time), np.bool_)
        for number, length in enumerate(self.dead_ps):
            if length:
                mine = np.flatnonzero(channel == number)
                ticks = -(-length // max(int(self.config.resolution_ps), 1))
                keep[mine], self._last[number] = dead_time(time[mine], ticks, self._last[number])
        if self.divider > 1 and not self.reconstruct:
            mine = np.flatnonzero((channel == self.SINGLES[0]) & keep)
            keep[mine] = (self._divided + np.arange(len(mine))) % self.divider == 0
            self._divided += len(mine)
        return time[keep], channel[keep]

    def _expose(self, time: tags.Times, channel: tags.Channels) -> None:
        """The counters of the last whole exposure."""
        self._exposed.append((time, channel))
        length = max(round(self.exposure_ms * 1e9 / self.config.resolution_ps), 1)
        if self._until - self._exposure_from < length:
            return
        end = self._until - (self._until - self._exposure_from) % length
        all_time = np.concatenate([t for t, _ in self._exposed])
        all_channel = np.concatenate([c for _, c in self._exposed])
        now = slice(*np.searchsorted(all_time, (end - length, end)))
        self._counts = tags.count(all_time[now], all_channel[now], self._sets, self.window)
        self._updates += (end - self._exposure_from) // length
        self._exposed = [(all_time[now.stop :], all_channel[now.stop :])]
        self._exposure_from = end

    def take(self, time: tags.Times, channel: tags.Channels) -> None:
        """Events on the PC's side: to the file, and to the buffer unless it is frozen."""
        if self._file is not None:
            self._file[0].write(tags.encode(self._file[1], time, channel))
        if not self.frozen:
            self._ring.put(time, channel)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file[0].close()
        self._file = None

    # ---- calls ---------------------------------------------------------------------------------

    @command("TDC_init")
    def _init(self, device_id: int) -> None:
        if device_id not in (-1, self.config.device_id):
            raise CallError(NOT_CONNECTED)

    @command("TDC_deInit")
    def _deinit(self) -> None:
        """Done when it arrived."""

    @command("TDC_discover")
    def _discover(self) -> int:
        return 1

    @command("TDC_getCurrentAddress")
    def _address(self) -> int:
        return 0

    @command("TDC_getDeviceInfo")
    def _info(self, number: int) -> tuple[int, int, str, int]:
        if number:
            raise CallError(NO_DEVICE)
        return self.device_type(), self.config.device_id, self.serial_number[:15], 1

    @command("TDC_getDevType")
    def device_type(self) -> int:
        return 0

    @command("TDC_checkFeatureHbt", "TDC_checkFeatureLifeTime")
    def _no_feature(self) -> int:
        return 0

    @command("TDC_getTimebase")
    def _timebase(self) -> float:
        return float(self.config.resolution_ps * 1e-12)

    @command("TDC_enableChannels")
    def _enable(self, mask: int) -> None:
        self.put("mask", mask & self.all_channels())
        for channel in range(self.INPUTS):
            self.apply(channel)

    def all_channels(self) -> int:
        return (1 << self.INPUTS) - 1

    @command("TDC_configureSyncDivider")
    def _divide(self, divider: int, reconstruct: int) -> None:
        if divider not in self.DIVIDERS:
            raise CallError(OUT_OF_RANGE)
        self.put("divider", divider)
        self.put("reconstruct", int(bool(reconstruct)))

    @command("TDC_getSyncDivider")
    def _divided_by(self) -> tuple[int, int]:
        return self.divider, self.reconstruct

    @command("TDC_setExposureTime")
    def _exposure(self, ms: int) -> None:
        self.put("exposure_ms", ms, 0, 65_535)

    @command("TDC_configureSelftest")
    def _selftest(self, mask: int, period: int, burst: int, distance: int) -> None:
        if not (2 <= period <= 60 and 1 <= burst <= 65_535 and 0 <= distance <= 10_000):
            raise CallError(OUT_OF_RANGE)
        self._pulsed = self._until
        if not self.faults.use("ignore-sets"):
            self.selftest = (mask, period, burst, distance)

    @command("TDC_getDataLost")
    def _data_lost(self) -> int:
        lost, self.lost = self.lost, False
        return int(lost)

    @command("TDC_setTimestampBufferSize")
    def _buffer(self, size: int) -> None:
        if not 1 <= size <= RING_MAX:
            raise CallError(OUT_OF_RANGE)
        self.tick()
        self._ring.resize(size)

    @command("TDC_getTimestampBufferSize")
    def _buffer_size(self) -> int:
        return self._ring.size

    @command("TDC_enableTdcInput")
    def _input(self, enable: int) -> None:
        self.put("input_on", bool(enable))

    @command("TDC_freezeBuffers")
    def _freeze(self, freeze: int) -> None:
        self.put("frozen", bool(freeze))

    @command("TDC_getCoincCounters")
    def _counters(self) -> tuple[list[int], int]:
        updates, self._updates = self._updates, 0
        return self._counts, updates

    @command("TDC_getLastTimestamps")
    def _last_timestamps(self, reset: int) -> tuple[Any, Any, int]:
        time, channel = self._ring.get(bool(reset))
        return time, channel, len(time)

    @command("TDC_writeTimestamps")
    def _write(self, path: bytes, fmt: int) -> None:
        self._close_file()
        if not path or fmt == tags.NONE:
            return
        if not 0 <= fmt < tags.NONE:
            raise CallError(OUT_OF_RANGE)
        try:
            file = Path(path.decode()).open("wb", buffering=0)  # noqa: SIM115 - open until told
        except (OSError, ValueError):
            raise CallError(CANT_OPEN) from None
        if fmt in (tags.BINARY, tags.COMPRESSED):
            file.write(tags.HEADER)
        self._file = (file, fmt)

    @command("TDC_readTimestamps")
    def _read(self, path: bytes, fmt: int) -> None:
        if fmt not in (tags.BINARY, tags.COMPRESSED, tags.RAW):
            raise CallError(OUT_OF_RANGE)
        try:
            data = Path(path.decode()).read_bytes()
        except (OSError, ValueError):
            raise CallError(CANT_OPEN) from None
        self.take(*tags.decode(fmt, data))

    @command("TDC_inputTimestamps")
    def _feed(self, time: list[int], channel: bytes, _: int) -> None:
        self.take(np.array(time, np.int64), np.frombuffer(channel, np.uint8))

    @command("TDC_generateTimestamps")
    def _generate(self, kind: int, parameters: list[float], number: int) -> None:
        centre, width = parameters
        if kind not in (0, 1) or not 0 <= number <= RING_MAX or not abs(centre) + abs(width) < 1e12:
            raise CallError(OUT_OF_RANGE)
        rng = np.random.default_rng(self.seed)
        flat = rng.uniform(centre - width / 2, centre + width / 2, number)
        steps = flat if kind == 0 else rng.normal(centre, width, number)
        time = np.cumsum(np.maximum(steps, 0)).astype(np.int64)
        self.take(time, rng.integers(0, self.INPUTS, number).astype(np.uint8))
