"""Common part of PicoQuant's MultiHarp, HydraHarp and PicoHarp, through their libraries.

Three modes: T2 and T3 records are streamed, histograms are counted by the instrument. Calls as in
QMI's wrappers (``QuTech-Delft/QMI``). Not verified on hardware: whether COUNTS_DROPPED stays set
until the next start (handled either way), and the longest measurement time. Channels are numbered
as in the records, **0-based**: the input labelled 1 on the front is channel 0.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from photonlink.drivers.picoquant.mhlib import (
    FEATURE_TTTR,
    HISTOGRAM_BINS,
    LONGEST_MS,
    MAX_DEVICES,
    MODES,
    OFFSET_LIMIT_PS,
    REFERENCE,
    Flag,
    warning_texts,
)
from photonlink.hal.errors import (
    AcquisitionError,
    IdentityError,
    InstrumentError,
    LimitError,
    LinkNotFound,
    PhotonlinkError,
)
from photonlink.hal.facets import Identity
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.prototypes import Prototypes
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.params import Value
from photonlink.hal.settings import DriverSettings
from photonlink.hal.taggers import TaggerDriver
from photonlink.hal.tags import (
    AcquisitionStart,
    LostInterval,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)

CHUNK_EVERY_S = 0.05
DROPPED_TOO_LONG_S = 10.0
"""Counts dropped for this long: the flag may be one that stays, so the acquisition starts anew."""
SYNC_WAIT_S = 0.5
PS_PER_MS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Histograms:
    """counts: uint32 (bins,) per input. bin_ps: width of a bin. seconds: time measured."""

    counts: Mapping[int, npt.NDArray[np.uint32]]
    bin_ps: float
    seconds: float


class HarpSettings(DriverSettings):
    """Settings that all families have."""

    reply_timeout_s: float = Field(default=5.0, gt=0, le=60)
    mode: Literal["t2", "t3", "histogram"] = Field(
        default="t2", description="`t2`, `t3` (times since sync), or `histogram`"
    )
    binning: int = Field(
        default=0, ge=0, le=23, description="bins of T3 and histograms: base resolution · 2^binning"
    )
    sync_divider: Literal[1, 2, 4, 8, 16] = Field(
        default=1, description="divider of the sync input"
    )
    inputs: tuple[int, ...] = Field(
        default=(), description="inputs that are switched on, 0-based; none: all of them"
    )
    offsets_ps: dict[int, int] = Field(
        default_factory=dict, description="input → delay, ±99 999 ps"
    )


class HarpDriver(TaggerDriver):
    """One instrument. All library calls run in the library's own thread."""

    Settings = HarpSettings
    PROTOTYPES: ClassVar[Prototypes]
    PREFIX: ClassVar[str]
    FAMILY: ClassVar[str]
    MAX_RATE_HZ: ClassVar[float]
    ROOM: ClassVar[int] = 131_072
    """Records of one read."""
    COUNTED_READ: ClassVar[bool] = True
    """ReadFiFo is told how many records there is room for."""
    FORMATS: ClassVar[Mapping[str, str]] = {"t2": "t2", "t3": "t3"}

    _device = -1
    _inputs = 0
    _resolution_ps = 0.0
    _bin_ps = 0.0
    _sync_period_ps = 0.0
    _elapsed_ps = 0
    _dropping_since: float | None = None
    _records: Any = None

    def make_codec(self, address: str, tap: Tap | None) -> VendorLibrary:
        # Records go to the tap as bytes, not as calls: see chunks().
        self._tap = tap
        self._place = Address.parse(address).only("serial", "index")
        return VendorLibrary(self._place, self.PROTOTYPES, timeout_s=self.settings.reply_timeout_s)

    def call(self, name: str, *args: Any) -> Any:
        """A call of the opened device, in the library's thread; its name without the prefix."""
        return self.codec.invoke(f"{self.PREFIX}_{name}", self._device, *args)

    @property
    def capabilities(self) -> TaggerCapabilities:
        return TaggerCapabilities(tuple(range(self._inputs)), self._resolution_ps, self.MAX_RATE_HZ)

    @property
    def wire_format(self) -> WireFormat:
        """After ``start`` in T3 mode: the sync period is measured then."""
        name = self.FORMATS.get(self.settings.mode, "")
        if self.settings.mode != "t3":
            return WireFormat(name, {"resolution_ps": self._resolution_ps})
        period = {"sync_period_ps": self._sync_period_ps}
        return WireFormat(name, {"resolution_ps": self._bin_ps, **period})

    # ---- differences between the families ----
    def initialize(self) -> None:
        self.call("Initialize", MODES[self.settings.mode], self.reference())

    def reference(self) -> int:
        return REFERENCE["internal"]

    def count_inputs(self) -> int:
        return int(self.call("GetNumOfInputChannels"))

    def apply_input(self, channel: int, used: bool, offset_ps: int) -> None:
        """Settings of one input."""
        raise NotImplementedError

    def apply_sync(self) -> None:
        """Settings of the sync input, for modes that need it."""
        raise NotImplementedError

    def sync_rate_hz(self) -> int:
        return int(self.call("GetSyncRate"))

    def sync_period_ps(self) -> float:
        return float(self.call("GetSyncPeriod")) * 1e12

    def flags(self) -> Flag:
        return Flag(int(self.call("GetFlags")))

    def clear_histograms(self) -> None:
        self.call("ClearHistMem")

    def read_histogram(self, buffer: Any, channel: int) -> None:
        self.call("GetHistogram", buffer, channel)

    # ---- opening and settings ----
    async def identify(self) -> Identity:
        identity: Identity = await self.codec.run(self._open)
        return identity

    def _open(self) -> Identity:
        lib = self.codec
        self._device, serial = self._find()
        try:
            self.initialize()
            model, _, version = self.call("GetHardwareInfo")
            resolution_ps, _ = self.call("GetBaseResolution")
            inputs = self.count_inputs()
            if not 0.1 <= resolution_ps <= 1e6 or not 1 <= inputs <= 64:
                raise InstrumentError(
                    "resolution or number of inputs cannot be",
                    where=self.name,
                    seen=f"{resolution_ps} ps, {inputs} inputs",
                )
            if self.settings.mode != "histogram" and not self.call("GetFeatures") & FEATURE_TTTR:
                raise LimitError(
                    "this unit has no time tagging",
                    where=self.name,
                    hint='mode = "histogram" is what it can do',
                )
        except BaseException:
            lib.status(f"{self.PREFIX}_CloseDevice", self._device)
            self._device = -1
            raise
        self._resolution_ps, self._inputs = float(resolution_ps), int(inputs)
        self._records = lib.ffi.new("unsigned int[]", max(self.ROOM, HISTOGRAM_BINS))
        return Identity("PicoQuant", model or self.FAMILY, serial, version)

    def _find(self) -> tuple[int, str]:
        """Open the device that the address names, by serial number or by place."""
        wanted = self._place.options.get("serial")
        place = self._place.options.get("index")
        lib, seen, reason = self.codec, [], ""
        places = range(MAX_DEVICES) if place is None else [self._place.number("index", 0)]
        for device in places:
            status, (found,) = lib.attempt(f"{self.PREFIX}_OpenDevice", device)
            if status < 0:
                reason = reason or lib.error_text(status)
                continue
            if wanted is None or found == wanted:
                return device, found
            lib.status(f"{self.PREFIX}_CloseDevice", device)
            seen.append(found)
        if seen:
            raise IdentityError(
                f"no {self.FAMILY} with serial number {wanted}",
                where=self.name,
                seen=", ".join(seen),
            )
        raise LinkNotFound(
            f"the library finds no {self.FAMILY}: {reason}",
            where=self.address,
            hint="Is it plugged in and switched on, and may this user open it (udev rules)?",
        )

    async def configure(self) -> None:
        await super().configure()
        named = {"inputs": self.settings.inputs, "offsets_ps": tuple(self.settings.offsets_ps)}
        for setting, numbers in named.items():
            for number in numbers:
                if number not in range(self._inputs):
                    raise LimitError(
                        f"{setting} names input {number}, but inputs are 0…{self._inputs - 1}",
                        where=self.name,
                        hint="Inputs are numbered from 0, as in the records",
                    )
        for number, offset in self.settings.offsets_ps.items():
            if abs(offset) > OFFSET_LIMIT_PS:
                raise LimitError(
                    f"offset of input {number} = {offset} ps is outside ±99999 ps", where=self.name
                )
        await self.codec.run(self._configure)

    def _configure(self) -> None:
        settings = self.settings
        used = set(settings.inputs) or set(range(self._inputs))
        for channel in range(self._inputs):
            self.apply_input(channel, channel in used, settings.offsets_ps.get(channel, 0))
        if settings.sync_divider != 1:
            self.call("SetSyncDiv", settings.sync_divider)
        if settings.mode != "t2":
            self.apply_sync()
            self.call("SetBinning", settings.binning)
            self._bin_ps = float(self.call("GetResolution"))

    async def release(self) -> None:
        try:
            if self.is_open and self._device >= 0:
                await self.codec.run(self._close)
        except PhotonlinkError:
            pass  # a device that is gone cannot be stopped
        finally:
            self._device = -1
            await super().release()

    def _close(self) -> None:
        self.codec.status(f"{self.PREFIX}_StopMeas", self._device)
        self.codec.status(f"{self.PREFIX}_CloseDevice", self._device)
        self.streaming = False

    # ---- readings ----
    async def snapshot(self) -> Mapping[str, Value]:
        """Rates in Hz per input and the library's warnings in words."""
        values: Mapping[str, Value] = await self.codec.run(self._snapshot)
        return values

    def _snapshot(self) -> dict[str, Value]:
        values: dict[str, Value] = {"streaming": self.streaming}
        values["sync_rate_hz"] = self.sync_rate_hz()
        for channel in range(self._inputs):
            values[f"rate_{channel}_hz"] = int(self.call("GetCountRate", channel))
        # The library computes warnings from the rates read just before.
        values["warnings"] = warning_texts(int(self.call("GetWarnings")))
        return values

    async def histograms(self, seconds: float) -> Histograms:
        """Count times since sync for ``seconds``, in mode ``histogram``."""
        if self.settings.mode != "histogram":
            raise InstrumentError('histograms need mode = "histogram"', where=self.name)
        if not 0.001 <= seconds <= LONGEST_MS / 1000:
            raise LimitError(f"{seconds} s is outside 0.001…360000 s", where=self.name)
        await self.codec.run(lambda: self._start_histograms(round(seconds * 1000)))
        await asyncio.sleep(seconds)
        deadline = time.monotonic() + self.settings.reply_timeout_s
        while not await self.codec.run(lambda: self.call("CTCStatus")):
            if time.monotonic() > deadline:
                raise AcquisitionError("the measurement does not end", where=self.name)
            await asyncio.sleep(CHUNK_EVERY_S)
        found: Histograms = await self.codec.run(self._finish_histograms)
        return found

    def _start_histograms(self, duration_ms: int) -> None:
        self.clear_histograms()
        self.call("StartMeas", duration_ms)

    def _finish_histograms(self) -> Histograms:
        seconds = self.call("GetElapsedMeasTime") / 1000
        self.call("StopMeas")
        counts = {}
        for channel in range(self._inputs):
            self.read_histogram(self._records, channel)
            whole = self.codec.ffi.buffer(self._records)[: 4 * HISTOGRAM_BINS]
            counts[channel] = np.frombuffer(whole, np.uint32).copy()
        return Histograms(counts, self._bin_ps, seconds)

    # ---- the stream ----
    async def begin(self) -> AcquisitionStart:
        """Start a measurement: its time zero lies within the call, stamped around it."""
        if self.settings.mode == "histogram":
            raise InstrumentError("histograms are no stream", where=self.name)
        stamp: AcquisitionStart = await self.codec.run(self._start)
        return stamp

    def _start(self) -> AcquisitionStart:
        if self.settings.mode == "t3":
            self._sync_period_ps = self._measured_period_ps()
        before = time.time()
        self.call("StartMeas", LONGEST_MS)
        after = time.time()
        self._elapsed_ps, self._dropping_since = 0, None
        return AcquisitionStart.between(before, after, 0.001)

    def _measured_period_ps(self) -> float:
        """T3 counts syncs: without their period there is no time."""
        deadline = time.monotonic() + SYNC_WAIT_S
        divider = int(self.settings.sync_divider)
        while not (period_ps := self.sync_period_ps() * divider) > 0:
            if time.monotonic() > deadline:
                raise InstrumentError(
                    "no sync",
                    where=self.name,
                    hint="T3 mode needs a periodic signal at the sync input",
                )
            time.sleep(CHUNK_EVERY_S)
        return period_ps

    async def pieces(self) -> AsyncIterator[WireChunk]:
        """Records. AcquisitionError when the FIFO overran or the time is over."""
        while self.streaming:
            chunk, failure = await self.codec.run(self._read)
            if self._tap is not None:
                self._tap("<", chunk.data)
            yield chunk
            if failure is not None:
                self.streaming = False
                raise failure
            if len(chunk.data) < 2 * self.ROOM:
                await asyncio.sleep(CHUNK_EVERY_S)

    def _read(self) -> tuple[WireChunk, AcquisitionError | None]:
        """One read of the FIFO, then the flags, which hold for the time up to their reading."""
        room = (self.ROOM,) if self.COUNTED_READ else ()
        count = self.call("ReadFiFo", self._records, *room)
        if not 0 <= count <= self.ROOM:
            raise InstrumentError("impossible number of records", where=self.name)
        data = bytes(self.codec.ffi.buffer(self._records)[: 4 * count])
        flags = self.flags()
        elapsed_ms = self.call("GetElapsedMeasTime")
        since, self._elapsed_ps = self._elapsed_ps, int(elapsed_ms * PS_PER_MS)
        lost, failure = self._judge(flags, max(0, since - PS_PER_MS))
        if failure is None and not data and self.call("CTCStatus") != 0:
            failure = AcquisitionError("the measurement time is over", where=self.name)
        if failure is not None:
            # A measurement that ended by itself still has to be stopped before the next start.
            self.codec.status(f"{self.PREFIX}_StopMeas", self._device)
        return WireChunk(data, lost), failure

    def _judge(
        self, flags: Flag, since_ps: int
    ) -> tuple[tuple[LostInterval, ...], AcquisitionError | None]:
        until_ps = self._elapsed_ps + PS_PER_MS  # the elapsed time is given in whole milliseconds
        if flags & Flag.FIFO_FULL:
            reason = "the tagger's FIFO overran"
            return (LostInterval(since_ps, -1, None, reason),), AcquisitionError(
                reason, where=self.name, hint="Lower the count rate, or free the computer"
            )
        if flags & Flag.SYSTEM_ERROR:
            reason = "the tagger reports a system error"
            return (LostInterval(since_ps, -1, None, reason),), AcquisitionError(
                reason, where=self.name, hint="Switch it off and on"
            )
        reasons = []
        if flags & Flag.COUNTS_DROPPED:
            reasons.append("the tagger dropped counts")
        if flags & Flag.REFERENCE_LOST:
            reasons.append("the tagger lost its reference clock")
        if flags & Flag.SYNC_LOST and self.settings.mode == "t3":
            reasons.append("the tagger lost sync")
        if not reasons:
            self._dropping_since = None
            return (), None
        reason = " and ".join(reasons)
        now = time.monotonic()
        self._dropping_since = self._dropping_since or now
        failure = None
        if now - self._dropping_since > DROPPED_TOO_LONG_S:
            failure = AcquisitionError(f"{reason} for {DROPPED_TOO_LONG_S:g} s", where=self.name)
        return (LostInterval(since_ps, until_ps, None, reason),), failure

    async def end(self) -> None:
        await self.codec.call(f"{self.PREFIX}_StopMeas", self._device)
