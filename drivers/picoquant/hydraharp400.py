"""PicoQuant HydraHarp 400: time tagger, through the vendor's library ``libhh400.so``.

Names and signatures as in QMI's wrapper (``QuTech-Delft/QMI``), which names the header of HHLib
3.0; operation and unverified points are in :mod:`.harp`. Records are those of version 2
(library 3).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from photonlink.drivers.picoquant.harp import HarpDriver, HarpSettings
from photonlink.drivers.picoquant.mhlib import HYDRAHARP, REFERENCE
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="picoquant.hydraharp400",
    title="PicoQuant HydraHarp 400: time tagger, T2, T3 and histograms",
    driver="HydraHarp400",
    facets=("StreamsTags",),
    transports=("lib",),
    usb=("0e0d:0004", "0e0d:0009"),
    evidence="manual",
    emulator="picoquant-hydraharp400",
    case={"reply_timeout_s": 2.0, "first_channel": 0},
)


class HydraHarp400(HarpDriver):
    """One HydraHarp 400: constant-fraction discriminators for negative pulses."""

    class Settings(HarpSettings):
        """A HydraHarp's settings; the levels hold for all inputs, sync too."""

        level_mv: int = Field(
            default=50, ge=0, le=1000, description="discriminator level (magnitude), mV"
        )
        zero_cross_mv: int = Field(default=10, ge=0, le=40, description="zero cross level, mV")
        reference: Literal["internal", "external"] = Field(
            default="internal", description="or `external` (10 MHz)"
        )

    PROTOTYPES, PREFIX, FAMILY, MAX_RATE_HZ = HYDRAHARP, "HH", "HydraHarp", 12.5e6

    def reference(self) -> int:
        return REFERENCE[self.settings.reference]

    def apply_input(self, channel: int, used: bool, offset_ps: int) -> None:
        self.call("SetInputChannelEnable", channel, int(used))
        if used:
            level = self.settings.level_mv, self.settings.zero_cross_mv
            self.call("SetInputCFD", channel, *level)
            self.call("SetInputChannelOffset", channel, offset_ps)

    def apply_sync(self) -> None:
        self.call("SetSyncCFD", self.settings.level_mv, self.settings.zero_cross_mv)

    def read_histogram(self, buffer: Any, channel: int) -> None:
        self.call("GetHistogram", buffer, channel, 0)
