"""PicoQuant MultiHarp 150: time tagger, through the vendor's library ``libmh150.so``.

Calls as in QMI's wrapper (``QuTech-Delft/QMI``). Not verified on hardware: whether COUNTS_DROPPED
stays set until the next start (handled either way), and the longest measurement time. Channels are
numbered as in T2 records, **0-based**: the input labelled 1 on the front is channel 0.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from pydantic import Field

from photonlink.drivers.picoquant.mhlib import (
    LONGEST_MS,
    MAX_DEVICES,
    MODE_T2,
    OFFSET_LIMIT_PS,
    PROTOTYPES,
    READ_RECORDS,
    REFERENCE,
    Flag,
    warning_texts,
)
from photonlink.hal.driver import Driver
from photonlink.hal.errors import (
    AcquisitionError,
    IdentityError,
    InstrumentError,
    LimitError,
    LinkNotFound,
    PhotonlinkError,
)
from photonlink.hal.facets import Identity, StreamsTags
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.params import Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings
from photonlink.hal.tags import (
    AcquisitionStart,
    LostInterval,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)

INSTRUMENT = Registration(
    id="picoquant.multiharp150",
    title="PicoQuant MultiHarp 150: time tagger, T2 mode",
    driver="MultiHarp150",
    facets=("StreamsTags",),
    transports=("lib",),
    usb=("0e0d:0013",),
    evidence="manual",
    emulator="picoquant-multiharp150",
    accepted_by=("ptufile",),
    case={"place": "bob.tagger", "reply_timeout_s": 2.0, "first_channel": 0},
)

CHUNK_EVERY_S = 0.05
DROPPED_TOO_LONG_S = 10.0
"""Counts dropped for this long: the flag may be one that stays, so the acquisition starts anew."""

PS_PER_MS = 1_000_000_000


class MultiHarp150(Driver, StreamsTags):
    """One MultiHarp 150 in T2 mode. All library calls run in the library's own thread."""

    class Settings(DriverSettings):
        """A MultiHarp's settings; level and edge hold for all inputs."""

        reply_timeout_s: float = Field(default=5.0, gt=0, le=60)
        inputs: tuple[int, ...] = Field(
            default=(), description="inputs that are switched on, 0-based; none: all of them"
        )
        level_mv: int = Field(
            default=-50, ge=-1200, le=1200, description="trigger level of all inputs, mV"
        )
        edge: Literal["falling", "rising"] = Field(default="falling", description="or `rising`")
        offsets_ps: dict[int, int] = Field(
            default_factory=dict, description="input → delay, ±99 999 ps"
        )
        dead_time_ps: int | None = Field(
            default=None,
            ge=0,
            le=1_000_000,
            description="programmable dead time of all inputs; none leaves it as it is",
        )
        reference: Literal["internal", "external"] = Field(
            default="internal", description="or `external` (10 MHz)"
        )

    _device = -1
    _inputs = 0
    _resolution_ps = 0.0
    _running = False
    _elapsed_ps = 0
    _dropping_since: float | None = None
    _records: Any = None

    def make_codec(self, address: str, tap: Tap | None) -> VendorLibrary:
        # Records go to the tap as bytes, not as calls: see chunks().
        self._tap = tap
        self._place = Address.parse(address).only("serial", "index")
        return VendorLibrary(self._place, PROTOTYPES, timeout_s=self.settings.reply_timeout_s)

    @property
    def capabilities(self) -> TaggerCapabilities:
        return TaggerCapabilities(tuple(range(self._inputs)), self._resolution_ps, 80e6)

    @property
    def wire_format(self) -> WireFormat:
        return WireFormat("t2", {"resolution_ps": self._resolution_ps})

    async def identify(self) -> Identity:
        self._running = False
        identity: Identity = await self.codec.run(self._open)
        return identity

    def _open(self) -> Identity:
        lib = self.codec
        device, serial = self._find()
        try:
            lib.invoke("MH_Initialize", device, MODE_T2, REFERENCE[self.settings.reference])
            model, _, version = lib.invoke("MH_GetHardwareInfo", device)
            resolution_ps, _ = lib.invoke("MH_GetBaseResolution", device)
            inputs = lib.invoke("MH_GetNumOfInputChannels", device)
            if not 0.1 <= resolution_ps <= 1e6 or not 1 <= inputs <= 64:
                raise InstrumentError(
                    "resolution or number of inputs cannot be",
                    where=self.name,
                    seen=f"{resolution_ps} ps, {inputs} inputs",
                )
        except BaseException:
            lib.status("MH_CloseDevice", device)
            raise
        self._device, self._resolution_ps, self._inputs = device, float(resolution_ps), int(inputs)
        self._records = lib.ffi.new("unsigned int[]", READ_RECORDS)
        return Identity("PicoQuant", model or "MultiHarp", serial, version)

    def _find(self) -> tuple[int, str]:
        """Open the device that the address names, by serial number or by place."""
        wanted = self._place.options.get("serial")
        place = self._place.options.get("index")
        lib, seen, reason = self.codec, [], ""
        places = range(MAX_DEVICES) if place is None else [self._place.number("index", 0)]
        for device in places:
            status, (found,) = lib.attempt("MH_OpenDevice", device)
            if status < 0:
                reason = reason or lib.error_text(status)
                continue
            if wanted is None or found == wanted:
                return device, found
            lib.status("MH_CloseDevice", device)
            seen.append(found)
        if seen:
            raise IdentityError(
                f"no MultiHarp with serial number {wanted}", where=self.name, seen=", ".join(seen)
            )
        raise LinkNotFound(
            f"the library finds no MultiHarp: {reason}",
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
                        hint="Inputs are numbered from 0, as in T2 records",
                    )
        for number, offset in self.settings.offsets_ps.items():
            if abs(offset) > OFFSET_LIMIT_PS:
                raise LimitError(
                    f"offset of input {number} = {offset} ps is outside ±99999 ps", where=self.name
                )
        await self.codec.run(self._configure)

    def _configure(self) -> None:
        lib, settings, device = self.codec, self.settings, self._device
        used = set(settings.inputs) or set(range(self._inputs))
        for channel in range(self._inputs):
            lib.invoke("MH_SetInputChannelEnable", device, channel, int(channel in used))
            if channel not in used:
                continue
            edge = int(settings.edge == "rising")
            lib.invoke("MH_SetInputEdgeTrg", device, channel, settings.level_mv, edge)
            offset = settings.offsets_ps.get(channel, 0)
            lib.invoke("MH_SetInputChannelOffset", device, channel, offset)
            if settings.dead_time_ps is not None:
                lib.invoke("MH_SetInputDeadTime", device, channel, 1, settings.dead_time_ps)

    async def release(self) -> None:
        try:
            if self.is_open and self._device >= 0:
                await self.codec.run(self._close)
        except PhotonlinkError:
            self._running = False  # a device that is gone cannot be told to stop
        finally:
            self._device = -1
            await super().release()

    def _close(self) -> None:
        self.codec.status("MH_StopMeas", self._device)
        self.codec.status("MH_CloseDevice", self._device)
        self._running = False

    async def snapshot(self) -> Mapping[str, Value]:
        """Rates in Hz per input and the library's warnings in words."""
        values: Mapping[str, Value] = await self.codec.run(self._snapshot)
        return values

    def _snapshot(self) -> dict[str, Value]:
        lib, device = self.codec, self._device
        values: dict[str, Value] = {"streaming": self._running}
        values["sync_rate_hz"] = int(lib.invoke("MH_GetSyncRate", device))
        for channel in range(self._inputs):
            values[f"rate_{channel}_hz"] = int(lib.invoke("MH_GetCountRate", device, channel))
        # The library computes warnings from the rates read just before.
        values["warnings"] = warning_texts(int(lib.invoke("MH_GetWarnings", device)))
        return values

    async def start(self) -> AcquisitionStart:
        """Start a measurement: its time zero lies within the call, stamped around it."""
        if self._running:
            raise InstrumentError("the measurement already runs", where=self.name)
        stamp: AcquisitionStart = await self.codec.run(self._start)
        return stamp

    def _start(self) -> AcquisitionStart:
        before = time.time()
        self.codec.invoke("MH_StartMeas", self._device, LONGEST_MS)
        after = time.time()
        self._running, self._elapsed_ps, self._dropping_since = True, 0, None
        return AcquisitionStart((before + after) / 2, max(0.0, after - before) / 2 + 0.001)

    async def chunks(self) -> AsyncIterator[WireChunk]:
        """T2 records. AcquisitionError when the FIFO overran or the time is over."""
        if not self._running:
            raise InstrumentError("the tagger was not started", where=self.name)
        while self._running:
            chunk, failure = await self.codec.run(self._read)
            if self._tap is not None:
                self._tap("<", chunk.data)
            yield chunk
            if failure is not None:
                self._running = False
                raise failure
            if len(chunk.data) < 2 * READ_RECORDS:
                await asyncio.sleep(CHUNK_EVERY_S)

    def _read(self) -> tuple[WireChunk, AcquisitionError | None]:
        """One read of the FIFO, then the flags: what they say holds up to the time they show."""
        lib, device = self.codec, self._device
        count = lib.invoke("MH_ReadFiFo", device, self._records)
        if not 0 <= count <= READ_RECORDS:
            raise InstrumentError("impossible number of records", where=self.name)
        data = bytes(lib.ffi.buffer(self._records)[: 4 * count])
        flags = Flag(int(lib.invoke("MH_GetFlags", device)))
        elapsed_ms = lib.invoke("MH_GetElapsedMeasTime", device)
        since, self._elapsed_ps = self._elapsed_ps, int(elapsed_ms * PS_PER_MS)
        lost, failure = self._judge(flags, max(0, since - PS_PER_MS))
        if failure is None and not data and lib.invoke("MH_CTCStatus", device) != 0:
            failure = AcquisitionError("the measurement time is over", where=self.name)
        if failure is not None:
            # A measurement that ended by itself still has to be stopped before the next start.
            lib.status("MH_StopMeas", device)
        return WireChunk(data, lost), failure

    def _judge(
        self, flags: Flag, since_ps: int
    ) -> tuple[tuple[LostInterval, ...], AcquisitionError | None]:
        until_ps = self._elapsed_ps + PS_PER_MS  # the elapsed time is told in whole milliseconds
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

    async def stop(self) -> None:
        if self._running:
            self._running = False
            await self.codec.call("MH_StopMeas", self._device)
