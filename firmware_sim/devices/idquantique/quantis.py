"""Emulated ID Quantique Quantis random number generator (USB), behind ``libQuantis.so``.

Names, arguments and error numbers are those of the vendor's public header Quantis.h. Evidence:
manual. Unverified, chosen here: board version, that a read waits as long as the modules need, that
disabled modules give no bytes. The bytes come from a generator with the bench's seed: they repeat.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.library import CallError, LibraryDevice
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings

USB = 2
DEVICE_NUMBER, READ_SIZE, PARAMETER, NO_MODULE, IO, NO_DEVICE = -102, -103, -104, -106, -107, -108
READ_MAX = 16 * 1024 * 1024
BOARD_VERSION = 0x0102_0304


@dataclass
class QuantisSettings(DeviceSettings):
    """modules: how many are fitted.  rate_bytes_per_s: of each of them."""

    modules: int = 1
    rate_bytes_per_s: int = 500_000


class Quantis(LibraryDevice):
    """One USB device, number 0."""

    TABLE = "Quantis"
    Settings = QuantisSettings
    UNBUILT = -109

    def setup(self) -> None:
        super().setup()
        if not 1 <= self.config.modules <= 4:
            raise ValueError(f"{self.name}: modules must lie in 1..4")
        self._mask: int = (1 << self.config.modules) - 1
        self._enabled: int = self._mask
        self._stuck: int | None = None
        self._broken = 0
        self._turn = asyncio.Lock()

    def make_serial(self, seed: int) -> str:
        return f"{seed % 10**6:06}A410"

    def state(self) -> dict[str, Any]:
        return {"enabled": self._enabled}

    def reboot(self) -> None:
        self._enabled = self._mask
        self.unplug()
        self.clock.call_later(0.1, self.replug)

    @fault("stuck", "every byte is the same", "value")
    def _fault_stuck(self, order: Mapping[str, Any]) -> Callable[[], object]:
        self._stuck = int(order.get("value", 0)) & 0xFF

        def heal() -> None:
            self._stuck = None

        return heal

    @fault("module-failed", "the first module reports that it does not work")
    def _fault_module(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._broken = 1

        def heal() -> None:
            self._broken = 0

        return heal

    def _here(self, kind: int, number: int) -> None:
        if kind != USB:
            raise CallError(NO_DEVICE if kind == 1 else PARAMETER)
        if number:
            raise CallError(DEVICE_NUMBER)

    @property
    def _working(self) -> int:
        return self._enabled & ~self._broken

    # ---- about the device ----------------------------------------------------------------------

    @command("QuantisCount")
    def _count(self, kind: int) -> int:
        return int(kind == USB)

    @command("QuantisGetDriverVersion")
    def _driver_version(self, _: int) -> float:
        return 2.0

    @command("QuantisGetBoardVersion")
    def _board_version(self, kind: int, number: int) -> int:
        self._here(kind, number)
        return BOARD_VERSION

    @command("QuantisGetManufacturer")
    def _manufacturer(self, kind: int, number: int) -> str:
        self._here(kind, number)
        return "id Quantique"

    @command("QuantisGetSerialNumber")
    def _serial_text(self, kind: int, number: int) -> str:
        self._here(kind, number)
        return self.serial_number

    @command("QuantisGetModulesMask")
    def _modules(self, kind: int, number: int) -> int:
        self._here(kind, number)
        return self._mask

    @command("QuantisGetModulesCount")
    def _modules_count(self, kind: int, number: int) -> int:
        return self._mask.bit_count() if self._modules(kind, number) else 0

    @command("QuantisGetModulesStatus")
    def _status(self, kind: int, number: int) -> int:
        self._here(kind, number)
        return self._working

    @command("QuantisGetModulesPower")
    def _power(self, kind: int, number: int) -> int:
        self._here(kind, number)
        return int(self._enabled != 0)

    @command("QuantisGetModulesDataRate")
    def _rate(self, kind: int, number: int) -> int:
        self._here(kind, number)
        return self._working.bit_count() * int(self.config.rate_bytes_per_s)

    @command("QuantisModulesEnable")
    def _enable(self, kind: int, number: int, mask: int) -> None:
        self._here(kind, number)
        if not self.faults.use("ignore-sets"):
            self._enabled |= mask & self._mask

    @command("QuantisModulesDisable")
    def _disable(self, kind: int, number: int, mask: int) -> None:
        self._here(kind, number)
        if not self.faults.use("ignore-sets"):
            self._enabled &= ~mask

    @command("QuantisModulesReset")
    def _reset(self, kind: int, number: int, mask: int) -> None:
        self._disable(kind, number, mask)
        self._enable(kind, number, mask)

    @command("QuantisBoardReset")
    def _board_reset(self, kind: int, number: int) -> None:
        self._reset(kind, number, self._mask)

    # ---- randomness ----------------------------------------------------------------------------

    async def _bytes(self, size: int) -> bytes:
        """As fast as the modules are, one caller after another."""
        async with self._turn:
            rate = self._working.bit_count() * self.config.rate_bytes_per_s
            if not rate:
                raise CallError(NO_MODULE)
            await self.clock.sleep(size / rate)
            return (
                self.random.randbytes(size) if self._stuck is None else bytes([self._stuck]) * size
            )

    @command("QuantisRead")
    async def _read(self, kind: int, number: int, size: int) -> tuple[int, bytes]:
        self._here(kind, number)
        if size > READ_MAX:
            raise CallError(READ_SIZE)
        return size, await self._bytes(size)

    @command("QuantisReadInt")
    async def _int(self, kind: int, number: int) -> int:
        self._here(kind, number)
        return int(struct.unpack("<i", await self._bytes(4))[0])

    @command("QuantisReadShort")
    async def _short(self, kind: int, number: int) -> int:
        self._here(kind, number)
        return int(struct.unpack("<h", await self._bytes(2))[0])

    @command("QuantisReadDouble_01", "QuantisReadFloat_01")
    async def _unit(self, kind: int, number: int) -> float:
        self._here(kind, number)
        return int(struct.unpack("<I", await self._bytes(4))[0]) / float(1 << 32)

    @command("QuantisReadScaledInt")
    async def _scaled(self, kind: int, number: int, low: int, high: int) -> int:
        if low > high:
            raise CallError(PARAMETER)
        return low + int(await self._unit(kind, number) * (high - low + 1))

    @command("QuantisReadScaledDouble")
    async def _scaled_double(self, kind: int, number: int, low: float, high: float) -> float:
        if not low < high:
            raise CallError(PARAMETER)
        return low + await self._unit(kind, number) * (high - low)


REGISTRATION = Registration(
    "idquantique-quantis", "", Quantis, "ID Quantique Quantis USB, random numbers"
)
