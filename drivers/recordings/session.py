"""The tagger of a session that ``photonlink node --record`` wrote, as a recording of clicks.

``inputs.bin`` in the session's folder holds every input of the session in order:
``u32 header length | header JSON | u32 payload length | payload | u32 CRC-32 of all before``,
little-endian (docs/recordings.md). The input ``acquisition_started`` holds the wire format, the
inputs ``tags`` are the chunks.
"""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from photonlink.drivers.recordings.container import Header
from photonlink.hal.errors import RecordingError
from photonlink.hal.regular_file import FileError, read_text
from photonlink.hal.tags import LostInterval, WireChunk

INPUTS, ABOUT = "inputs.bin", "session.json"
_LENGTH = struct.Struct("<I")
_HEADER_MAX, _PAYLOAD_MAX = 1 << 16, 1 << 26


def inputs_of(path: Path) -> Path | None:
    """The file of inputs, when ``path`` is the folder of a recorded session or that file."""
    folder = path if path.is_dir() else path.parent
    found = folder / INPUTS
    named = path in (folder, found)
    return found if named and found.is_file() and (folder / ABOUT).is_file() else None


def read_header(path: Path) -> Header:
    """The wire format of the first acquisition. RecordingError when there is none."""
    with path.open("rb") as file:
        for position, about, _ in _inputs(file, str(path)):
            if about["name"] == "acquisition_started":
                try:
                    return _header(about["meta"])
                except (KeyError, TypeError, ValueError) as error:
                    raise _damaged(
                        f"this makes no sense ({error!r})", position, str(path)
                    ) from error
    raise RecordingError("no acquisition was started in this session", where=str(path))


def read_letters(path: Path) -> dict[str, int]:
    """Channel per detector letter, as the session was built; none when that is not readable."""
    with contextlib.suppress(FileError, ValueError, KeyError, TypeError, AttributeError):
        about = json.loads(read_text(path.parent / ABOUT, at_most=1 << 20))
        return {str(letter): int(number) for letter, number in about["channels"].items()}
    return {}


def read_chunks(file: BinaryIO, where: str) -> Iterator[tuple[int, WireChunk]]:
    """(byte position, chunk) of the first acquisition; a later one has a clock of its own."""
    started = False
    for position, about, payload in _inputs(file, where):
        if about["name"] == "acquisition_started":
            if started:
                raise RecordingError(
                    "the acquisition was started anew: its clock is another one",
                    where=where, position=position, hint="What comes before it has been read",
                )  # fmt: skip
            started = True
        elif about["name"] == "tags":
            try:
                lost = tuple(LostInterval(**fields) for fields in about["meta"]["lost"])
            except (KeyError, TypeError) as error:
                raise _damaged(f"this makes no sense ({error!r})", position, where) from error
            yield position, WireChunk(payload, lost)


def _header(meta: dict[str, Any]) -> Header:
    return Header.from_json(
        {
            "format": meta["wire"],
            "identity": {"vendor": "", "model": "", "serial": "", "firmware": ""},
            "start": meta["start"],
            "provenance": "replayed",
            "capabilities": meta["capabilities"],
        }
    )


def _inputs(file: BinaryIO, where: str) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    """(byte position, header, payload); RecordingError where the file is damaged or cut off."""
    while True:
        position = file.tell()
        start = file.read(_LENGTH.size)
        if not start:
            return
        try:
            yield position, *_input(file, start)
        except (ValueError, KeyError, struct.error) as error:
            raise _damaged(f"damaged: {error}", position, where) from error


def _input(file: BinaryIO, start: bytes) -> tuple[dict[str, Any], bytes]:
    (size,) = _LENGTH.unpack(start)
    header = file.read(size if size <= _HEADER_MAX else 0)
    length = file.read(_LENGTH.size)
    (size,) = _LENGTH.unpack(length)
    payload = file.read(size if size <= _PAYLOAD_MAX else 0)
    (crc,) = _LENGTH.unpack(file.read(_LENGTH.size))
    if zlib.crc32(b"".join((start, header, length, payload))) != crc:
        raise ValueError("the check sum differs")
    about = json.loads(header)
    if not isinstance(about, dict) or "name" not in about:
        raise ValueError("an input without a name")
    return about, payload


def _damaged(what: str, position: int, where: str) -> RecordingError:
    return RecordingError(
        what, where=where, position=position, hint="What comes before it has been read"
    )
