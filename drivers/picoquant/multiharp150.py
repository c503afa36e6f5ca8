"""PicoQuant MultiHarp 150: time tagger, through the vendor's library ``libmh150.so``.

Names and signatures as in QMI's wrapper (``QuTech-Delft/QMI``); operation and unverified points are
in :mod:`.harp`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from photonlink.drivers.picoquant.harp import HarpDriver, HarpSettings
from photonlink.drivers.picoquant.mhlib import PROTOTYPES, READ_RECORDS, REFERENCE
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="picoquant.multiharp150",
    title="PicoQuant MultiHarp 150: time tagger, T2, T3 and histograms",
    driver="MultiHarp150",
    facets=("StreamsTags",),
    transports=("lib",),
    usb=("0e0d:0013",),
    evidence="manual",
    emulator="picoquant-multiharp150",
    case={"place": "bob.tagger", "reply_timeout_s": 2.0, "first_channel": 0, "loss": "flagged"},
)


class MultiHarp150(HarpDriver):
    """One MultiHarp 150: edge triggers, programmable dead time."""

    class Settings(HarpSettings):
        """A MultiHarp's settings; level and edge hold for all inputs, sync too."""

        level_mv: int = Field(
            default=-50, ge=-1200, le=1200, description="trigger level of all inputs, mV"
        )
        edge: Literal["falling", "rising"] = Field(default="falling", description="or `rising`")
        dead_time_ps: int | None = Field(
            default=None,
            ge=0,
            le=1_000_000,
            description="programmable dead time of all inputs; none leaves it as it is",
        )
        reference: Literal["internal", "external"] = Field(
            default="internal", description="or `external` (10 MHz)"
        )

    PROTOTYPES, PREFIX, FAMILY, MAX_RATE_HZ = PROTOTYPES, "MH", "MultiHarp", 80e6
    ROOM, COUNTED_READ = READ_RECORDS, False

    def reference(self) -> int:
        return REFERENCE[self.settings.reference]

    def apply_input(self, channel: int, used: bool, offset_ps: int) -> None:
        self.call("SetInputChannelEnable", channel, int(used))
        if not used:
            return
        settings = self.settings
        self.call("SetInputEdgeTrg", channel, settings.level_mv, int(settings.edge == "rising"))
        self.call("SetInputChannelOffset", channel, offset_ps)
        if settings.dead_time_ps is not None:
            self.call("SetInputDeadTime", channel, 1, settings.dead_time_ps)

    def apply_sync(self) -> None:
        rising = int(self.settings.edge == "rising")
        self.call("SetSyncEdgeTrg", self.settings.level_mv, rising)
