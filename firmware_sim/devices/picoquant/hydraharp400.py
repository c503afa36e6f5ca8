"""Emulated PicoQuant HydraHarp 400: the instrument behind the stand-in ``libhh400.so``.

Names and arguments are those of the vendor's public header for HHLib 3.0 (March 2019), wrapped by
QMI 0.54.2 too. Evidence: manual. Records are those of version 2. Continuous mode and gated
measurements are refused with an error number. What is unverified: ``harp``; the error numbers as
such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from photonlink.firmware_sim.devices.picoquant.harp import HarpSettings, ModularHarp, within
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.registration import Registration


@dataclass
class HydraHarpSettings(HarpSettings):
    """serial_number: seven digits.  pulse_mv, pulse_width_ps: of the pulses at the inputs."""

    model: str = "HydraHarp 400"
    resolution_ps: float = 1.0


class HydraHarp400(ModularHarp):
    """Constant-fraction discriminators at every input."""

    TABLE, PREFIX, PART = "hh400", "HH_", "930002"
    Settings = HydraHarpSettings
    HARDWARE: ClassVar[Mapping[str, Any]] = {"dead_time_ps": 80_000.0, "fifo_tags": 1 << 21}
    WARNINGS: ClassVar[Mapping[int, str]] = {
        0x2: "sync rate is below 100 Hz",
        0x10: "no counts on any input",
        0x200: "sync divider is not needed",
    }

    @command("SetInputCFD")
    def _discriminator(self, _: int, channel: int, level: int, zero_cross: int) -> None:
        """A pulse is negative; the level is its magnitude."""
        within(level, 0, 1000)
        within(zero_cross, 0, 40)
        self._put(self._numbered(channel), level_mv=-level)

    @command("SetSyncCFD")
    def _sync_discriminator(self, _: int, level: int, zero_cross: int) -> None:
        within(level, 0, 1000)
        within(zero_cross, 0, 40)
        self._put(-1, level_mv=-level)

    @command("GetModuleIndex")
    def _module_of(self, _: int, channel: int) -> int:
        return 1 + self._numbered(channel) // 8

    @command("GetHistogram")
    def _one_histogram(self, _: int, channel: int, clear: int) -> bytes:
        within(clear, 0, 1)
        data = self._histogram(self._numbered(channel)).tobytes()
        if clear:
            self._histograms.counts[channel] = 0
        return data


REGISTRATION = Registration(
    "picoquant-hydraharp400", "tagger", HydraHarp400, "PicoQuant HydraHarp 400"
)
