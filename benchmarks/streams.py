"""Seeded streams in the formats of the instruments, and their decoding with numpy (slow peer).

25 million events a second on four channels, as in a bright entangled-photon link.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photonlink.hal.tags import WireFormat

Int64s = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]
Uint32s = npt.NDArray[np.uint32]
Tags = tuple[Int64s, Uint8s]
GAP_PS = 40_000.0  # mean time between events
_OVERFLOW, _MARKER = np.uint32(0x80000000 | 63 << 25), np.uint32(0x80000000 | 3 << 25)


def poissonian(n: int, seed: int, gap_ps: float = GAP_PS) -> Int64s:
    """Sorted times of a Poissonian process."""
    gaps = np.random.default_rng(seed).exponential(gap_ps, n)
    return np.cumsum(gaps).astype(np.int64)


def channels(n: int, seed: int) -> Uint8s:
    return np.random.default_rng([seed, 1]).integers(0, 4, n).astype(np.uint8)


def with_overflows(words: Uint32s, wraps: Int64s) -> Uint32s:
    """Insert overflow records. ``wraps``: number of wraps of the counter at each word."""
    steps = np.diff(wraps, prepend=0)
    at = np.flatnonzero(steps)
    return np.insert(words, at, _OVERFLOW | steps[at].astype(np.uint32))


def t2_records(n: int, resolution_ps: int = 5) -> Uint32s:
    """PicoQuant T2 (generic): overflow records, one marker in a thousand."""
    ticks = poissonian(n, 1) // resolution_ps
    words = (channels(n, 2).astype(np.uint32) << 25) | (ticks & 0x1FFFFFF).astype(np.uint32)
    marked = words[::1000] & np.uint32(0x1FFFFFF)
    words[::1000] = marked | _MARKER
    return with_overflows(words.astype(np.uint32), ticks >> 25)


def t3_records(n: int, period_ps: int, resolution_ps: int) -> Uint32s:
    times = poissonian(n, 3)
    sync, dtime = times // period_ps, times % period_ps // resolution_ps
    words = (channels(n, 4).astype(np.uint32) << 25) | (dtime << 10 | sync & 1023).astype(np.uint32)
    return with_overflows(words.astype(np.uint32), sync >> 10)


def ptu_file(records: Uint32s, record_type: int, resolution_ps: float) -> io.BytesIO:
    """A PTU file in T2 mode with the fewest tags that a reader accepts."""

    def tag(name: bytes, code: int, value: bytes) -> bytes:
        return struct.pack("<32siI", name, -1, code) + value

    whole, real, empty = 0x10000008, 0x20000008, 0xFFFF0008
    return io.BytesIO(
        b"PQTTTR\0\0" + b"1.0.00\0\0"
        + tag(b"TTResultFormat_TTTRRecType", whole, struct.pack("<q", record_type))
        + tag(b"TTResultFormat_BitsPerRecord", whole, struct.pack("<q", 32))
        + tag(b"Measurement_Mode", whole, struct.pack("<q", 2))
        + tag(b"TTResult_NumberOfRecords", whole, struct.pack("<q", len(records)))
        + tag(b"MeasDesc_GlobalResolution", real, struct.pack("<d", resolution_ps * 1e-12))
        + tag(b"Header_End", empty, bytes(8))
        + records.tobytes()
    )  # fmt: skip


# ---- the other formats: making a stream, and reading it with numpy ----


def _unwrapped(tag: Int64s, wrap: int) -> Int64s:
    """Times from a counter that wraps: each step back is a wrap."""
    return tag + wrap * np.cumsum(np.diff(tag, prepend=0) < 0)


_BIT = np.zeros(32, np.uint8)
_BIT[[1, 2, 4, 8]] = [1, 2, 3, 4]


def _patterns(n: int) -> Int64s:
    pattern = np.int64(1) << channels(n, 5).astype(np.int64)
    pattern[::1000] = 16  # a dummy event, which only carries time
    return pattern


def _make_tdc1(n: int) -> bytes:
    words = ((poissonian(n, 6) // 2000 & 0x7FFFFFF) << 5) | _patterns(n)
    return words.astype("<u4").tobytes()


def _numpy_tdc1(data: bytes) -> Tags:
    words = np.frombuffer(data, "<u4")
    pattern = words & 31
    times = _unwrapped((words >> 5).astype(np.int64), 1 << 27) * 2000
    kept = pattern < 16
    return times[kept], _BIT[pattern[kept]]


def _make_a1(n: int) -> bytes:
    words = (poissonian(n, 7) * 32 // 125 << 10) | _patterns(n)
    return words.astype("<u8").tobytes()


def _numpy_a1(data: bytes) -> Tags:
    words = np.frombuffer(data, "<u8")
    pattern = words & np.uint64(31)
    times = ((words >> np.uint64(10)).astype(np.int64) * 125 + 16) >> 5
    kept = pattern < 16
    return times[kept], _BIT[pattern[kept]]


_T3 = {"sync_period_ps": 100_000, "resolution_ps": 5}


def _make_t3(n: int) -> bytes:
    return t3_records(n, _T3["sync_period_ps"], _T3["resolution_ps"]).astype("<u4").tobytes()


def _numpy_t3(data: bytes) -> Tags:
    words = np.frombuffer(data, "<u4")
    event = words < 0x80000000
    sync = (words & 1023).astype(np.int64)
    base = np.cumsum(np.where(event, 0, 1024 * sync))
    sync, words = (base + sync)[event], words[event]
    dtime = (words >> 10 & 32767).astype(np.int64)
    return sync * _T3["sync_period_ps"] + dtime * _T3["resolution_ps"], (words >> 25).astype("u1")


_QUTAG = np.dtype([("time", "<i8"), ("channel", "<u2")])
_SWABIAN = np.dtype(
    [("kind", "u1"), ("pad", "u1"), ("missed", "<u2"), ("channel", "<i4"), ("time", "<i8")]
)


def _make_qutag(n: int) -> bytes:
    records = np.zeros(n, _QUTAG)
    records["time"], records["channel"] = poissonian(n, 8), channels(n, 9)
    return records.tobytes()


def _numpy_qutag(data: bytes) -> Tags:
    records = np.frombuffer(data, _QUTAG)
    return records["time"].copy(), records["channel"].astype(np.uint8)


def _make_qutag_compressed(n: int) -> bytes:
    words = (poissonian(n, 10) & 0x1FFFFFFFFF) | (channels(n, 11).astype(np.int64) << 37)
    return words.view(np.uint8).reshape(n, 8)[:, :5].tobytes()


def _numpy_qutag_compressed(data: bytes) -> Tags:
    wide = np.zeros((len(data) // 5, 8), np.uint8)
    wide[:, :5] = np.frombuffer(data, np.uint8).reshape(-1, 5)
    words = wide.view(np.int64).reshape(-1)
    return _unwrapped(words & 0x1FFFFFFFFF, 1 << 37), (words >> 37).astype(np.uint8)


def _make_swabian(n: int) -> bytes:
    records = np.zeros(n, _SWABIAN)
    records["time"], records["channel"] = poissonian(n, 12), 1 + channels(n, 13)
    return records.tobytes()


def _numpy_swabian(data: bytes) -> Tags:
    records = np.frombuffer(data, _SWABIAN)
    records = records[records["kind"] == 0]
    channel = records["channel"]
    return records["time"].copy(), np.where(channel > 0, channel, 128 - channel).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Format:
    wire: WireFormat
    record_bytes: int
    make: Callable[[int], bytes]
    numpy: Callable[[bytes], Tags]


OTHERS = {
    "T3": Format(WireFormat("t3", dict(_T3)), 4, _make_t3, _numpy_t3),
    "TDC1": Format(WireFormat("tdc1"), 4, _make_tdc1, _numpy_tdc1),
    "quTAG": Format(WireFormat("qutag", {"resolution_ps": 1}), 10, _make_qutag, _numpy_qutag),
    "quTAG compressed": Format(
        WireFormat("qutag_compressed", {"resolution_ps": 1}),
        5,
        _make_qutag_compressed,
        _numpy_qutag_compressed,
    ),
    "a1": Format(WireFormat("a1"), 8, _make_a1, _numpy_a1),
    "Swabian": Format(WireFormat("swabian16"), 16, _make_swabian, _numpy_swabian),
}
