"""MultiHarp 150: the sequence of library calls, device choice, flags and losses.

The library is a Python object with the driver's own prototypes; the contract tests use the stand-in
in C.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from photonlink.drivers.picoquant import harp as harp_module
from photonlink.drivers.picoquant import mhlib
from photonlink.drivers.picoquant.mhlib import Flag
from photonlink.drivers.picoquant.multiharp150 import MultiHarp150
from photonlink.hal.errors import (
    AcquisitionError,
    IdentityError,
    InstrumentError,
    LimitError,
    LinkNotFound,
    StationError,
)
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.tags import LostInterval


class FakeLibrary(VendorLibrary):
    """Devices with index 1 and 3; ``reads`` are (records, flags, elapsed_ms) in sequence."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.calls: list[tuple[Any, ...]] = []
        self.serials = {1: "1000001", 3: "1000003"}
        self.inputs, self.resolution, self.features = 4, 80.0, 0x02
        self.reads: list[tuple[bytes, int, float]] = []
        self.now = (b"", 0, 0.0)
        self.finished = 0
        self.refuse: dict[str, int] = {}
        self.count: int | None = None

    async def connect(self) -> None:
        self._lib = self

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("MH_"):
            raise AttributeError(name)

        def call(*args: Any) -> int:
            plain = [a for a in args if isinstance(a, int)]
            self.calls.append((name, *plain))
            if name in self.refuse:
                return self.refuse[name]
            return int(getattr(self, f"do_{name[3:]}", lambda *_: 0)(*args))

        return call

    def do_GetErrorString(self, text: Any, code: int) -> int:
        self.ffi.memmove(text, b"MH_ERROR_FAKE\0", 14)
        return 0

    def do_OpenDevice(self, device: int, serial: Any) -> int:
        if device not in self.serials:
            return -1
        self.ffi.memmove(serial, self.serials[device].encode() + b"\0", 8)
        return 0

    def do_GetHardwareInfo(self, device: int, model: Any, part: Any, version: Any) -> int:
        self.ffi.memmove(model, b"MultiHarp 150\0", 14)
        return 0

    def do_GetBaseResolution(self, device: int, resolution: Any, steps: Any) -> int:
        resolution[0], steps[0] = self.resolution, 1
        return 0

    def do_GetFeatures(self, device: int, features: Any) -> int:
        features[0] = self.features
        return 0

    def do_GetNumOfInputChannels(self, device: int, inputs: Any) -> int:
        inputs[0] = self.inputs
        return 0

    def do_ReadFiFo(self, device: int, records: Any, count: Any) -> int:
        self.now = self.reads.pop(0) if self.reads else (b"", self.now[1], self.now[2])
        self.ffi.memmove(records, self.now[0], len(self.now[0]))
        count[0] = len(self.now[0]) // 4 if self.count is None else self.count
        return 0

    def do_GetFlags(self, device: int, flags: Any) -> int:
        flags[0] = self.now[1]
        return 0

    def do_GetElapsedMeasTime(self, device: int, elapsed: Any) -> int:
        elapsed[0] = self.now[2]
        return 0

    def do_CTCStatus(self, device: int, finished: Any) -> int:
        finished[0] = self.finished
        return 0

    def do_GetWarnings(self, device: int, warnings: Any) -> int:
        warnings[0] = 0x10 | 0x2000 | 0x4000
        return 0


@asynccontextmanager
async def harp(
    monkeypatch: pytest.MonkeyPatch, address: str = "lib:///x/libmh150.so", **settings: Any
) -> AsyncIterator[tuple[MultiHarp150, Any]]:
    monkeypatch.setattr(harp_module, "VendorLibrary", FakeLibrary)
    monkeypatch.setattr(harp_module, "CHUNK_EVERY_S", 0.001)
    driver = MultiHarp150("tagger", address, MultiHarp150.Settings(**settings))
    try:
        yield driver, driver.codec
    finally:
        await driver.close()


async def gather(driver: MultiHarp150) -> tuple[bytes, list[LostInterval], InstrumentError | None]:
    data, lost = b"", []
    try:
        async for chunk in driver.chunks():
            data += chunk.data
            lost += chunk.lost
    except InstrumentError as error:
        return data, lost, error
    return data, lost, None


async def test_the_sequence_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "inputs": (0, 2),
        "offsets_ps": {2: -40},
        "dead_time_ps": 3000,
        "edge": "rising",
        "level_mv": 120,
        "reference": "external",
    }
    async with harp(monkeypatch, "lib:///x/l.so#index=1", **settings) as (driver, library):
        identity = await driver.open()
        assert (identity.model, identity.serial) == ("MultiHarp 150", "1000001")
        await driver.configure()
        await driver.start()
        await driver.stop()
        assert library.calls == [
            ("MH_OpenDevice", 1),
            ("MH_Initialize", 1, 2, 1),
            ("MH_GetHardwareInfo", 1),
            ("MH_GetBaseResolution", 1),
            ("MH_GetNumOfInputChannels", 1),
            ("MH_GetFeatures", 1),
            ("MH_SetInputChannelEnable", 1, 0, 1),
            ("MH_SetInputEdgeTrg", 1, 0, 120, 1),
            ("MH_SetInputChannelOffset", 1, 0, 0),
            ("MH_SetInputDeadTime", 1, 0, 1, 3000),
            ("MH_SetInputChannelEnable", 1, 1, 0),
            ("MH_SetInputChannelEnable", 1, 2, 1),
            ("MH_SetInputEdgeTrg", 1, 2, 120, 1),
            ("MH_SetInputChannelOffset", 1, 2, -40),
            ("MH_SetInputDeadTime", 1, 2, 1, 3000),
            ("MH_SetInputChannelEnable", 1, 3, 0),
            ("MH_StartMeas", 1, mhlib.LONGEST_MS),
            ("MH_StopMeas", 1),
        ]
        assert driver.capabilities.channels == (0, 1, 2, 3)
        assert driver.wire_format.parameters == {"resolution_ps": 80.0}


async def test_the_device_is_found_by_its_serial_number(monkeypatch: pytest.MonkeyPatch) -> None:
    async with harp(monkeypatch, "lib:///x/l.so#serial=1000003") as (driver, library):
        assert (await driver.open()).serial == "1000003"
        assert ("MH_CloseDevice", 1) in library.calls, "the other one is given back"
    async with harp(monkeypatch, "lib:///x/l.so#serial=9") as (driver, library):
        with pytest.raises(IdentityError, match=r"1000001, 1000003"):
            await driver.open()
    async with harp(monkeypatch) as (driver, library):
        library.serials = {}
        with pytest.raises(LinkNotFound, match=r"no MultiHarp.*MH_ERROR_FAKE \(-1\)"):
            await driver.open()
    with pytest.raises(StationError, match="'sreial'"):
        MultiHarp150("t", "lib:///x/l.so#sreial=1", MultiHarp150.Settings())


async def test_refusals_carry_the_library_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async with harp(monkeypatch) as (driver, library):
        library.refuse = {"MH_Initialize": -32}
        with pytest.raises(InstrumentError, match=r"MH_Initialize: MH_ERROR_FAKE \(-32\)"):
            await driver.open()
        assert library.calls[-1] == ("MH_CloseDevice", 1), "nothing is left open"
        library.refuse = {}
        library.features = 0
        with pytest.raises(LimitError, match="no time tagging"):
            await driver.open()
        for wrong in (0.0, -1.0, float("nan"), float("inf")):
            library.resolution = wrong
            with pytest.raises(InstrumentError, match="cannot be"):
                await driver.open()


async def test_inputs_and_offsets_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, words in (
        ({"inputs": (4,)}, "inputs are 0…3"),
        ({"inputs": (-1,)}, "inputs are 0…3"),
        ({"offsets_ps": {0: 100_000}}, "99999"),
        ({"offsets_ps": {7: 1}}, "names input 7"),
    ):
        async with harp(monkeypatch, **settings) as (driver, library):
            await driver.open()
            with pytest.raises(LimitError, match=words):
                await driver.configure()
            assert not [call for call in library.calls if call[0].startswith("MH_Set")]


def records(*ticks: int) -> bytes:
    return b"".join(struct.pack("<I", tick) for tick in ticks)


async def test_records_come_as_they_are_and_the_end_of_time_is_no_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with harp(monkeypatch) as (driver, library):
        await driver.open()
        await driver.start()
        library.reads = [(records(100, 200), 0, 1.0), (b"", 0, 2.0), (records(300), 0, 3.0)]
        library.finished = 1
        data, lost, error = await gather(driver)
        assert data == records(100, 200)
        assert lost == []
        assert isinstance(error, AcquisitionError)
        assert "time is over" in error.what
        assert library.calls[-1][0] == "MH_StopMeas"
        await driver.start()
        library.finished, library.reads = 0, [(records(7), 0, 1.0), (b"", Flag.FIFO_FULL, 2.0)]
        data, _, _ = await gather(driver)
        assert data == records(7)


@pytest.mark.parametrize("flag", [Flag.FIFO_FULL, Flag.SYSTEM_ERROR])
async def test_flags_that_end_it_leave_an_open_gap(
    monkeypatch: pytest.MonkeyPatch, flag: Flag
) -> None:
    async with harp(monkeypatch) as (driver, library):
        await driver.open()
        await driver.start()
        library.reads = [(records(1), 0, 10.0), (records(2), int(flag), 20.0)]
        data, lost, error = await gather(driver)
        assert data == records(1, 2), "what was readable is handed out"
        assert [(gap.start_ps, gap.end_ps) for gap in lost] == [(9_000_000_000, -1)]
        assert isinstance(error, AcquisitionError)


@pytest.mark.parametrize("flag", [Flag.COUNTS_DROPPED, Flag.REFERENCE_LOST])
async def test_flags_that_pass_cover_the_time_since_the_last_look(
    monkeypatch: pytest.MonkeyPatch, flag: Flag
) -> None:
    async with harp(monkeypatch) as (driver, library):
        await driver.open()
        await driver.start()
        ms = 1_000_000_000
        library.reads = [
            (records(1), 0, 10.0),
            (records(2), int(flag), 20.0),
            (records(3), 0, 30.0),
            (b"", int(Flag.FIFO_FULL), 40.0),
        ]
        _, lost, _ = await gather(driver)
        assert (lost[0].start_ps, lost[0].end_ps) == (9 * ms, 21 * ms)
        assert len(lost) == 2


async def test_a_flag_that_stays_starts_the_acquisition_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(harp_module, "DROPPED_TOO_LONG_S", 0.02)
    async with harp(monkeypatch) as (driver, library):
        await driver.open()
        await driver.start()
        library.now = (b"", int(Flag.COUNTS_DROPPED), 1.0)
        _, lost, error = await gather(driver)
        assert lost
        assert isinstance(error, AcquisitionError)
        assert "dropped counts for" in error.what


async def test_sync_lost_and_overflow_mean_nothing_in_t2(monkeypatch: pytest.MonkeyPatch) -> None:
    async with harp(monkeypatch) as (driver, library):
        await driver.open()
        await driver.start()
        normal = int(Flag.SYNC_LOST | Flag.OVERFLOW | Flag.ACTIVE)
        library.reads = [(records(1), normal, 1.0), (b"", int(Flag.FIFO_FULL), 2.0)]
        _, lost, _ = await gather(driver)
        assert len(lost) == 1


async def test_an_impossible_number_of_records_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with harp(monkeypatch) as (driver, library):
        await driver.open()
        for count in (-1, mhlib.READ_RECORDS + 1):
            await driver.stop()
            await driver.start()
            library.count = count
            _, _, error = await gather(driver)
            assert error is not None
            assert "impossible" in error.what


async def test_warnings_are_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async with harp(monkeypatch) as (driver, _):
        await driver.open()
        values = await driver.snapshot()
        assert values["warnings"] == "no counts at any input; counts dropped; 0x4000"
        assert values["rate_3_hz"] == 0
