"""PicoQuant MultiHarp 150: time tagger, through the vendor's library ``libmh150.so``.

Facts: shared fact sheet, section 2.5. Not verified on hardware: whether COUNTS_DROPPED stays set
until the next start (handled either way), and the longest measurement time. Channels are numbered
as in T2 records, **0-based**: the input labelled 1 on the front is channel 0.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal

from pydantic import Field

from photonlink.drivers.picoquant.mhlib import (
    DECLARATIONS,
    LONGEST_MS,
    MAX_DEVICES,
    MODE_T2,
    OFFSET_LIMIT_PS,
    READ_RECORDS,
    REFERENCE,
    SERIAL_BYTES,
    TEXT_BYTES,
    Flag,
    warning_texts,
)
from photonlink.hal.errors import (
    AcquisitionError,
    IdentityError,
    InstrumentError,
    LimitError,
    LinkNotFound,
)
from photonlink.hal.instruments import (
    AcquisitionStart,
    Identity,
    TaggerCapabilities,
    TimeTagger,
    WireChunk,
    WireFormat,
)
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.params import Limits, Value
from photonlink.hal.registry import DriverSettings
from photonlink.hal.tags import LostInterval, Provenance

CHUNK_EVERY_S = 0.05
DROPPED_TOO_LONG_S = 10.0
"""Counts dropped for this long: the flag may be one that stays, so the acquisition starts anew."""

PS_PER_MS = 1_000_000_000
Letter = Literal["H", "V", "D", "A"]


def _error_text(library: VendorLibrary, code: int) -> str:
    text = library.ffi.new("char[]", TEXT_BYTES)
    if library.status("MH_GetErrorString", text, code) < 0:
        return f"error {code}"
    return f"{library.ffi.string(text).decode('latin-1')} ({code})"


class MultiHarp150(TimeTagger):
    """One MultiHarp 150 in T2 mode. All library calls run in the library's own thread."""

    evidence = "manual"

    class Settings(DriverSettings):
        """channels: detector letter → input, 0-based. level_mv and edge hold for all inputs."""

        channels: dict[Letter, int] = Field(default_factory=dict)
        level_mv: int = Field(default=-50, ge=-1200, le=1200)
        edge: Literal["falling", "rising"] = "falling"
        offsets_ps: dict[Letter, int] = Field(default_factory=dict)
        dead_time_ps: int | None = Field(default=None, ge=0, le=1_000_000)
        reference: Literal["internal", "external"] = "internal"
        call_timeout_s: float = Field(default=5.0, gt=0, le=60)

    def __init__(
        self,
        name: str,
        address: str,
        settings: Settings,
        *,
        limits: Mapping[str, Limits] | None = None,
        tap: Tap | None = None,
    ) -> None:
        if limits:
            raise LimitError("this driver has nothing that limits could narrow", where=name)
        self.name, self.settings = name, settings
        self._address = Address.parse(address).only("serial", "index")
        # Records go to the tap as bytes, not as calls: see chunks().
        self._library = VendorLibrary(self._address, DECLARATIONS, _error_text)
        self._tap = tap
        self._device = -1
        self._inputs = 0
        self._resolution_ps = 0.0
        self._running = False
        self._elapsed_ps = 0
        self._dropping_since: float | None = None
        self._records: Any = None

    @property
    def provenance(self) -> Provenance:
        return self._library.provenance

    @property
    def capabilities(self) -> TaggerCapabilities:
        return TaggerCapabilities(tuple(range(self._inputs)), self._resolution_ps, 80e6)

    @property
    def wire_format(self) -> WireFormat:
        return WireFormat("t2", {"resolution_ps": self._resolution_ps})

    async def _run(self, work: Callable[[], Any]) -> Any:
        return await self._library.run(work, self.settings.call_timeout_s)

    async def open(self) -> Identity:
        self._running = False
        await self._library.open(self.settings.call_timeout_s)
        try:
            identity: Identity = await self._run(self._open)
        except BaseException:
            await self._library.close()
            raise
        return identity

    def _open(self) -> Identity:
        lib, ffi = self._library, self._library.ffi
        self._device, serial = self._find()
        try:
            lib.invoke("MH_Initialize", self._device, MODE_T2, REFERENCE[self.settings.reference])
            model, part, version = (ffi.new("char[]", TEXT_BYTES) for _ in range(3))
            lib.invoke("MH_GetHardwareInfo", self._device, model, part, version)
            resolution, steps, inputs = ffi.new("double *"), ffi.new("int *"), ffi.new("int *")
            lib.invoke("MH_GetBaseResolution", self._device, resolution, steps)
            lib.invoke("MH_GetNumOfInputChannels", self._device, inputs)
            if not 0.1 <= resolution[0] <= 1e6 or not 1 <= inputs[0] <= 64:
                raise InstrumentError(
                    "resolution or number of inputs cannot be",
                    where=self.name,
                    seen=f"{resolution[0]} ps, {inputs[0]} inputs",
                )
        except BaseException:
            lib.status("MH_CloseDevice", self._device)
            raise
        self._resolution_ps, self._inputs = float(resolution[0]), int(inputs[0])
        self._records = ffi.new("unsigned int[]", READ_RECORDS)
        texts = [ffi.string(text).decode("latin-1") for text in (model, part, version)]
        return Identity("PicoQuant", texts[0] or "MultiHarp", serial, texts[2])

    def _find(self) -> tuple[int, str]:
        """Open the device that the address names, by serial number or by place."""
        wanted = self._address.options.get("serial")
        place = self._address.options.get("index")
        lib, serial, seen = self._library, self._library.ffi.new("char[]", SERIAL_BYTES), []
        places = range(MAX_DEVICES) if place is None else [self._address.number("index", 0)]
        reason = ""
        for device in places:
            status = lib.status("MH_OpenDevice", device, serial)
            if status < 0:
                reason = reason or _error_text(lib, status)
                continue
            found = lib.ffi.string(serial).decode("latin-1").strip()
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
            where=self._address.uri,
            hint="Is it plugged in and switched on, and may this user open it (udev rules)?",
        )

    async def configure(self) -> None:
        known = range(self._inputs)
        for letter, channel in self.settings.channels.items():
            if channel not in known:
                raise LimitError(
                    f"channel {letter} = {channel}, but inputs are 0…{self._inputs - 1}",
                    where=self.name,
                    hint="Inputs are numbered from 0, as in T2 records",
                )
        for letter, offset in self.settings.offsets_ps.items():
            if letter not in self.settings.channels or abs(offset) > OFFSET_LIMIT_PS:
                raise LimitError(
                    f"offset {letter} = {offset} ps needs a channel {letter} and ±99999 ps",
                    where=self.name,
                )
        await self._run(self._configure)

    def _configure(self) -> None:
        lib, settings, device = self._library, self.settings, self._device
        used = set(settings.channels.values()) or set(range(self._inputs))
        offsets = {settings.channels[k]: ps for k, ps in settings.offsets_ps.items()}
        for channel in range(self._inputs):
            lib.invoke("MH_SetInputChannelEnable", device, channel, int(channel in used))
            if channel not in used:
                continue
            edge = int(settings.edge == "rising")
            lib.invoke("MH_SetInputEdgeTrg", device, channel, settings.level_mv, edge)
            lib.invoke("MH_SetInputChannelOffset", device, channel, offsets.get(channel, 0))
            if settings.dead_time_ps is not None:
                lib.invoke("MH_SetInputDeadTime", device, channel, 1, settings.dead_time_ps)

    async def close(self) -> None:
        if self._library.is_open and self._device >= 0:
            try:
                await self._run(self._close)
            except (InstrumentError, OSError):
                self._running = False  # a device that is gone cannot be told to stop
        self._device = -1
        await self._library.close()

    def _close(self) -> None:
        self._library.status("MH_StopMeas", self._device)
        self._library.status("MH_CloseDevice", self._device)
        self._running = False

    async def snapshot(self) -> Mapping[str, Value]:
        """Rates in Hz per input and the library's warnings in words."""
        values: Mapping[str, Value] = await self._run(self._snapshot)
        return values

    def _snapshot(self) -> dict[str, Value]:
        lib, number = self._library, self._library.ffi.new("int *")
        values: dict[str, Value] = {"streaming": self._running}
        lib.invoke("MH_GetSyncRate", self._device, number)
        values["sync_rate_hz"] = int(number[0])
        for channel in range(self._inputs):
            lib.invoke("MH_GetCountRate", self._device, channel, number)
            values[f"rate_{channel}_hz"] = int(number[0])
        # The library computes warnings from the rates read just before.
        lib.invoke("MH_GetWarnings", self._device, number)
        values["warnings"] = warning_texts(int(number[0]))
        return values

    async def start(self) -> AcquisitionStart:
        """Start a measurement: its time zero lies within the call, stamped around it."""
        if self._running:
            raise InstrumentError("the measurement already runs", where=self.name)
        stamp: AcquisitionStart = await self._run(self._start)
        return stamp

    def _start(self) -> AcquisitionStart:
        before = time.time()
        self._library.invoke("MH_StartMeas", self._device, LONGEST_MS)
        after = time.time()
        self._running, self._elapsed_ps, self._dropping_since = True, 0, None
        return AcquisitionStart((before + after) / 2, max(0.0, after - before) / 2 + 0.001)

    async def chunks(self) -> AsyncIterator[WireChunk]:
        """T2 records. AcquisitionError when the FIFO overran or the time is over."""
        if not self._running:
            raise InstrumentError("the tagger was not started", where=self.name)
        while self._running:
            chunk, failure = await self._run(self._read)
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
        lib, ffi = self._library, self._library.ffi
        count, number, elapsed = ffi.new("int *"), ffi.new("int *"), ffi.new("double *")
        lib.invoke("MH_ReadFiFo", self._device, self._records, count)
        if not 0 <= count[0] <= READ_RECORDS:
            raise InstrumentError("impossible number of records", where=self.name)
        data = bytes(ffi.buffer(self._records)[: 4 * count[0]])
        lib.invoke("MH_GetFlags", self._device, number)
        flags = Flag(int(number[0]))
        lib.invoke("MH_GetElapsedMeasTime", self._device, elapsed)
        since, self._elapsed_ps = self._elapsed_ps, int(elapsed[0] * PS_PER_MS)
        lost, failure = self._judge(flags, max(0, since - PS_PER_MS))
        if failure is None and not data:
            lib.invoke("MH_CTCStatus", self._device, number)
            if number[0] != 0:
                failure = AcquisitionError("the measurement time is over", where=self.name)
        if failure is not None:
            # A measurement that ended by itself still has to be stopped before the next start.
            lib.status("MH_StopMeas", self._device)
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
            await self._library.call(
                "MH_StopMeas", self._device, timeout_s=self.settings.call_timeout_s
            )
