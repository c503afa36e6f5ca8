"""quTAG and quTAU: the sequence of library calls, the first event as time zero, losses.

The library is a Python object with the drivers' own prototypes; the contract tests use the stand-in
in C.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from photonlink.drivers.qutools import qutag, qutau
from photonlink.hal.errors import (
    IdentityError,
    InstrumentError,
    LimitError,
    LinkNotFound,
)
from photonlink.hal.links.vendor_library import VendorLibrary


class FakeTdc(VendorLibrary):
    """``batches``: (ticks, channels) of the next reads of the buffer."""

    KIND = 0

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.calls: list[tuple[Any, ...]] = []
        self.batches: list[tuple[list[int], list[int]]] = []
        self.refuse: dict[str, int] = {}
        self.lost: list[int] = []
        self.filled: int | None = None

    async def connect(self) -> None:
        self._lib = self

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("TDC_"):
            raise AttributeError(name)

        def call(*args: Any) -> Any:
            self.calls.append((name, *(a for a in args if isinstance(a, int | float))))
            if name in self.refuse:
                return self.refuse[name]
            return getattr(self, f"do_{name[4:]}", lambda *_: 0)(*args)

        return call

    def do_perror(self, code: int) -> Any:
        self.kept = self.ffi.new("char[]", b"No connection")
        return self.kept

    def do_getDeviceInfo(self, number: int, kind: Any, ident: Any, serial: Any, _: Any) -> int:
        kind[0], ident[0] = self.KIND, 3
        self.ffi.memmove(serial, b"17-1234\0", 8)
        return 0

    def do_getTimebase(self, *out: Any) -> Any:
        if not out:
            return 8.1e-11
        out[0][0] = 1e-12
        return 0

    def do_getDevType(self) -> int:
        return self.KIND

    def do_checkFeatures(self) -> int:
        return 0

    def do_getDataLost(self, lost: Any) -> int:
        lost[0] = self.lost.pop(0) if self.lost else 0
        return 0

    def do_getLastTimestamps(self, reset: int, times: Any, channels: Any, valid: Any) -> int:
        ticks, inputs = self.batches.pop(0) if self.batches else ([], [])
        for i, (tick, number) in enumerate(zip(ticks, inputs, strict=True)):
            times[i], channels[i] = tick, number
        valid[0] = len(ticks) if self.filled is None else self.filled
        return 0


@asynccontextmanager
async def tagger(
    monkeypatch: pytest.MonkeyPatch,
    kind: Any = qutag.Qutag,
    address: str = "lib:///x/libtdcbase.so",
    **settings: Any,
) -> AsyncIterator[tuple[Any, Any]]:
    monkeypatch.setattr(qutag, "VendorLibrary", FakeTdc)
    monkeypatch.setattr(qutag, "CHUNK_EVERY_S", 0.001)
    monkeypatch.setattr(qutag, "FIRST_EVENT_S", 0.02)
    driver = kind("tagger", address, kind.Settings(**settings))
    try:
        yield driver, driver.codec
    finally:
        await driver.close()


async def take(driver: Any, chunks: int) -> tuple[np.ndarray, list[Any]]:
    data, lost = b"", []
    async for chunk in driver.chunks():
        data += chunk.data
        lost += chunk.lost
        chunks -= 1
        if not chunks:
            break
    return np.frombuffer(data, qutag.RECORD), lost


async def test_the_sequence_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"inputs": (0, 3), "level_v": 0.5, "dead_time_ps": 9, "delays_ps": {3: -40}}
    where = "lib:///x/l.so#id=3"
    async with tagger(monkeypatch, address=where, **settings) as (driver, library):
        identity = await driver.open()
        assert (identity.model, identity.serial, identity.firmware) == ("quTAG", "17-1234", "id 3")
        await driver.configure()
        sets = [call for call in library.calls if call[0] not in ("TDC_getCurrentAddress",)]
        assert sets == [
            ("TDC_init", 3),
            ("TDC_getDeviceInfo", 0),
            ("TDC_getTimebase",),
            ("TDC_setFiveChannelMode", 0),
            ("TDC_enableChannels", 0b10010),
            ("TDC_configureSignalConditioning", 1, 3, 1, 0.5),
            ("TDC_setDeadTime", 1, 9),
            ("TDC_configureSignalConditioning", 4, 3, 1, 0.5),
            ("TDC_setDeadTime", 4, 9),
            ("TDC_setChannelDelays",),
        ]
    assert library.calls[-1] == ("TDC_deInit",)


async def test_the_older_library(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tagger(monkeypatch, qutau.Qutau, inputs=(0, 7)) as (driver, library):
        assert (await driver.open()).model == "quTAU/ID801 type 1A"
        await driver.configure()
        assert driver.wire_format.parameters == {"resolution_ps": 81.0}
        assert ("TDC_enableChannels", 0b10000001) in library.calls
        assert ("TDC_switchTermination", 0) in library.calls
    async with tagger(monkeypatch, qutau.Qutau, level_v=1.0) as (driver, library):
        await driver.open()
        with pytest.raises(LimitError, match="1A"):
            await driver.configure()


async def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tagger(monkeypatch) as (driver, library):
        library.refuse = {"TDC_init": 2}
        with pytest.raises(LinkNotFound, match=r"No connection \(2\)"):
            await driver.open()
        assert library.calls[1][0] == "TDC_deInit", "no demo mode"
    async with tagger(monkeypatch, address="lib:///x/l.so#serial=17-9") as (driver, library):
        with pytest.raises(IdentityError, match="17-9"):
            await driver.open()
    monkeypatch.setattr(FakeTdc, "KIND", 7)
    for kind in (qutag.Qutag, qutau.Qutau):
        async with tagger(monkeypatch, kind) as (driver, library):
            with pytest.raises(IdentityError, match="device type 7"):
                await driver.open()
    monkeypatch.setattr(FakeTdc, "KIND", 0)
    for settings, words in (
        ({"inputs": (4,)}, "0…3"),
        ({"delays_ps": {0: 100_001}}, "100 000"),
        ({"five_inputs": True}, "fifth"),
    ):
        async with tagger(monkeypatch, **settings) as (driver, library):
            await driver.open()
            with pytest.raises(LimitError, match=words):
                await driver.configure()


async def test_the_first_event_is_time_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tagger(monkeypatch) as (driver, library):
        await driver.open()
        library.batches = [([], []), ([10**12, 10**12 + 7], [0, 3]), ([2 * 10**12], [1])]
        await driver.start()
        records, lost = await take(driver, 2)
        assert records["time"].tolist() == [0, 7, 10**12]
        assert records["channel"].tolist() == [0, 3, 1]
        assert lost == []
        with pytest.raises(InstrumentError, match="already"):
            await driver.start()
        await driver.stop()
        assert library.calls[-1] == ("TDC_freezeBuffers", 1)


async def test_losses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qutag, "RING", 4)
    async with tagger(monkeypatch) as (driver, library):
        await driver.open()
        library.batches = [
            ([100], [0]),
            ([200, 300], [0, 0]),
            ([900, 901, 902, 903], [0, 0, 0, 0]),
            ([1000], [1]),
        ]
        library.lost = [0, 0, 1]  # before the start, first read, second read
        await driver.start()
        records, lost = await take(driver, 4)
        assert len(records) == 8
        assert [(gap.start_ps, gap.end_ps) for gap in lost] == [(0, 200), (200, 800)]
        library.filled = 5
        with pytest.raises(InstrumentError, match="impossible"):
            await take(driver, 1)


async def test_loss_without_an_event_is_an_open_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tagger(monkeypatch) as (driver, library):
        await driver.open()
        library.batches = [([100], [0]), ([], [])]
        library.lost = [0, 0, 1]
        await driver.start()
        _, lost = await take(driver, 2)
        assert [(gap.start_ps, gap.end_ps) for gap in lost] == [(0, -1)]
