"""T2 records of the MultiHarp emulator, wrapped in a PTU file and read by ``ptufile``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest
from ptu_files import write_ptu

pytestmark = pytest.mark.proves("picoquant-multiharp150", by="ptufile")

ptufile = pytest.importorskip("ptufile", reason="ptufile is not installed (extra: peers)")

DECLARATIONS = """
int MH_OpenDevice(int devidx, char* serial);
int MH_CloseDevice(int devidx);
int MH_Initialize(int devidx, int mode, int refsource);
int MH_GetBaseResolution(int devidx, double* resolution, int* binsteps);
int MH_SetInputEdgeTrg(int devidx, int channel, int level, int edge);
int MH_StartMeas(int devidx, int tacq);
int MH_StopMeas(int devidx);
int MH_CTCStatus(int devidx, int* ctcstatus);
int MH_GetFlags(int devidx, int* flags);
int MH_ReadFiFo(int devidx, unsigned int* buffer, int* nactual);
"""


def measure(library: str, tacq_ms: int) -> tuple[bytes, float]:
    """A measurement with the usual calls of the vendor's library."""
    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    mh: Any = ffi.dlopen(library)
    serial, resolution = ffi.new("char[8]"), ffi.new("double*")
    word, count = ffi.new("int*"), ffi.new("int*")
    assert mh.MH_OpenDevice(0, serial) == 0
    assert ffi.string(serial) == b"1000007"  # made from the seed
    assert mh.MH_Initialize(0, 2, 0) == 0
    assert mh.MH_GetBaseResolution(0, resolution, word) == 0
    for channel in range(8):
        assert mh.MH_SetInputEdgeTrg(0, channel, -100, 0) == 0
    buffer = np.empty(1 << 20, np.uint32)
    records = []
    assert mh.MH_StartMeas(0, tacq_ms) == 0
    deadline = time.monotonic() + 10.0
    done = False
    while time.monotonic() < deadline:
        assert mh.MH_ReadFiFo(0, ffi.from_buffer("unsigned int[]", buffer), count) == 0
        records.append(buffer[: count[0]].tobytes())
        if done and not count[0]:
            break
        assert mh.MH_GetFlags(0, word) == 0
        assert not word[0] & 0x5E
        assert mh.MH_CTCStatus(0, word) == 0
        done = word[0] != 0
        time.sleep(0.005)
    assert mh.MH_StopMeas(0) == 0
    assert mh.MH_CloseDevice(0) == 0
    return b"".join(records), resolution[0]


@pytest.mark.parametrize("counter_start", [0, -3], ids=["zero", "just before the first wrap"])
def test_times_and_channels_are_exact(emulate: Any, tmp_path: Path, counter_start: int) -> None:
    unit = emulate("picoquant-multiharp150", counter_start=counter_start)
    rng = np.random.default_rng(8)
    # three bursts with gaps of many wraps (2.7 ms each) between them, on four inputs and sync (8)
    starts = np.array([0.0, 0.05, 0.31])[rng.integers(0, 3, 20_000)]
    times = np.sort((starts + rng.random(20_000) * 0.03) * 1e12).astype(np.int64)
    channels = np.array([1, 2, 3, 7, 8], np.uint8)[rng.integers(0, 5, 20_000)]
    unit.port.load(times, channels)
    records, resolution_ps = measure(unit.path, 500)
    assert resolution_ps == 80.0
    path = tmp_path / "run.ptu"
    write_ptu(path, records, resolution_ps)
    with ptufile.PtuFile(path) as ptu:
        assert ptu.tags["Measurement_Mode"] == 2
        assert ptu.tags["TTResult_NumberOfRecords"] == len(records) // 4
        decoded = ptu.decode_records()
    photons = decoded[decoded["channel"] >= 0]
    origin = counter_start % (1 << 25)
    np.testing.assert_array_equal(photons["time"], times // 80 + origin)
    # ptufile gives sync events of T2 files the number 0, as input 0 has, which is unused here
    np.testing.assert_array_equal(photons["channel"], np.where(channels == 8, 0, channels))
