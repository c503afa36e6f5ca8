"""PicoQuant PicoHarp 300: time tagger with two inputs, through the vendor's ``libph300.so``.

Names and signatures as in QMI's wrapper (``QuTech-Delft/QMI``), which names the header of PHLib
3.0; operation and unverified points are in :mod:`.harp`. Input 0 is sync: in T2 mode an input
like the other, in T3 and histogram mode what times are counted from. Routers are not driven.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from photonlink.drivers.picoquant.harp import HarpDriver, HarpSettings
from photonlink.drivers.picoquant.mhlib import MODES, PICOHARP, PICOHARP_FLAGS, Flag
from photonlink.hal.errors import LimitError
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="picoquant.picoharp300",
    title="PicoQuant PicoHarp 300: time tagger with two inputs, T2, T3 and histograms",
    driver="PicoHarp300",
    facets=("StreamsTags",),
    transports=("lib",),
    usb=("0e0d:0003",),
    evidence="manual",
    emulator="picoquant-picoharp300",
    case={"reply_timeout_s": 2.0, "first_channel": 0, "inputs": 2},
)


class PicoHarp300(HarpDriver):
    """One PicoHarp 300 without a router."""

    class Settings(HarpSettings):
        """A PicoHarp's settings; the levels hold for both inputs. Only sync has an offset."""

        level_mv: int = Field(
            default=50, ge=0, le=800, description="discriminator level (magnitude), mV"
        )
        zero_cross_mv: int = Field(default=10, ge=0, le=20, description="zero cross level, mV")

    PROTOTYPES, PREFIX, FAMILY, MAX_RATE_HZ = PICOHARP, "PH", "PicoHarp", 10e6
    FORMATS: ClassVar[Mapping[str, str]] = {"t2": "t2_ph300", "t3": "t3_ph300"}

    def initialize(self) -> None:
        self.call("Initialize", MODES[self.settings.mode])

    def count_inputs(self) -> int:
        return 2

    def apply_input(self, channel: int, used: bool, offset_ps: int) -> None:
        if channel and offset_ps:
            raise LimitError("only input 0 has an offset", where=self.name)
        # no input can be switched off: the highest level passes the fewest pulses
        level = self.settings.level_mv if used or self.settings.mode != "t2" else 800
        self.call("SetInputCFD", channel, level, self.settings.zero_cross_mv)
        if channel == 0:
            self.call("SetSyncOffset", offset_ps)

    def apply_sync(self) -> None:
        """It is input 0."""

    def sync_rate_hz(self) -> int:
        return int(self.call("GetCountRate", 0))

    def sync_period_ps(self) -> float:
        rate = self.sync_rate_hz()
        return 1e12 / rate if rate else 0.0

    def flags(self) -> Flag:
        word, found = int(self.call("GetFlags")), Flag(0)
        for bits, flag in PICOHARP_FLAGS.items():
            found |= flag if word & bits else Flag(0)
        return found

    def clear_histograms(self) -> None:
        self.call("ClearHistMem", 0)

    def read_histogram(self, buffer: Any, channel: int) -> None:
        self.call("GetHistogram", buffer, 0)
