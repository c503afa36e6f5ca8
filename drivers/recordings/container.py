"""Our own recording: the chunks of a tagger's wire as received, with the known losses.

Layout (docs/recordings.md): magic, version, JSON header with its CRC, then one frame per chunk:
kind, length of the data, length of the loss list, CRC-32 over all of it. Frames are only ever
appended; a file that was cut off is readable up to the cut. The data are raw key material of
the run: the file is created readable by its owner alone.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from photonlink.hal.errors import RecordingError
from photonlink.hal.facets import Identity
from photonlink.hal.tags import (
    AcquisitionStart,
    LostInterval,
    Provenance,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)

MAGIC = b"PLTAGS\r\n"
VERSION = 1
_HEAD = struct.Struct("<8sII")  # magic, version, length of the JSON
_CRC = struct.Struct("<I")
_FRAME = struct.Struct("<IIII")  # kind, length of data, length of loss list, CRC-32
_CHUNK, _END = 1, 2
_DATA_MAX, _LOST_MAX, _JSON_MAX = 1 << 28, 1 << 24, 1 << 20


UNKNOWN = Identity("", "", "")


@dataclass(frozen=True, slots=True)
class Header:
    """The data known at the start of the recording."""

    wire_format: WireFormat
    identity: Identity = UNKNOWN
    start: AcquisitionStart | None = None
    provenance: Provenance = Provenance.REAL
    capabilities: TaggerCapabilities | None = None

    def to_json(self) -> dict[str, Any]:
        start, able = self.start, self.capabilities
        return {
            "format": {"name": self.wire_format.name, "parameters": self._parameters()},
            "identity": {
                "vendor": self.identity.vendor,
                "model": self.identity.model,
                "serial": self.identity.serial,
                "firmware": self.identity.firmware,
            },
            "start": start
            and {"host_time_s": start.host_time_s, "uncertainty_s": start.uncertainty_s},
            "provenance": self.provenance.value,
            "capabilities": able
            and {
                "channels": list(able.channels),
                "resolution_ps": able.resolution_ps,
                "max_rate_hz": able.max_rate_hz,
            },
        }

    def _parameters(self) -> dict[str, float | int | bool | str]:
        return dict(self.wire_format.parameters)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Header:
        start, able = data["start"], data["capabilities"]
        return cls(
            WireFormat(str(data["format"]["name"]), dict(data["format"]["parameters"])),
            Identity(**data["identity"]),
            start and AcquisitionStart(float(start["host_time_s"]), float(start["uncertainty_s"])),
            Provenance(data["provenance"]),
            able
            and TaggerCapabilities(
                tuple(int(c) for c in able["channels"]),
                float(able["resolution_ps"]),
                float(able["max_rate_hz"]),
            ),
        )


class RecordingWriter:
    """Writes one tagger's chunks to a new file. Not thread-safe; ``close`` marks a clean end."""

    def __init__(
        self,
        path: str | Path,
        wire_format: WireFormat,
        *,
        identity: Identity = UNKNOWN,
        start: AcquisitionStart | None = None,
        provenance: Provenance = Provenance.REAL,
        capabilities: TaggerCapabilities | None = None,
    ) -> None:
        """FileExistsError when ``path`` exists: a recording is never overwritten."""
        header = Header(wire_format, identity, start, provenance, capabilities)
        text = json.dumps(header.to_json(), separators=(",", ":")).encode()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(handle, "wb")
        self._file.write(_HEAD.pack(MAGIC, VERSION, len(text)) + text)
        self._file.write(_CRC.pack(zlib.crc32(text)))
        self._file.flush()

    def write(self, chunk: WireChunk) -> None:
        """Append one chunk; it is with the operating system when this returns."""
        self._frame(_CHUNK, chunk.data, chunk.lost)

    def _frame(self, kind: int, data: bytes | memoryview, lost: tuple[LostInterval, ...]) -> None:
        extra = b""
        if lost:
            rows = [[g.start_ps, g.end_ps, g.count, g.reason] for g in lost]
            extra = json.dumps(rows, separators=(",", ":")).encode()
        if len(data) > _DATA_MAX or len(extra) > _LOST_MAX:
            raise RecordingError(f"a chunk of {len(data)} bytes is too large to record")
        sizes = struct.pack("<III", kind, len(data), len(extra))
        crc = zlib.crc32(data, zlib.crc32(extra, zlib.crc32(sizes)))
        self._file.write(sizes + _CRC.pack(crc) + extra)
        self._file.write(data)
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            self._frame(_END, b"", ())
            self._file.close()

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _damaged(what: str, position: int, where: str) -> RecordingError:
    return RecordingError(
        what, where=where, position=position, hint="What comes before it has been read"
    )


def read_header(file: BinaryIO, where: str) -> Header:
    """The header at the start of ``file``, which is left at the first frame."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise _damaged("the recording's header is cut off", len(head), where)
    magic, version, size = _HEAD.unpack(head)
    if magic != MAGIC:
        raise _damaged("not a photonlink recording", 0, where)
    if version != VERSION:
        raise _damaged(f"the recording has version {version}, this software reads 1", 8, where)
    text = file.read(size) if size <= _JSON_MAX else b""
    crc = file.read(_CRC.size)
    if len(text) != size or crc != _CRC.pack(zlib.crc32(text)):
        raise _damaged("the recording's header is cut off or corrupt", _HEAD.size, where)
    try:
        return Header.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(
            f"the recording's header makes no sense ({error!r})", _HEAD.size, where
        ) from (error)


def read_chunks(file: BinaryIO, where: str) -> Iterator[tuple[int, WireChunk]]:
    """(byte position, chunk) for every whole frame.

    Raises RecordingError, with the byte, at a corrupt frame or at the end of a file that was
    not closed cleanly: everything before was yielded.
    """
    while True:
        position = file.tell()
        head = file.read(_FRAME.size)
        if len(head) < _FRAME.size:
            raise _damaged("the recording was not closed: its end is missing", position, where)
        kind, size, extra_size, crc = _FRAME.unpack(head)
        if kind not in (_CHUNK, _END) or size > _DATA_MAX or extra_size > _LOST_MAX:
            raise _damaged("corrupt frame", position, where)
        extra, data = file.read(extra_size), file.read(size)
        if len(extra) + len(data) < size + extra_size:
            raise _damaged("the recording is cut off in the middle of a chunk", position, where)
        if zlib.crc32(data, zlib.crc32(extra, zlib.crc32(head[:12]))) != crc:
            raise _damaged("corrupt chunk: its check sum differs", position, where)
        if kind == _END:
            return
        rows = json.loads(extra) if extra else ()
        yield position, WireChunk(data, tuple(LostInterval(*row) for row in rows))
