"""qutools quTAG: time tagger, four or five inputs, through the vendor's library ``libtdcbase.so``.

Calls as in the header tdcbase.h 1.15 (2019) and tdcmultidev.h. Not verified on hardware: channel
numbers of tags (input 1 is 0, as in the binary files; start as fifth input is 4), that an event
waits in the buffer for less than 50 ms. The unit has no start of a measurement: its clock runs
from ``TDC_init`` on. Time zero of an acquisition is its first event, which the host's stamp refers
to.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from photonlink.drivers.qutools.tdclib import FIVE_CHANNELS, PROTOTYPES, RECORD, RING, Signal
from photonlink.hal.errors import (
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
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings
from photonlink.hal.taggers import TaggerDriver
from photonlink.hal.tags import (
    AcquisitionStart,
    LostInterval,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)

INSTRUMENT = Registration(
    id="qutools.qutag",
    title="qutools quTAG: time tagger, four or five inputs",
    driver="Qutag",
    facets=("StreamsTags",),
    transports=("lib",),
    evidence="manual",
    emulator="qutools-qutag",
    case={"reply_timeout_s": 2.0, "first_channel": 0, "loss": "flagged"},
)

CHUNK_EVERY_S = 0.05
FIRST_EVENT_S = 0.2
POLL_S = 0.005
LATENCY_S = 0.05


class Qutag(TaggerDriver):
    """One quTAG. All library calls run in the library's own thread; one unit per program."""

    class Settings(DriverSettings):
        """Level, edge and dead time hold for all inputs that are used."""

        reply_timeout_s: float = Field(default=5.0, gt=0, le=60)
        inputs: tuple[int, ...] = Field(default=(), description="0-based; none: all of them")
        level_v: float | None = Field(
            default=None, ge=-2, le=3, description="threshold, V; none leaves it as it is"
        )
        edge: Literal["rising", "falling"] = Field(default="rising", description="or `falling`")
        delays_ps: dict[int, int] = Field(
            default_factory=dict, description="input → delay, ±100 000 ps"
        )
        dead_time_ps: int | None = Field(default=None, ge=0, le=1_000_000_000, description="ps")
        five_inputs: bool = Field(
            default=False, description="the start input is the fifth; without it, it is off"
        )

    PROTOTYPES: ClassVar[Prototypes] = PROTOTYPES
    INPUTS: ClassVar[int] = 4
    _resolution_ps = 1.0
    _connected = _lost = False
    _origin: int | None = None
    _zero_s = _seen_s = 0.0
    _end = 0
    _first: WireChunk | None = None

    def make_codec(self, address: str, tap: Tap | None) -> VendorLibrary:
        self._tap = tap
        self._place = Address.parse(address).only("serial", "id")
        return VendorLibrary(self._place, self.PROTOTYPES, timeout_s=self.settings.reply_timeout_s)

    @property
    def capabilities(self) -> TaggerCapabilities:
        return TaggerCapabilities(tuple(range(self.inputs)), self._resolution_ps, 20e6)

    @property
    def inputs(self) -> int:
        """How many there are."""
        return self.INPUTS + int(self.settings.five_inputs)

    @property
    def wire_format(self) -> WireFormat:
        return WireFormat("qutag", {"resolution_ps": self._resolution_ps})

    async def identify(self) -> Identity:
        identity: Identity = await self.codec.run(self._open)
        return identity

    def _open(self) -> Identity:
        lib = self.codec
        status = lib.status("TDC_init", self._place.number("id", -1))
        if status:
            lib.status("TDC_deInit")  # the library would go on in its demo mode
            raise LinkNotFound(
                f"no unit was found: {lib.error_text(status)}",
                where=self.address,
                hint="Is it plugged in, used by another program, or has it another `id`?",
            )
        self._connected = True
        kind, device_id, serial, _ = lib.invoke(
            "TDC_getDeviceInfo", lib.invoke("TDC_getCurrentAddress")
        )
        wanted = self._place.options.get("serial", serial)
        if wanted != serial:
            raise IdentityError(f"unit {wanted} does not answer", where=self.name, seen=serial)
        self._resolution_ps = round(lib.invoke("TDC_getTimebase") * 1e12, 6)
        if not 0.1 <= self._resolution_ps <= 1e6:
            raise InstrumentError(
                "a time base that cannot be", where=self.name, seen=f"{self._resolution_ps} ps"
            )
        self._time = lib.ffi.new("int64_t[]", RING)
        self._channel = lib.ffi.new("uint8_t[]", RING)
        return Identity("qutools", self.model(kind), serial, f"id {device_id}")

    def model(self, kind: int) -> str:
        if kind != 0:
            raise IdentityError("no quTAG", where=self.name, seen=f"device type {kind}")
        return "quTAG"

    async def configure(self) -> None:
        await super().configure()
        for number in (*self.settings.inputs, *self.settings.delays_ps):
            if number not in range(self.inputs):
                raise LimitError(
                    f"there is no input {number}: inputs are 0…{self.inputs - 1}", where=self.name
                )
        if any(abs(delay) > 100_000 for delay in self.settings.delays_ps.values()):
            raise LimitError("a delay is outside ±100 000 ps", where=self.name)
        await self.codec.run(self.apply)

    def used(self) -> set[int]:
        """The inputs that are switched on."""
        return set(self.settings.inputs) or set(range(self.inputs))

    def apply(self) -> None:
        """All settings to the unit, in the library's thread."""
        lib, settings = self.codec, self.settings
        if settings.five_inputs and not lib.invoke("TDC_checkFeatures") & FIVE_CHANNELS:
            raise LimitError("this unit has no fifth input", where=self.name)
        lib.invoke("TDC_setFiveChannelMode", int(settings.five_inputs))
        # without bit 0 the start input does not reset the unit's clock
        lib.invoke("TDC_enableChannels", sum(1 << _vendor(n) % 5 for n in self.used()))
        for number in self.used():
            if settings.level_v is not None:
                lib.invoke(
                    "TDC_configureSignalConditioning",
                    _vendor(number),
                    Signal.MISC,
                    int(settings.edge == "rising"),
                    settings.level_v,
                )
            if settings.dead_time_ps is not None:
                lib.invoke("TDC_setDeadTime", _vendor(number), settings.dead_time_ps)
        delays = [settings.delays_ps.get(n, 0) for n in (4, 0, 1, 2, 3)]
        lib.invoke("TDC_setChannelDelays", lib.ffi.new("int[5]", delays))

    async def release(self) -> None:
        try:
            if self.is_open and self._connected:
                with contextlib.suppress(PhotonlinkError):
                    await self.codec.run(lambda: self.codec.status("TDC_deInit"))
        finally:
            self._connected = self.streaming = False
            await super().release()

    async def snapshot(self) -> Mapping[str, Value]:
        """Rates in Hz per input, from the unit's own counters."""
        values: Mapping[str, Value] = await self.codec.run(self._snapshot)
        return values

    def _snapshot(self) -> dict[str, Value]:
        lost = bool(self.codec.invoke("TDC_getDataLost"))  # fails when the unit is gone
        self._lost = self._lost or lost
        counts, _ = self.codec.invoke("TDC_getCoincCounters")
        exposure_s = self.codec.invoke("TDC_getDeviceParams")[-1] / 1e3
        values: dict[str, Value] = {"streaming": self.streaming}
        for number in range(self.inputs):
            rate = counts[self.counter(number)] / exposure_s if exposure_s else 0.0
            values[f"rate_{number}_hz"] = round(rate)
        return values

    def counter(self, number: int) -> int:
        """Index of an input among the counters."""
        return _vendor(number) % 5

    async def begin(self) -> AcquisitionStart:
        """Empty the buffer and wait for the first event: it is time zero."""
        stamp: AcquisitionStart = await self.codec.run(self._start)
        return stamp

    def _start(self) -> AcquisitionStart:
        lib = self.codec
        lib.invoke("TDC_freezeBuffers", 0)
        lib.invoke("TDC_getDataLost")  # drop older events
        lib.invoke("TDC_setTimestampBufferSize", RING)  # empties it
        self._lost, self._origin, self._end = False, None, 0
        self._zero_s = self._seen_s = time.time()
        deadline = time.monotonic() + FIRST_EVENT_S
        while self._origin is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
            self._first = self._read()
        uncertainty_s = POLL_S + LATENCY_S if self._origin is not None else FIRST_EVENT_S
        return AcquisitionStart(self._zero_s, uncertainty_s)

    async def pieces(self) -> AsyncIterator[WireChunk]:
        """Records of 10 bytes, as the vendor's raw files have them."""
        while self.streaming:
            chunk, self._first = self._first or await self.codec.run(self._read), None
            if self._tap is not None:
                self._tap("<", bytes(chunk.data))
            yield chunk
            if len(chunk.data) < RING // 2 * RECORD.itemsize:
                await asyncio.sleep(CHUNK_EVERY_S)

    def _read(self) -> WireChunk:
        """The content of the ring buffer; when it was full, older events are lost."""
        lib = self.codec
        count = lib.invoke("TDC_getLastTimestamps", 1, self._time, self._channel)
        lost = bool(lib.invoke("TDC_getDataLost")) or self._lost
        self._lost = False
        if not 0 <= count <= RING:
            raise InstrumentError("impossible number of events", where=self.name, seen=str(count))
        records = np.empty(count, RECORD)
        records["time"] = np.frombuffer(lib.ffi.buffer(self._time), np.int64, count)
        records["channel"] = np.frombuffer(lib.ffi.buffer(self._channel), np.uint8, count)
        if count:
            self._set_origin(records["time"])
            records["time"] -= self._origin
        return WireChunk(records.tobytes(), self._losses(records["time"], lost))

    def _set_origin(self, ticks: Any) -> None:
        """The first event ever is time zero; its age says when that was."""
        if self._origin is not None:
            return
        now, unit_s = time.time(), self._resolution_ps * 1e-12
        span_s = float(ticks[-1] - ticks[0]) * unit_s
        first_s = now - span_s  # or earlier: events are buffered until they are read
        if now - self._zero_s <= FIRST_EVENT_S + LATENCY_S:
            # the first event after the buffer was emptied came about one mean gap later
            gap_s = span_s / (len(ticks) - 1) if len(ticks) > 1 else first_s - self._zero_s
            self._origin, self._zero_s = int(ticks[0]), min(first_s, self._zero_s + gap_s)
        else:  # the stamp has been returned: the clock counts from there
            self._origin = int(ticks[0]) - round((first_s - self._zero_s) / unit_s)

    def _losses(self, ticks: Any, lost: bool) -> tuple[LostInterval, ...]:
        """Gaps of this read: before its first event, or somewhere in it."""
        since_ps = round(self._end * self._resolution_ps)
        if len(ticks):
            self._end = int(ticks[-1])
        until_ps = round(self._end * self._resolution_ps) if len(ticks) else -1
        if lost:
            return (LostInterval(since_ps, until_ps, None, "the unit signals data loss"),)
        if len(ticks) >= RING:
            first_ps = round(int(ticks[0]) * self._resolution_ps)
            return (LostInterval(since_ps, first_ps, None, "the buffer of 1 000 000 overran"),)
        return ()

    async def end(self) -> None:
        await self.codec.call("TDC_freezeBuffers", 1)


def _vendor(number: int) -> int:
    """The vendor's number of an input: 1…4, and 5 for the start input (where settings name it; in
    masks and counters it is bit and place 0)."""
    return number + 1
