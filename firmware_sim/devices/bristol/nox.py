"""Emulated time tagger of the University of Bristol ("RWN-11", "NOX box"): control and data apart.

Control is a serial line with commands of one character, data a bulk endpoint, which is a TCP port
here. Letters, pauses and records as in cqptoolkit 4b37aaf (``Drivers/UsbTagger``,
``Algorithms/Util/DataFile``). Evidence: manual. Unverified, chosen here: that no command is
answered, that ``R`` sets the counter to zero and sends one configuration record for each input that
is set up, that events are lost without a word when nobody reads.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.kit.clicks import LosesEvents
from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.faults import COMMON
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session, Wire
from photonlink.firmware_sim.wires.tcp import TcpWire

INPUTS, DEAD_PS = 4, 20_000.0
FINE_PER_S = 130_000_000 * 4096
COARSE_BITS = 36
DETECTION, CONFIGURATION = 0x24, 0x25
RECORD_BYTES = 8
SET_UP = b"ABCDE"
"""``A`` to ``D`` set up an input each; what ``E`` sets up is not public."""


@dataclass
class NoxSettings(DeviceSettings):
    """data_port: of the data, 0: a free one."""

    data_port: int = 0


def records(times_ps: npt.NDArray[np.int64], channel: npt.NDArray[Any]) -> bytes:
    """Detections as the unit sends them; inputs from 0."""
    fine = _ticks(times_ps)
    coarse, rest = fine >> 12 & (1 << COARSE_BITS) - 1, fine & 0xFFF
    out = np.empty((len(fine), RECORD_BYTES), np.uint8)
    out[:, 0] = DETECTION
    for at, shift in ((1, 28), (2, 20), (3, 12), (4, 4)):
        out[:, at] = coarse >> shift & 0xFF
    out[:, 5] = (coarse & 0xF) << 4
    out[:, 6] = (channel.astype(np.int64) + 1) << 4 | rest >> 8
    out[:, 7] = rest & 0xFF
    return out.tobytes()


def _ticks(times_ps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """ps to 1/(130 MHz * 4096), rounded down; whole seconds apart, so that nothing overflows."""
    seconds, rest = np.divmod(times_ps, 10**12)
    ticks: npt.NDArray[np.int64] = seconds * FINE_PER_S + rest * (FINE_PER_S // 10**6) // 10**6
    return ticks


class Nox(LosesEvents, EmulatedDevice):
    """One unit. It never says who it is."""

    Settings = NoxSettings
    WIRES = ("serial",)
    NO_FAULTS = tuple(n for n in COMMON if n not in ("unplug", "replug", "reboot", "none"))
    TICK_S = 0.01

    def setup(self) -> None:
        self._readers: list[Session] = []
        self._inputs = 0
        self._running = self._awake = False
        self.events_lost = 0
        self.place.configure(
            inputs=INPUTS, resolution_ps=1.0, dead_time_ps=DEAD_PS, fifo_tags=1 << 18
        )

    def make_wires(self, run_dir: Path) -> dict[str, Wire]:
        data = TcpWire(self._serve_data, "127.0.0.1", self.config.data_port)
        return {**super().make_wires(run_dir), "data": data}

    @property
    def address(self) -> str:
        return f"{super().address}?data={self.lines['data'].address}" if self.lines else ""

    def booted(self) -> None:
        self._halt()
        self._inputs, self._awake = 0, False

    def state(self) -> dict[str, Any]:
        return {"streaming": self._running, "inputs": self._inputs}

    async def serve(self, session: Session) -> None:
        """The control line: one character is one command; nothing is answered."""
        while (data := await session.read()) is not None:
            for letter in data:
                self.guard(functools.partial(self._command, letter))

    async def _serve_data(self, session: Session) -> None:
        self._readers.append(session)
        try:
            while await session.read() is not None:
                pass
        finally:
            self._readers.remove(session)

    def _command(self, letter: int) -> None:
        if letter == ord("W"):
            self._awake = True
        elif letter == ord("S"):
            self._halt()
        elif letter in SET_UP and self._awake:
            self._inputs |= 1 << SET_UP.index(letter)
        elif letter == ord("R") and self._awake and not self._running:
            for n in range(INPUTS):
                self.place.set_enabled(n, bool(self._inputs >> n & 1))
            self._running = True
            self.place.start()
            self._send(bytes([CONFIGURATION, *bytes(7)]) * self._inputs.bit_count())

    def _halt(self) -> None:
        self._running = False
        self.place.stop()

    def tick(self) -> None:
        room = min((session.free for session in self._readers), default=0) // RECORD_BYTES
        if not (self._running and room):
            return
        read = self.place.read(room)
        gone = self.lost_of(len(read.time_ps))
        self.events_lost += gone + read.lost
        self._send(records(read.time_ps[gone:], read.channel[gone:]))

    def _send(self, data: bytes) -> None:
        for session in self._readers:
            session.send(data)


REGISTRATION = Registration("bristol-nox", "tagger", Nox, "University of Bristol NOX, time tagger")
