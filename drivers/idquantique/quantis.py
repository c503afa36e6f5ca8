"""ID Quantique Quantis: random number generator, through the vendor's library ``libQuantis.so``.

Calls as in the vendor's public header Quantis.h. Not verified on hardware: how long a read of a
slow device takes, what a failed module reads. Bytes go from the library into the caller's memory at
once; no copy is kept. A repetition count test (NIST SP 800-90B, 4.4.1) watches them: it finds a
source that is stuck, not one that is biased.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from photonlink.hal.driver import Driver
from photonlink.hal.errors import (
    IdentityError,
    InstrumentError,
    LimitError,
    LinkClosed,
    LinkNotFound,
)
from photonlink.hal.facets import GivesRandomness, Identity
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.prototypes import Function, Prototypes
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="idquantique.quantis",
    title="ID Quantique Quantis: random number generator",
    driver="Quantis",
    facets=("GivesRandomness",),
    transports=("lib",),
    usb=("0aba:0102",),
    evidence="manual",
    emulator="idquantique-quantis",
    case={"reply_timeout_s": 2.0},
)

_ONE = "int type, unsigned int number"
_ASKED = ("BoardVersion", "ModulesMask", "ModulesStatus", "ModulesPower", "ModulesDataRate")
PROTOTYPES = Prototypes(
    (
        Function("QuantisStrError", "int code", returns="char *", value=True),
        Function("QuantisCount", "int type"),
        Function("QuantisGetSerialNumber", _ONE, returns="char *", value=True),
        *(Function(f"QuantisGet{name}", _ONE) for name in _ASKED),
        Function("QuantisRead", f"{_ONE}, void *buffer, size_t size"),
    ),
    error_text="QuantisStrError",
)
BUSES = {"pci": 1, "usb": 2}
GONE = -108
CHUNK = 65_536
REPEATED_MAX = 6
"""Equal bytes in a row that a good source gives once in 2^40 bytes."""


class Quantis(Driver, GivesRandomness):
    """One generator: ``#bus=usb`` or ``pci``, ``#index=`` its number."""

    class Settings(DriverSettings):
        """A generator's settings."""

        reply_timeout_s: float = Field(default=5.0, gt=0, le=60)

    PARAMS = (
        Param("modules", int, "bit mask of the modules that are fitted", "QuantisGetModulesMask"),
        Param("modules_working", int, "bit mask of those that work", "QuantisGetModulesStatus",
              stops={0: "no module works. Unplug the device and plug it in again"}),
        Param("powered", bool, "modules have power", "QuantisGetModulesPower"),
        Param("rate", int, "bytes per second", "QuantisGetModulesDataRate"),
        Param("board_version", int, "of the board", "QuantisGetBoardVersion", poll="once"),
    )  # fmt: skip

    def make_codec(self, address: str, tap: Tap | None) -> VendorLibrary:
        place = Address.parse(address).only("serial", "index", "bus")
        self._one = (BUSES.get(place.options.get("bus", "usb"), 0), place.number("index", 0))
        self._wanted = place.options.get("serial")
        return VendorLibrary(place, PROTOTYPES, timeout_s=self.settings.reply_timeout_s, tap=tap)

    async def identify(self) -> Identity:
        bus, number = self._one
        if await self.codec.call("QuantisCount", bus) <= number:
            raise LinkNotFound(
                "the library finds no such generator",
                where=self.address,
                hint="Is it plugged in, and may this user open it (udev rules)?",
            )
        version = await self.codec.call("QuantisGetBoardVersion", *self._one)
        pointer = await self.codec.call("QuantisGetSerialNumber", *self._one)
        serial = self.codec.ffi.string(pointer).decode("latin-1").strip()
        if self._wanted not in (None, serial):
            raise IdentityError(f"unit {self._wanted} is not here", where=self.name, seen=serial)
        return Identity("ID Quantique", "Quantis", serial, f"board {version:#x}")

    async def read(self, param: Param) -> Value:
        value = await self.codec.run(lambda: self.codec.status(param.get, *self._one))
        if value == GONE:
            raise LinkClosed("the generator is gone", where=self.name)
        if value < 0:
            raise InstrumentError(
                f"{param.name}: {await self.codec.run(lambda: self.codec.error_text(value))}",
                where=self.name,
            )
        return bool(value) if param.kind is bool else int(value)

    async def fill_random(self, buffer: memoryview) -> None:
        """Fill all of ``buffer``. InstrumentError when the device gives less or repeats itself;
        bytes filled until then must not be used."""
        if buffer.readonly:
            raise LimitError("memory to be filled is read-only", where=self.name)
        whole = buffer.cast("B")
        for at in range(0, len(whole), CHUNK):
            part = whole[at : at + CHUNK]
            await self.codec.run(lambda part=part: self._fill(part))
        self._watch(whole)

    def _fill(self, part: memoryview) -> None:
        # released at once: an error's traceback must not keep the caller's memory alive
        with self.codec.ffi.from_buffer(part, require_writable=True) as memory:
            count = self.codec.invoke("QuantisRead", *self._one, memory, len(part))
        if count != len(part):
            raise InstrumentError(
                "fewer bytes than asked for", where=self.name, seen=f"{count} of {len(part)}"
            )

    def _watch(self, whole: memoryview) -> None:
        """Repetition count test; values computed from the bytes are overwritten."""
        values = np.frombuffer(whole, np.uint8)
        if len(values) < REPEATED_MAX:
            return
        same = values[1:] == values[:-1]
        run = same[: len(same) - REPEATED_MAX + 2].copy()
        for shift in range(1, REPEATED_MAX - 1):
            run &= same[shift : len(same) - REPEATED_MAX + 2 + shift]
        stuck = bool(run.any())
        same.fill(False)
        run.fill(False)
        if stuck:
            raise InstrumentError(
                f"{REPEATED_MAX} equal bytes in a row: the generator is stuck",
                where=self.name,
                hint="Do not use it; unplug it and plug it in again",
            )
