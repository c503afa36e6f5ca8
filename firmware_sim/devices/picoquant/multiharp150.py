"""Emulated PicoQuant MultiHarp 150 in T2 mode: the instrument behind the stand-in ``libmh150.so``.

Names, arguments, modes, limits and error numbers are those of the vendor's public header for MHLib
3.1 (``wires/vendor_library/mh150.toml``). Evidence: manual. Unverified, chosen here: power-on
settings, the refusal of changes while measuring, which error number answers what, and that a full
FIFO ends the measurement. Histogram and T3 mode, gated measurements, event filters, White Rabbit
and the external FPGA are refused with an error number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.devices.picoquant.acquisition import Acquisition, InputSettings
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.library import CallError, LibraryDevice
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.vendor_library.prototypes import Function

RUNNING, ARGUMENT, MODE, OPTION, NOT_INITIALIZED = -16, -17, -18, -19, -22
COMMAND_FAIL = -36

MODE_T2 = 2
MODE_NAMES = {0: "hist", MODE_T2: "t2", 3: "t3"}
FLAG_FIFOFULL, FLAG_SYNC_LOST, FLAG_REF_LOST, FLAG_SYSERROR = 0x02, 0x04, 0x08, 0x10
FLAG_ACTIVE, FLAG_CNTS_DROPPED = 0x20, 0x40
FEATURE_TTTR, FEATURE_MARKERS, FEATURE_TRIGOUT = 0x02, 0x04, 0x10
FEATURE_PROG_TD, FEATURE_PROG_HYST = 0x20, 0x80
TACQ_MAX_MS = 360_000_000
TRIGGER_OUTPUT_MAX = 16_777_215  # units of 100 ns
HOLDOFF_MAX_NS = 25_500
MAX_RATE_HZ = 80e6
READ_FIFO_S = 0.010  # typical of the real library
WARNINGS = {
    0x2: "sync rate is below 100 Hz",
    0x10: "no counts on any input",
    0x40: "total count rate exceeds what the interface carries",
    0x200: "sync divider is not needed",
    0x2000: "counts were dropped",
}


@dataclass
class MultiHarpSettings(DeviceSettings):
    """serial_number: seven digits.  resolution_ps: the base resolution that clients ask for;
    variants of the model differ (80 ps is unverified).  pulse_mv, pulse_width_ps: of the pulses at
    the inputs."""

    model: str = "MultiHarp 150 8N"
    inputs: int = 8
    resolution_ps: float = 80.0
    pulse_mv: int = -800
    pulse_width_ps: int = 10_000
    counter_start: int = 0


class MultiHarp150(LibraryDevice):
    """The instrument. ``place`` has one input more than the unit: the last one is sync."""

    TABLE = "mh150"
    Settings = MultiHarpSettings
    UNBUILT = OPTION

    def setup(self) -> None:
        super().setup()
        c = self.config
        if not 1 <= c.inputs <= 63:
            raise ValueError(f"{self.name}: inputs must lie in 1..63")
        self.place.configure(
            inputs=c.inputs + 1,
            resolution_ps=c.resolution_ps,
            dead_time_ps=650.0,
            fifo_tags=1 << 22,
        )
        self._flags_injected = 0
        self._error = COMMAND_FAIL
        self._mode = -1  # not initialised
        self._acquisition = Acquisition(self.place, self.clock, c.counter_start)
        self._defaults()

    def make_serial(self, seed: int) -> str:
        return f"1{seed % 10**6:06}"

    def _defaults(self) -> None:
        self._inputs = [InputSettings() for _ in range(self.config.inputs + 1)]
        self._sync_div, self._control = 1, 0
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

    def state(self) -> dict[str, Any]:
        run = self._acquisition
        return {
            "open": self.owner is not None,
            "initialized": self._mode >= 0,
            "active": run.active,
            "events_sent": run.events_sent,
            "events_lost": run.events_lost,
            "flags": self._flags(),
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
        self._acquisition.next_start = -int(order.get("before", 1000))

    @fault("ref-lost", "flag: the reference clock is lost")
    def _fault_ref(self, _: Mapping[str, Any]) -> Callable[[], object]:
        return self._inject(FLAG_REF_LOST)

    @fault("sync-lost", "flag: no sync")
    def _fault_sync(self, _: Mapping[str, Any]) -> Callable[[], object]:
        return self._inject(FLAG_SYNC_LOST)

    @fault("syserror", "flag: hardware error")
    def _fault_syserror(self, _: Mapping[str, Any]) -> Callable[[], object]:
        return self._inject(FLAG_SYSERROR)

    def _inject(self, flag: int) -> Callable[[], object]:
        self._flags_injected |= flag

        def heal() -> None:
            self._flags_injected &= ~flag

        return heal

    # ---- which call is allowed when ------------------------------------------------------------

    def check(self, function: Function, arguments: list[Any]) -> None:
        if self.faults.use("error"):
            raise CallError(self._error)
        if "any" in function.modes:
            return
        if self._mode < 0:
            raise CallError(NOT_INITIALIZED)
        if "init" not in function.modes and MODE_NAMES[self._mode] not in function.modes:
            raise CallError(MODE)

    async def pace(self, function: Function) -> None:
        if function.name == "MH_ReadFiFo":
            await self.clock.sleep(READ_FIFO_S)

    def _settable(self) -> bool:
        """Not measuring, or refused; False when sets are to be ignored."""
        if self._acquisition.started:
            raise CallError(RUNNING)
        return not self.faults.use("ignore-sets")

    # ---- identity ------------------------------------------------------------------------------

    @command("MH_OpenDevice", "MH_GetSerialNumber")
    def _serial_text(self, _: int) -> str:
        return self.serial_number[:7]

    @command("MH_CloseDevice")
    def _close(self, _: int) -> None:
        """Done when it arrived."""

    @command("MH_Initialize")
    def _initialize(self, _: int, mode: int, reference: int) -> None:
        if mode != MODE_T2:
            raise CallError(MODE)
        if reference not in (0, 1):
            raise CallError(OPTION if 2 <= reference <= 9 else ARGUMENT)
        self._defaults()
        self._mode = mode

    @command("MH_GetHardwareInfo")
    def _hardware_info(self, _: int) -> tuple[str, str, str]:
        return self.config.model, "930000", "1.0"

    @command("MH_GetFeatures")
    def _features(self, _: int) -> int:
        return (
            FEATURE_TTTR | FEATURE_MARKERS | FEATURE_TRIGOUT | FEATURE_PROG_TD | FEATURE_PROG_HYST
        )

    @command("MH_GetBaseResolution")
    def _base_resolution(self, _: int) -> tuple[float, int]:
        return self._acquisition.resolution_ps, 24

    @command("MH_GetResolution")
    def _resolution(self, _: int) -> float:
        return self._acquisition.resolution_ps

    @command("MH_GetNumOfInputChannels")
    def _input_channels(self, _: int) -> int:
        return int(self.config.inputs)

    @command("MH_GetNumOfModules")
    def _modules(self, _: int) -> int:
        return 1 + -(-int(self.config.inputs) // 8)

    @command("MH_GetModuleInfo")
    def _module_info(self, _: int, module: int) -> tuple[int, int]:
        if not 0 <= module < self._modules(0):
            raise CallError(ARGUMENT)
        return 9300 + module, 0x0100

    @command("MH_GetDebugInfo")
    def _debug_info(self, _: int) -> str:
        return f"emulated MultiHarp 150, {self._acquisition.events_sent} events sent\n"

    # ---- settings ------------------------------------------------------------------------------

    def _numbered(self, channel: int) -> int:
        """The number of an input; sync has calls of its own."""
        if not 0 <= channel < self.config.inputs:
            raise CallError(ARGUMENT)
        return channel

    def _apply(self, channel: int) -> None:
        """A comparator sees a pulse when its level lies between the base line and the top; with
        the other edge it fires at the pulse's end."""
        own, pulse = self._inputs[channel], self.config.pulse_mv
        seen = own.level_mv * pulse > 0 and abs(own.level_mv) < abs(pulse)
        self.place.set_enabled(channel, own.enabled and seen)
        leading = 1 if pulse > 0 else 0
        own.shift_ps = own.offset_ps + (0 if own.edge == leading else self.config.pulse_width_ps)

    def _put(self, channel: int, **values: Any) -> None:
        if self._settable():
            for name, value in values.items():
                setattr(self._inputs[channel], name, value)
            self._apply(channel)

    @command("MH_SetInputEdgeTrg")
    def _edge(self, _: int, channel: int, level: int, edge: int) -> None:
        _within(level, -1200, 1200)
        _within(edge, 0, 1)
        self._put(self._numbered(channel), level_mv=level, edge=edge)

    @command("MH_SetSyncEdgeTrg")
    def _sync_edge(self, _: int, level: int, edge: int) -> None:
        _within(level, -1200, 1200)
        _within(edge, 0, 1)
        self._put(-1, level_mv=level, edge=edge)

    @command("MH_SetInputChannelOffset")
    def _offset(self, _: int, channel: int, offset_ps: int) -> None:
        _within(offset_ps, -99_999, 99_999)
        self._put(self._numbered(channel), offset_ps=offset_ps)

    @command("MH_SetSyncChannelOffset")
    def _sync_offset(self, _: int, offset_ps: int) -> None:
        _within(offset_ps, -99_999, 99_999)
        self._put(-1, offset_ps=offset_ps)

    @command("MH_SetInputDeadTime")
    def _dead_time(self, _: int, channel: int, on: int, length_ps: int) -> None:
        self._put(self._numbered(channel), dead_time_ps=_dead_time_ps(on, length_ps))

    @command("MH_SetSyncDeadTime")
    def _sync_dead_time(self, _: int, on: int, length_ps: int) -> None:
        self._put(-1, dead_time_ps=_dead_time_ps(on, length_ps))

    @command("MH_SetInputChannelEnable")
    def _enable(self, _: int, channel: int, enable: int) -> None:
        _within(enable, 0, 1)
        self._put(self._numbered(channel), enabled=bool(enable))

    @command("MH_SetSyncChannelEnable")
    def _sync_enable(self, _: int, enable: int) -> None:
        _within(enable, 0, 1)
        self._put(-1, enabled=bool(enable))

    @command("MH_SetSyncDiv")
    def _set_sync_div(self, _: int, divider: int) -> None:
        if divider not in (1, 2, 4, 8, 16):
            raise CallError(ARGUMENT)
        if self._settable():
            self._sync_div = divider

    @command("MH_SetMeasControl")
    def _meas_control(self, _: int, control: int, start_edge: int, stop_edge: int) -> None:
        _within(control, 0, 6)
        _within(start_edge, 0, 1)
        _within(stop_edge, 0, 1)
        if control not in (0, 6):
            raise CallError(OPTION)
        if self._settable():
            self._control = control

    @command("MH_SetInputHysteresis")
    def _hysteresis(self, _: int, code: int) -> None:
        _within(code, 0, 1)
        self._settable()

    @command("MH_SetTriggerOutput")
    def _trigger_output(self, _: int, period_100ns: int) -> None:
        _within(period_100ns, 0, TRIGGER_OUTPUT_MAX)
        self._settable()

    @command("MH_SetMarkerHoldoffTime")
    def _marker_holdoff(self, _: int, holdoff_ns: int) -> None:
        _within(holdoff_ns, 0, HOLDOFF_MAX_NS)
        self._settable()

    @command("MH_SetMarkerEdges", "MH_SetMarkerEnable")
    def _markers(self, _: int, *flags: int) -> None:
        """No marker ever comes: nothing is connected to the marker inputs."""
        for flag in flags:
            _within(flag, 0, 1)
        self._settable()

    @command("MH_SetOflCompression")
    def _compression(self, _: int, hold_ms: int) -> None:
        _within(hold_ms, 0, 255)
        self._settable()

    # ---- measurement ---------------------------------------------------------------------------

    @command("MH_StartMeas")
    def _start(self, _: int, tacq_ms: int) -> None:
        _within(tacq_ms, 1, TACQ_MAX_MS)
        self._settable()
        self._acquisition.start(tacq_ms, self._inputs, self._sync_div)

    @command("MH_StopMeas")
    def _stop(self, _: int) -> None:
        self._acquisition.stop()

    @command("MH_CTCStatus")
    def _ctc(self, _: int) -> int:
        return int(not self._acquisition.active)

    def _flags(self) -> int:
        run = self._acquisition
        run.watch()
        return (
            self._flags_injected
            | FLAG_FIFOFULL * run.fifo_full
            | FLAG_ACTIVE * run.active
            | FLAG_CNTS_DROPPED * run.dropped
        )

    @command("MH_GetFlags")
    def _get_flags(self, _: int) -> int:
        return self._flags()

    @command("MH_GetElapsedMeasTime")
    def _elapsed(self, _: int) -> float:
        return self._acquisition.elapsed_ms

    @command("MH_GetStartTime")
    def _start_time(self, _: int) -> tuple[int, int, int]:
        """UNIX time of the start in ps, most significant word first (meaning unverified)."""
        picoseconds = self._acquisition.started_at_ns * 1000
        high, middle, low = (picoseconds >> s & 0xFFFFFFFF for s in (64, 32, 0))
        return high, middle, low

    @command("MH_ReadFiFo")
    def _read_fifo(self, _: int) -> tuple[bytes, int]:
        records = self._acquisition.read()
        return records.tobytes(), len(records)

    # ---- rates and warnings --------------------------------------------------------------------

    def _rates(self) -> list[int]:
        """Rates of the inputs, then of sync (before its divider)."""
        rates: list[int] = [int(r) for r in self.place.rates_hz()]
        rates += [0] * (self.config.inputs + 1 - len(rates))
        return rates

    @command("MH_GetSyncRate")
    def _sync_rate(self, _: int) -> int:
        return self._rates()[-1]

    @command("MH_GetSyncPeriod")
    def _sync_period(self, _: int) -> float:
        """Seconds; 0 without sync (unverified)."""
        rate = self._rates()[self.config.inputs]
        return 1.0 / rate if rate else 0.0

    @command("MH_GetCountRate")
    def _count_rate(self, _: int, channel: int) -> int:
        return self._rates()[self._numbered(channel)]

    @command("MH_GetAllCountRates")
    def _all_rates(self, _: int) -> tuple[int, list[int]]:
        rates = self._rates()
        return rates[self.config.inputs], rates[:-1]

    @command("MH_GetWarnings")
    def _warnings(self, _: int) -> int:
        rates = self._rates()
        sync, total = rates[self.config.inputs], sum(rates[: self.config.inputs])
        word: int = 0x2 * (0 < sync < 100) | 0x10 * (total == 0) | 0x40 * (total > MAX_RATE_HZ)
        return word | 0x200 * (self._sync_div > 1) | 0x2000 * self._acquisition.dropped

    @command("MH_GetWarningsText")
    def _warnings_text(self, _: int, word: int) -> str:
        return "".join(f"WARNING: {t}\n" for bit, t in WARNINGS.items() if word & bit)


def _within(value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise CallError(ARGUMENT)


def _dead_time_ps(on: int, length_ps: int) -> int:
    _within(on, 0, 1)
    if not on:
        return 0
    _within(length_ps, 800, 160_000)
    return length_ps


REGISTRATION = Registration(
    "picoquant-multiharp150", "tagger", MultiHarp150, "PicoQuant MultiHarp 150 in T2 mode"
)
