"""Swabian Instruments Time Tagger 20, Ultra and X, through the package ``Swabian.TimeTagger``.

Names, units and limits as in the docstrings of ``swabian-timetagger`` 2.22.6. Tags are returned as
the 16-byte records of the vendor's ``Dump``. Not tried on hardware.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from pydantic import Field

from photonlink.drivers.swabian.records import records
from photonlink.hal.errors import LinkClosed, LinkNotFound, PhotonlinkError
from photonlink.hal.facets import CountsPhotons, Identity, PhotonCounts
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.vendor_package import Raises, VendorPackage
from photonlink.hal.params import Param, Value, expand
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings
from photonlink.hal.taggers import TaggerDriver
from photonlink.hal.tags import AcquisitionStart, TaggerCapabilities, WireChunk, WireFormat

INSTRUMENT = Registration(
    id="swabian.time_tagger",
    title="Swabian Instruments Time Tagger 20, Ultra, X: time tagger",
    driver="TimeTagger",
    facets=("CountsPhotons", "StreamsTags"),
    transports=("package",),
    evidence="manual",
    emulator="swabian-time-tagger",
    settings={"channels": [1, 2, 3, 4], "threshold_1_v": -0.4},
    case={
        "reply_timeout_s": 2.0,
        "loss": "counted",
        "streaming": {"threshold_2_v": -0.4, "threshold_3_v": -0.4, "threshold_4_v": -0.4},
    },
)

CHANNELS = tuple(range(1, 21))
CHUNK_EVERY_S = 0.05
PARAMS = (
    Param("threshold_{ch}_v", float, "trigger level of input {ch}", "getTriggerLevel {ch}",
          "setTriggerLevel {ch}", "V", limits=(-5.0, 5.0), tolerance=0.01, channels=CHANNELS,
          setting="threshold_{ch}_v"),
    Param("dead_time_{ch}_ps", int, "dead time of input {ch}; the tagger takes whole clock periods",
          "getDeadtime {ch}", "setDeadtime {ch}", "ps", limits=(0, 2_147_000_000), tolerance=6000,
          channels=CHANNELS, setting="dead_time_{ch}_ps"),
    Param("delay_{ch}_ps", int, "delay of input {ch}", "getInputDelay {ch}", "setInputDelay {ch}",
          "ps", limits=(-(10**12), 10**12), ours="no cable is longer than 1 s",
          channels=CHANNELS, setting="delay_{ch}_ps"),
    Param("event_divider_{ch}", int, "every n-th event of input {ch}", "getEventDivider {ch}",
          "setEventDivider {ch}", limits=(1, 65_535), channels=CHANNELS,
          setting="event_divider_{ch}"),
    Param("test_signal_{ch}", bool, "built-in test signal on input {ch}", "getTestSignal {ch}",
          "setTestSignal {ch}", channels=CHANNELS),
    Param("overflows", int, "overflows since the tagger was opened", "getOverflows"),
)  # fmt: skip


class TimeTagger(TaggerDriver, CountsPhotons):
    """One Time Tagger. Channels as printed; the falling edge of input n is 128 + n in a TagBlock.

    ``channels`` of the settings: inputs in use; -n is the falling edge, as in the package.
    """

    PARAMS = PARAMS
    OPTIONS = ("serial",)

    class Settings(DriverSettings):
        """Which channels, and how much at once."""

        reply_timeout_s: float = Field(default=5.0, gt=0, le=60)
        channels: tuple[int, ...] = Field(
            default=(1, 2, 3, 4), description="in use; -n is the falling edge of input n"
        )
        block_tags: int = Field(
            default=1_000_000, ge=4096, le=32_000_000, description="tags taken at once, at most"
        )

    _tagger: Any = None
    _stream: Any = None
    _zero_ps = 0
    _first: tuple[memoryview, ...] = ()

    def parameters(self) -> tuple[Param, ...]:
        """Those of the inputs in use."""
        inputs = {str(abs(n)) for n in self.settings.channels}
        return tuple(p for p in expand(PARAMS) if not p.set or p.get.split()[1] in inputs)

    def make_codec(self, address: str, tap: Tap | None) -> VendorPackage:
        return VendorPackage(
            Address.parse(address),
            raises=(
                Raises("RuntimeError", "No Time Tagger attached", LinkNotFound),
                Raises("RuntimeError", "does not answer", LinkClosed),
            ),
            timeout_s=self.settings.reply_timeout_s,
        )

    @property
    def capabilities(self) -> TaggerCapabilities:
        numbers = tuple(n if n > 0 else 128 - n for n in self.settings.channels)
        return TaggerCapabilities(numbers, 1.0, 70e6)

    @property
    def count_channels(self) -> tuple[int, ...]:
        return tuple(self.settings.channels)

    @property
    def wire_format(self) -> WireFormat:
        return WireFormat("swabian16")

    async def connect(self) -> None:
        await super().connect()
        serial = Address.parse(self.address).options.get("serial", "")
        self._tagger = await self.codec.run(lambda package: package.createTimeTagger(serial))

    async def identify(self) -> Identity:
        found: Identity = await self.codec.run(
            lambda _: Identity(
                "Swabian Instruments",
                str(self._tagger.getModel()),
                str(self._tagger.getSerial()),
                str(self._tagger.getFirmwareVersion()),
            )
        )
        return found

    async def read(self, param: Param) -> Value:
        name, *channel = param.get.split()
        value = await self.codec.run(lambda _: getattr(self._tagger, name)(*map(int, channel)))
        return param.kind(value)

    async def write(self, param: Param, value: Value) -> None:
        name, channel = param.set.split()
        await self.codec.run(lambda _: getattr(self._tagger, name)(int(channel), value))

    async def count(self, gate_s: float) -> PhotonCounts:
        """Events per channel within ``gate_s`` (1 ms to 5 s)."""
        self.only_idle("count")
        gate_ms = self.gate_ms(gate_s, 5000)
        channels = list(self.settings.channels)

        def measure(package: Any) -> list[int]:
            counter = package.Countrate(self._tagger, channels)
            counter.startFor(gate_ms * 10**9)
            counter.waitUntilFinished(gate_ms + 2000)
            return [int(n) for n in counter.getCountsTotal()]

        limit_s = self.settings.reply_timeout_s + gate_ms / 1000
        counts = await self.codec.run(measure, limit_s)
        return PhotonCounts(dict(zip(channels, counts, strict=True)), gate_ms / 1000)

    async def begin(self) -> AcquisitionStart:
        """Time zero is the tagger's time when the stream began."""
        stamp: AcquisitionStart = await self.codec.run(self._start)
        return stamp

    def _start(self, package: Any) -> AcquisitionStart:
        channels, block = list(self.settings.channels), self.settings.block_tags
        before = time.time()
        self._stream = package.TimeTagStream(self._tagger, block, channels)
        after = time.time()
        data = self._stream.getData()
        self._zero_ps = int(data.tStart)
        self._first = tuple(records(data, self._zero_ps))
        return AcquisitionStart.between(before, after, 0.05)

    async def pieces(self) -> AsyncIterator[WireChunk]:
        """Records of 16 bytes; overflows are records of their own."""
        parts, self._first = self._first, ()
        while self.streaming:
            for part in parts or (memoryview(b""),):
                yield WireChunk(part)
            await asyncio.sleep(CHUNK_EVERY_S)
            parts = await self.codec.run(lambda _: self._more())

    def _more(self) -> tuple[memoryview, ...]:
        stream = self._stream
        return () if stream is None else tuple(records(stream.getData(), self._zero_ps))

    async def end(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await self.codec.run(lambda _: stream.stop())

    async def release(self) -> None:
        tagger, self._tagger, self._stream = self._tagger, None, None
        try:
            if tagger is not None and self.is_open:
                await self.codec.run(lambda package: package.freeTimeTagger(tagger))
        except PhotonlinkError:
            pass  # a device that is gone cannot be released
        finally:
            await super().release()
