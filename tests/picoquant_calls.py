"""PicoQuant's three families in tests: known light, and a measurement by cffi with the calls of
the vendor's library."""

from __future__ import annotations

import time
from typing import Any

import cffi
import numpy as np
import pytest

SYNC = {"mh": 8, "hh": 8, "ph": 0}  # the sync input's number at the bench
PERIOD = {"mh": 1e12 / 9000, "hh": 1e12 / 9000, "ph": 1e9}  # matches the stand-in port's rate meter
UNIT = {"mh": 80, "hh": 1, "ph": 4}
BINNING = {"mh": 6, "hh": 12, "ph": 16}
MODEL = {
    "mh": "picoquant-multiharp150",
    "hh": "picoquant-hydraharp400",
    "ph": "picoquant-picoharp300",
}
FAMILIES = pytest.mark.parametrize("family", ["mh", "hh", "ph"])


def light(unit: Any, family: str, seconds: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Sync pulses, and on input 1 clicks at random: (times, true time since sync)."""
    rng = np.random.default_rng(3)
    syncs = np.round(np.arange(0, seconds * 1e12, PERIOD[family]))
    clicks = np.sort(rng.uniform(PERIOD[family], seconds * 1e12, 3000))
    since = clicks - syncs[np.searchsorted(syncs, clicks, "right") - 1]
    times = np.concatenate([syncs, clicks]).astype(np.int64)
    channels = np.concatenate([np.full(len(syncs), SYNC[family]), np.ones(len(clicks))])
    order = np.argsort(times, kind="stable")
    unit.port.load(times[order], channels[order])
    return clicks, since


def measure(library: str, family: str, mode: int, binning: int, tacq_ms: int) -> bytes:
    """Records of one measurement with the default settings."""
    p = family.upper()
    ffi = cffi.FFI()
    ffi.cdef(
        f"int {p}_OpenDevice(int, char*); int {p}_CloseDevice(int); int {p}_SetBinning(int, int);"
        f"int {p}_Initialize(int, {'int' if family == 'ph' else 'int, int'});"
        f"int {p}_StartMeas(int, int); int {p}_StopMeas(int); int {p}_CTCStatus(int, int*);"
        f"int {p}_GetFlags(int, int*);"
        f"int {p}_ReadFiFo(int, unsigned int*, {'int*' if family == 'mh' else 'int, int*'});"
    )
    lib: Any = ffi.dlopen(library)

    def call(name: str, *args: Any) -> None:
        assert getattr(lib, f"{p}_{name}")(0, *args) == 0, name

    word, count = ffi.new("int*"), ffi.new("int*")
    call("OpenDevice", ffi.new("char[8]"))
    call("Initialize", *([mode] if family == "ph" else [mode, 0]))
    if mode == 3:
        call("SetBinning", binning)
    buffer = np.empty(1 << 20, np.uint32)
    room = [] if family == "mh" else [131_072]
    records, done, deadline = [], False, time.monotonic() + 10.0
    call("StartMeas", tacq_ms)
    while time.monotonic() < deadline:
        call("ReadFiFo", ffi.from_buffer("unsigned int[]", buffer), *room, count)
        records.append(buffer[: count[0]].tobytes())
        if done and not count[0]:
            break
        call("CTCStatus", word)
        done = word[0] != 0
        time.sleep(0.005)
    call("StopMeas")
    call("CloseDevice")
    return b"".join(records)
