"""Emulated AIT / Roithner TTM8000: the data stream of a running measurement over UDP.

Packets and words as in the vendor's headers (``FlexIOLibTypes.h``, ``TTMLib.h`` 4.4.4). Evidence:
manual. The control port's bytes are not public and not answered: the board measures from power-on
in I-mode and sends to ``target_port``. Unverified, chosen here: that a high word comes at every
carry whether there are events or not, and a packet at least every 10 ms.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.firmware_sim.kit.clicks import LosesEvents, sees
from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.faults import COMMON, fault
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session, Wire

TICK_PS = 82.3045
INPUTS, DEAD_PS = 8, 5500.0
PAYLOAD_MAX = 8192
LOW_BITS = 27
FLAT, PACKED = 1, 2
HEADER = struct.Struct(">8sHHBBHHHHHHHH")
VERSION = 0x0401
Words = npt.NDArray[np.uint32] | npt.NDArray[np.uint64]


@dataclass
class Ttm8000Settings(DeviceSettings):
    """target_port: where the data goes on this host, 0: a free one. data_format: 1 flat, 2 packed.
    little_endian: of the payload. threshold_mv, pulse_mv: of every input."""

    target_port: int = 0
    data_format: int = PACKED
    little_endian: bool = True
    threshold_mv: float = -400.0
    pulse_mv: float = -800.0


class Packer:
    """Events to words of one data format; its state is the high part of the time."""

    def __init__(self, data_format: int) -> None:
        self.form, self.high = data_format, -1

    def words(self, ticks: npt.NDArray[np.int64], channel: npt.NDArray[Any], until: int) -> Words:
        """Sorted rising edges on inputs from 0, time complete up to ``until`` (ticks)."""
        if self.form == FLAT:
            flat = ticks.astype(np.uint64) | channel.astype(np.uint64) << np.uint64(61)
            return flat | np.uint64(1 << 60)
        low = (ticks & ((1 << LOW_BITS) - 1)).astype(np.uint32)
        words = low | channel.astype(np.uint32) << np.uint32(28) | np.uint32(1 << LOW_BITS)
        last = int(ticks[-1]) if len(ticks) else 0
        highs = np.arange(self.high + 1, (max(until, last) >> LOW_BITS) + 1)
        if len(highs):
            self.high = int(highs[-1])
        at = np.searchsorted(ticks, highs << LOW_BITS)
        return np.insert(words, at, (highs | 1 << 31).astype(np.uint32))


class Ttm8000(LosesEvents, EmulatedDevice):
    """A board that measures. It has no flag for events that were lost."""

    Settings = Ttm8000Settings
    WIRES = ("udp",)
    NO_FAULTS = tuple(n for n in COMMON if n not in ("unplug", "replug", "reboot", "none"))
    WORLD = (("digital_inputs", int),)
    TICK_S = 0.01

    def setup(self) -> None:
        self.digital_inputs, self._run = 0, 0
        self._drop = 0
        self.packets_sent = self.events_lost = 0
        self.place.configure(
            inputs=INPUTS, resolution_ps=1.0, dead_time_ps=DEAD_PS, fifo_tags=1 << 20
        )
        level, pulse = self.config.threshold_mv, self.config.pulse_mv
        for n in range(INPUTS):
            self.place.set_enabled(n, sees(level, pulse))
        self._target = ("127.0.0.1", self.config.target_port or _free_port())

    def make_wires(self, run_dir: Path) -> dict[str, Wire]:
        wires = super().make_wires(run_dir)
        self.booted()
        return wires

    @property
    def address(self) -> str:
        return f"{super().address}?local={self._target[1]}" if self.lines else ""

    def booted(self) -> None:
        self._run = (self._run + 1) & 0xFFFF
        self._number, self._packer = 0, Packer(self.config.data_format)
        self.place.start()

    async def serve(self, session: Session) -> None:
        """Data sent to the data port get no answer."""
        while await session.read() is not None:
            pass

    def state(self) -> dict[str, Any]:
        return {"streaming": True, "packets_sent": self.packets_sent, "run": self._run}

    @fault("lose-packets", "packets are counted and not sent", "packets")
    def _fault_packets(self, order: Mapping[str, Any]) -> None:
        self._drop += int(order.get("packets", 1))

    def tick(self) -> None:
        read = self.place.read()
        gone = self.lost_of(len(read.time_ps))
        self.events_lost += gone + read.lost
        ticks = np.floor(read.time_ps[gone:] / TICK_PS).astype(np.int64)
        seen = ticks >= 0
        words = self._packer.words(
            ticks[seen], read.channel[gone:][seen], max(0, int(read.until_ps / TICK_PS))
        )
        data = (words if self.config.little_endian else words.byteswap()).tobytes()
        for at in range(0, len(data), PAYLOAD_MAX):
            self._send(data[at : at + PAYLOAD_MAX])

    def _send(self, payload: bytes) -> None:
        head = HEADER.pack(
            b"TTM8Data", VERSION, self._number, self.config.data_format, 1, 400,
            self.digital_inputs & 0x3FF, self._run, 0, 0, 0, 0, len(payload),
        )  # fmt: skip
        self._number = (self._number + 1) & 0xFFFF
        if self._drop:
            self._drop -= 1
            return
        wire: Any = self.lines.get("command")
        if wire is not None and wire.send_to(head + payload, self._target):
            self.packets_sent += 1


def _free_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


REGISTRATION = Registration("roithner-ttm8000", "tagger", Ttm8000, "AIT/Roithner TTM8000, tagger")
