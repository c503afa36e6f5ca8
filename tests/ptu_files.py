"""PTU files with the fewest tags that other readers require."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

INT, FLOAT, TIME, TEXT, EMPTY = 0x10000008, 0x20000008, 0x21000008, 0x4001FFFF, 0xFFFF0008


def tag(name: str, kind: int, value: Any) -> bytes:
    payload = b""
    if kind == TEXT:
        payload = value.encode() + b"\0"
        payload += b"\0" * (-len(payload) % 8)
        raw = struct.pack("<q", len(payload))
    else:
        raw = struct.pack("<d" if kind in (FLOAT, TIME) else "<q", value)
    return struct.pack("<32siI", name.encode(), -1, kind) + raw + payload


def write_ptu(
    path: Path, records: bytes, resolution_ps: float, *, kind: int = 0x00010207, mode: int = 2
) -> None:
    """kind: TTResultFormat_TTTRRecType. mode: 2 or 3."""
    head = b"PQTTTR\0\0" + b"1.0.00\0\0"
    for name, type_, value in (
        ("File_GUID", TEXT, "{00000000-0000-0000-0000-000000000000}"),
        ("File_CreatingTime", TIME, 46347.0),
        ("Measurement_Mode", INT, mode),
        ("Measurement_SubMode", INT, 0),
        ("HW_Type", TEXT, "MultiHarp 150"),
        ("MeasDesc_GlobalResolution", FLOAT, resolution_ps * 1e-12),
        ("MeasDesc_Resolution", FLOAT, resolution_ps * 1e-12),
        ("TTResult_SyncRate", INT, 0),
        ("TTResult_NumberOfRecords", INT, len(records) // 4),
        ("TTResultFormat_TTTRRecType", INT, kind),
        ("TTResultFormat_BitsPerRecord", INT, 32),
        ("Header_End", EMPTY, 0),
    ):
        head += tag(name, type_, value)
    path.write_bytes(head + records)
