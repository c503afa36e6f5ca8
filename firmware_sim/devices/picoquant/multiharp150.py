"""Emulated PicoQuant MultiHarp 150 in T2 mode: the instrument behind the stand-in library.

``start`` puts a copy of ``libmh150.so`` (``wires/vendor_library/mh150.c``) into its own folder and
listens on the socket beside it. Functions, modes and flags follow ``facts/instruments.md`` 2.5
(evidence: manual level only). Unverified, chosen here: error numbers, power-on settings, the
refusal of changes while measuring, and that a full FIFO ends the measurement. Histogram and T3
mode, external triggers of a measurement and White Rabbit are refused with an error number.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.devices.common import Cable, ReplyFaults, only, settings, unknown
from photonlink.firmware_sim.devices.picoquant.acquisition import Acquisition, InputSettings
from photonlink.firmware_sim.places import TaggerPlace
from photonlink.firmware_sim.wires.tcp import UnixWire

LIBRARY = Path(__file__).parents[2] / "wires" / "vendor_library" / "libmh150.so"
SOCKET = "mh150.sock"
REQUEST = struct.Struct("<I4i")
REPLY = struct.Struct("<iI")

# Error numbers: unverified.
BUSY, RUNNING, ARGUMENT, MODE, OPTION, NOT_INITIALIZED = -2, -16, -17, -18, -19, -22
COMMAND_FAIL = -36

MODE_T2 = 2
FLAG_FIFOFULL, FLAG_SYNC_LOST, FLAG_REF_LOST, FLAG_SYSERROR = 0x02, 0x04, 0x08, 0x10
FLAG_ACTIVE, FLAG_CNTS_DROPPED = 0x20, 0x40
TACQ_MAX_MS = 360_000_000
MAX_RATE_HZ = 80e6
WARNINGS = {
    0x2: "sync rate is below 100 Hz",
    0x10: "no counts on any input",
    0x40: "total count rate exceeds what the interface carries",
    0x200: "sync divider is not needed",
    0x2000: "counts were dropped",
}


@dataclass
class MultiHarpSettings:
    """Settings of the bench file.

    serial_number: seven digits, by default made from the seed.  resolution_ps: the base resolution
    that clients ask for; variants of the model differ (80 ps is unverified).  pulse_mv,
    pulse_width_ps: of the pulses at the inputs.
    """

    serial_number: str = ""
    model: str = "MultiHarp 150 8N"
    inputs: int = 8
    resolution_ps: float = 80.0
    pulse_mv: int = -800
    pulse_width_ps: int = 10_000
    counter_start: int = 0


class Refused(Exception):
    """A call that ends with an error number."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class MultiHarp150:
    """The instrument. ``port`` has one input more than the unit: the last one is sync."""

    def __init__(self, name: str, config: MultiHarpSettings, port: TaggerPlace, seed: int) -> None:
        self.name = name
        self.address = ""
        self._config, self._port = config, port
        self._serial_text = (config.serial_number or f"1{seed % 10**6:06}").encode()[:7]
        self._faults = ReplyFaults(seed)
        self._wire: UnixWire | None = None
        self._folder_fd = -1
        self._cable = Cable(self._unplug, self._plug)
        self._owner: asyncio.StreamWriter | None = None
        self._error, self._errors_left = 0, 0
        self._injected_flags = 0
        self._acquisition = Acquisition(port, config.counter_start)
        self._initialized = False
        self._defaults()

    def _defaults(self) -> None:
        sync = self._config.inputs
        self._inputs = [InputSettings() for _ in range(sync + 1)]
        self._sync_div = 1
        self._control = 0
        self._acquisition.reset()
        for channel in range(sync + 1):
            self._apply(channel)

    # -- device protocol -----------------------------------------------------------------------

    async def start(self, run_dir: Path) -> None:
        folder = run_dir / self.name
        folder.mkdir(parents=True, exist_ok=True)
        if not LIBRARY.exists():
            raise FileNotFoundError(f"{LIBRARY} is missing: build the project first")
        copy = folder / LIBRARY.name
        fresh = folder / (LIBRARY.name + ".new")
        shutil.copyfile(LIBRARY, fresh)
        fresh.replace(copy)  # never write into a library that someone has mapped
        # through the folder's descriptor: a socket's own path may hold 107 bytes only
        self._folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self._wire = UnixWire(Path(f"/proc/self/fd/{self._folder_fd}") / SOCKET, self._serve)
        await self._wire.plug()
        self.address = f"lib://{copy}"

    async def stop(self) -> None:
        self._cable.cancel()
        self._acquisition.stop()
        if self._wire is not None:
            await self._wire.close()
            self._wire = None  # its path goes through the descriptor closed now
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1

    def safe_off(self) -> None:
        """A tagger has neither light nor bias."""

    def status(self) -> dict[str, Any]:
        run = self._acquisition
        return {
            "serial_number": self._serial_text.decode(),
            "plugged": self._wire is not None and self._wire.plugged,
            "open": self._owner is not None,
            "initialized": self._initialized,
            "active": run.active,
            "events_sent": run.events_sent,
            "events_lost": run.events_lost,
            "flags": self._flags(),
        }

    def control(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Cable faults; ``silent`` and ``late`` replies; ``ignore-sets``; ``reboot``; ``error``
        (``code``, ``count``); ``overrun`` (FIFO full); ``lose`` (``events``, ``flagged``);
        ``rollover`` (``before``: ticks before the 25-bit time wraps); ``ref-lost``,
        ``sync-lost``, ``syserror`` (flags until ``none``); set: serial_number (another unit)."""
        fault = command.get("fault")
        run = self._acquisition
        flags = {
            "ref-lost": FLAG_REF_LOST,
            "sync-lost": FLAG_SYNC_LOST,
            "syserror": FLAG_SYSERROR,
        }
        if fault in ("garbled", "truncated", "echo"):
            raise ValueError(f"{self.name}: {fault!r} cannot happen on a library's cable")
        if self._cable.control(command):
            pass
        elif self._faults.arm(command):
            if fault == "none":
                self._heal()
        elif fault == "reboot":
            self._cable.control({"fault": "unplug", "for_s": command.get("for_s", 0.1)})
        elif fault == "error":
            only(command, "fault", "code", "count")
            self._error = int(command.get("code", COMMAND_FAIL))
            self._errors_left = int(command.get("count", 1))
        elif isinstance(command.get("set"), Mapping) and set(command["set"]) == {"serial_number"}:
            self._serial_text = str(command["set"]["serial_number"]).encode()[:7]
        elif fault == "overrun":
            run.overrun()
        elif fault == "lose":
            run.lose(int(command.get("events", 1000)), flagged=bool(command.get("flagged", False)))
        elif fault == "rollover":
            run.next_start = -int(command.get("before", 1000))
        elif fault in flags:
            only(command, "fault", "for_s")
            self._injected_flags |= flags[str(fault)]
            if "for_s" in command:
                asyncio.get_running_loop().call_later(float(command["for_s"]), self._heal)
        else:
            raise unknown(self.name, command, "faults: see the documentation of MultiHarp150")
        return self.status()

    def _heal(self) -> None:
        self._injected_flags = self._errors_left = 0

    def _unplug(self) -> None:
        self._acquisition.stop()
        self._initialized = False
        self._defaults()
        if self._wire is not None:
            self._wire.unplug()

    def _plug(self) -> None:
        if self._wire is not None:
            self._wire.plug_soon()

    # -- cable ---------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One program's library. Only one at a time may have the device open."""
        try:
            while True:
                frame = await reader.readexactly(REQUEST.size)
                function, *arguments = REQUEST.unpack(frame)
                code, payload = self._answer(function, arguments, writer)
                reply = REPLY.pack(code, len(payload)) + payload
                self._faults.send(reply, frame, writer.write)
                await writer.drain()
        finally:
            if self._owner is writer:
                self._owner = None
                self._acquisition.stop()

    def _answer(
        self, function: int, arguments: list[int], writer: asyncio.StreamWriter
    ) -> tuple[int, bytes]:
        entry = FUNCTIONS.get(function)
        if entry is None:
            return ARGUMENT, b""
        if entry is MultiHarp150._open:
            if self._owner is not None and self._owner is not writer:
                return BUSY, b""
            self._owner = writer
        if self._errors_left:
            self._errors_left -= 1
            return self._error, b""
        try:
            return 0, entry(self, *arguments) or b""
        except Refused as refusal:
            return refusal.code, b""

    # -- calls that need no initialisation -----------------------------------------------------

    def _open(self, *_: int) -> bytes:
        self._initialized = False
        self._defaults()
        return self._serial_text

    def _close(self, *_: int) -> None:
        self._acquisition.stop()
        self._owner = None

    def _initialize(self, mode: int, reference: int, *_: int) -> None:
        if mode != MODE_T2:
            raise Refused(MODE)
        if reference not in (0, 1):
            raise Refused(OPTION if 2 <= reference <= 9 else ARGUMENT)
        self._defaults()
        self._initialized = True

    def _hardware_info(self, *_: int) -> bytes:
        c = self._config
        texts = ((c.model, 24), ("930000", 8), ("1.0", 8))
        return b"".join(t.encode()[: n - 1].ljust(n, b"\0") for t, n in texts)

    def _serial(self, *_: int) -> bytes:
        return self._serial_text

    def _features(self, *_: int) -> bytes:
        return _int(0)

    def _base_resolution(self, *_: int) -> bytes:
        return struct.pack("<dii", self._acquisition.resolution_ps, 24, 0)

    def _input_channels(self, *_: int) -> bytes:
        return _int(self._config.inputs)

    # -- settings ------------------------------------------------------------------------------

    def _ready(self) -> None:
        if not self._initialized:
            raise Refused(NOT_INITIALIZED)

    def _settable(self) -> bool:
        """Initialised and not measuring, or refused; False when sets are to be ignored."""
        self._ready()
        if self._acquisition.started:
            raise Refused(RUNNING)
        return not self._faults.ignore_sets

    def _edge(self, channel: int, level: int, edge: int) -> None:
        if not -1200 <= level <= 1200 or edge not in (0, 1):
            raise Refused(ARGUMENT)
        if self._settable():
            self._inputs[channel].level_mv, self._inputs[channel].edge = level, edge
            self._apply(channel)

    def _offset(self, channel: int, offset_ps: int) -> None:
        if not -99_999 <= offset_ps <= 99_999:
            raise Refused(ARGUMENT)
        if self._settable():
            self._inputs[channel].offset_ps = offset_ps
            self._apply(channel)

    def _dead_time(self, channel: int, on: int, length_ps: int) -> None:
        if on not in (0, 1) or (on and not 800 <= length_ps <= 160_000):
            raise Refused(ARGUMENT)
        if self._settable():
            self._inputs[channel].dead_time_ps = length_ps if on else 0
            self._apply(channel)

    @property
    def sync(self) -> int:
        return self._config.inputs

    def numbered(self, channel: int) -> int:
        """The number of an input; sync has calls of its own."""
        if not 0 <= channel < self._config.inputs:
            raise Refused(ARGUMENT)
        return channel

    def _enable(self, channel: int, enable: int) -> None:
        if enable not in (0, 1):
            raise Refused(ARGUMENT)
        if self._settable():
            self._inputs[channel].enabled = bool(enable)
            self._apply(channel)

    def _apply(self, channel: int) -> None:
        """A comparator sees a pulse when its level lies between the base line and the top; with
        the other edge it fires at the pulse's end."""
        own, pulse = self._inputs[channel], self._config.pulse_mv
        seen = own.level_mv * pulse > 0 and abs(own.level_mv) < abs(pulse)
        self._port.set_enabled(channel, own.enabled and seen)
        leading = 1 if pulse > 0 else 0
        own.shift_ps = own.offset_ps + (0 if own.edge == leading else self._config.pulse_width_ps)

    def _set_sync_div(self, divider: int, *_: int) -> None:
        if divider not in (1, 2, 4, 8, 16):
            raise Refused(ARGUMENT)
        if self._settable():
            self._sync_div = divider

    def _meas_control(self, control: int, start_edge: int, stop_edge: int, *_: int) -> None:
        if not 0 <= control <= 6 or start_edge not in (0, 1) or stop_edge not in (0, 1):
            raise Refused(ARGUMENT)
        if control not in (0, 6):
            raise Refused(OPTION)
        if self._settable():
            self._control = control

    # -- measurement ---------------------------------------------------------------------------

    def _start(self, tacq_ms: int, *_: int) -> None:
        if not 1 <= tacq_ms <= TACQ_MAX_MS:
            raise Refused(ARGUMENT)
        self._settable()
        self._acquisition.start(tacq_ms, self._inputs, self._sync_div)

    def _stop(self, *_: int) -> None:
        self._ready()
        self._acquisition.stop()

    def _ctc(self, *_: int) -> bytes:
        self._ready()
        return _int(int(not self._acquisition.active))

    def _flags(self) -> int:
        run = self._acquisition
        run.watch()
        return (
            self._injected_flags
            | FLAG_FIFOFULL * run.fifo_full
            | FLAG_ACTIVE * run.active
            | FLAG_CNTS_DROPPED * run.dropped
        )

    def _get_flags(self, *_: int) -> bytes:
        self._ready()
        return _int(self._flags())

    def _elapsed(self, *_: int) -> bytes:
        self._ready()
        return struct.pack("<d", self._acquisition.elapsed_ms)

    def _start_time(self, *_: int) -> bytes:
        """UNIX time of the start in ps, most significant word first (meaning unverified)."""
        self._ready()
        picoseconds = self._acquisition.started_at_ns * 1000
        return struct.pack("<3I", *(picoseconds >> s & 0xFFFFFFFF for s in (64, 32, 0)))

    def _read_fifo(self, *_: int) -> bytes:
        self._ready()
        return self._acquisition.read().tobytes()

    # -- rates and warnings --------------------------------------------------------------------

    def _rates(self) -> list[int]:
        """Rates of the inputs, then of sync (before its divider)."""
        self._ready()
        rates = [int(r) for r in self._port.rates_hz()]
        rates += [0] * (self._config.inputs + 1 - len(rates))
        return rates

    def _sync_rate(self, *_: int) -> bytes:
        return _int(self._rates()[self._config.inputs])

    def _count_rate(self, channel: int, *_: int) -> bytes:
        rates = self._rates()
        if not 0 <= channel < self._config.inputs:
            raise Refused(ARGUMENT)
        return _int(rates[channel])

    def _all_rates(self, *_: int) -> bytes:
        rates = self._rates()
        return struct.pack(f"<{len(rates)}i", rates[self._config.inputs], *rates[:-1])

    def _warnings(self, *_: int) -> bytes:
        rates = self._rates()
        sync, total = rates[self._config.inputs], sum(rates[: self._config.inputs])
        word = 0x2 * (0 < sync < 100) | 0x10 * (total == 0) | 0x40 * (total > MAX_RATE_HZ)
        word |= 0x200 * (self._sync_div > 1) | 0x2000 * self._acquisition.dropped
        return _int(word)

    def _warnings_text(self, word: int, *_: int) -> bytes:
        self._ready()
        return "".join(f"WARNING: {t}\n" for bit, t in WARNINGS.items() if word & bit).encode()

    def _white_rabbit(self, *_: int) -> None:
        self._ready()
        raise Refused(OPTION)


def _int(value: int) -> bytes:
    return struct.pack("<i", value)


_Entry = Callable[..., bytes | None]
_M = MultiHarp150
FUNCTIONS: dict[int, _Entry] = {
    1: _M._open,
    2: _M._close,
    3: _M._initialize,
    4: _M._hardware_info,
    5: _M._serial,
    6: _M._features,
    7: _M._base_resolution,
    8: _M._input_channels,
    9: _M._set_sync_div,
    10: lambda d, level, edge, *_: d._edge(d.sync, level, edge),
    11: lambda d, offset, *_: d._offset(d.sync, offset),
    12: lambda d, on, length, *_: d._dead_time(d.sync, on, length),
    13: lambda d, channel, level, edge, *_: d._edge(d.numbered(channel), level, edge),
    14: lambda d, channel, offset, *_: d._offset(d.numbered(channel), offset),
    15: lambda d, channel, on, length, *_: d._dead_time(d.numbered(channel), on, length),
    16: lambda d, channel, enable, *_: d._enable(d.numbered(channel), enable),
    17: _M._meas_control,
    18: _M._start,
    19: _M._stop,
    20: _M._ctc,
    21: _M._get_flags,
    22: _M._elapsed,
    23: _M._start_time,
    24: _M._read_fifo,
    25: _M._sync_rate,
    26: _M._count_rate,
    27: _M._all_rates,
    28: _M._warnings,
    29: _M._warnings_text,
    30: _M._white_rabbit,
}
"""By the numbers of the cable (``mh150.c`` has the same)."""


def create(name: str, config: Mapping[str, Any], port: Any, seed: int) -> MultiHarp150:
    """Factory for the bench. ValueError names an unknown setting."""
    own = settings(MultiHarpSettings, name, config)
    if not 1 <= own.inputs <= 63:
        raise ValueError(f"{name}: inputs must lie in 1..63")
    port.configure(
        inputs=own.inputs + 1,
        resolution_ps=own.resolution_ps,
        dead_time_ps=650.0,
        fifo_tags=1 << 22,
    )
    return MultiHarp150(name, own, port, seed)
