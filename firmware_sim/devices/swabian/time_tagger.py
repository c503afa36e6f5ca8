"""Emulated Swabian Time Tagger 20, Ultra or X: the surface of the package ``Swabian.TimeTagger``.

Names, units and limits as in the docstrings of ``swabian-timetagger`` 2.22.6; errors as that
package raises them without hardware. Evidence: manual. The network protocol and ``.ttbin`` are not
public and not emulated. Unverified, chosen here: where times begin (the emulator's clock), a pulse
of 10 ns between rising and falling edge, range of trigger levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from photonlink.firmware_sim.devices.swabian.measurements import Measurement
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.package import New, PackageDevice, PackageError
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings

MODELS = {  # inputs, clock period and longest dead time in ps, buffer in tags
    "Time Tagger 20": (8, 6000, 393_000_000, 8 << 20),
    "Time Tagger Ultra": (18, 2000, 2_147_000_000, 64 << 20),
    "Time Tagger X": (20, 1333, 716_000_000, 64 << 20),
}
RANGES = {"TriggerLevel": (-5.0, 5.0), "EventDivider": (1, 65_535)}
TEST_PERIOD_PS = 1_250_000  # 403.2 MHz / 504
CHANNEL_UNUSED = -134217728
MEASURING = ("getData", "start", "startFor", "stop", "clear", "waitUntilFinished", "isRunning")
PER_CHANNEL = {  # setting: power-on value; what the methods are called after
    "TriggerLevel": 0.5, "InputDelay": 0, "DelayHardware": 0, "DelaySoftware": 0,
    "EventDivider": 1, "TestSignal": False,
}  # fmt: skip
TAGGER_METHODS = (
    *(f"{verb}{name}" for name in PER_CHANNEL for verb in ("get", "set")),
    "getDeadtime", "setDeadtime", "getSerial", "getModel", "getPcbVersion", "getPsPerClock",
    "getFirmwareVersion", "getConfiguration", "getInvertedChannel", "getChannelList", "sync",
    "getOverflows", "getOverflowsAndClear", "clearOverflows", "setHardwareBufferSize",
    "setStreamBlockSize", "setConditionalFilter", "setTestSignalDivider", "setReferenceClock",
    "setSoftwareClock", "setInputImpedanceHigh", "setInputHysteresis", "setInternalClockTrim",
    "enableFpgaLink", "startServer", "stopServer", "isServerRunning",
)  # fmt: skip


@dataclass
class TimeTaggerSettings(DeviceSettings):
    """model: Time Tagger 20, Ultra or X. pulse_v: height of the pulses at the inputs."""

    model: str = "Time Tagger Ultra"
    pulse_v: float = -0.8


class TimeTagger(PackageDevice):
    """One unit; every measurement of the program that holds it sees the same events."""

    Settings = TimeTaggerSettings
    MODULE = "TimeTagger"
    CONSTANTS = (("CHANNEL_UNUSED", CHANNEL_UNUSED),)
    FUNCTIONS = ("createTimeTagger", "createTimeTaggerVirtual", "freeTimeTagger",
                 "scanTimeTagger", "getVersion", "hasTimeTaggerVirtualLicense")  # fmt: skip
    CLASSES = (
        ("TimeTagger", TAGGER_METHODS),
        ("TimeTagStream", MEASURING),
        ("TimeTagStreamBuffer",
         ("getTimestamps", "getChannels", "getEventTypes", "getMissedEvents", "getOverflows")),
        ("Countrate", (*MEASURING, "getCountsTotal")),
        ("Dump", tuple(name for name in MEASURING if name != "getData")),
    )  # fmt: skip
    WORLD = (("pulse_v", float),)
    TICK_S = 0.01

    def setup(self) -> None:
        super().setup()
        if self.config.model not in MODELS:
            raise ValueError(f"{self.name}: model must be one of {', '.join(MODELS)}")
        self.inputs, self._clock_ps, self._dead_max, self._buffer = MODELS[self.config.model]
        self.pulse_v, self.overflows, self._lose = self.config.pulse_v, 0, 0
        self.measurements: list[Measurement] = []
        self._taken = False
        self.booted()

    def booted(self) -> None:
        self._values = {(n, c): v for n, v in PER_CHANNEL.items() for c in self._channels()}
        self._dead = dict.fromkeys(self._channels(), self._clock_ps)
        self.measurements.clear()
        self.place.stop()
        self.applied("")

    def _channels(self) -> list[int]:
        return [*range(1, self.inputs + 1), *range(-self.inputs, 0)]

    def applied(self, name: str) -> None:
        dead = float(max(self._dead.values()))
        fifo = min(self._buffer, 1 << 20)
        self.place.configure(
            inputs=self.inputs, resolution_ps=1.0, dead_time_ps=dead, fifo_tags=fifo
        )
        for n in range(self.inputs):
            level = self._values["TriggerLevel", n + 1]
            seen = level * self.pulse_v > 0 and abs(level) < abs(self.pulse_v)
            self.place.set_enabled(n, seen)

    def left(self, objects: list[Any]) -> None:
        """A program is gone, and its tagger and measurements with it."""
        if any(o is self for o in objects):
            self._taken = False
        for measurement in [o for o in objects if isinstance(o, Measurement)]:
            self._end(measurement)

    def state(self) -> dict[str, Any]:
        return {"streaming": bool(self.measurements), "overflows": self.overflows}

    @fault("lose", "the buffer overflows: so many events are missing, and told", "events")
    def _fault_lose(self, order: Mapping[str, Any]) -> None:
        self._lose += int(order.get("events", 1000))

    @fault("overrun", "as lose", "events")
    def _fault_overrun(self, order: Mapping[str, Any]) -> None:
        self._fault_lose(order)

    # ---- the package's functions ---------------------------------------------------------------

    @command("createTimeTagger")
    def _create(self, serial: str = "", resolution: int = 0) -> New:
        if self._taken or serial not in ("", self._serial):
            raise PackageError("RuntimeError", "No Time Tagger attached or already in use.")
        self._taken = True
        return New("TimeTagger", self)

    @command("createTimeTaggerVirtual")
    def _virtual(self, *_: Any) -> None:
        raise PackageError("RuntimeError", "No license for the virtual Time Tagger.")

    @command("freeTimeTagger")
    def _free(self, target: Any) -> None:
        self._taken = False
        for measurement in list(self.measurements):
            self._end(measurement)

    @command("scanTimeTagger")
    def _scan(self) -> tuple[str, ...]:
        return () if self._taken else (self._serial,)

    @command("getVersion")
    def _version(self) -> str:
        return "2.22.6"

    @command("hasTimeTaggerVirtualLicense")
    def _licence(self) -> bool:
        return False

    # ---- the tagger ----------------------------------------------------------------------------

    def method(self, word: str) -> Any:
        """Setters and getters of PER_CHANNEL are made from their names."""
        verb, name = word[:14], word[14:]
        if name in PER_CHANNEL and verb == "TimeTagger.get":
            return lambda _, channel: self._values[name, self._channel(channel)]
        if name in PER_CHANNEL and verb == "TimeTagger.set":
            return lambda _, channel, value: self._put(name, channel, value)
        return super().method(word)

    def _channel(self, channel: int) -> int:
        if channel not in self._dead:
            raise PackageError("ValueError", f"Invalid channel {channel}")
        return channel

    def _put(self, name: str, channels: Any, value: Any) -> None:
        for channel in channels if isinstance(channels, list) else [channels]:
            low, high = RANGES.get(name, (value, value))
            if not low <= value <= high:
                raise PackageError("ValueError", f"{name}: {value} is out of range")
            if not self.faults.use("ignore-sets"):
                self._values[name, self._channel(channel)] = type(PER_CHANNEL[name])(value)
        self.applied(name)

    @command("TimeTagger.getDeadtime")
    def _get_dead(self, _: Any, channel: int) -> int:
        return self._dead[self._channel(channel)]

    @command("TimeTagger.setDeadtime")
    def _set_dead(self, _: Any, channel: int, dead_ps: int) -> int:
        periods = round(min(max(dead_ps, self._clock_ps), self._dead_max) / self._clock_ps)
        self._dead[self._channel(channel)] = periods * self._clock_ps
        self.applied("dead")
        return periods * self._clock_ps

    @command("TimeTagger.getSerial")
    def _get_serial(self, _: Any) -> str:
        return self.serial_number

    @command("TimeTagger.getModel")
    def _get_model(self, _: Any) -> str:
        return str(self.config.model)

    @command("TimeTagger.getPcbVersion")
    def _pcb(self, _: Any) -> str:
        return "1.2"

    @command("TimeTagger.getPsPerClock")
    def _ps_per_clock(self, _: Any) -> int:
        return self._clock_ps

    @command("TimeTagger.getFirmwareVersion")
    def _firmware(self, _: Any) -> str:
        return "TT-Ultra, FW 3, TS 2018-11-13 22:57:32, OK 1.30"

    @command("TimeTagger.getInvertedChannel")
    def _inverted(self, _: Any, channel: int) -> int:
        return -self._channel(channel)

    @command("TimeTagger.getChannelList")
    def _channel_list(self, _: Any, edge: int = 0) -> list[int]:
        return [c for c in self._channels() if not edge or (c > 0) == (edge == 1)]

    @command("TimeTagger.sync", "TimeTagger.stopServer", "TimeTagger.setHardwareBufferSize",
             "TimeTagger.setStreamBlockSize", "TimeTagger.setConditionalFilter")  # fmt: skip
    def _accepted(self, _: Any, *__: Any, **___: Any) -> None:
        """Taken, without an effect on this bench."""

    @command("TimeTagger.isServerRunning")
    def _no_server(self, _: Any) -> bool:
        return False

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

    # ---- measurements --------------------------------------------------------------------------

    def _begin(self, kind: str, channels: list[int], limit: int, path: str = "") -> New:
        channels = [self._channel(c) for c in channels or self._channels()]
        if not self.measurements:
            self.place.start()
            self._epoch_ps = round(self.clock.now_s() * 1e12)
            self._until_ps = 0
        now_ps = self._epoch_ps + self._until_ps
        made = Measurement(kind, tuple(channels), limit, now_ps, path)
        self.measurements.append(made)
        return New(kind, made)

    def _end(self, measurement: Measurement) -> None:
        if measurement in self.measurements:
            self.measurements.remove(measurement)
            measurement.close()
        if not self.measurements:
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

    @command("TimeTagStreamBuffer.getTimestamps")
    def _times(self, taken: Any) -> Any:
        return taken["time"]

    @command("TimeTagStreamBuffer.getChannels")
    def _numbers(self, taken: Any) -> Any:
        return taken["channel"]

    @command("TimeTagStreamBuffer.getEventTypes")
    def _kinds(self, taken: Any) -> Any:
        return taken["kind"]

    @command("TimeTagStreamBuffer.getMissedEvents")
    def _missed(self, taken: Any) -> Any:
        return taken["missed"]

    @command("Countrate.getData")
    def _rates(self, counter: Measurement) -> Any:
        return counter.counts / max(counter.span_ps * 1e-12, 1e-12)

    @command("Countrate.getCountsTotal")
    def _counts(self, counter: Measurement) -> Any:
        return counter.counts

    @command("Countrate.startFor", "TimeTagStream.startFor", "Dump.startFor")
    def _start_for(self, measurement: Measurement, duration_ps: int, clear: bool = True) -> None:
        measurement.begin(self._epoch_ps + self._until_ps, int(duration_ps))
        if measurement not in self.measurements:
            self.measurements.append(measurement)

    @command("Countrate.waitUntilFinished")
    async def _wait(self, counter: Measurement, timeout: int = -1) -> bool:  # noqa: ASYNC109 - its name
        waited = 0.0
        while counter.running and (timeout < 0 or waited < timeout / 1000):
            await self.clock.sleep(0.005)
            waited += 0.005
        return not counter.running

    @command("TimeTagStream.stop", "Countrate.stop", "Dump.stop")
    def _stop(self, measurement: Measurement) -> None:
        self._end(measurement)

    def tick(self) -> None:
        if not self.measurements:
            return
        read = self.place.read()
        gone = min(self._lose, len(read.time_ps))
        self._lose -= gone
        lost: list[tuple[int, int, int]] = []
        if gone:
            lost.append((int(read.time_ps[0]), int(read.time_ps[gone - 1]) + 1, gone))
        if read.lost:
            lost.append((read.lost_from_ps, read.lost_to_ps, read.lost))
        self.overflows += len(lost)
        events = [(read.time_ps[gone:], read.channel[gone:].astype(np.int32) + 1)]
        first = -(-max(self._until_ps, 0) // TEST_PERIOD_PS) * TEST_PERIOD_PS
        for n in range(1, self.inputs + 1):
            if self._values["TestSignal", n]:
                test = np.arange(first, read.until_ps, TEST_PERIOD_PS, dtype=np.int64)
                events.append((test, np.full(len(test), n, np.int32)))
        self._until_ps = max(self._until_ps, read.until_ps)
        for measurement in list(self.measurements):
            measurement.record(events, lost, self._epoch_ps, self._until_ps, self._values)


REGISTRATION = Registration(
    "swabian-time-tagger", "tagger", TimeTagger, "Swabian Time Tagger 20, Ultra, X"
)
