"""The stand-in ``libmh150.so`` and the MultiHarp behind it, through the vendor's C interface."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import numpy.typing as npt
import pytest

DECLARATIONS = """
int MH_GetLibraryVersion(char* version);
int MH_GetErrorString(char* errstring, int errcode);
int MH_OpenDevice(int devidx, char* serial);
int MH_CloseDevice(int devidx);
int MH_Initialize(int devidx, int mode, int refsource);
int MH_GetHardwareInfo(int devidx, char* model, char* partno, char* version);
int MH_GetSerialNumber(int devidx, char* serial);
int MH_GetFeatures(int devidx, int* features);
int MH_GetBaseResolution(int devidx, double* resolution, int* binsteps);
int MH_GetNumOfInputChannels(int devidx, int* nchannels);
int MH_SetSyncDiv(int devidx, int div);
int MH_SetSyncEdgeTrg(int devidx, int level, int edge);
int MH_SetSyncChannelOffset(int devidx, int value);
int MH_SetSyncDeadTime(int devidx, int on, int deadtime);
int MH_SetInputEdgeTrg(int devidx, int channel, int level, int edge);
int MH_SetInputChannelOffset(int devidx, int channel, int value);
int MH_SetInputDeadTime(int devidx, int channel, int on, int deadtime);
int MH_SetInputChannelEnable(int devidx, int channel, int enable);
int MH_SetMeasControl(int devidx, int control, int startedge, int stopedge);
int MH_StartMeas(int devidx, int tacq);
int MH_StopMeas(int devidx);
int MH_CTCStatus(int devidx, int* ctcstatus);
int MH_GetFlags(int devidx, int* flags);
int MH_GetElapsedMeasTime(int devidx, double* elapsed);
int MH_GetStartTime(int devidx, unsigned int* dw2, unsigned int* dw1, unsigned int* dw0);
int MH_ReadFiFo(int devidx, unsigned int* buffer, int* nactual);
int MH_GetSyncRate(int devidx, int* syncrate);
int MH_GetCountRate(int devidx, int channel, int* cntrate);
int MH_GetAllCountRates(int devidx, int* syncrate, int* cntrates);
int MH_GetWarnings(int devidx, int* warnings);
int MH_GetWarningsText(int devidx, char* text, int warnings);
int MH_WRabbitGetMAC(int devidx, unsigned char* mac);
int MH_WRabbitSetMAC(int devidx, unsigned char* mac);
int MH_WRabbitGetInitScript(int devidx, char* script);
int MH_WRabbitSetInitScript(int devidx, char* script);
int MH_WRabbitGetSFPData(int devidx, char* names, int* dtxs, int* drxs, int* alphas);
int MH_WRabbitSetSFPData(int devidx, char* names, int* dtxs, int* drxs, int* alphas);
int MH_WRabbitInitLink(int devidx, int on);
int MH_WRabbitSetMode(int devidx, int bootfromscript, int reinit, int mode);
int MH_WRabbitSetTime(int devidx, unsigned int hi, unsigned int lo);
int MH_WRabbitGetTime(int devidx, unsigned int* hi, unsigned int* lo, unsigned int* subsec16ns);
int MH_WRabbitGetStatus(int devidx, int* status);
int MH_WRabbitGetTermOutput(int devidx, char* text, int* nchar);
int SIM_IsEmulator(void);
"""
FIFOFULL, SYNC_LOST, REF_LOST, ACTIVE, DROPPED = 0x02, 0x04, 0x08, 0x20, 0x40


class Library:
    """The loaded library; its methods check the status, ``lib`` does not."""

    def __init__(self, path: str) -> None:
        self.ffi = cffi.FFI()
        self.ffi.cdef(DECLARATIONS)
        self.lib: Any = self.ffi.dlopen(path)
        self._buffer = np.empty(1 << 20, np.uint32)

    def call(self, name: str, *arguments: int) -> None:
        assert getattr(self.lib, "MH_" + name)(0, *arguments) == 0, name

    def ask(self, name: str, *arguments: int, kind: str = "int*") -> Any:
        out = self.ffi.new(kind)
        self.call(name, *arguments, out)
        return out[0] if kind.endswith("*") else self.ffi.string(out)

    def open(self, *, initialize: bool = True) -> Any:
        serial = self.ffi.new("char[8]")
        code = self.lib.MH_OpenDevice(0, serial)
        if code == 0 and initialize:
            self.call("Initialize", 2, 0)
        return code or self.ffi.string(serial)

    def read(self) -> npt.NDArray[np.uint32]:
        count = self.ffi.new("int*")
        self.call("ReadFiFo", self.ffi.from_buffer("unsigned int[]", self._buffer), count)
        return self._buffer[: count[0]].copy()

    def measure(self, tacq_ms: int) -> npt.NDArray[np.uint32]:
        """All records from the start to the end of the acquisition time."""
        self.call("StartMeas", tacq_ms)
        parts, deadline = [], time.monotonic() + 5.0
        while not self.ask("CTCStatus"):
            parts.append(self.read())
            assert time.monotonic() < deadline
            time.sleep(0.005)
        while len(rest := self.read()):
            parts.append(rest)
        self.call("StopMeas")
        return np.concatenate(parts)


def decode(records: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Times in units and channels (sync: -1), by PicoQuant's description of a T2 record."""
    r = records.astype(np.int64)
    special, channel, tag = r >> 31, r >> 25 & 63, r & ((1 << 25) - 1)
    overflow = (special == 1) & (channel == 63)
    base = np.cumsum(np.where(overflow, np.maximum(tag, 1), 0)) << 25
    sync = (special == 1) & (channel == 0)
    assert (overflow | sync | (special == 0)).all()
    keep = ~overflow
    return (base + tag)[keep], np.where(sync, -1, channel)[keep]


@pytest.fixture
def unit(emulate: Any) -> Any:
    return emulate("picoquant-multiharp150")


@pytest.fixture
def mh(unit: Any) -> Iterator[Library]:
    library = Library(unit.path)
    assert library.open() == b"1000007"
    yield library
    library.lib.MH_CloseDevice(0)


def test_every_symbol_is_there_and_provenance_does_not_lie(unit: Any) -> None:
    library = Library(unit.path)
    for line in DECLARATIONS.strip().splitlines():
        getattr(library.lib, line.split("(")[0].split()[-1])
    assert library.lib.SIM_IsEmulator() == 1


@pytest.mark.row("MultiHarp: functions of the vendor's header, error texts")
def test_texts(mh: Library) -> None:
    ffi = mh.ffi
    text = ffi.new("char[64]")
    assert mh.lib.MH_GetLibraryVersion(text) == 0
    assert ffi.string(text) == b"3.1"
    assert mh.lib.MH_GetErrorString(text, -1) == 0
    assert b"OPEN" in ffi.string(text)
    assert mh.lib.MH_GetErrorString(text, -9999) < 0
    model, part, version = ffi.new("char[24]"), ffi.new("char[8]"), ffi.new("char[8]")
    mh.call("GetHardwareInfo", model, part, version)
    assert b"MultiHarp 150" in ffi.string(model)
    assert ffi.string(part)
    assert ffi.string(version)
    assert mh.ask("GetSerialNumber", kind="char[8]") == b"1000007"
    resolution, steps = ffi.new("double*"), ffi.new("int*")
    mh.call("GetBaseResolution", resolution, steps)
    assert resolution[0] == 80.0
    assert mh.ask("GetNumOfInputChannels") == 8
    mh.ask("GetFeatures")


def test_null_pointers_and_wrong_indices_are_refused(mh: Library) -> None:
    null = mh.ffi.NULL
    assert mh.lib.MH_GetFlags(0, null) < 0
    assert mh.lib.MH_ReadFiFo(0, null, null) < 0
    assert mh.lib.MH_OpenDevice(0, null) < 0
    out, serial = mh.ffi.new("int*"), mh.ffi.new("char[8]")
    for index in (-1, 1, 7, 8, 1 << 20):
        assert mh.lib.MH_OpenDevice(index, serial) < 0
        assert mh.lib.MH_GetFlags(index, out) < 0
        assert mh.lib.MH_CloseDevice(index) < 0


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Initialize", (1, 0)),
        ("Initialize", (8, 0)),
        ("Initialize", (2, 2)),  # White Rabbit
        ("Initialize", (2, 17)),
        ("SetSyncDiv", (3,)),
        ("SetSyncEdgeTrg", (1201, 0)),
        ("SetSyncChannelOffset", (100_000,)),
        ("SetSyncDeadTime", (1, 100)),
        ("SetInputEdgeTrg", (8, -100, 0)),
        ("SetInputEdgeTrg", (-1, -100, 0)),
        ("SetInputEdgeTrg", (0, -1201, 0)),
        ("SetInputEdgeTrg", (0, -100, 2)),
        ("SetInputChannelOffset", (0, -100_000)),
        ("SetInputDeadTime", (0, 1, 160_001)),
        ("SetInputChannelEnable", (8, 1)),
        ("SetInputChannelEnable", (0, 2)),
        ("SetMeasControl", (9, 0, 0)),
        ("StartMeas", (0,)),
        ("StartMeas", (360_000_001,)),
        ("WRabbitInitLink", (1,)),
    ],
)
def test_arguments_out_of_range(mh: Library, name: str, arguments: tuple[int, ...]) -> None:
    assert getattr(mh.lib, "MH_" + name)(0, *arguments) < 0


@pytest.mark.row("MultiHarp: hardware information before MH_Initialize")
def test_order_of_calls(unit: Any) -> None:
    library = Library(unit.path)
    out = library.ffi.new("int*")
    assert library.lib.MH_GetFlags(0, out) == -10  # not open
    assert isinstance(library.open(initialize=False), bytes)
    texts = [library.ffi.new("char[24]") for _ in range(3)]
    assert library.lib.MH_GetHardwareInfo(0, *texts) == -22  # not initialised
    assert library.lib.MH_StartMeas(0, 100) == -22
    assert library.lib.MH_SetInputChannelEnable(0, 0, 1) == -22
    library.call("Initialize", 2, 0)
    library.call("StartMeas", 1000)
    assert library.lib.MH_StartMeas(0, 100) == -16
    assert library.lib.MH_SetInputChannelOffset(0, 0, 5) == -16
    library.call("StopMeas")
    library.call("SetInputChannelOffset", 0, 5)
    library.call("CloseDevice")
    assert library.lib.MH_CloseDevice(0) == -10


def test_records_stop_at_the_acquisition_time(mh: Library, unit: Any) -> None:
    truth = np.arange(3000) * 10**8 + 7
    unit.port.load(truth, np.arange(3000) % 5)
    times, channels = decode(mh.measure(200))
    np.testing.assert_array_equal(times, truth[:2000] // 80)
    np.testing.assert_array_equal(channels, np.arange(2000) % 5)
    assert mh.ask("GetElapsedMeasTime", kind="double*") == pytest.approx(200.0, abs=0.01)
    assert not mh.ask("GetFlags") & ACTIVE


def test_overflow_records_come_without_events(mh: Library, unit: Any) -> None:
    records = mh.measure(100)
    assert (records >> 25 == 0b1111111).all()
    total = int((records & ((1 << 25) - 1)).sum())
    assert total == int(100e9 / 80) >> 25


def test_sync_and_its_divider(mh: Library, unit: Any) -> None:
    unit.port.load(np.arange(200) * 10**9, np.tile([8, 2], 100))
    mh.call("SetSyncDiv", 4)
    times, channels = decode(mh.measure(200))
    np.testing.assert_array_equal(times[channels == -1], np.arange(0, 200, 8) * 10**9 // 80)
    assert (channels == 2).sum() == 100
    assert mh.ask("GetWarnings") & 0x200


def test_offsets_and_edges_move_times_and_keep_order(mh: Library, unit: Any) -> None:
    rng = np.random.default_rng(11)
    truth = np.sort(rng.integers(10**6, 15 * 10**10, 4000)) // 80 * 80
    channels = rng.integers(0, 3, 4000)
    unit.port.load(truth, channels)
    mh.call("SetInputChannelOffset", 0, 80_000)
    mh.call("SetInputChannelOffset", 1, -99_920)
    mh.call("SetInputEdgeTrg", 2, -200, 1)  # the end of a negative pulse, 10 ns later
    times, got = decode(mh.measure(150))
    shift = np.array([80_000, -99_920, 10_000])
    expected = np.sort((truth + shift[channels]) // 80)
    np.testing.assert_array_equal(times, expected)
    for number in range(3):
        mine = (truth[channels == number] + shift[number]) // 80
        np.testing.assert_array_equal(times[got == number], mine)


def test_programmable_dead_time(mh: Library, unit: Any) -> None:
    truth = np.array([0, 50_000, 99_000, 150_000, 10**9, 10**9 + 99_999, 10**9 + 100_000])
    unit.port.load(np.repeat(truth, 2), np.tile([0, 1], len(truth)))
    mh.call("SetInputDeadTime", 0, 1, 100_000)
    times, channels = decode(mh.measure(50))
    kept = np.array([0, 150_000, 10**9, 10**9 + 100_000])
    np.testing.assert_array_equal(times[channels == 0], kept // 80)
    assert (channels == 1).sum() == len(truth)


def test_levels_and_enables_open_and_close_inputs(mh: Library, unit: Any) -> None:
    mh.call("SetInputEdgeTrg", 0, -900, 0)  # beyond the pulse
    mh.call("SetInputEdgeTrg", 1, 100, 0)  # wrong polarity
    mh.call("SetInputEdgeTrg", 2, -300, 0)
    mh.call("SetInputChannelEnable", 3, 0)
    assert [unit.port.enabled[i] for i in range(4)] == [False, False, True, False]
    unit.port.load(np.arange(40) * 10**8, np.arange(40) % 4)
    _, channels = decode(mh.measure(20))
    np.testing.assert_array_equal(channels, np.full(10, 2))
    mh.call("Initialize", 2, 0)  # back to the settings of power-on
    assert unit.port.enabled[3] is True


def test_rates_and_warnings(mh: Library, unit: Any) -> None:
    assert mh.ask("GetCountRate", 3) == 4000
    assert mh.ask("GetSyncRate") == 9000
    sync, rates = mh.ffi.new("int*"), mh.ffi.new("int[8]")
    mh.call("GetAllCountRates", sync, rates)
    assert (sync[0], list(rates)) == (9000, [1000 * (i + 1) for i in range(8)])
    assert mh.ask("GetWarnings") == 0
    for channel in range(8):
        mh.call("SetInputChannelEnable", channel, 0)
    assert mh.ask("GetWarnings") == 0x10
    text = mh.ffi.new("char[16384]")
    assert mh.lib.MH_GetWarningsText(0, text, 0x2010) == 0
    assert len(mh.ffi.string(text).splitlines()) == 2


def test_start_time_is_unix_time_in_ps(mh: Library) -> None:
    mh.call("StartMeas", 50)
    words = [mh.ffi.new("unsigned int*") for _ in range(3)]
    mh.call("GetStartTime", *words)
    picoseconds = words[0][0] << 64 | words[1][0] << 32 | words[2][0]
    assert picoseconds / 1e12 == pytest.approx(time.time(), abs=2.0)


# -- loss ----------------------------------------------------------------------------------------


def test_full_memory_ends_the_measurement(mh: Library, unit: Any, until: Any) -> None:
    unit.port.fifo_tags = 1000
    truth = np.arange(5000) * 10**7
    unit.port.load(truth, np.zeros(5000))
    mh.call("StartMeas", 10_000)
    until(lambda: mh.ask("GetFlags") & FIFOFULL)
    assert not mh.ask("GetFlags") & ACTIVE
    assert mh.ask("CTCStatus") != 0
    times, _ = decode(np.concatenate([mh.read(), mh.read(), mh.read()]))
    np.testing.assert_array_equal(times, truth[: len(times)] // 80)  # complete up to the gap
    assert len(times) <= 2000
    assert len(mh.read()) == 0
    mh.call("StopMeas")
    unit.port.fifo_tags = 1 << 20
    assert len(decode(mh.measure(20))[0]) == 2000
    assert not mh.ask("GetFlags") & FIFOFULL


def test_injected_overrun_and_flags(mh: Library, unit: Any) -> None:
    mh.call("StartMeas", 10_000)
    assert mh.ask("GetFlags") == ACTIVE
    unit.control(fault="ref-lost", for_s=0.1)
    unit.control(fault="sync-lost")
    assert mh.ask("GetFlags") == ACTIVE | REF_LOST | SYNC_LOST
    unit.control(fault="none")
    assert mh.ask("GetFlags") == ACTIVE
    unit.control(fault="overrun")
    assert mh.ask("GetFlags") == FIFOFULL
    mh.call("Initialize", 2, 0)
    assert mh.ask("GetFlags") == 0


@pytest.mark.parametrize("flagged", [True, False])
def test_lost_events_with_and_without_a_flag(mh: Library, unit: Any, flagged: bool) -> None:
    unit.port.load(np.arange(1000) * 10**8, np.zeros(1000))
    mh.call("StartMeas", 100)
    unit.control(fault="lose", events=137, flagged=flagged)
    time.sleep(0.15)
    assert len(decode(mh.read())[0]) == 1000 - 137
    assert bool(mh.ask("GetFlags") & DROPPED) is flagged
    assert bool(mh.ask("GetWarnings") & 0x2000) is flagged
    assert unit.status()["events_lost"] == 137


def test_counter_near_its_wrap(mh: Library, unit: Any) -> None:
    unit.control(fault="rollover", before=5)
    unit.port.load(np.arange(10) * 80, np.zeros(10))
    times, _ = decode(mh.measure(20))
    np.testing.assert_array_equal(times, (1 << 25) - 5 + np.arange(10))
    np.testing.assert_array_equal(decode(mh.measure(20))[0], np.arange(10))  # reported once


# -- cable ---------------------------------------------------------------------------------------


def test_unplug_is_an_error_at_once_and_reopening_works(mh: Library, unit: Any, until: Any) -> None:
    unit.control(fault="unplug")
    out, start = mh.ffi.new("int*"), time.monotonic()
    assert mh.lib.MH_GetFlags(0, out) == -36
    assert mh.lib.MH_StartMeas(0, 100) == -36
    assert time.monotonic() - start < 30.0
    assert mh.open() == -1  # no device answers the open
    unit.control(fault="replug")
    until(lambda: unit.status()["plugged"])
    assert mh.open() == b"1000007"
    assert mh.ask("GetFlags") == 0


def test_a_silent_device_is_an_error_after_the_deadline(mh: Library, unit: Any) -> None:
    unit.control(fault="silent", count=1)
    out, start = mh.ffi.new("int*"), time.monotonic()
    assert mh.lib.MH_GetFlags(0, out) == -36
    assert 1.5 < time.monotonic() - start < 60.0
    assert mh.lib.MH_GetFlags(0, out) == -36  # failed until reopened: no late answer is used
    assert mh.open() == b"1000007"


def test_late_but_within_the_deadline(mh: Library, unit: Any) -> None:
    unit.control(fault="late", count=1, delay_s=0.2)
    assert mh.ask("GetNumOfInputChannels") == 8


def test_injected_errors_and_ignored_sets(mh: Library, unit: Any) -> None:
    unit.control(fault="error", code=-37, count=2)
    out = mh.ffi.new("int*")
    assert mh.lib.MH_GetFlags(0, out) == -37
    assert mh.lib.MH_GetFlags(0, out) == -37
    assert mh.lib.MH_GetFlags(0, out) == 0
    unit.control(fault="ignore-sets")
    mh.call("SetInputChannelEnable", 0, 0)
    assert unit.port.enabled[0] is True
    with pytest.raises(ValueError, match="no fault 'garbled'"):
        unit.control(fault="garbled")
    with pytest.raises(ValueError, match="known"):
        unit.control(fault="explode")


def test_reboot_forgets_the_initialisation(mh: Library, unit: Any, until: Any) -> None:
    unit.control(fault="reboot")
    until(lambda: unit.status()["plugged"])
    assert mh.lib.MH_StartMeas(0, 100) < 0
    assert mh.open(initialize=False) == b"1000007"
    assert mh.lib.MH_StartMeas(0, 100) == -22


def test_a_second_program_is_refused(mh: Library, unit: Any) -> None:
    copy = str(Path(unit.path).with_name("another.so"))
    shutil.copyfile(unit.path, copy)  # a copy has its own state, like another process
    other = Library(copy)
    assert other.open() == -2
    assert mh.open() == -2  # opening twice is refused too
    mh.call("CloseDevice")
    assert other.open() == b"1000007"
    other.call("CloseDevice")


def test_a_program_that_dies_frees_the_device(unit: Any, until: Any) -> None:
    code = (
        "import cffi, os, sys; f = cffi.FFI(); f.cdef('int MH_OpenDevice(int, char*);')\n"
        f"lib = f.dlopen({unit.path!r})\n"
        "assert lib.MH_OpenDevice(0, f.new('char[8]')) == 0; os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
    library = Library(unit.path)
    until(lambda: library.open() == b"1000007")
    library.call("CloseDevice")


def test_two_instruments_in_one_program(emulate: Any) -> None:
    units = [emulate("picoquant-multiharp150", serial_number=f"200000{i}") for i in range(2)]
    libraries = [Library(u.path) for u in units]
    for i, library in enumerate(libraries):
        assert library.open() == b"200000%d" % i
    units[1].port.load(np.arange(10) * 10**6, np.zeros(10))
    assert len(decode(libraries[0].measure(20))[0]) == 0
    assert len(decode(libraries[1].measure(20))[0]) == 10
    for library in libraries:
        library.call("CloseDevice")


def test_a_folder_longer_than_a_socket_name(emulate: Any, tmp_path: Path) -> None:
    unit = emulate("picoquant-multiharp150")
    deep = tmp_path / ("x" * 120)
    unit.wait(unit.device.stop())
    unit.wait(unit.device.start(deep))
    library = Library(unit.path)
    assert library.open() == b"1000007"
    library.call("CloseDevice")


def test_calls_from_many_threads_do_not_mix(mh: Library) -> None:
    wrong: list[int] = []

    def ask() -> None:
        for channel in range(8):
            out = mh.ffi.new("int*")
            code = mh.lib.MH_GetCountRate(0, channel, out)
            if code or out[0] != 1000 * (channel + 1):
                wrong.append(out[0])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
