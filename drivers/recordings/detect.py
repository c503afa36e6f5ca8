"""Detects the kind of a recording from its bytes: magic numbers, else plausible times."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from photonlink.drivers.recordings import container, ptu, words
from photonlink.hal.errors import RecordingError
from photonlink.hal.tags import WireFormat

QUTAG_HEADER = 40
NOX_CONFIGURATION = 0x25
_LOOKS = (65_536, 4_096)  # bytes judged: fewer when damage further on spoils the picture
_SWABIAN_CHANNEL = 65_535  # virtual channels are numbered from 1001 on
_A1_TIME_LIMIT = 256e9  # a median step above 1 s is no a1 recording


UNIT_ASSUMED = (
    "the file does not say its unit of time: 1 ps is assumed (a quTAU has 80.955 ps; tell it "
    "with --unit)"
)
UNITS_ASSUMED = (
    "the packets do not say their units of time: 1 ps is assumed for starts and hits (tell them "
    "with --packet-unit and --unit: packet_binsize and binsize of the driver)"
)
_PACKET = struct.Struct("<4BIQ")  # channel, card, type, flags, words of two hits, start
_FEW_PACKETS, _PACKET_FLAGS, _PACKET_INPUTS = 4, 0x3F, 4


@dataclass(frozen=True, slots=True)
class Raw:
    """A file of bare records: how to read them, and where they begin."""

    wire_format: WireFormat
    data_start: int
    description: str
    text: str | None = None  # a0, a2: words as lines of text
    assumed: str = ""  # parameters that the file does not contain


def _backwards(times: npt.NDArray[np.int64]) -> float:
    """Fraction of steps that go back in time; 1 without any steps."""
    steps = np.diff(times)
    return float(np.mean(steps < 0)) if len(steps) else 1.0


def _a1_score(word: npt.NDArray[np.uint64]) -> float:
    """0 for a perfect a1 stream, above 1 for an impossible one."""
    low = word & np.uint64(0x1F)
    times = (word >> np.uint64(10)).astype(np.int64)
    if len(word) > 2 and np.all(word == word[0]):
        return 2.0  # one word over and over: text or padding
    status = np.unique((word >> np.uint64(6)) & np.uint64(0xF))
    if np.mean(low == 0) > 0.01 or len(status) > 4:
        return 2.0  # words without detector; status bits that look like the bits of a time
    if len(times) > 1 and float(np.median(np.abs(np.diff(times)))) > _A1_TIME_LIMIT:
        return 2.0
    return _backwards(times) if len(times) > 1 else 0.0


def _a1(head: bytes) -> Raw | None:
    pairs = np.frombuffer(head[: len(head) // 8 * 8], dtype="<u4").reshape(-1, 2)
    if not len(pairs):
        return None
    wide = pairs.astype(np.uint64)
    low_first = _a1_score(wide[:, 1] << np.uint64(32) | wide[:, 0])
    high_first = _a1_score(wide[:, 0] << np.uint64(32) | wide[:, 1])
    if min(low_first, high_first) > 0.1:
        return None
    order = "low_first" if low_first <= high_first else "high_first"
    text = "S-Fifteen a1" + (", legacy word order" if order == "high_first" else "")
    return Raw(WireFormat("a1", {"word_order": order}), 0, text)


def _qutag(head: bytes, start: int) -> Raw | None:
    body = head[start:]
    rows = np.frombuffer(body[: len(body) // 10 * 10], dtype=[("t", "<i8"), ("c", "<u2")])
    if not len(rows):
        return None
    channel = rows["c"]
    known = (channel <= 8) | ((channel >= 100) & (channel <= 104))
    times = rows["t"].astype(np.int64)
    if np.mean(known) < 0.99 or np.any(times < 0) or times[-1] == times[0]:
        return None
    if _backwards(times) > 0.01 or not known[:4].all() or _backwards(times[:5]) > 0:
        return None  # the first four records of a headerless file lie where the header would
    text = "quTAG binary" if start else "quTAG raw (binary without header)"
    return Raw(WireFormat("qutag", {"resolution_ps": 1.0}), start, text, assumed=UNIT_ASSUMED)


def _swabian(head: bytes) -> Raw | None:
    layout = np.dtype([("k", "u1"), ("r", "u1"), ("m", "<u2"), ("c", "<i4"), ("t", "<i8")])
    rows = np.frombuffer(head[: len(head) // 16 * 16], dtype=layout)
    if not len(rows) or np.any(rows["k"] > 4) or np.any(rows["r"]):
        return None
    channel = np.abs(rows["c"].astype(np.int64))
    if (
        np.any(channel > _SWABIAN_CHANNEL)
        or len(np.unique(channel)) > words.MAX_CHANNELS
        or np.mean(rows["k"] == 0) < 0.5
        or not rows["t"].any()
    ):
        return None
    if _backwards(rows["t"].astype(np.int64)) > 0.01:
        return None
    return Raw(WireFormat("swabian16"), 0, "Swabian 16-byte tags")


def _tdc1(head: bytes) -> Raw | None:
    word = np.frombuffer(head[: len(head) // 4 * 4], dtype="<u4")
    if len(word) < 16 or np.mean((word & 0x1F) == 0) > 0.01:
        return None
    if np.all(word == word[0]):
        return None  # one word over and over: text or padding
    if _backwards((word >> 5).astype(np.int64)) > 0.4:
        return None  # random words go back half of the time, a roll-over comes every 0.27 s
    return Raw(WireFormat("tdc1"), 0, "S-Fifteen TDC1 stream")


def _timetagger4(head: bytes) -> Raw | None:
    """A chain of whole packets, each where the length of the one before says; starts increase."""
    at, packets, kind, last, hits = 0, 0, b"", -1, list[int]()
    while at + _PACKET.size <= len(head):
        _, _, _, flags, words32, start = _PACKET.unpack_from(head, at)
        end = at + _PACKET.size + 8 * words32
        kind = kind or head[:3]  # channel 0, the card and the type stay the same
        if head[at] or head[at : at + 3] != kind or flags > _PACKET_FLAGS or start <= last:
            return None
        if end > len(head):
            break  # goes on behind the bytes that are judged
        held = struct.unpack_from(f"<{2 * words32}I", head, at + _PACKET.size)
        hits += held[: len(held) - (flags & 1)]
        at, packets, last = end, packets + 1, start
    wrong = sum(hit & 0xF >= _PACKET_INPUTS for hit in hits)
    if packets < _FEW_PACKETS or len(hits) < packets or wrong > 0.01 * len(hits):
        return None
    wire = WireFormat("timetagger4", {"packet_ps": 1.0, "resolution_ps": 1.0})
    return Raw(wire, 0, "cronologic TimeTagger4 packets", assumed=UNITS_ASSUMED)


def detect_raw(head: bytes, where: str) -> Raw:
    """Which bare record format ``head`` (the first bytes of a file) is in.

    The most distinctive formats first. RecordingError when none is plausible.
    """
    name = words.text_format(head)
    if name is not None:
        wire = WireFormat("a1", {"word_order": "low_first"})
        return Raw(wire, 0, f"S-Fifteen {name} (text)", text=name)
    for look in _LOOKS:
        part = head[:look]
        found = _timetagger4(part) or _swabian(part) or _qutag(part, 0)
        found = found or _qutag(part, QUTAG_HEADER) or _a1(part) or _tdc1(part)
        if found is not None and not ptu.MAGIC.startswith(part):
            return found
    raise RecordingError(
        "this is no recording that photonlink knows",
        where=where,
        seen=head[:16].hex(" "),
        hint="Known are PTU, quTAG binary, S-Fifteen a0, a1, a2 and TDC1, Swabian 16-byte tags, "
        "cronologic packets and our own; bare records can be named with --format",
    )


def head_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LOOKS[0])


def kind_of(head: bytes) -> str:
    """``ptu``, ``photonlink`` or ``raw``."""
    if head.startswith(ptu.MAGIC):
        return "ptu"
    return "photonlink" if head.startswith(container.MAGIC) else "raw"
