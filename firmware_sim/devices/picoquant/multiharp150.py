"""Emulated PicoQuant MultiHarp 150: the instrument behind the stand-in ``libmh150.so``.

Names, arguments, modes, limits and error numbers are those of the vendor's public header for MHLib
3.1 (``wires/vendor_library/mh150.toml``). Evidence: manual. Gated measurements, event filters,
White Rabbit and the external FPGA are refused with an error number. What is unverified: ``harp``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from photonlink.firmware_sim.devices.picoquant.harp import (
    ARGUMENT,
    Flags,
    HarpSettings,
    ModularHarp,
    within,
)
from photonlink.firmware_sim.kit.library import CallError
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.registration import Registration

FEATURE_TTTR, FEATURE_MARKERS, FEATURE_TRIGOUT = 0x02, 0x04, 0x10
FEATURE_PROG_TD, FEATURE_PROG_HYST = 0x20, 0x80
TRIGGER_OUTPUT_MAX = 16_777_215  # units of 100 ns
MAX_RATE_HZ = 80e6


@dataclass
class MultiHarpSettings(HarpSettings):
    """serial_number: seven digits.  resolution_ps: the base resolution that clients ask for;
    variants of the model differ (80 ps is unverified).  pulse_mv, pulse_width_ps: of the pulses at
    the inputs."""

    model: str = "MultiHarp 150 8N"


class MultiHarp150(ModularHarp):
    """Edge triggers, programmable dead time, all histograms in one call."""

    TABLE, PREFIX, PART = "mh150", "MH_", "930000"
    Settings = MultiHarpSettings
    HARDWARE: ClassVar[Mapping[str, Any]] = {"dead_time_ps": 650.0, "fifo_tags": 1 << 22}
    READ_MAX = 1_048_576
    FLAGS = Flags(dropped=0x40)
    FEATURES = (
        FEATURE_TTTR | FEATURE_MARKERS | FEATURE_TRIGOUT | FEATURE_PROG_TD | FEATURE_PROG_HYST
    )
    WARNINGS: ClassVar[Mapping[int, str]] = {
        0x2: "sync rate is below 100 Hz",
        0x10: "no counts on any input",
        0x40: "total count rate exceeds what the interface carries",
        0x200: "sync divider is not needed",
        0x2000: "counts were dropped",
    }

    @command("SetInputEdgeTrg")
    def _edge(self, _: int, channel: int, level: int, edge: int) -> None:
        within(level, -1200, 1200)
        within(edge, 0, 1)
        self._put(self._numbered(channel), level_mv=level, edge=edge)

    @command("SetSyncEdgeTrg")
    def _sync_edge(self, _: int, level: int, edge: int) -> None:
        within(level, -1200, 1200)
        within(edge, 0, 1)
        self._put(-1, level_mv=level, edge=edge)

    @command("SetInputDeadTime")
    def _dead_time(self, _: int, channel: int, on: int, length_ps: int) -> None:
        self._put(self._numbered(channel), dead_time_ps=_dead_time_ps(on, length_ps))

    @command("SetSyncDeadTime")
    def _sync_dead_time(self, _: int, on: int, length_ps: int) -> None:
        self._put(-1, dead_time_ps=_dead_time_ps(on, length_ps))

    @command("SetSyncChannelEnable")
    def _sync_enable(self, _: int, enable: int) -> None:
        within(enable, 0, 1)
        self._put(-1, enabled=bool(enable))

    @command("SetInputHysteresis")
    def _hysteresis(self, _: int, code: int) -> None:
        within(code, 0, 1)
        self._settable()

    @command("SetTriggerOutput")
    def _trigger_output(self, _: int, period_100ns: int) -> None:
        within(period_100ns, 0, TRIGGER_OUTPUT_MAX)
        self._settable()

    @command("SetOflCompression")
    def _compression(self, _: int, hold_ms: int) -> None:
        within(hold_ms, 0, 255)
        self._settable()

    @command("GetStartTime")
    def _start_time(self, _: int) -> tuple[int, int, int]:
        """UNIX time of the start in ps, most significant word first (meaning unverified)."""
        picoseconds = self._acquisition.started_at_ns * 1000
        high, middle, low = (picoseconds >> s & 0xFFFFFFFF for s in (64, 32, 0))
        return high, middle, low

    @command("GetHistogram")
    def _one_histogram(self, _: int, channel: int) -> bytes:
        return self._histogram(self._numbered(channel)).tobytes()

    @command("GetAllHistograms")
    def _all_histograms(self, _: int) -> bytes:
        """One after another, each of the length that was set."""
        self.tick()
        counts = self._histograms.counts[:, : self._histograms.bins]
        return np.ascontiguousarray(counts).tobytes()

    @command("GetAllCountRates")
    def _all_rates(self, _: int) -> tuple[int, list[int]]:
        rates = self._rates()
        return rates[self.config.inputs], rates[:-1]

    @command("GetWarnings")
    def _warnings(self, _: int) -> int:
        total = sum(self._rates()[: self.config.inputs])
        word = super()._warnings(0) | 0x40 * (total > MAX_RATE_HZ)
        return word | 0x2000 * self._acquisition.dropped


def _dead_time_ps(on: int, length_ps: int) -> int:
    within(on, 0, 1)
    if on and not 800 <= length_ps <= 160_000:
        raise CallError(ARGUMENT)
    return length_ps if on else 0


REGISTRATION = Registration(
    "picoquant-multiharp150", "tagger", MultiHarp150, "PicoQuant MultiHarp 150"
)
