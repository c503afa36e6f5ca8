"""PicoQuant's unified TTTR file (PTU): header tags and the records behind them.

A file is ``PQTTTR\\0\\0``, an 8-byte version, 48-byte tags up to ``Header_End``, then 32-bit
records. Layout, tag types and record type codes as published by PicoQuant's own readers and
ptufile. Both directions have been checked against ``ptufile`` only, not against PicoQuant's
software.
"""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from photonlink.hal.errors import RecordingError
from photonlink.hal.tags import WireFormat

MAGIC = b"PQTTTR\0\0"
_VERSION = b"1.0.00\0\0"
_TAG = struct.Struct("<32siI8s")
_HEADER_LIMIT = 1 << 24  # no header is longer; limits the bytes read for a corrupt one

_EMPTY, _BOOL, _INT, _FLOAT, _TIME = 0xFFFF0008, 0x00000008, 0x10000008, 0x20000008, 0x21000008
_INTEGERS = {_INT, 0x11000008, 0x12000008}  # plain, bit set, colour
_FLOAT_ARRAY, _ANSI, _WIDE, _BLOB = 0x2001FFFF, 0x4001FFFF, 0x4002FFFF, 0xFFFFFFFF
_EPOCH = dt.datetime(1899, 12, 30)  # PTU times are local, without a zone

# TTResultFormat_TTTRRecType -> decoder
RECORD_TYPES = {
    0x00010303: "t3_ph300",
    0x00010203: "t2_ph300",
    0x00010304: "t3_hh1",
    0x00010204: "t2_hh1",
    0x01010304: "t3",
    0x01010204: "t2",
    0x00010305: "t3",
    0x00010205: "t2",
    0x00010306: "t3",
    0x00010206: "t2",
    0x00010307: "t3",
    0x00010207: "t2",
}
_WRITTEN_AS = {
    "t2": (0x00010207, "MultiHarp 150"),
    "t3": (0x00010307, "MultiHarp 150"),
    "t2_hh1": (0x00010204, "HydraHarp 400"),
    "t3_hh1": (0x00010304, "HydraHarp 400"),
    "t2_ph300": (0x00010203, "PicoHarp 300"),
    "t3_ph300": (0x00010303, "PicoHarp 300"),
}

TagValue = bool | int | float | str | bytes | dt.datetime | tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class PtuHeader:
    """tags: by name; an indexed tag becomes a dict entry ``name[i]``. data_start: first record."""

    tags: Mapping[str, TagValue]
    data_start: int
    records: int | None
    wire_format: WireFormat

    def text(self, name: str) -> str:
        value = self.tags.get(name)
        return value if isinstance(value, str) else ""


def _payload(kind: int, value: bytes, extra: bytes) -> TagValue:
    if kind == _EMPTY:
        return None
    if kind == _BOOL:
        return bool(struct.unpack("<q", value)[0] != 0)
    if kind in _INTEGERS:
        return int(struct.unpack("<q", value)[0])
    if kind == _FLOAT:
        return float(struct.unpack("<d", value)[0])
    if kind == _TIME:
        days = float(struct.unpack("<d", value)[0])
        try:
            return _EPOCH + dt.timedelta(days=days)
        except (OverflowError, ValueError):
            return days
    if kind == _FLOAT_ARRAY:
        return tuple(np.frombuffer(extra[: len(extra) // 8 * 8], dtype="<f8").tolist())
    if kind == _ANSI:
        return extra.split(b"\0", 1)[0].decode("cp1252", errors="replace")
    if kind == _WIDE:
        return extra.decode("utf-16-le", errors="replace").split("\0", 1)[0]
    return extra


def _read(file: BinaryIO, size: int, where: str) -> bytes:
    position = file.tell()
    data = file.read(size) if 0 <= size <= _HEADER_LIMIT else b""
    if len(data) != size:
        raise RecordingError(
            "the PTU header is cut off or corrupt",
            where=where,
            seen=f"{size} bytes wanted at byte {position}",
            position=position,
        )
    return data


def read_header(file: BinaryIO, where: str) -> PtuHeader:
    """Parse the header from the start of ``file``. RecordingError names the byte."""
    _read(file, len(MAGIC) + len(_VERSION), where)
    tags: dict[str, TagValue] = {}
    while True:
        position = file.tell()
        raw, index, kind, value = _TAG.unpack(_read(file, _TAG.size, where))
        name = raw.split(b"\0", 1)[0].decode("ascii", errors="replace")
        if name == "Header_End":
            break
        known = {_EMPTY, _BOOL, _FLOAT, _TIME, _FLOAT_ARRAY, _ANSI, _WIDE, _BLOB, *_INTEGERS}
        if kind not in known or position > _HEADER_LIMIT:
            raise RecordingError(
                f"PTU tag {name!r} has the unknown type 0x{kind:08x}",
                where=where,
                position=position,
            )
        extra = b""
        if kind in (_FLOAT_ARRAY, _ANSI, _WIDE, _BLOB):
            extra = _read(file, struct.unpack("<q", value)[0], where)
        tags[name if index < 0 else f"{name}[{index}]"] = _payload(kind, value, extra)
    return _interpret(tags, file.tell(), where)


def _picoseconds(tags: Mapping[str, TagValue], name: str, where: str) -> float:
    value = tags.get(name)
    if not isinstance(value, (int, float)) or not 0 < value < 10:
        raise RecordingError(f"the PTU tag {name} is missing or makes no sense", where=where)
    exact = Fraction(value) * 10**12
    if float(np.float32(value)) == value:
        # the value was stored in single precision: the true one lies within half of its last digit
        return float(_simplest(exact * (1 - _SINGLE), exact * (1 + _SINGLE)))
    # 8.0e-11 s in binary is not exactly 80 ps: take the nearest simple fraction
    return float(exact.limit_denominator(1_000_000))


_SINGLE = Fraction(1, 1 << 24)  # half the last digit of a float32, relative


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction with the smallest denominator in [low, high], 0 < low <= high."""
    whole = -(-low.numerator // low.denominator)
    if whole <= high:
        return Fraction(whole)
    floor = low.numerator // low.denominator
    return floor + 1 / _simplest(1 / (high - floor), 1 / (low - floor))


def contradictions(header: PtuHeader, size: int) -> tuple[str, ...]:
    """Tags of a header that contradict each other or its file, in words; the records win."""
    tags, name, found = header.tags, header.wire_format.name, []
    mode = tags.get("Measurement_Mode")
    if mode in (2, 3) and name.startswith("t3") != (mode == 3):
        found.append(f"Measurement_Mode says T{mode}, the record type {name}: read as {name}")
    if header.records is not None and size - header.data_start >= 4 * (header.records + 1):
        rest = (size - header.data_start) // 4 - header.records
        found.append(f"{rest:,} more records than TTResult_NumberOfRecords says: they are not read")
    unit = header.wire_format.parameters
    rate = tags.get("TTResult_SyncRate")
    if name.startswith("t3") and isinstance(rate, int) and rate > 0:
        period = float(unit["sync_period_ps"])
        if abs(period * rate / 1e12 - 1) > 0.01:
            found.append(
                f"MeasDesc_GlobalResolution says a sync period of {period:g} ps, "
                f"TTResult_SyncRate {1e12 / rate:g} ps: the former is used"
            )
    base = tags.get("MeasDesc_Resolution")
    if name.startswith("t2") and isinstance(base, float) and base > 0:
        tick = float(unit["resolution_ps"])
        if abs(base * 1e12 / tick - 1) > 1e-3 and base * 1e12 > tick:
            found.append(
                f"MeasDesc_GlobalResolution says {tick:g} ps, MeasDesc_Resolution "
                f"{base * 1e12:g} ps: the former is used"
            )
    return tuple(found)


def _interpret(tags: Mapping[str, TagValue], start: int, where: str) -> PtuHeader:
    code = tags.get("TTResultFormat_TTTRRecType")
    name = RECORD_TYPES.get(code) if isinstance(code, int) else None
    if name is None:
        seen = f"0x{code:08x}" if isinstance(code, int) else repr(code)
        raise RecordingError("the PTU record type is not known", where=where, seen=seen)
    if tags.get("TTResultFormat_BitsPerRecord", 32) not in (0, 32):
        raise RecordingError("the PTU records are not 32 bits wide", where=where)
    unit = _picoseconds(tags, "MeasDesc_GlobalResolution", where)
    if name.startswith("t3"):
        bin_ps = _picoseconds(tags, "MeasDesc_Resolution", where)
        parameters = {"resolution_ps": bin_ps, "sync_period_ps": unit}
    else:
        parameters = {"resolution_ps": unit}
    count = tags.get("TTResult_NumberOfRecords")
    records = count if isinstance(count, int) and count > 0 else None
    return PtuHeader(tags, start, records, WireFormat(name, parameters))


def _tag(name: str, value: TagValue, index: int = -1) -> bytes:
    extra = b""
    if isinstance(value, bool):
        kind, packed = _BOOL, struct.pack("<q", -1 if value else 0)
    elif isinstance(value, int):
        kind, packed = _INT, struct.pack("<q", value)
    elif isinstance(value, float):
        kind, packed = _FLOAT, struct.pack("<d", value)
    elif isinstance(value, dt.datetime):
        days = (value - _EPOCH) / dt.timedelta(days=1)
        kind, packed = _TIME, struct.pack("<d", days)
    elif isinstance(value, str):
        extra = value.encode("cp1252", errors="replace") + b"\0"
        extra += b"\0" * (-len(extra) % 8)
        kind, packed = _ANSI, struct.pack("<q", len(extra))
    else:
        kind, packed = _EMPTY, bytes(8)
    return _TAG.pack(name.encode("ascii"), index, kind, packed) + extra


def _tags(
    *,
    code: int,
    hardware: str,
    t3: bool,
    resolution_s: float,
    unit_s: float,
    input_channels: int,
    acquisition_ms: int,
    created: dt.datetime,
    serial: str,
    comment: str,
    records: int,
) -> list[tuple[str, TagValue]]:
    """The tags that ptufile, phconvert and tttrlib insist on between them."""
    return [
        ("File_GUID", "{" + str(uuid.uuid4()).upper() + "}"),
        ("File_AssuredContent", ""),
        ("CreatorSW_ContentVersion", "1.0"),
        ("CreatorSW_Name", "photonlink"),
        ("CreatorSW_Version", "0.1.0"),
        ("File_CreatingTime", created),
        ("File_Comment", comment),
        ("Measurement_Mode", 3 if t3 else 2),
        ("Measurement_SubMode", 0),
        ("TTResult_StopReason", 0),
        ("TTResultFormat_TTTRRecType", code),
        ("TTResultFormat_BitsPerRecord", 32),
        ("MeasDesc_BinningFactor", 1),
        ("MeasDesc_Offset", 0),
        ("MeasDesc_AcquisitionTime", acquisition_ms),
        ("MeasDesc_StopAt", 0xFFFFFFFF),
        ("MeasDesc_StopOnOvfl", False),
        ("MeasDesc_Restart", False),
        ("HW_Type", hardware),
        ("HW_PartNo", ""),
        ("HW_Version", ""),
        ("HW_SerialNo", serial),
        ("HW_BaseResolution", resolution_s),
        ("HW_InpChannels", input_channels),
        ("HWSync_Divider", 1),
        ("MeasDesc_Resolution", resolution_s),
        ("HW_Markers", 4),
        ("MeasDesc_GlobalResolution", unit_s),
        ("TTResult_SyncRate", round(1 / unit_s) if t3 else 0),
        ("TTResult_InputRate", 0),
        ("TTResult_StopAfter", acquisition_ms),
        ("TTResult_NumberOfRecords", records),
        ("Header_End", None),
    ]


def write_ptu(
    path: str | Path,
    records: npt.NDArray[np.uint32] | bytes | Sequence[int],
    *,
    resolution_ps: float,
    record_format: str = "t2",
    sync_period_ps: float = 0.0,
    input_channels: int = 8,
    acquisition_ms: int = 0,
    created: dt.datetime | None = None,
    serial: str = "",
    comment: str = "",
) -> None:
    """Write T2 or T3 records, as an instrument gave them, to a PTU file that other readers open.

    records: 32-bit words, or their little-endian bytes. resolution_ps: T2 time unit, or T3 dtime
    bin (then ``sync_period_ps`` too). record_format: a name of RECORD_TYPES' values. An existing
    file is not overwritten (FileExistsError).
    """
    code, hardware = _WRITTEN_AS[record_format]
    t3 = record_format.startswith("t3")
    if t3 and sync_period_ps <= 0:
        raise RecordingError("a T3 file needs the sync period", where=str(path))
    data = records if isinstance(records, bytes) else np.asarray(records, dtype="<u4").tobytes()
    if len(data) % 4:
        raise RecordingError("PTU records are 4 bytes each", where=str(path))
    tags = _tags(
        code=code,
        hardware=hardware,
        t3=t3,
        resolution_s=resolution_ps * 1e-12,
        unit_s=(sync_period_ps if t3 else resolution_ps) * 1e-12,
        input_channels=input_channels,
        acquisition_ms=acquisition_ms,
        created=created or dt.datetime.now(),
        serial=serial,
        comment=comment or f"T{3 if t3 else 2} Mode",
        records=len(data) // 4,
    )
    with Path(path).open("xb") as file:
        file.write(MAGIC + _VERSION)
        file.write(b"".join(_tag(name, value) for name, value in tags))
        file.write(data)
