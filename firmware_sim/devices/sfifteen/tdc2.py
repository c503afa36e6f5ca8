"""Emulated S-Fifteen TDC2: its readout program ``readevents7``.

Options and words: ``qcrypto`` ``timestamp7/readevents7.c``, and ``S15lib`` ``timestamp7.py``, which
gives ``-t`` one level for each input and names the device with ``-U``. Evidence: manual; words are
read back by ``fpfind`` and ``S15lib`` as they read recordings of the unit. As in fpfind's recording
``timestamp7_c14_rollover``: every half turn of the fast words' 26-bit time (131 us), at a phase of
the unit's own, a dummy event ``0x338`` comes if no event has since the last of these times.
Unverified, chosen here: where the counter stands at the start of a run, memory and rate limit, what
a second run says while one has the device, that ``-A`` counts from the Unix epoch, exit statuses
and messages. Accepted and without effect: ``-c``, ``-j``, ``-R``, ``-U``. ``-r`` waits for SIGUSR1;
SIGUSR2 stops events until the next one. ``-s`` is not built.
"""

from __future__ import annotations

import asyncio
import getopt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.kit.clicks import LosesEvents, sees
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.program import ProgramDevice, ProgramError
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.program import Run

INPUTS = 4
TICKS_PER_NS = 256
RESOLUTION_PS = 1000.0 / TICKS_PER_NS
TURN = 1 << 26
HALF, PHASE = TURN // 2, 3_774_250
DUMMY, HARDWARE = 0x38, 0x300
FIFO_TAGS, MAX_RATE_HZ, MAX_WORDS, PUMP_S = 1 << 17, 1.0e7, 4096, 0.004
WIDTH = {0: 18, 1: 8, 2: 17}  # bytes of an event, by format
SKEW_TICKS = 1 << 16
_ANSWER_S = 0.05


@dataclass
class Tdc2Settings(DeviceSettings):
    """pulse_v: height of the pulses at the inputs.  counter_s: what the counter shows at first."""

    pulse_v: float = -0.8
    counter_s: float = 3600.0


@dataclass
class Tdc2Options:
    """One command line."""

    format: int = 0
    stop_after: int = 0
    dac: list[int] = field(default_factory=lambda: [768] * INPUTS)
    skew: list[int] = field(default_factory=lambda: [0] * INPUTS)
    absolute: bool = False
    swapped: bool = False
    fast: bool = False
    waits: bool = False

    @property
    def threshold_v(self) -> list[float]:
        """Of each input: 4095 steps of 0.75 mV from -1.024 V."""
        return [-1.024 + 0.00075 * dac for dac in self.dac]


def _whole(text: str, low: int, high: int, name: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ProgramError(f"Error parsing option {name}") from None
    if not low <= value <= high:
        raise ProgramError(f"Option {name} out of range: {value}")
    return value


def _each(text: str, low: int, high: int, name: str) -> list[int]:
    """A value for each input, or one for all of them."""
    values = [_whole(part, low, high, name) for part in text.split(",")]
    if len(values) not in (1, INPUTS):
        raise ProgramError(f"Option {name} needs 1 or {INPUTS} values")
    return values * (INPUTS // len(values))


def parse(arguments: list[str]) -> Tdc2Options:
    """The program's options. ProgramError for an invalid one."""
    try:
        given, rest = getopt.getopt(arguments, "a:q:t:D:U:AXsfc:rRj")
    except getopt.GetoptError as error:
        raise ProgramError(str(error)) from None
    if rest:
        raise ProgramError(f"unexpected argument {rest[0]}")
    found = Tdc2Options()
    for name, value in given:
        match name:
            case "-a":
                found.format = _whole(value, 0, 2, name)
            case "-q":
                found.stop_after = _whole(value, 0, 2**31 - 1, name)
            case "-t":
                found.dac = _each(value, 0, 4095, name)
            case "-D":
                found.skew = _each(value, -SKEW_TICKS, SKEW_TICKS, name)
            case "-c":
                _whole(value, 0, 31, name)
            case "-A":
                found.absolute = True
            case "-X":
                found.swapped = True
            case "-f":
                found.fast = True
            case "-r":
                found.waits = True
            case "-s":
                raise ProgramError("short words are not supported by this emulator")
    return found


class Tdc2(LosesEvents, ProgramDevice):
    """One run at a time; its counter never stops. It has no flag for lost events."""

    PROGRAM = "readevents7"
    MISSING = "cannot open /dev/ioboards/usbtmst0"
    Settings = Tdc2Settings
    WORLD = (("pulse_v", float),)
    NO_FAULTS = (
        *ProgramDevice.NO_FAULTS,
        "garbled",
        "truncated",
        "late",
        "wrong-identity",
        "drift",
    )

    def setup(self) -> None:
        self.pulse_v = self.config.pulse_v
        self._options = Tdc2Options()
        self._busy = self._running = False
        self._slip = 0
        self.events_sent = self.events_lost = 0
        self.place.configure(inputs=INPUTS, resolution_ps=RESOLUTION_PS, fifo_tags=FIFO_TAGS)

    def applied(self, name: str) -> None:
        for channel, level_v in enumerate(self._options.threshold_v):
            self.place.set_enabled(channel, sees(level_v, self.pulse_v))

    def booted(self) -> None:
        self._running = False

    def reboot(self) -> None:
        self.unplug()
        super().reboot()
        self.clock.call_later(0.1, self.replug)

    def state(self) -> dict[str, Any]:
        return {
            "streaming": self._busy,
            "threshold_v": self._options.threshold_v,
            "events_sent": self.events_sent,
            "events_lost": self.events_lost,
        }

    @fault("slip", "bytes of the stream are missing: what follows is out of step", "bytes")
    def _fault_slip(self, order: Mapping[str, Any]) -> None:
        self._slip += int(order.get("bytes", 1))

    @fault("stalled", "the program runs and prints nothing any more")
    def _fault_stalled(self, _: Mapping[str, Any]) -> Callable[[], object]:
        return lambda: None

    # ---- a run ---------------------------------------------------------------------------------

    async def go(self, arguments: list[str], run: Run) -> None:
        options = parse(arguments)
        if self._busy:
            raise ProgramError(f"{self.MISSING}: Device or resource busy")
        self._busy, self._running, self._options = True, not options.waits, options
        self.applied("")
        self.place.start()
        signals = asyncio.create_task(self._obey(run))
        try:
            await self._stream(options, run, signals)
        finally:
            self._busy = False
            self.place.stop()
            signals.cancel()
            await asyncio.gather(signals, return_exceptions=True)

    async def _obey(self, run: Run) -> None:
        """SIGUSR1 starts, SIGUSR2 stops; returns when the program is gone."""
        while (number := await run.signal()) is not None:
            self._running = number == 1 or (self._running and number != 2)

    async def _stream(self, options: Tdc2Options, run: Run, gone: asyncio.Task[None]) -> None:
        """Events as long as the program lives, or the number that was asked for."""
        start_s = self.clock.now_s() if options.absolute else self.config.counter_s
        packer = Tdc2Packer(round(start_s * 1e9) * TICKS_PER_NS, options)
        silent = self.faults.use("silent")
        wanted, budget, last_s = options.stop_after, 0.0, self.clock.now_s()
        while not gone.done():
            now_s = self.clock.now_s()
            budget = min(budget + (now_s - last_s) * MAX_RATE_HZ, MAX_RATE_HZ * 0.1)
            last_s = now_s
            room = min(MAX_WORDS, int(budget), run.free // packer.width - 64)
            if room > 0:
                read = self.place.read(room)
                self.events_lost += read.lost
                lost = self.lost_of(len(read.time_ps))
                self.events_lost += lost
                words = packer.pack(read.time_ps[lost:], read.channel[lost:], read.until_ps)
                budget -= len(words)
                if self._running and not silent and not self.faults.armed("stalled"):
                    if wanted:
                        words = words[: wanted - packer.shown]
                        packer.shown += len(words)
                    self._send(packer.printed(words), len(words), run)
                    if wanted and packer.shown >= wanted:
                        return
                if len(read.time_ps) == room:
                    await asyncio.sleep(0)
                    continue
            await self.clock.sleep(PUMP_S)

    def _send(self, data: bytes, events: int, run: Run) -> None:
        slip, self._slip = self._slip, max(0, self._slip - len(data))
        if not data[slip:] or run.send(data[slip:]):
            self.events_sent += events
        else:
            self.events_lost += events


class Tdc2Packer:
    """Event times and inputs as words, with dummies where no event shows the progress of time."""

    def __init__(self, origin: int, options: Tdc2Options) -> None:
        self.options, self.shown = options, 0
        self._origin = origin
        self._half = (origin - PHASE) // HALF + 1
        self._seen_until = origin  # no event since, or the last event
        self._held: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] = (
            np.empty(0, np.int64), np.empty(0, np.int64),
        )  # fmt: skip

    @property
    def width(self) -> int:
        return 4 if self.options.fast and self.options.format == 1 else WIDTH[self.options.format]

    def pack(
        self, time_ps: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8], until_ps: int
    ) -> npt.NDArray[np.uint64]:
        """Words of all events that no later event can precede, in order."""
        skew = np.asarray(self.options.skew, np.int64)
        tick = -(-time_ps * TICKS_PER_NS // 1000) + self._origin + skew[channel]
        bit = np.left_shift(1, channel.astype(np.int64))
        tick, bit = np.concatenate((self._held[0], tick)), np.concatenate((self._held[1], bit))
        until = self._origin + until_ps * TICKS_PER_NS // 1000 + int(skew.min(initial=0))
        order = np.argsort(tick, kind="stable")
        tick, bit = tick[order], bit[order]
        ready = int(np.searchsorted(tick, until))
        self._held = tick[ready:], bit[ready:]
        tick, first = np.unique(tick[:ready], return_index=True)
        pattern = np.bitwise_or.reduceat(bit[:ready], first) if len(first) else bit[:0]
        halves = np.arange(self._half, (until - PHASE - 1) // HALF + 1, dtype=np.int64)
        if len(halves):
            self._half = int(halves[-1]) + 1
            due = halves * HALF + PHASE
            at = np.searchsorted(tick, due)
            before = np.where(at > 0, np.append(tick, 0)[at - 1], self._seen_until)
            quiet = before < due - HALF
            at, due = at[quiet], due[quiet]
        else:
            at = due = halves
        if len(tick):
            self._seen_until = int(tick[-1])
        tick, pattern = np.insert(tick, at, due), np.insert(pattern, at, DUMMY)
        return (tick.astype(np.uint64) << np.uint64(10)) | (pattern | HARDWARE).astype(np.uint64)

    def printed(self, words: npt.NDArray[np.uint64]) -> bytes:
        """As the format has them."""
        if self.options.fast:
            low = words & np.uint64(0x3F)
            fast = ((words >> np.uint64(10)) % np.uint64(TURN) << np.uint64(6) | low).astype("<u4")
            return fast.tobytes() if self.options.format == 1 else _lines(fast, 8)
        halves = words.astype("<u8").view("<u4").reshape(-1, 2)
        if self.options.swapped:
            halves = halves[:, ::-1]
        if self.options.format == 1:
            return halves.tobytes()
        if self.options.format == 0:
            return _lines(np.ascontiguousarray(halves).reshape(-1), 8)
        return _lines(np.ascontiguousarray(halves).view("<u8").reshape(-1), 16)


def _lines(values: npt.NDArray[Any], digits: int) -> bytes:
    return "".join(f"{int(v):0{digits}x}\n" for v in values).encode()


REGISTRATION = Registration(
    "sfifteen-tdc2", "tagger", Tdc2, "S-Fifteen TDC2, time tagger: its program readevents7"
)
