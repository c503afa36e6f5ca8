"""Emulated Swabian Pulse Streamer 8/2: JSON-RPC over HTTP, and the binary upload beside it.

Methods, enumerations and the layout of a sequence: ``pulsestreamer`` 2.1.2 and the vendor's page
"Low-level RPC interface". Evidence: manual. Unverified, chosen here: error numbers, the bits of the
status register (0), what ``getUnderflow`` says besides 0, that ``constant`` forgets the sequence,
reply length 0 of ``stream``. No gRPC and no UDP discovery. Analog output ``analog_channel``, behind
an amplifier, drives the modulator where the instrument stands.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.devices.swabian.sequence import (
    FULL_SCALE,
    MOST_STEPS,
    Sequence,
    first,
    output_of,
    steps_of,
)
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.message import JsonRpcDevice
from photonlink.firmware_sim.kit.registers import Refusal, command
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.factory import make_wire
from photonlink.firmware_sim.wires.session import Session, Wire

MAGIC, STREAM, UPLOAD = 0x53504953, 0x000, 0x100
STATES = ("IDLING", "BREAKPOINT", "STREAMING", "FINISHED", "ERROR")
IMMEDIATE, SOFTWARE, AUTO = 0, 1, 0
ZERO = (0, 0, 0)


@dataclass
class PulseStreamerSettings(DeviceSettings):
    """upload: address of the binary line.  firmware: as it reports it.  big_endian: of the steps in
    the old JSON ``stream``.  analog_channel, amplifier: drive volts per volt at that output."""

    upload: str = "tcp://127.0.0.1:0"
    firmware: str = "2.1.0 emulated"
    big_endian: bool = False
    analog_channel: int = 0
    amplifier: float = 5.0


@dataclass
class Player:
    """What plays. state: one of STATES."""

    state: str = "IDLING"
    output: tuple[int, int, int] = ZERO
    sequence: Sequence | None = None
    slots: dict[int, Sequence] = field(default_factory=dict)
    armed: bool = False
    ends: Any = None


class PulseStreamer(JsonRpcDevice):
    Settings = PulseStreamerSettings
    WIRES = ("http",)

    def make_serial(self, seed: int) -> str:
        return "00:26:32:" + ":".join(f"{b:02x}" for b in (seed % 2**24).to_bytes(3, "big"))

    def setup(self) -> None:
        self.player = Player()
        self._underflow = 0
        self.booted()

    def booted(self) -> None:
        self._halt()
        self.player = Player()
        self.clock_source, self.trigger = 0, [IMMEDIATE, AUTO]
        self.square_wave, self._hostname = 0, "pulsestreamer"
        self._calibration = [0.0, 0.0, 1.0, 1.0]
        self._show()

    def make_wires(self, run_dir: Path) -> dict[str, Wire]:
        upload = make_wire(self.config.upload, self.serve_upload, run_dir / f"{self.name}.upload")
        return {**super().make_wires(run_dir), "upload": upload}

    def safe_off(self) -> None:
        self._halt()
        self._hold(ZERO, "IDLING")

    def state(self) -> dict[str, Any]:
        return {"state": self.player.state, "output": list(self.player.output)}

    # ---- playing -------------------------------------------------------------------------------

    def _halt(self) -> None:
        if self.player.ends is not None:
            self.player.ends.cancel()
            self.player.ends = None

    def _volts(self, step: tuple[int, ...]) -> float:
        raw = step[1 + self.config.analog_channel]
        return float(raw) / FULL_SCALE * float(self.config.amplifier)

    def _show(self) -> None:
        p = self.player
        if p.state == "STREAMING" and p.sequence is not None:
            self.place.play((step[0], self._volts(step[1:])) for step in p.sequence.steps)
        else:
            self.place.play(())
            self.place.put("drive_v", self._volts(p.output))

    def _hold(self, output: tuple[int, int, int], state: str) -> None:
        self.player.output, self.player.state, self.player.armed = output, state, False
        self._show()

    def load(self, sequence: Sequence) -> None:
        """A new sequence: it runs at once, or waits for its trigger."""
        self._halt()
        self.player.sequence, self.player.armed = sequence, True
        if self.trigger[0] == IMMEDIATE:
            self._run()
        else:
            self.player.state = "IDLING"

    def _run(self) -> None:
        p = self.player
        if p.sequence is None or not p.armed or self.faults.use("ignore-sets"):
            return
        p.state, p.armed = "STREAMING", self.trigger[1] == AUTO
        self._halt()
        self._show()
        if p.sequence.runs >= 0:
            once_s = sum(step[0] for step in p.sequence.steps) * 1e-9
            p.ends = self.clock.call_later(once_s * p.sequence.runs, self._finish)

    def _finish(self) -> None:
        self.player.ends = None
        armed = self.player.armed
        if self.player.sequence is not None:
            self._hold(self.player.sequence.final, "FINISHED")
        self.player.armed = armed

    @fault("underflow", "data came too late: getUnderflow is not 0")
    def _under(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._underflow = 1
        return lambda: setattr(self, "_underflow", 0)

    # ---- JSON-RPC ------------------------------------------------------------------------------

    @command("getSerial")
    def _serial_(self, _: Any, __: Session) -> str:
        return self.serial_number

    @command("getFirmwareVersion")
    def _firmware(self, _: Any, __: Session) -> str:
        return str(self.config.firmware)

    def method(self, word: str) -> Callable[..., Any] | None:
        state = self.player.state
        answers: dict[str, Callable[[], Any]] = {
            "getFPGAID": lambda: "0123456789abcdef", "getHardwareVersion": lambda: "1.3",
            "getHostname": lambda: self._hostname, "getUnderflow": lambda: self._underflow,
            "getTemperature": lambda: self.faults.drift(41.5), "getSupplyState": lambda: 0,
            "getStatusRegister": lambda: 0, "getClock": lambda: self.clock_source,
            "getTriggerStart": lambda: self.trigger[0],
            "getTriggerRearm": lambda: self.trigger[1],
            "getAnalogCalibration": lambda: self._calibration,
            "isStreaming": lambda: int(state == "STREAMING"),
            "hasSequence": lambda: int(self.player.sequence is not None),
            "hasFinished": lambda: int(state == "FINISHED"),
            "getStreamingState": lambda: {"State": STATES.index(state), "StateCondition": 0},
            "isReadyForData": lambda: 1, "getSequenceControlData": list,
            "getNetworkConfiguration": lambda: ["dhcp", "", "", ""],
        }  # fmt: skip
        if word in answers:
            return lambda _, __: answers[word]()
        return super().method(word)

    @command("constant")
    def _constant(self, params: Any, _: Session) -> int:
        output = output_of(first(params))
        if not self.faults.use("ignore-sets"):
            self._halt()
            self.player.sequence = None
            self._hold(output, "IDLING")
        return 0

    @command("stream")
    def _stream(self, params: Any, _: Session) -> int:
        if not isinstance(params, list) or len(params) != 3:
            raise Refusal("type", "stream takes sequence, n_runs, final")
        try:
            data = base64.b64decode(params[0], validate=True)
            runs = int(params[1])
        except (binascii.Error, ValueError, TypeError):
            raise Refusal("type", "no sequence") from None
        order = ">" if self.config.big_endian else "<"
        self.load(Sequence(runs, steps_of(data, order), output_of(params[2])))
        return 0

    @command("startNow")
    def _start_now(self, _: Any, __: Session) -> int:
        if self.trigger[0] == SOFTWARE:
            self._run()
        return 0

    @command("start")
    def _start(self, params: Any, _: Session) -> int:
        slot = first(params)
        if slot not in self.player.slots:
            raise Refusal("range", "no data in this slot")
        self.load(self.player.slots[slot])
        return 0

    @command("rearm")
    def _rearm(self, _: Any, __: Session) -> int:
        self.player.armed = self.player.sequence is not None
        return int(self.player.armed)

    @command("forceFinal")
    def _force_final(self, _: Any, __: Session) -> int:
        self._halt()
        self._finish()
        return 0

    @command("reset", "reboot")
    def _reset(self, _: Any, __: Session) -> int:
        self.booted()
        return 0

    @command("setTrigger")
    def _set_trigger(self, params: Any, _: Session) -> int:
        start, rearm = (*params, AUTO)[:2] if isinstance(params, list) and params else (-1, 0)
        if start not in range(5) or rearm not in (0, 1):
            raise Refusal("range", "no such trigger")
        self.trigger = [start, rearm]
        return 0

    @command("selectClock")
    def _select_clock(self, params: Any, _: Session) -> int:
        source = first(params)
        if source not in (0, 1, 2):
            raise Refusal("range", "no such clock")
        if not self.faults.use("ignore-sets"):
            self.clock_source = source
        return 0

    @command("setSquareWave125MHz", "setClkParam", "shiftClkPhase", "setHostname",
             "setAnalogCalibration", "setNetworkConfiguration",
             "applyNetworkConfiguration")  # fmt: skip
    def _accepted(self, _: Any, __: Session) -> int:
        return 0

    # ---- binary upload -------------------------------------------------------------------------

    async def serve_upload(self, session: Session) -> None:
        """Frames of 32 bytes head, 32 bytes block, steps, padding. What is none ends the line."""
        rest = b""
        while (data := await session.read()) is not None:
            rest += data
            while len(rest) >= 32:
                magic, number, what, _, length, _ = struct.unpack_from("<4I2Q", rest)
                if magic != MAGIC or not 32 <= length <= 96 + 9 * MOST_STEPS:
                    return
                if len(rest) < 32 + length:
                    break
                body, rest = rest[32 : 32 + length], rest[32 + length :]
                await self._take(number, what, body, session)
                await asyncio.sleep(0)

    async def _take(self, number: int, what: int, body: bytes, session: Session) -> None:
        runs, steps, a0, a1, mask, *more = struct.unpack_from("<qQ2h4BB", body)
        error = 0 if what in (STREAM, UPLOAD) and 32 + 9 * steps <= len(body) else 1
        if not error:
            sequence = Sequence(runs, steps_of(body[32 : 32 + 9 * steps]), (mask, a0, a1))
            if what == UPLOAD:
                self.player.slots[more[-1]] = sequence
            else:
                self.load(sequence)
        tail = struct.pack("<8i", *(0,) * 8) if what == UPLOAD else b""
        reply = struct.pack("<4I2Q", MAGIC, number, error, 0, len(tail), 0) + tail
        await self.send_reply(session, reply, body[:32])


REGISTRATION = Registration(
    "swabian-pulse-streamer", "modulator", PulseStreamer, "Swabian Pulse Streamer 8/2"
)
