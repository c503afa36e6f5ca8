"""Common part of PicoQuant's MultiHarp, HydraHarp and PicoHarp behind their libraries.

Three modes: histograms, T2 and T3. Functions are named here without the family's prefix.
Unverified, chosen here for all: power-on settings, the refusal of changes while measuring, which
error number answers what, that a full FIFO ends the measurement, that T3 counts the syncs behind
the divider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from photonlink.firmware_sim.devices.picoquant.acquisition import (
    HarpAcquisition,
    InputSettings,
    Recorder,
)
from photonlink.firmware_sim.devices.picoquant.records import (
    GENERIC_T2,
    GENERIC_T3,
    T2,
    T3,
    HistogramMemory,
    RecordLayout,
)
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.library import CallError, LibraryDevice
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.vendor_library.prototypes import PrototypeFunction

RUNNING, ARGUMENT, MODE, OPTION, NOT_INITIALIZED = -16, -17, -18, -19, -22
COMMAND_FAIL = -36
HISTOGRAM, MODE_T2, MODE_T3 = 0, 2, 3
MODE_NAMES = {HISTOGRAM: "hist", MODE_T2: "t2", MODE_T3: "t3"}
TACQ_MAX_MS = 360_000_000
HOLDOFF_MAX_NS = 25_500
BINNING_STEPS = 24
READ_FIFO_S = 0.010  # typical of the real library


@dataclass
class HarpSettings(DeviceSettings):
    """serial_number: seven digits.  resolution_ps: the base resolution that clients ask for.
    pulse_mv, pulse_width_ps: of the pulses at the inputs.  counter_start: reading of the time
    counter at each start."""

    model: str = ""
    inputs: int = 8
    resolution_ps: float = 80.0
    pulse_mv: int = -800
    pulse_width_ps: int = 10_000
    counter_start: int = 0


@dataclass(frozen=True, slots=True)
class Flags:
    """Bits of GetFlags; 0: the family has no such flag."""

    overflow: int = 0x01
    fifo_full: int = 0x02
    sync_lost: int = 0x04
    ref_lost: int = 0x08
    syserror: int = 0x10
    active: int = 0x20
    dropped: int = 0


class Harp(LibraryDevice):
    """One instrument. ``place`` has one input more than the unit: the last one is sync."""

    UNBUILT = OPTION
    TICK_S = 0.05
    PREFIX: ClassVar[str]
    PART: ClassVar[str]
    HARDWARE: ClassVar[Mapping[str, Any]]
    """Dead time of the inputs and depth of the memory."""
    READ_MAX: ClassVar[int] = 131_072
    FLAGS: ClassVar[Flags] = Flags()
    LAYOUTS: ClassVar[dict[int, RecordLayout]] = {MODE_T2: GENERIC_T2, MODE_T3: GENERIC_T3}
    WARNINGS: ClassVar[Mapping[int, str]] = {}
    DIVIDERS: ClassVar[tuple[int, ...]] = (1, 2, 4, 8, 16)
    FEATURES: ClassVar[int] = 0x02 | 0x04

    def setup(self) -> None:
        super().setup()
        c = self.config
        if not 1 <= c.inputs <= 63:
            raise ValueError(f"{self.name}: inputs must lie in 1..63")
        self.place.configure(inputs=c.inputs + 1, resolution_ps=c.resolution_ps, **self.HARDWARE)
        self._flags_injected = 0
        self._error = COMMAND_FAIL
        self._mode = -1  # not initialised
        self._next_start: int | None = None
        self._acquisition = HarpAcquisition(self.place, self.clock)
        self._defaults()

    def method(self, word: str) -> Callable[..., Any] | None:
        return super().method(word.removeprefix(self.PREFIX))

    def make_serial(self, seed: int) -> str:
        return f"1{seed % 10**6:06}"

    def _defaults(self) -> None:
        self._inputs = [InputSettings() for _ in range(self.config.inputs + 1)]
        self._sync_div, self._control, self._binning = 1, 0, 0
        self._histograms = HistogramMemory(self.config.inputs)
        self._acquisition.reset()
        for channel in range(self.config.inputs + 1):
            self._apply(channel)

    def opened(self) -> None:
        self._mode = -1
        self._defaults()

    def closed(self) -> None:
        self._acquisition.stop()

    def unplug(self) -> None:
        self._acquisition.stop()
        self._mode = -1
        self._defaults()
        super().unplug()

    def reboot(self) -> None:
        self.unplug()
        self.clock.call_later(0.1, self.replug)

    def tick(self) -> None:
        """Histograms fill by themselves."""
        if self._mode == HISTOGRAM and self._acquisition.started:
            self._acquisition.read(1 << 24)
            if self._histograms.overflow and self._acquisition.active:
                self._acquisition.halt()

    def state(self) -> dict[str, Any]:
        run = self._acquisition
        return {
            "open": self.owner is not None,
            "initialized": self._mode >= 0,
            "mode": MODE_NAMES.get(self._mode, ""),
            "active": run.active,
            "events_sent": run.events_sent,
            "events_lost": run.events_lost,
            "flags": self._flags(0),
        }

    # ---- faults --------------------------------------------------------------------------------

    @fault("error", "calls end with this number", "code")
    def _fault_error(self, order: Mapping[str, Any]) -> Callable[[], object]:
        self._error = int(order.get("code", COMMAND_FAIL))
        return lambda: None

    @fault("overrun", "the FIFO is full: the measurement ends")
    def _fault_overrun(self, _: Mapping[str, Any]) -> None:
        self._acquisition.overrun()

    @fault("lose", "events vanish; flagged: counts-dropped is raised", "events", "flagged")
    def _fault_lose(self, order: Mapping[str, Any]) -> None:
        flagged = bool(order.get("flagged", False))
        self._acquisition.lose(int(order.get("events", 1000)), flagged=flagged)

    @fault("rollover", "the next start lies so many ticks before the time wraps", "before")
    def _fault_rollover(self, order: Mapping[str, Any]) -> None:
        self._next_start = -int(order.get("before", 1000))

    @fault("ref-lost", "flag: the reference clock is lost")
    def _fault_ref(self, _: Mapping[str, Any]) -> Callable[[], object]:
        return self._inject(self.FLAGS.ref_lost)

    @fault("sync-lost", "flag: no sync")
    def _fault_sync(self, _: Mapping[str, Any]) -> Callable[[], object]:
        return self._inject(self.FLAGS.sync_lost)

    @fault("syserror", "flag: hardware error")
    def _fault_syserror(self, _: Mapping[str, Any]) -> Callable[[], object]:
        return self._inject(self.FLAGS.syserror)

    def _inject(self, flag: int) -> Callable[[], object]:
        self._flags_injected |= flag

        def heal() -> None:
            self._flags_injected &= ~flag

        return heal

    # ---- allowed calls ------------------------------------------------------------

    def check(self, function: PrototypeFunction, arguments: list[Any]) -> None:
        if self.faults.use("error"):
            raise CallError(self._error)
        if "any" in function.modes:
            return
        if self._mode < 0:
            raise CallError(NOT_INITIALIZED)
        if "init" not in function.modes and MODE_NAMES[self._mode] not in function.modes:
            raise CallError(MODE)

    async def pace(self, function: PrototypeFunction) -> None:
        if function.name.endswith("_ReadFiFo"):
            await self.clock.sleep(READ_FIFO_S)

    def _settable(self) -> bool:
        """Not measuring, or refused; False when sets are to be ignored."""
        if self._acquisition.started:
            raise CallError(RUNNING)
        return not self.faults.use("ignore-sets")

    def _numbered(self, channel: int) -> int:
        """The number of an input; sync has calls of its own."""
        if not 0 <= channel < self.config.inputs:
            raise CallError(ARGUMENT)
        return channel

    def _apply(self, channel: int) -> None:
        """A comparator fires for a pulse when its level lies between the base line and the top;
        with the other edge at the pulse's end.
        """
        own, pulse = self._inputs[channel], self.config.pulse_mv
        seen = own.level_mv * pulse > 0 and abs(own.level_mv) < abs(pulse)
        self.place.set_enabled(channel, own.enabled and seen)
        leading = 1 if pulse > 0 else 0
        own.shift_ps = own.offset_ps + (0 if own.edge == leading else self.config.pulse_width_ps)

    def _put(self, channel: int, **values: Any) -> None:
        """channel: -1 is sync."""
        channel %= len(self._inputs)
        if self._settable():
            for name, value in values.items():
                setattr(self._inputs[channel], name, value)
            self._apply(channel)

    # ---- identity ------------------------------------------------------------------------------

    @command("OpenDevice", "GetSerialNumber")
    def _serial_text(self, _: int) -> str:
        return self.serial_number[:7]

    @command("CloseDevice", "Calibrate")
    def _done(self, _: int) -> None:
        """Done when it arrived."""

    @command("Initialize")
    def _initialize(self, _: int, mode: int, reference: int = 0) -> None:
        if mode not in MODE_NAMES:
            raise CallError(MODE)
        if reference not in (0, 1):
            raise CallError(OPTION if 2 <= reference <= 9 else ARGUMENT)
        self._defaults()
        self._mode = mode

    @command("GetHardwareInfo")
    def _hardware_info(self, _: int) -> tuple[str, str, str]:
        return self.config.model, self.PART, "1.0"

    @command("GetFeatures")
    def _features(self, _: int) -> int:
        return self.FEATURES

    @command("GetBaseResolution")
    def _base_resolution(self, _: int) -> tuple[float, int]:
        return self._acquisition.resolution_ps, BINNING_STEPS

    @command("GetResolution")
    def _resolution(self, _: int) -> float:
        return self._acquisition.resolution_ps * (1 << self._binning)

    @command("GetNumOfInputChannels")
    def _input_channels(self, _: int) -> int:
        return int(self.config.inputs)

    @command("GetDebugInfo", "GetHardwareDebugInfo")
    def _debug_info(self, _: int) -> str:
        return f"emulated {self.config.model}, {self._acquisition.events_sent} events sent\n"

    # ---- settings ------------------------------------------------------------------------------

    @command("SetSyncDiv")
    def _set_sync_div(self, _: int, divider: int) -> None:
        if divider not in self.DIVIDERS:
            raise CallError(ARGUMENT)
        if self._settable():
            self._sync_div = divider

    @command("SetBinning")
    def _set_binning(self, _: int, binning: int) -> None:
        within(binning, 0, BINNING_STEPS - 1)
        if self._settable():
            self._binning = binning

    @command("SetOffset")
    def _set_offset(self, _: int, offset_ns: int) -> None:
        within(offset_ns, 0, 100_000_000)
        if self._settable():
            self._histograms.offset = round(offset_ns * 1000 / self._acquisition.resolution_ps)

    @command("SetStopOverflow")
    def _stop_overflow(self, _: int, stop: int, counts: int) -> None:
        within(stop, 0, 1)
        within(counts, 1, 0xFFFFFFFF)
        if self._settable():
            self._histograms.stop_at = counts if stop else 0

    @command("SetMarkerHoldoffTime")
    def _marker_holdoff(self, _: int, holdoff_ns: int) -> None:
        within(holdoff_ns, 0, HOLDOFF_MAX_NS)
        self._settable()

    @command("SetMarkerEdges", "SetMarkerEnable")
    def _markers(self, _: int, *flags: int) -> None:
        """No marker ever comes: nothing is connected to the marker inputs."""
        for flag in flags:
            within(flag, 0, 1)
        self._settable()

    # ---- measurement ---------------------------------------------------------------------------

    @command("StartMeas")
    def _start(self, _: int, tacq_ms: int) -> None:
        within(tacq_ms, 1, TACQ_MAX_MS)
        self._settable()
        self._acquisition.start(tacq_ms, self._inputs, self._sync_div, self._recorder())

    def _recorder(self) -> Recorder:
        start = self.config.counter_start if self._next_start is None else self._next_start
        self._next_start = None
        if self._mode == HISTOGRAM:
            self._histograms.binning = self._binning
            self._histograms.restart()
            return self._histograms
        layout = self.LAYOUTS[self._mode]
        if self._mode == MODE_T2:
            return T2(layout, self.config.inputs, start)
        return T3(layout, self.config.inputs, self._binning, start)

    @command("StopMeas")
    def _stop(self, _: int) -> None:
        self._acquisition.stop()
        self.tick()

    @command("CTCStatus")
    def _ctc(self, _: int) -> int:
        return int(not self._acquisition.active)

    @command("GetFlags")
    def _flags(self, _: int) -> int:
        run, flags = self._acquisition, self.FLAGS
        run.watch()
        word: int = (
            self._flags_injected
            | flags.overflow * self._histograms.overflow
            | flags.fifo_full * run.fifo_full
            | flags.active * run.active
            | flags.dropped * run.dropped
        )
        return word

    @command("GetElapsedMeasTime")
    def _elapsed(self, _: int) -> float:
        return self._acquisition.elapsed_ms

    @command("ReadFiFo")
    def _read_fifo(self, _: int, count: int | None = None) -> tuple[bytes, int]:
        within(self.READ_MAX if count is None else count, 1, self.READ_MAX)
        records = self._acquisition.read(count or self.READ_MAX)
        return records.tobytes(), len(records)

    @command("ClearHistMem")
    def _clear(self, _: int, block: int = 0) -> None:
        if self._settable():
            self._histograms.clear()

    def _histogram(self, channel: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
        self.tick()
        return self._histograms.counts[channel, : self._histograms.bins]

    # ---- rates and warnings --------------------------------------------------------------------

    def _rates(self) -> list[int]:
        """Rates of the inputs, then of sync (before its divider)."""
        rates: list[int] = [int(r) for r in self.place.rates_hz()]
        rates += [0] * (self.config.inputs + 1 - len(rates))
        return rates

    @command("GetSyncRate")
    def _sync_rate(self, _: int) -> int:
        rate: int = self._rates()[self.config.inputs]
        return rate

    @command("GetSyncPeriod")
    def _sync_period(self, _: int) -> float:
        """Seconds; 0 without sync (unverified)."""
        rate = self._rates()[self.config.inputs]
        return 1.0 / rate if rate else 0.0

    @command("GetCountRate")
    def _count_rate(self, _: int, channel: int) -> int:
        return self._rates()[self._numbered(channel)]

    @command("GetWarnings")
    def _warnings(self, _: int) -> int:
        rates = self._rates()
        sync, total = rates[self.config.inputs], sum(rates[: self.config.inputs])
        word: int = 0x2 * (0 < sync < 100) | 0x10 * (total == 0)
        return word | 0x200 * (self._sync_div > 1)

    @command("GetWarningsText")
    def _warnings_text(self, _: int, word: int) -> str:
        return "".join(f"WARNING: {t}\n" for bit, t in self.WARNINGS.items() if word & bit)


def within(value: int, low: int, high: int) -> None:
    """CallError outside the limits."""
    if not low <= value <= high:
        raise CallError(ARGUMENT)


class ModularHarp(Harp):
    """Further parts of MultiHarp and HydraHarp: modules, channel offsets, enables, gates."""

    @command("GetNumOfModules")
    def _modules(self, _: int) -> int:
        return 1 + -(-int(self.config.inputs) // 8)

    @command("GetModuleInfo")
    def _module_info(self, _: int, module: int) -> tuple[int, int]:
        within(module, 0, self._modules(0) - 1)
        return int(self.PART[:4]) + module, 0x0100

    @command("SetInputChannelOffset")
    def _offset(self, _: int, channel: int, offset_ps: int) -> None:
        within(offset_ps, -99_999, 99_999)
        self._put(self._numbered(channel), offset_ps=offset_ps)

    @command("SetSyncChannelOffset")
    def _sync_offset(self, _: int, offset_ps: int) -> None:
        within(offset_ps, -99_999, 99_999)
        self._put(-1, offset_ps=offset_ps)

    @command("SetInputChannelEnable")
    def _enable(self, _: int, channel: int, enable: int) -> None:
        within(enable, 0, 1)
        self._put(self._numbered(channel), enabled=bool(enable))

    @command("SetHistoLen")
    def _histogram_length(self, _: int, code: int) -> int:
        within(code, 0, 6)
        if self._settable():
            self._histograms.bins = 1024 << code
        return self._histograms.bins

    @command("SetMeasControl")
    def _meas_control(self, _: int, control: int, start_edge: int, stop_edge: int) -> None:
        within(control, 0, 6)
        within(start_edge, 0, 1)
        within(stop_edge, 0, 1)
        if control not in (0, 6):
            raise CallError(OPTION)
        if self._settable():
            self._control = control
