"""The emulated Quantis through its library, and through our driver."""

from __future__ import annotations

import time
from typing import Any

import cffi
import pytest

from photonlink.drivers.idquantique.quantis import Quantis
from photonlink.hal.errors import InstrumentError

DECLARATIONS = """
int QuantisCount(int); int QuantisGetModulesCount(int, unsigned int);
int QuantisRead(int, unsigned int, void *, size_t); char *QuantisStrError(int);
int QuantisReadScaledInt(int, unsigned int, int *, int, int); float QuantisGetLibVersion(void);
int QuantisModulesDisable(int, unsigned int, int); int QuantisModulesEnable(int, unsigned int, int);
char *QuantisGetSerialNumber(int, unsigned int);
"""


def test_as_the_header_says(emulate: Any) -> None:
    unit = emulate("idquantique-quantis", modules=2)
    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    lib: Any = ffi.dlopen(unit.path)
    assert lib.QuantisGetLibVersion() == pytest.approx(20.2)
    assert (lib.QuantisCount(1), lib.QuantisCount(2)) == (0, 1)
    assert ffi.string(lib.QuantisGetSerialNumber(2, 0)) == b"000007A410"
    assert lib.QuantisGetModulesCount(2, 0) == 2
    memory = ffi.new("unsigned char[]", 200_000)
    begin = time.monotonic()
    assert lib.QuantisRead(2, 0, memory, 200_000) == 200_000
    assert time.monotonic() - begin >= 0.19  # 1 MB/s
    assert len(set(bytes(ffi.buffer(memory)))) == 256
    assert lib.QuantisRead(2, 1, memory, 8) == -102
    assert lib.QuantisRead(2, 0, memory, 1 << 25) == -103
    assert lib.QuantisRead(1, 0, memory, 8) == -108
    value = ffi.new("int *")
    for _ in range(50):
        assert lib.QuantisReadScaledInt(2, 0, value, -1, 1) == 0
        assert -1 <= value[0] <= 1
    assert lib.QuantisModulesDisable(2, 0, 3) == 0
    assert lib.QuantisRead(2, 0, memory, 8) == -106
    assert ffi.string(lib.QuantisStrError(-106)).startswith(b"No module")
    assert lib.QuantisModulesEnable(2, 0, 3) == 0
    unit.control(fault="unplug")
    assert lib.QuantisCount(2) == 0
    assert lib.QuantisRead(2, 0, memory, 8) == -108


async def test_our_driver(emulate: Any) -> None:
    unit = emulate("idquantique-quantis")
    driver = Quantis("qrng", unit.device.address, Quantis.Settings())
    await driver.open()
    try:
        memory = bytearray(100_000)
        await driver.fill_random(memoryview(memory))
        assert len(set(memory)) == 256
        unit.control(fault="stuck", value=3)
        with pytest.raises(InstrumentError, match="stuck"):
            await driver.fill_random(memoryview(memory))
        unit.control(fault="none")
        unit.control(fault="module-failed")
        assert [c.code for c in driver.conditions(await driver.snapshot())] == ["modules_working"]
        with pytest.raises(InstrumentError, match="No module"):
            await driver.fill_random(memoryview(memory))
    finally:
        await driver.close()
