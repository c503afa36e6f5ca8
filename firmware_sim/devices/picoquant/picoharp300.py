"""Emulated PicoQuant PicoHarp 300: the instrument behind the stand-in ``libph300.so``.

Names and arguments are those of the vendor's public header for PHLib 3.0 (December 2013), wrapped
by QMI 0.54.2 too. Evidence: manual. No router is connected. It has two inputs, 0 (sync) and 1; a
place has four, so that a bench that is cabled for four detectors can hold it: the other two are not
connected. What is unverified: ``harp``; the error numbers as such; the flag for lost references
(none).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from photonlink.firmware_sim.devices.picoquant.harp import (
    MODE_T2,
    MODE_T3,
    OPTION,
    Flags,
    Harp,
    HarpSettings,
    within,
)
from photonlink.firmware_sim.devices.picoquant.records import PH300_T2, PH300_T3, RecordLayout
from photonlink.firmware_sim.kit.library import CallError
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.places import TagRead

SEEN = np.array([1, 0], np.uint8)  # the place's inputs 0 and 1 as ours: sync is our last


class TwoInputs:
    """The place, with input 1 first and input 0 (sync) last; the others are not there."""

    def __init__(self, place: Any) -> None:
        self._place = place

    @property
    def resolution_ps(self) -> float:
        return float(self._place.resolution_ps)

    def configure(self, **figures: Any) -> None:
        self._place.configure(**{**figures, "inputs": 4})
        for number in (2, 3):
            self._place.set_enabled(number, False)

    def set_enabled(self, channel: int, enabled: bool) -> None:
        self._place.set_enabled(int(SEEN[channel]), enabled)

    def start(self) -> None:
        self._place.start()

    def stop(self) -> None:
        self._place.stop()

    def read(self, max_tags: int | None = None) -> TagRead:
        found: TagRead = self._place.read(max_tags)
        keep = found.channel < len(SEEN)
        return found._replace(time_ps=found.time_ps[keep], channel=SEEN[found.channel[keep]])

    def rates_hz(self) -> tuple[float, ...]:
        rates = self._place.rates_hz()
        return rates[1], rates[0]


@dataclass
class PicoHarpSettings(HarpSettings):
    """serial_number: seven digits.  pulse_mv, pulse_width_ps: of the pulses at the inputs."""

    model: str = "PicoHarp 300"
    inputs: int = 1
    resolution_ps: float = 4.0


class PicoHarp300(Harp):
    """Two inputs with constant-fraction discriminators; sync is the first of them."""

    TABLE, PREFIX, PART = "ph300", "PH_", "930004"
    Settings = PicoHarpSettings
    HARDWARE: ClassVar[Mapping[str, Any]] = {"dead_time_ps": 90_000.0, "fifo_tags": 1 << 18}
    FLAGS = Flags(0x0040, 0x0003, 0, 0, 0x0100, 0, 0)
    LAYOUTS: ClassVar[dict[int, RecordLayout]] = {MODE_T2: PH300_T2, MODE_T3: PH300_T3}
    DIVIDERS = (1, 2, 4, 8)
    WARNINGS: ClassVar[Mapping[int, str]] = {
        0x1: "no sync",
        0x2: "sync rate is below 100 Hz",
        0x10: "no counts on input 1",
    }

    def setup(self) -> None:
        if self.config.inputs != 1:
            raise ValueError(f"{self.name}: a PicoHarp has one input beside sync")
        self.place = TwoInputs(self.place)
        super().setup()

    def _numbered(self, channel: int) -> int:
        within(channel, 0, 1)
        return int(SEEN[channel])

    @command("SetInputCFD")
    def _discriminator(self, _: int, channel: int, level: int, zero_cross: int) -> None:
        """A pulse is negative; the level is its magnitude."""
        within(level, 0, 800)
        within(zero_cross, 0, 20)
        self._put(self._numbered(channel), level_mv=-level)

    @command("SetSyncOffset")
    def _sync_offset(self, _: int, offset_ps: int) -> None:
        within(offset_ps, -99_999, 99_999)
        self._put(-1, offset_ps=offset_ps)

    @command("SetMultistopEnable")
    def _multistop(self, _: int, enable: int) -> None:
        within(enable, 0, 1)
        self._settable()

    @command("GetHistogram")
    def _block(self, _: int, block: int) -> bytes:
        within(block, 0, 0)  # without a router there is one
        return self._histogram(0).tobytes()

    @command("GetRoutingChannels")
    def _routing_channels(self, _: int) -> int:
        return 1

    @command("EnableRouting")
    def _routing(self, _: int, enable: int) -> None:
        within(enable, 0, 1)
        if enable:
            raise CallError(OPTION)


REGISTRATION = Registration(
    "picoquant-picoharp300", "tagger", PicoHarp300, "PicoQuant PicoHarp 300"
)
