"""Emulated S-Fifteen TDC1 time tagger on a serial line.

Commands and event words are those of ``s15lib`` 0.3.0 and of the vendor's ``Timestamp_TDC1``;
``TIME400`` and ``time 500.0`` are sent by the vendor's own software. Evidence: manual. Unverified,
chosen here: the whole ``*IDN?`` line, the answer to an unknown command (none in timestamp mode:
text never enters a binary stream), that commands wait while counts are integrated and only
``abort`` and ``*RST`` are obeyed while events stream, the width of the coincidence window, and how
often dummy events come (every half period of the 27-bit counter, so a roll-over is always visible).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.devices.sfifteen.words import RESOLUTION_PS, WordPacker, coincidences
from photonlink.firmware_sim.kit.clicks import LosesEvents, sees
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.registers import Refusal, Register, command, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

INPUTS = 4
MAX_RATE_HZ = 4.0e6
PUMP_S = 0.004
FIFO_TAGS = 1 << 17  # unverified; holds more than one slice of the bench at the highest rate
MAX_WORDS = 4096  # per write; with 4 bytes each a quarter of the output memory
LAG_S = 1.0  # longest wait at the end of a measurement for a slow bench
MODES = {"singles": 0, "pairs": 1, "timestamp": 3}
PAIRS = ((0, 2), (0, 3), (1, 2), (1, 3))
LEVELS_V = {"nim": -0.5, "ttl": 1.4}
_JOINED = re.compile(r"(time|refclk|neg|pos)\s*([-+.\d].*)")
HELP = """\
*IDN? *RST HELP
TIME n|? integration time in ms, 0: endless (timestamp mode)
SINGLES PAIRS TIMESTAMP MODE? 0, 1, 3
NIM TTL NEG v POS v LEVEL? threshold in V
REFCLK n|? 0 auto 1 external 2 internal; ECLOCK?
COUNTS? INPKT ABORT"""


@dataclass
class Tdc1Settings(DeviceSettings):
    """pulse_v: height of the pulses at the inputs."""

    pulse_v: float = -0.8
    pair_window_ns: float = 10.0
    external_clock: bool = False
    counter_start: int = 0


class Tdc1(LosesEvents, LineDevice):
    """Settings, one running measurement, a queue of commands."""

    Settings = Tdc1Settings
    REGISTERS = (
        Register("time", 1000, 0, 0xFFFF, unit="ms"),
        Register("refclk", 0, 0, 2),
        Register("mode", 0, choices=tuple(MODES.values())),
        Register("level", -0.5, -3.3, 3.3, ".4f", "V"),
    )
    TERMINATORS = b";\r\n"
    WORLD = (("external_clock", bool), ("pulse_v", float))
    COMMAND_LIMIT = 1024
    REFUSED = "Unknown command"

    def setup(self) -> None:
        self.external_clock, self.pulse_v = self.config.external_clock, self.config.pulse_v
        self._halt = asyncio.Event()
        self._measuring = self._streaming = False
        self._slip = self._counter_start = 0
        self.events_sent = self.events_lost = self.refused_silently = 0
        self.place.configure(inputs=INPUTS, resolution_ps=float(RESOLUTION_PS), fifo_tags=FIFO_TAGS)
        self.applied("")

    def applied(self, name: str) -> None:
        """A comparator fires for a pulse when its level lies between the base line and the top."""
        level_v = self.registers["level"]
        seen = sees(level_v, self.pulse_v)
        for channel in range(INPUTS):
            self.place.set_enabled(channel, seen)

    def booted(self) -> None:
        self._stop()

    def unplug(self) -> None:
        """USB carries the power too: the unit forgets its settings with the cable."""
        self._stop()
        self.registers.boot()
        self.applied("")
        super().unplug()

    def state(self) -> dict[str, Any]:
        return {
            "mode": next(n for n, v in MODES.items() if v == self.registers["mode"]),
            "streaming": self._streaming,
            "level_v": self.registers["level"],
            "time_ms": self.registers["time"],
            "events_sent": self.events_sent,
            "events_lost": self.events_lost,
        }

    # ---- faults --------------------------------------------------------------------------------

    @fault("slip", "bytes of the stream are missing: what follows is out of step", "bytes")
    def _fault_slip(self, order: Mapping[str, Any]) -> None:
        self._slip += int(order.get("bytes", 1))

    @fault("rollover", "the next stream starts so many ticks before the counter's end", "before")
    def _fault_rollover(self, order: Mapping[str, Any]) -> None:
        self._counter_start = -int(order.get("before", 1000))

    # ---- commands ------------------------------------------------------------------------------

    def answer(self, line: str, session: Session) -> Any:
        joined = _JOINED.fullmatch(line.lower())
        return super().answer(f"{joined[1]} {joined[2]}" if joined else line, session)

    def refused(self, refusal: Refusal, line: str, session: Session) -> str:
        if self.registers["mode"] == MODES["timestamp"]:
            self.refused_silently += 1
            return ""
        return super().refused(refusal, line, session)

    def urgent(self, line: str, session: Session) -> bool:
        if line.lower() not in ("abort", "*rst"):
            return False
        self._stop()
        return True

    @reading("*idn")
    def _idn(self) -> str:
        return f"S-Fifteen Instruments TDC1 {self.serial_number}"

    @reading("time")
    def _time(self) -> int:
        """The firmware prints a signed 16-bit number."""
        time_ms: int = self.registers["time"]
        return time_ms - (time_ms > 0x7FFF) * 0x10000

    @reading("level")
    def _level(self) -> str:
        return f"{self.registers['level']:.4f} V"

    @reading("eclock")
    def _eclock(self) -> str:
        return str(int(self.external_clock))

    @command("help")
    def _help(self, _: str, __: Session) -> str:
        return HELP.replace("\n", "\r\n")

    @command("inpkt", "abort")
    def _nothing(self, _: str, __: Session) -> None:
        """Records are always packets here; abort was done when it arrived."""

    @command("*rst")
    def _rst(self, _: str, __: Session) -> None:
        self.registers.boot()
        self.applied("")

    @command("mode", "level")
    def _read_only(self, argument: str, _: Session) -> None:
        raise Refusal("unknown", argument)

    @command("singles")
    def _singles(self, argument: str, _: Session) -> None:
        self._word("mode", MODES["singles"], argument)

    @command("pairs")
    def _pairs(self, argument: str, _: Session) -> None:
        self._word("mode", MODES["pairs"], argument)

    @command("timestamp")
    def _timestamp(self, argument: str, _: Session) -> None:
        self._word("mode", MODES["timestamp"], argument)

    @command("nim")
    def _nim(self, argument: str, _: Session) -> None:
        self._word("level", LEVELS_V["nim"], argument)

    @command("ttl")
    def _ttl(self, argument: str, _: Session) -> None:
        self._word("level", LEVELS_V["ttl"], argument)

    @command("neg")
    def _neg(self, argument: str, _: Session) -> None:
        self.change("level", -abs(self.registers.declared["level"].accept(argument)))

    @command("pos")
    def _pos(self, argument: str, _: Session) -> None:
        self.change("level", abs(self.registers.declared["level"].accept(argument)))

    def _word(self, register: str, value: float, argument: str) -> None:
        if argument:
            raise Refusal("unknown", argument)
        self.change(register, value)

    # ---- measurements --------------------------------------------------------------------------

    def _stop(self) -> None:
        self._halt.set()
        if self._measuring:
            self.place.stop()

    @command("counts?")
    async def _counts(self, _: str, session: Session) -> str:
        self._halt.clear()
        self._measuring = True
        self.place.start()
        try:
            if self.registers["mode"] == MODES["timestamp"]:
                self._streaming = True
                await self._stream(session)
                return ""
            return await self._integrate(pairs=self.registers["mode"] == MODES["pairs"])
        finally:
            self._measuring = self._streaming = False
            self.place.stop()

    async def _integrate(self, *, pairs: bool) -> str:
        """Integrate for TIME ms of this unit's clock; nothing when it was aborted."""
        duration_ps = self.registers["time"] * 10**9
        deadline_s = self.clock.now_s() + duration_ps * 1e-12 + LAG_S
        times: list[list[npt.NDArray[np.int64]]] = [[np.empty(0, np.int64)] for _ in range(INPUTS)]
        singles = np.zeros(INPUTS, np.int64)
        until = 0
        while until < duration_ps and self.clock.now_s() < deadline_s:
            await self.clock.sleep(min(0.02, max(0.001, (duration_ps - until) * 1e-12)))
            if self._halt.is_set():
                return ""
            read = self.place.read()
            until = read.until_ps
            keep = (read.time_ps >= 0) & (read.time_ps < duration_ps)
            singles += np.bincount(read.channel[keep], minlength=INPUTS)[:INPUTS]
            if pairs:
                for channel in range(INPUTS):
                    times[channel].append(read.time_ps[keep & (read.channel == channel)])
        numbers = [int(n) for n in singles]
        if pairs:
            window_ps = int(self.config.pair_window_ns * 1000)
            joined = [np.concatenate(t) for t in times]
            numbers += [coincidences(joined[a], joined[b], window_ps) for a, b in PAIRS]
        return " ".join(map(str, numbers))

    async def _stream(self, session: Session) -> None:
        """Send event words for TIME ms (0: until abort), as fast as the host takes them."""
        packer = WordPacker(self._counter_start or self.config.counter_start)
        self._counter_start = 0
        end_ps = self.registers["time"] * 10**9
        last_s = self.clock.now_s()
        ends_at_s, budget = last_s + end_ps * 1e-12 + LAG_S, 0.0
        while not self._halt.is_set():
            now_s = self.clock.now_s()
            budget = min(budget + (now_s - last_s) * MAX_RATE_HZ, MAX_RATE_HZ * 0.1)
            last_s = now_s
            room = min(MAX_WORDS, int(budget), (session.free >> 2) - 64)
            if room > 0:
                read = self.place.read(room)
                self.events_lost += read.lost
                keep = (read.time_ps >= 0) & ((read.time_ps < end_ps) | (end_ps == 0))
                time_ps, channel = self._swallow(read.time_ps[keep], read.channel[keep])
                until = min(read.until_ps, end_ps) if end_ps else read.until_ps
                words = packer.pack(time_ps // RESOLUTION_PS, channel, until // RESOLUTION_PS)
                budget -= len(words)
                self._send(words.tobytes(), len(time_ps), session)
                if end_ps and (until >= end_ps or (now_s > ends_at_s and not len(read.time_ps))):
                    return
                if len(read.time_ps) == room:
                    await asyncio.sleep(0)
                    continue
            await self.clock.sleep(PUMP_S)

    def _send(self, data: bytes, events: int, session: Session) -> None:
        slip, self._slip = self._slip, max(0, self._slip - len(data))
        if session.send(data[slip:]):
            self.events_sent += events
        else:
            self.events_lost += events

    def _swallow(
        self, time_ps: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Injected loss: the next ``lose`` events do not reach the host."""
        gone = self.lost_of(len(time_ps))
        self.events_lost += gone
        return time_ps[gone:], channel[gone:]


REGISTRATION = Registration("sfifteen-tdc1", "tagger", Tdc1, "S-Fifteen TDC1, time tagger")
