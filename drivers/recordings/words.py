"""Records that need a rewrite before a decoder reads them: words as text, channels beyond a byte.

S-Fifteen's readout program writes the 64-bit words of its ``a1`` format as text, too: one word of
16 hexadecimal digits a line (``-a 2``), or two lines of 8 digits, low half first (``-a 0``). Time
Tagger software numbers virtual channels from 1001 on; a TagBlock has a byte for a channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from photonlink.hal.errors import RecordingError

_LINES = {"a2": 16, "a0": 8}  # hexadecimal digits a line
SWABIAN_RECORD = np.dtype(
    [("kind", "u1"), ("pad", "u1"), ("missed", "<u2"), ("channel", "<i4"), ("time", "<i8")]
)
_DIRECT = 127  # channels that the decoder takes as they are
MAX_CHANNELS = 64


def text_format(head: bytes) -> str | None:
    """``a0`` or ``a2`` when the bytes are lines of such a file, else None."""
    lines = head[:4096].splitlines()[:-1] or head.splitlines()
    for name, digits in _LINES.items():
        if len(lines) > 1 and all(re.fullmatch(rb"[0-9a-fA-F]{%d}" % digits, x) for x in lines):
            return name
    return None


def text_words(file: BinaryIO, name: str, records: int, where: str) -> Iterator[tuple[int, bytes]]:
    """(byte position, words as ``a1`` low first). RecordingError at the first invalid line."""
    digits, position = _LINES[name], 0
    lines_a_record = 16 // digits
    words: list[bytes] = []
    start = 0
    for line in file:
        text = line.strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{%d}" % digits, text):
            whole = len(words) // lines_a_record * lines_a_record
            yield start, _binary(words[:whole])
            raise RecordingError(
                f"a line that is no word of {digits} hexadecimal digits",
                where=where, position=position, hint="What comes before it has been read",
            )  # fmt: skip
        words.append(text)
        position += len(line)
        if len(words) == records * lines_a_record:
            yield start, _binary(words)
            words, start = [], position
    whole = len(words) // lines_a_record * lines_a_record
    yield start, _binary(words[:whole])
    if whole < len(words):
        raise RecordingError(
            "the recording ends in the middle of a word", where=where, position=position
        )


def _binary(lines: list[bytes]) -> bytes:
    data = bytes.fromhex(b"".join(lines).decode("ascii"))
    digits = len(lines[0]) if lines else 16
    return np.frombuffer(data, f">u{digits // 2}").astype(f"<u{digits // 2}").tobytes()


def swabian_channels(path: Path) -> dict[int, int]:
    """Number → code for the channels of a dump that the decoder cannot take as they are.

    One pass over the file. RecordingError for more channels than an instrument can have.
    """
    found: set[int] = set()
    with path.open("rb") as file:
        while data := file.read(SWABIAN_RECORD.itemsize << 16):
            whole = len(data) // SWABIAN_RECORD.itemsize * SWABIAN_RECORD.itemsize
            rows = np.frombuffer(data[:whole], SWABIAN_RECORD)
            found |= set(np.unique(rows["channel"][rows["kind"] == 0]).tolist())
            if len(found) > 16 * MAX_CHANNELS:
                break
    odd = sorted(n for n in found if n == 0 or abs(n) > _DIRECT)
    if len(odd) > MAX_CHANNELS:
        return {}  # damaged records: the decoder counts them
    free = [c for c in range(_DIRECT, 0, -1) if c not in found]
    return dict(zip(odd, free, strict=False))


def with_codes(data: bytes, codes: Mapping[int, int]) -> bytes:
    """Whole records of a dump, with the channels of ``codes`` renumbered."""
    rows = np.frombuffer(data, SWABIAN_RECORD, count=len(data) // SWABIAN_RECORD.itemsize).copy()
    channel = rows["channel"].copy()
    for number, code in codes.items():
        rows["channel"][channel == number] = code
    return rows.tobytes() + data[rows.nbytes :]
