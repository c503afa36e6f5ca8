"""Emulated Swabian Time Tagger 20, Ultra or X: the surface of the package ``Swabian.TimeTagger``.

Names, units and limits as in the docstrings of ``swabian-timetagger`` 2.22.6; errors as that
package raises them without hardware. Evidence: manual. The network protocol and ``.ttbin`` are not
public and not emulated. Unverified, chosen here: where times begin (the emulator's clock), a pulse
of 10 ns between rising and falling edge, range of trigger levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any

from photonlink.firmware_sim.devices.swabian.measurements import Measurement, MeasuringDevice
from photonlink.firmware_sim.kit.clicks import sees
from photonlink.firmware_sim.kit.package import New, PackageError, surface
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings

MODELS = {  # inputs, clock period and longest dead time in ps, buffer in tags
    "Time Tagger 20": (8, 6000, 393_000_000, 8 << 20),
    "Time Tagger Ultra": (18, 2000, 2_147_000_000, 64 << 20),
    "Time Tagger X": (20, 1333, 716_000_000, 64 << 20),
}
RANGES = {"TriggerLevel": (-5.0, 5.0), "EventDivider": (1, 65_535)}
PER_CHANNEL = {  # setting: power-on value; what the methods are called after
    "TriggerLevel": 0.5, "InputDelay": 0, "DelayHardware": 0, "DelaySoftware": 0,
    "EventDivider": 1, "TestSignal": False,
}  # fmt: skip
ANSWERS = {
    "getVersion": "2.22.6",
    "hasTimeTaggerVirtualLicense": False,
    "TimeTagger.getSerial": attrgetter("serial_number"),
    "TimeTagger.getModel": attrgetter("config.model"),
    "TimeTagger.getPsPerClock": attrgetter("clock_ps"),
    "TimeTagger.getPcbVersion": "1.2",
    "TimeTagger.getFirmwareVersion": "TT-Ultra, FW 3, TS 2018-11-13 22:57:32, OK 1.30",
    "TimeTagger.isServerRunning": False,
    "TimeTagStreamBuffer.getTimestamps": itemgetter("time"),
    "TimeTagStreamBuffer.getChannels": itemgetter("channel"),
    "TimeTagStreamBuffer.getEventTypes": itemgetter("kind"),
    "TimeTagStreamBuffer.getMissedEvents": itemgetter("missed"),
    "Countrate.getCountsTotal": attrgetter("counts"),
    "Countrate.getData": lambda counter: counter.counts / max(counter.span_ps * 1e-12, 1e-12),
    **dict.fromkeys(("TimeTagger.sync", "TimeTagger.stopServer", "TimeTagger.setStreamBlockSize",
                     "TimeTagger.setHardwareBufferSize", "TimeTagger.setConditionalFilter")),
}  # fmt: skip
"""The last five are taken, without an effect on this bench."""


@dataclass
class TimeTaggerSettings(DeviceSettings):
    """model: Time Tagger 20, Ultra or X. pulse_v: height of the pulses at the inputs."""

    model: str = "Time Tagger Ultra"
    pulse_v: float = -0.8


class TimeTagger(MeasuringDevice):
    """One unit; every measurement of the program that holds it sees the same events."""

    Settings = TimeTaggerSettings
    MODULE = "TimeTagger"
    ANSWERS = ANSWERS
    SURFACE = surface("TimeTagger")
    WORLD = (("pulse_v", float),)
    TICK_S = 0.01

    def setup(self) -> None:
        super().setup()
        if self.config.model not in MODELS:
            raise ValueError(f"{self.name}: model must be one of {', '.join(MODELS)}")
        self.inputs, self.clock_ps, self._dead_max, self._buffer = MODELS[self.config.model]
        self.pulse_v = self.config.pulse_v
        self._taken = False
        self.booted()

    def booted(self) -> None:
        self.values = {(n, c): v for n, v in PER_CHANNEL.items() for c in self.channels()}
        self._dead = dict.fromkeys(self.channels(), self.clock_ps)
        self.measurements.clear()
        self.place.stop()
        self.applied("")

    def channels(self) -> list[int]:
        return [*range(1, self.inputs + 1), *range(-self.inputs, 0)]

    def applied(self, name: str) -> None:
        dead = float(max(self._dead.values()))
        fifo = min(self._buffer, 1 << 20)
        self.place.configure(
            inputs=self.inputs, resolution_ps=1.0, dead_time_ps=dead, fifo_tags=fifo
        )
        for n in range(self.inputs):
            self.place.set_enabled(n, sees(self.values["TriggerLevel", n + 1], self.pulse_v))

    def left(self, objects: list[Any]) -> None:
        """A program is gone, and its tagger and measurements with it."""
        if any(o is self for o in objects):
            self._taken = False
        for measurement in [o for o in objects if isinstance(o, Measurement)]:
            self.end(measurement)

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
        self.measurements.clear()
        self.place.stop()

    @command("scanTimeTagger")
    def _scan(self) -> tuple[str, ...]:
        return () if self._taken else (self._serial,)

    # ---- the tagger ----------------------------------------------------------------------------

    def method(self, word: str) -> Any:
        """Setters and getters of PER_CHANNEL are made from their names."""
        verb, name = word[:14], word[14:]
        if name in PER_CHANNEL and verb == "TimeTagger.get":
            return lambda _, channel: self.values[name, self.channel(channel)]
        if name in PER_CHANNEL and verb == "TimeTagger.set":
            return lambda _, channel, value: self._put(name, channel, value)
        return super().method(word)

    def channel(self, channel: int) -> int:
        if channel not in self._dead:
            raise PackageError("ValueError", f"Invalid channel {channel}")
        return channel

    def _put(self, name: str, channels: Any, value: Any) -> None:
        for channel in channels if isinstance(channels, list) else [channels]:
            low, high = RANGES.get(name, (value, value))
            if not low <= value <= high:
                raise PackageError("ValueError", f"{name}: {value} is out of range")
            if not self.faults.use("ignore-sets"):
                self.values[name, self.channel(channel)] = type(PER_CHANNEL[name])(value)
        self.applied(name)

    @command("TimeTagger.getDeadtime")
    def _get_dead(self, _: Any, channel: int) -> int:
        return self._dead[self.channel(channel)]

    @command("TimeTagger.setDeadtime")
    def _set_dead(self, _: Any, channel: int, dead_ps: int) -> int:
        periods = round(min(max(dead_ps, self.clock_ps), self._dead_max) / self.clock_ps)
        self._dead[self.channel(channel)] = periods * self.clock_ps
        self.applied("dead")
        return periods * self.clock_ps

    @command("TimeTagger.getInvertedChannel")
    def _inverted(self, _: Any, channel: int) -> int:
        return -self.channel(channel)

    @command("TimeTagger.getChannelList")
    def _channel_list(self, _: Any, edge: int = 0) -> list[int]:
        return [c for c in self.channels() if not edge or (c > 0) == (edge == 1)]


REGISTRATION = Registration(
    "swabian-time-tagger", "tagger", TimeTagger, "Swabian Time Tagger 20, Ultra, X"
)
