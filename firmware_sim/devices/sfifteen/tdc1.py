"""Emulated S-Fifteen TDC1 time tagger on a serial line.

Commands and event words follow ``facts/instruments.md`` 2.6 (evidence: manual level only).
Unverified, chosen here: the whole ``*IDN?`` line, the answer to an unknown command, that commands
wait while counts are integrated and only ``abort`` and ``*RST`` are obeyed while events stream,
the width of the coincidence window, and how often dummy events come (here: every half period of
the 27-bit counter, so that a roll-over is always visible).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.devices.common import Cable, ReplyFaults, settings, unknown
from photonlink.firmware_sim.devices.sfifteen.words import RESOLUTION_PS, WordPacker, coincidences
from photonlink.firmware_sim.places import TaggerPlace
from photonlink.firmware_sim.wires.pty import PtyWire

INPUTS = 4
MAX_RATE_HZ = 4.0e6
PUMP_S = 0.004
FIFO_TAGS = 1 << 17  # unverified; holds more than one slice of the bench at the highest rate
MAX_WORDS = 4096  # per write; with 4 bytes each a quarter of the output memory
LAG_S = 1.0  # how long the end of a measurement waits for a bench that is behind
COMMAND_LIMIT = 1024
MODES = {"singles": 0, "pairs": 1, "timestamp": 3}
PAIRS = ((0, 2), (0, 3), (1, 2), (1, 3))
HELP = """\
*IDN? *RST HELP
TIME n|? integration time in ms, 0: endless (timestamp mode)
SINGLES PAIRS TIMESTAMP MODE? 0, 1, 3
NIM TTL NEG v POS v LEVEL? threshold in V
REFCLK n|? 0 auto 1 external 2 internal; ECLOCK?
COUNTS? INPKT ABORT"""


@dataclass
class Tdc1Settings:
    """Settings of the bench file.

    serial_number: by default made from the seed.  pulse_v: height of the pulses at the inputs.
    """

    serial_number: str = ""
    pulse_v: float = -0.8
    pair_window_ns: float = 10.0
    external_clock: bool = False
    counter_start: int = 0


class Tdc1:
    """The instrument: settings, one running measurement, a queue of commands."""

    def __init__(self, name: str, config: Tdc1Settings, port: TaggerPlace, seed: int) -> None:
        self.name = name
        self.address = ""
        self._config, self._port = config, port
        self._serial = config.serial_number or f"{seed % 10**6:06}"
        self._faults = ReplyFaults(seed)
        self._wire: PtyWire | None = None
        self._cable = Cable(self._unplug, self._plug)
        self._input = bytearray()
        self._commands: deque[str] = deque(maxlen=256)
        self._task: asyncio.Task[None] | None = None
        self._streaming = False
        self._lose = self._slip = self._counter_start = 0
        self.events_sent = self.events_lost = 0
        self._reset()

    def _reset(self) -> None:
        self._mode, self._time_ms, self._level_v, self._refclk = 0, 1000, -0.5, 0
        self._set_level(-0.5)

    # -- device protocol -----------------------------------------------------------------------

    async def start(self, run_dir: Path) -> None:
        link = run_dir / self.name
        self._wire = PtyWire(link, self._received)
        self._wire.plug()
        self.address = f"serial://{link}"

    async def stop(self) -> None:
        self._cable.cancel()
        task = self._task
        self._halt()
        if task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._unplug()

    def safe_off(self) -> None:
        """A tagger has neither light nor bias."""

    def status(self) -> dict[str, Any]:
        return {
            "serial_number": self._serial,
            "plugged": self._wire is not None and self._wire.plugged,
            "mode": next(n for n, v in MODES.items() if v == self._mode),
            "streaming": self._streaming,
            "level_v": self._level_v,
            "time_ms": self._time_ms,
            "events_sent": self.events_sent,
            "events_lost": self.events_lost,
        }

    def control(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Reply and cable faults; ``reboot``; ``lose`` and ``overrun`` (``events``: swallowed,
        this device has no flag for it); ``slip`` (``bytes`` of the stream are missing: what
        follows is out of step); ``rollover`` (``before``: the counter starts so many 2 ns ticks
        before its end); set: external_clock, pulse_v, serial_number (another unit)."""
        fault = command.get("fault")
        if self._cable.control(command) or self._faults.arm(command):
            pass
        elif fault == "reboot":
            self._halt()
            self._reset()
            if self._wire is not None:
                self._wire.discard()
        elif fault in ("lose", "overrun"):
            self._lose += int(command.get("events", 1000))
        elif fault == "slip":
            self._slip += int(command.get("bytes", 1))
        elif fault == "rollover":
            self._counter_start = -int(command.get("before", 1000))
        elif isinstance(command.get("set"), Mapping):
            self._set(command["set"])
        else:
            raise unknown(
                self.name, command, "reply and cable faults, reboot, lose, slip, rollover, set"
            )
        return self.status()

    def _set(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            if key == "external_clock":
                self._config.external_clock = bool(value)
            elif key == "pulse_v":
                self._config.pulse_v = float(value)
                self._set_level(self._level_v)
            elif key == "serial_number":
                self._serial = str(value)
            else:
                raise unknown(self.name, values, "external_clock, pulse_v, serial_number")

    def _plug(self) -> None:
        if self._wire is not None:
            self._wire.plug()

    def _unplug(self) -> None:
        """USB carries the power too: the unit forgets its settings with the cable."""
        self._halt()
        self._reset()
        if self._wire is not None:
            self._wire.unplug()

    # -- commands ------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        self._input += data
        *lines, rest = re.split(rb"[;\r\n]", self._input)
        self._input = bytearray(rest[-COMMAND_LIMIT:])
        for line in lines:
            command = line.decode("ascii", "replace").strip()
            if not command:
                continue
            if command.lower() in ("abort", "*rst"):
                self._commands.clear()
                self._halt()
            self._commands.append(command)
        self._run()

    def _run(self) -> None:
        """Work through the queue until a measurement keeps the device busy."""
        while self._commands and self._task is None:
            self._obey(self._commands.popleft())

    def _obey(self, command: str) -> None:
        word, _, argument = command.lower().partition(" ")
        argument = argument.strip()
        ignored = self._faults.ignore_sets
        if word == "counts?" and not argument:
            self._measure()
        elif word.endswith("?") and not argument:
            self._reply(self._query(word[:-1]), command)
        elif word == "help" and not argument:
            self._reply(HELP.replace("\n", "\r\n"), command)
        elif word in ("inpkt", "abort") and not argument:
            pass  # records are always packets here; abort was done when it arrived
        elif not (ignored or self._change(word, argument)):
            self._reply("Unknown command", command)

    def _query(self, name: str) -> str:
        match name:
            case "*idn":
                return f"S-Fifteen Instruments TDC1 {self._serial}"
            case "time":  # the firmware prints a signed 16-bit number
                return str(self._time_ms - (self._time_ms > 0x7FFF) * 0x10000)
            case "mode":
                return str(self._mode)
            case "level":
                return f"{self._level_v:.4f} V"
            case "refclk":
                return str(self._refclk)
            case "eclock":
                return str(int(self._config.external_clock))
        return "Unknown command"

    def _change(self, word: str, argument: str) -> bool:
        """Execute a set; False when it is not understood."""
        if word == "*rst" and not argument:
            self._reset()
        elif word in MODES and not argument:
            self._mode = MODES[word]
        elif word in ("nim", "ttl") and not argument:
            self._set_level(-0.5 if word == "nim" else 1.4)
        elif word in ("neg", "pos"):
            try:
                volts = abs(float(argument))
            except ValueError:
                return False
            if not volts <= 3.3:
                return False
            self._set_level(-volts if word == "neg" else volts)
        elif word in ("time", "refclk") and re.fullmatch(r"\d{1,6}", argument):
            value = int(argument)
            if value > (0xFFFF if word == "time" else 2):
                return False
            if word == "time":
                self._time_ms = value
            else:
                self._refclk = value
        else:
            return False
        return True

    def _set_level(self, volts: float) -> None:
        """A comparator sees a pulse when its level lies between the base line and the top."""
        self._level_v = volts
        pulse = self._config.pulse_v
        seen = volts * pulse > 0 and abs(volts) < abs(pulse)
        for channel in range(INPUTS):
            self._port.set_enabled(channel, seen)

    def _reply(self, text: str, command: str) -> None:
        if self._wire is not None:
            self._faults.send(f"{text}\r\n".encode(), f"{command}\r\n".encode(), self._wire.send)

    # -- measurements --------------------------------------------------------------------------

    def _measure(self) -> None:
        self._port.start()
        if self._mode == MODES["timestamp"]:
            self._streaming = True
            self._task = asyncio.create_task(self._stream())
        else:
            self._task = asyncio.create_task(self._count(pairs=self._mode == MODES["pairs"]))
        self._task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            self._task, self._streaming = None, False
            self._port.stop()
        if not task.cancelled():
            task.result()  # a fault of the emulator itself belongs in the program's log
            self._run()

    def _halt(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task, self._streaming = None, False
            self._port.stop()

    async def _count(self, *, pairs: bool) -> None:
        """Integrate for TIME ms of this unit's clock, then answer with one line."""
        loop = asyncio.get_running_loop()
        duration_ps = self._time_ms * 10**9
        deadline = loop.time() + self._time_ms / 1000 + LAG_S
        times: list[list[npt.NDArray[np.int64]]] = [[] for _ in range(INPUTS)]
        singles = np.zeros(INPUTS, np.int64)
        until = 0
        while until < duration_ps and loop.time() < deadline:
            await asyncio.sleep(min(0.02, max(0.001, (duration_ps - until) * 1e-12)))
            read = self._port.read()
            until = read.until_ps
            keep = (read.time_ps >= 0) & (read.time_ps < duration_ps)
            singles += np.bincount(read.channel[keep], minlength=INPUTS)[:INPUTS]
            if pairs:
                for channel in range(INPUTS):
                    times[channel].append(read.time_ps[keep & (read.channel == channel)])
        numbers = [int(n) for n in singles]
        if pairs:
            window_ps = int(self._config.pair_window_ns * 1000)
            joined = [np.concatenate(t) for t in times]
            numbers += [coincidences(joined[a], joined[b], window_ps) for a, b in PAIRS]
        self._reply(" ".join(map(str, numbers)), "counts?")

    async def _stream(self) -> None:
        """Send event words for TIME ms (0: until abort), as fast as the host takes them."""
        loop = asyncio.get_running_loop()
        start = self._counter_start or self._config.counter_start
        self._counter_start = 0
        packer = WordPacker(start)
        end_ps = self._time_ms * 10**9
        ends_at = loop.time() + self._time_ms / 1000 + LAG_S
        budget, last = 0.0, loop.time()
        while True:
            now = loop.time()
            budget = min(budget + (now - last) * MAX_RATE_HZ, MAX_RATE_HZ * 0.1)
            last = now
            wire = self._wire
            room = min(MAX_WORDS, int(budget), (wire.free >> 2) - 64 if wire is not None else 0)
            if room > 0 and wire is not None:
                read = self._port.read(room)
                self.events_lost += read.lost
                keep = (read.time_ps >= 0) & ((read.time_ps < end_ps) | (end_ps == 0))
                time_ps, channel = self._swallow(read.time_ps[keep], read.channel[keep])
                until = min(read.until_ps, end_ps) if end_ps else read.until_ps
                words = packer.pack(time_ps // RESOLUTION_PS, channel, until // RESOLUTION_PS)
                budget -= len(words)
                data = words.tobytes()
                slip, self._slip = self._slip, max(0, self._slip - len(data))
                if wire.send(data[slip:]):
                    self.events_sent += len(time_ps)
                else:
                    self.events_lost += len(time_ps)
                if end_ps and (until >= end_ps or (now > ends_at and not len(read.time_ps))):
                    return
                if len(read.time_ps) == room:
                    await asyncio.sleep(0)
                    continue
            await asyncio.sleep(PUMP_S)

    def _swallow(
        self, time_ps: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Injected loss: the next ``lose`` events never existed for the host."""
        gone = min(self._lose, len(time_ps))
        self._lose -= gone
        self.events_lost += gone
        return time_ps[gone:], channel[gone:]


def create(name: str, config: Mapping[str, Any], port: Any, seed: int) -> Tdc1:
    """Factory for the bench. ValueError names an unknown setting."""
    own = settings(Tdc1Settings, name, config)
    port.configure(inputs=INPUTS, resolution_ps=float(RESOLUTION_PS), fifo_tags=FIFO_TAGS)
    return Tdc1(name, own, port, seed)
