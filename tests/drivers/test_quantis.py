"""Quantis: bytes go directly into the caller's memory; a stuck source is refused."""

from __future__ import annotations

from typing import Any

import pytest

from photonlink.drivers.idquantique.quantis import CHUNK, Quantis
from photonlink.hal.errors import IdentityError, InstrumentError, LimitError, LinkNotFound
from photonlink.hal.links.vendor_library import VendorLibrary


class FakeQuantis(VendorLibrary):
    """Counts upwards, or returns the entries of ``answers``."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.sizes: list[int] = []
        self.stuck_from: int | None = None
        self.short = 0
        self.answers: dict[str, int] = {}

    async def connect(self) -> None:
        self._lib = self

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("Quantis"):
            raise AttributeError(name)
        return lambda *args: self.answers.get(name, 1)

    def QuantisStrError(self, code: int) -> Any:
        self.kept = self.ffi.new("char[]", b"No such device")
        return self.kept

    def QuantisGetSerialNumber(self, *_: Any) -> Any:
        self.kept = self.ffi.new("char[]", b"1234A")
        return self.kept

    def QuantisRead(self, bus: int, number: int, memory: Any, size: int) -> int:
        assert (bus, number) == (2, 0)
        self.sizes.append(size)
        for i in range(size):
            stuck = self.stuck_from is not None and i >= self.stuck_from
            self.ffi.cast("unsigned char *", memory)[i] = 7 if stuck else i % 251
        return size - self.short


@pytest.fixture
async def quantis(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("photonlink.drivers.idquantique.quantis.VendorLibrary", FakeQuantis)
    driver = Quantis("qrng", "lib:///x/libQuantis.so#serial=1234A", Quantis.Settings())
    await driver.open()
    yield driver
    await driver.close()


async def test_it_fills_all_of_the_memory(quantis: Any) -> None:
    memory = bytearray(2 * CHUNK + 5)
    await quantis.fill_random(memoryview(memory))
    assert quantis.codec.sizes == [CHUNK, CHUNK, 5]
    assert memory[CHUNK : CHUNK + 4] == bytes([0, 1, 2, 3])
    await quantis.fill_random(memoryview(bytearray()))
    with pytest.raises(LimitError, match="read-only"):
        await quantis.fill_random(memoryview(b"read only"))


@pytest.mark.parametrize(("size", "at"), [(6, 0), (100, 94), (CHUNK, 1000)])
async def test_a_stuck_source_is_refused(quantis: Any, size: int, at: int) -> None:
    quantis.codec.stuck_from = at
    with pytest.raises(InstrumentError, match="stuck"):
        await quantis.fill_random(memoryview(bytearray(size)))
    quantis.codec.stuck_from = size - 5
    await quantis.fill_random(memoryview(bytearray(size)))  # five equal bytes are allowed


async def test_fewer_bytes_are_refused(quantis: Any) -> None:
    quantis.codec.short = 1
    with pytest.raises(InstrumentError, match="9 of 10"):
        await quantis.fill_random(memoryview(bytearray(10)))
    quantis.codec.short = 118
    with pytest.raises(InstrumentError, match=r"No such device \(-108\)"):
        await quantis.fill_random(memoryview(bytearray(10)))


async def test_who_answers(quantis: Any) -> None:
    quantis._wanted = "9"
    with pytest.raises(IdentityError, match="1234A"):
        await quantis.identify()
    quantis.codec.answers["QuantisCount"] = 0
    with pytest.raises(LinkNotFound):
        await quantis.identify()
    quantis.codec.answers["QuantisGetModulesStatus"] = 0
    readings = await quantis.snapshot()
    assert [c.code for c in quantis.conditions(readings)] == ["modules_working"]
