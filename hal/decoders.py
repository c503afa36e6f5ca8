"""Decoders of time-tag records: the Python face of ``hal/decode``.

``decoder_for(wire_format, provenance)`` gives the :class:`TagDecoder` for the bytes that a
:class:`WireFormat` names. Formats, their parameters and channel numbers:

=================== ======================================== ====================================
name                parameters                               channels in the TagBlock
=================== ======================================== ====================================
``tdc1``            --                                       1..4 = pattern bit 0..3
``a1``              ``word_order`` = low_first | high_first  1..4 = pattern bit 0..3
``t2``              ``resolution_ps``                        input 0..62; sync 64; marker 100 + mask
``t2_hh1``          ``resolution_ps``                        the same
``t2_ph300``        ``resolution_ps``                        0..14; marker 100 + mask
``t3``              ``resolution_ps``, ``sync_period_ps``    as T2 (no sync events)
``t3_hh1``          the same                                 the same
``t3_ph300``        the same                                 the same
``qutag``           ``resolution_ps`` (the time base)        0..8; marker 100 + n
``qutag_compressed````resolution_ps``                        0..7
``swabian16``       --                                       rising n = n, falling -n = 128 + n
``a0``, ``a2``      --                                       as ``a1`` (text: 8 or 16 digits a line)
``s15_fast``        --                                       1..4 = pattern bit 0..3
``flat64``          ``resolution_ps``                        rising n = n (1..8), falling 128 + n
``packed32``        ``resolution_ps``                        the same
``nox``             --                                       0..14
``fpga_link``       --                                       rising n = n (1..20), falling 128 + n
``timetagger4``     ``packet_ps``, ``resolution_ps`` (hits)  rising 0..3, falling 128 + n; start 64
=================== ======================================== ====================================

Times are exact: a resolution is taken as the nearest fraction with a denominator up to 10^6,
and only the final time is rounded to whole ps (half up). Dummy events (TDC1, a1) and overflow
records carry no event but move the horizon. Several bits in one pattern are several events at
one time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from photonlink.hal._decode import ffi, lib
from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.tags import (
    LostInterval,
    Provenance,
    TagBlock,
    TagDecoder,
    WireChunk,
    WireFormat,
)

_FORMATS = {
    "tdc1": lib.PL_FORMAT_TDC1,
    "a1": lib.PL_FORMAT_A1,
    "t2": lib.PL_FORMAT_T2,
    "t2_hh1": lib.PL_FORMAT_T2_HH1,
    "t2_ph300": lib.PL_FORMAT_T2_PH300,
    "t3": lib.PL_FORMAT_T3,
    "t3_hh1": lib.PL_FORMAT_T3_HH1,
    "t3_ph300": lib.PL_FORMAT_T3_PH300,
    "qutag": lib.PL_FORMAT_QUTAG,
    "qutag_compressed": lib.PL_FORMAT_QUTAG_PACKED,
    "swabian16": lib.PL_FORMAT_SWABIAN16,
    "a0": lib.PL_FORMAT_A0,
    "a2": lib.PL_FORMAT_A2,
    "s15_fast": lib.PL_FORMAT_S15_FAST,
    "flat64": lib.PL_FORMAT_FLAT64,
    "packed32": lib.PL_FORMAT_PACKED32,
    "nox": lib.PL_FORMAT_NOX,
    "fpga_link": lib.PL_FORMAT_FPGA_LINK,
    "timetagger4": lib.PL_FORMAT_TIMETAGGER4,
}
_REASONS = {
    lib.PL_LOST_DAMAGED: "damaged record",
    lib.PL_LOST_BACKWARDS: "time ran backwards",
    lib.PL_LOST_INSTRUMENT: "instrument overflow",
}
_OWN_UNIT = frozenset({"tdc1", "a1", "swabian16", "a0", "a2", "s15_fast", "nox", "fpga_link"})
ABSOLUTE = frozenset(
    {"a1", "qutag", "swabian16", "a0", "a2", "flat64", "packed32", "nox", "fpga_link"}
    | {"timetagger4"}
)
"""Formats whose records carry the whole time: their clock does not start at zero."""
MAX_DENOMINATOR = 1_000_000
_OPEN_GAPS_MAX = 1024
_LOST_MAX = 1024
_NO_TIME = -(2**63)
_INT64S, _UINT8S = ffi.typeof("int64_t[]"), ffi.typeof("uint8_t[]")
_FIELDS = {
    np.dtype(name): ffi.typeof(f"{name}_t[]") for name in ("int64", "int32", "uint8", "uint16")
}
_INT64, _UINT8 = np.dtype(np.int64), np.dtype(np.uint8)
_Tags = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]


class DecodeError(PhotonlinkError, ValueError):
    """The stream cannot be read further: times run backwards permanently, or exceed 64 bits.

    ``position`` is the byte at which it stopped, counted over the whole stream. Everything
    before it has been handed out.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "", position: int = 0) -> None:
        super().__init__(what, where=where, hint=hint)
        self.position = position


@dataclass(frozen=True, slots=True)
class DecoderInfo:
    """Counts since the decoder was made. ``pending_bytes``: of a record not yet complete."""

    records: int
    dummies: int
    damaged: int
    disordered: int
    position: int
    pending_bytes: int
    held: int
    failed: bool


def _ratio(parameters: Mapping[str, float | int | bool | str], key: str) -> Fraction:
    value = parameters.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DecodeError(f"the format needs {key} as a number, got {value!r}")
    if not (math.isfinite(value) and 0 < value <= 1e13):
        raise DecodeError(f"{key} must lie between 0 and 1e13 ps, got {value!r}")
    return Fraction(value).limit_denominator(MAX_DENOMINATOR)


def _scale(wire_format: WireFormat) -> tuple[int, int, int]:
    """(unit_num, dtime_num, den) for the C decoder: ps per unit and per dtime bin."""
    name, parameters = wire_format.name, wire_format.parameters
    if name in _OWN_UNIT:
        return 1, 0, 1
    resolution = _ratio(parameters, "resolution_ps")
    if not name.startswith("t3") and name != "timetagger4":
        return resolution.numerator, 0, resolution.denominator
    period = _ratio(parameters, "packet_ps" if name == "timetagger4" else "sync_period_ps")
    den = math.lcm(period.denominator, resolution.denominator)
    if den > MAX_DENOMINATOR:  # a measured period has no exact fraction anyway
        den = MAX_DENOMINATOR
    return round(period * den), round(resolution * den), den


class NativeDecoder(TagDecoder):
    """One stream of one format; see the module's table. Not for two threads at a time."""

    def __init__(self, wire_format: WireFormat, provenance: Provenance = Provenance.REAL) -> None:
        code = _FORMATS.get(wire_format.name)
        if code is None:
            raise DecodeError(
                f"no decoder is called {wire_format.name!r}",
                hint=f"There are {', '.join(_FORMATS)}",
            )
        order = wire_format.parameters.get("word_order", "low_first")
        if order not in ("low_first", "high_first"):
            raise DecodeError(f"word_order is low_first or high_first, not {order!r}")
        if wire_format.name == "a1" and order == "high_first":
            code = lib.PL_FORMAT_A1_LEGACY
        slot = ffi.new("pl_decoder **")
        status = lib.pl_decoder_new(slot, code, *_scale(wire_format))
        if status < 0:
            parameters = dict(wire_format.parameters)
            raise DecodeError(f"cannot decode with parameters {parameters}: {_text(status)}")
        pointer = slot[0]
        self.wire_format = wire_format
        self.provenance = provenance
        self._context = ffi.gc(pointer, lib.pl_decoder_free)
        self._record = lib.pl_record_size(code)
        self._info = lib.pl_decoder_info_of(pointer)
        self._lost = ffi.new("pl_lost[]", _LOST_MAX)
        self._consumed = ffi.new("size_t *")
        # absolute clocks start at their first record, the others at zero
        self._end: int | None = None if wire_format.name in ABSOLUTE else 0
        self._open_gaps: list[LostInterval] = []

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a decoder owns C memory: it is neither pickled nor copied")

    @property
    def info(self) -> DecoderInfo:
        i = self._info
        return DecoderInfo(
            records=i.records,
            dummies=i.dummies,
            damaged=i.damaged,
            disordered=i.disordered,
            position=i.position,
            pending_bytes=i.pending,
            held=i.held,
            failed=i.error != lib.PL_OK,
        )

    def set_level(self, level: int) -> None:
        """Force a kernel level (see kernel_level); for tests and benchmarks."""
        if lib.pl_decoder_set_level(self._context, level) < 0:
            raise DecodeError(f"this machine has no kernels of level {level}")

    def feed(self, chunk: WireChunk) -> TagBlock:
        """Decode a chunk. Raises DecodeError once nothing more can be read (see there)."""
        data: Any = ffi.from_buffer(_UINT8S, chunk.data)
        size = len(chunk.data)
        tags = self._decode(data, size)
        if self._consumed[0] < size:
            tags = self._go_on(tags, data, size)
        return self._block(tags, chunk.lost)

    def _decode(self, data: Any, size: int) -> _Tags:
        """One call of the C decoder; ``_consumed`` tells how far it came."""
        capacity = self._info.held + size // self._record + 16
        times, channels = np.empty(capacity, _INT64), np.empty(capacity, _UINT8)
        count = lib.pl_decoder_feed(
            self._context,
            data,
            size,
            ffi.from_buffer(_INT64S, times),
            ffi.from_buffer(_UINT8S, channels),
            capacity,
            self._consumed,
        )
        if count < 0:
            self._refuse(count)
        return times[:count], channels[:count]

    def _go_on(self, first: _Tags, data: Any, size: int) -> _Tags:
        """The rest of a chunk; ``first`` is what fitted, as records may hold several events."""
        pieces, at = [first], self._consumed[0]
        while at < size and self._info.error == lib.PL_OK:
            pieces.append(self._decode(data + at, size - at))
            at += self._consumed[0]
        if len(pieces) == 1:
            return first
        times = np.concatenate([t for t, _ in pieces])
        channels = np.concatenate([c for _, c in pieces])
        for t, c in pieces:
            t.fill(0)
            c.fill(0)
        return times, channels

    def finish(self) -> TagBlock:
        """The end of the stream: tags still held back for their order come out."""
        times = np.empty(self._info.held, dtype=np.int64)
        channels = np.empty(self._info.held, dtype=np.uint8)
        count = lib.pl_decoder_finish(
            self._context,
            ffi.from_buffer(_INT64S, times),
            ffi.from_buffer(_UINT8S, channels),
            len(times),
        )
        if count < 0:
            self._refuse(count)
        return self._block((times, channels), ())

    def _refuse(self, status: int) -> None:
        if status == lib.PL_E_DATA:
            raise DecodeError(
                "times run backwards for good or leave the range of 64 bits",
                where=self.wire_format.name,
                hint="Bytes were lost and the records are out of step, the clock was reset, or "
                "this is another format",
                position=self._info.position,
            )
        raise DecodeError(_text(status))

    def _block(self, tags: _Tags, outside: Sequence[LostInterval]) -> TagBlock:
        times, channels = tags
        horizon, start = self._info.horizon_ps, self._end
        if start is None:
            start = 0 if horizon == _NO_TIME else int(times[0]) if len(times) else horizon
        end = max(horizon, start)
        if horizon != _NO_TIME:
            self._end = end
        lost: list[LostInterval] = []
        if self._info.lost or outside or self._open_gaps:
            lost = [*self._lost_records(), *self._close_gaps(outside, times, end)]
            lost.sort(key=lambda gap: (gap.start_ps, gap.end_ps))
        return TagBlock(times, channels, start, end, tuple(lost), self.provenance)

    def _lost_records(self) -> list[LostInterval]:
        count = lib.pl_decoder_lost(self._context, self._lost, _LOST_MAX)
        return [
            LostInterval(
                gap.start_ps,
                gap.end_ps,
                gap.count if gap.count >= 0 else None,
                _REASONS[gap.reason],
            )
            for gap in (self._lost[i] for i in range(count))
        ]

    def _close_gaps(
        self, outside: Sequence[LostInterval], times: npt.NDArray[np.int64], end: int
    ) -> list[LostInterval]:
        """Gaps known from outside the records; one with end -1 ends at the next decoded record."""
        closed = [gap for gap in outside if gap.end_ps >= 0]
        waiting = self._open_gaps + [gap for gap in outside if gap.end_ps < 0]
        self._open_gaps = []
        for gap in waiting:
            after = int(np.searchsorted(times, gap.start_ps, side="left"))
            if after < len(times):
                stop = int(times[after])
            elif end > gap.start_ps:
                stop = end
            else:
                self._open_gaps.append(gap)
                continue
            stop = max(stop, gap.start_ps + 1)
            closed.append(LostInterval(gap.start_ps, stop, gap.count, gap.reason))
        if len(self._open_gaps) > _OPEN_GAPS_MAX:
            first = min(self._open_gaps, key=lambda gap: gap.start_ps)
            self._open_gaps = [LostInterval(first.start_ps, -1, None, first.reason)]
        return closed


def decoder_for(wire_format: WireFormat, provenance: Provenance = Provenance.REAL) -> NativeDecoder:
    """A fresh decoder for the bytes that ``wire_format`` names; DecodeError when there is none."""
    return NativeDecoder(wire_format, provenance)


def kernel_level() -> int:
    """The kernels in use: 0 portable, 1 AVX2, 2 AVX-512. PHOTONLINK_SIMD forces them by name."""
    return lib.pl_decode_level_get()


def record_size(wire_format: WireFormat) -> int:
    """Bytes per record."""
    code = _FORMATS.get(wire_format.name)
    if code is None:
        raise DecodeError(f"no decoder is called {wire_format.name!r}")
    return lib.pl_record_size(code)


def swabian16_records(
    time_ps: npt.NDArray[np.int64],
    channel: npt.NDArray[np.int32],
    kind: npt.NDArray[np.uint8],
    missed: npt.NDArray[np.uint16],
    *,
    zero_ps: int = 0,
) -> memoryview:
    """``swabian16`` records from arrays of their fields, each (n,); times count from ``zero_ps``.
    DecodeError for arrays of other types or lengths."""
    arrays: tuple[npt.NDArray[Any], ...] = (time_ps, channel, kind, missed)
    if any(a.dtype != t or len(a) != len(time_ps) for a, t in zip(arrays, _FIELDS, strict=True)):
        raise DecodeError("the fields are arrays of int64, int32, uint8, uint16, of one length")
    times, channels, kinds, counts = (
        ffi.from_buffer(t, np.ascontiguousarray(a))
        for a, t in zip(arrays, _FIELDS.values(), strict=True)
    )
    out = np.empty(16 * len(time_ps), np.uint8)
    to = ffi.from_buffer(_UINT8S, out)
    lib.pl_swabian16_write(len(time_ps), times, channels, kinds, counts, zero_ps, to)
    return out.data


def merge(
    streams: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]],
    *,
    out: tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Merge up to 64 streams, each sorted by time, into one; ties keep the order of the streams.

    out: arrays to write to and to return the used part of; touching fresh memory costs more than
    merging. Raises DecodeError when a stream is not sorted or ``out`` is too short.
    """
    for times, channels in (*streams, *([out] if out is not None else [])):
        if times.dtype != np.int64 or channels.dtype != np.uint8 or times.shape != channels.shape:
            raise DecodeError("a stream is an int64 and a uint8 array of one length")
    total = sum(len(times) for times, _ in streams)
    times_out, channels_out = out or (np.empty(total, np.int64), np.empty(total, np.uint8))
    # the buffers must outlive the call: the arrays of pointers do not keep them
    time_buffers = [ffi.from_buffer(_INT64S, times) for times, _ in streams]
    channel_buffers = [ffi.from_buffer(_UINT8S, channels) for _, channels in streams]
    count = lib.pl_merge(
        len(streams),
        ffi.new("int64_t *[]", time_buffers),
        ffi.new("uint8_t *[]", channel_buffers),
        ffi.new("size_t[]", [len(times) for times, _ in streams]),
        ffi.from_buffer(_INT64S, times_out, require_writable=True),
        ffi.from_buffer(_UINT8S, channels_out, require_writable=True),
        len(times_out),
    )
    if count < 0:
        what = "a stream is not sorted" if count == lib.PL_E_DATA else _text(count)
        raise DecodeError(f"cannot merge: {what}")
    return times_out[:total], channels_out[:total]


def _text(status: int) -> str:
    return ffi.string(lib.pl_strerror(status)).decode()
