"""Integrable tunable laser assembly after OIF-ITLA-MSA-01.2/01.3, over a serial line.

Frames of four bytes (§8.2), registers of §9; names as there. Dialect checked against ``pytla``
0.2.0. Not verified on hardware: which registers a module refuses while it emits, bit 2 of a reply's
first byte (a module that sets it once must set it always, so that an echo is known), the upper half
of the NOP register as pending operations.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Literal

from pydantic import Field

from photonlink.hal.codecs.frames import FrameCodec, Itla
from photonlink.hal.driver import Off
from photonlink.hal.errors import IdentityError, InstrumentError
from photonlink.hal.facets import HasTemperature, Identity
from photonlink.hal.laser import LaserDriver
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="oif.itla",
    title="OIF-ITLA module: tunable laser",
    driver="ItlaModule",
    facets=("Emits", "HasTemperature"),
    transports=("serial", "tcp"),
    evidence="manual",
    emulator="oif-itla",
    settings={"frequency_thz": 193.4, "power_dbm": 10.0},
    case={"place": "", "steady": ("power_dbm", 10.0), "interlock": "interlock_open"},
)

_OWN = "each module has its own range"
NOP, AEA, CHANNEL, RESENA = 0x00, 0x0B, 0x30, 0x32
SENA = 0x0008
EXECUTION_ERROR, STRING, PENDING = 1, 2, 3
REFUSALS = {
    1: "no such register", 2: "not writable", 3: "out of range", 4: "another operation is pending",
    5: "still initialising", 6: "extended address out of range", 7: "extended address is read-only",
    8: "execution failed", 9: "not while it emits", 10: "invalid configuration", 15: "vendor error",
}  # fmt: skip
"""Lower half of the NOP register (§9.4.1)."""
PENDING_S, PENDING_STEP_S = 30.0, 0.05
_DISABLED = "its disable line is active: there is no light. Release it, then ask again"

PARAMS: tuple[Param, ...] = (
    # get, set: number of the register, hexadecimal; :n is one bit of it; ± is signed
    Param("emission", bool, "SENA: software enable", "32:3", "32", trips=True, settle_s=30.0),
    Param("disabled", bool, "hardware disable line active", "20:12", stops={True: _DISABLED}),
    Param("fatal", bool, "a fatal condition holds", "20:13",
          stops={True: "the module reports a fatal condition"}),
    Param("frequency_thz", float, "frequency of channel 1; not while it emits", "40", "35",
          limits=(185.0, 200.0), family=_OWN, plausible=(0.0, 400.0), tolerance=1.1e-4,
          setting="frequency_thz"),
    Param("fine_tuning_mhz", int, "fine tuning in MHz", "±62", "±62", limits=(-30_000, 30_000),
          family=_OWN,
          setting="fine_tuning_mhz"),
    Param("power_dbm", float, "power asked for", "±31", "±31", "dBm", limits=(-10.0, 20.0),
          family=_OWN,
          tolerance=0.006, scale=100.0, setting="power_dbm"),
    Param("power_act_dbm", float, "power measured", "±42", unit="dBm", scale=100.0),
    Param("power_min_dbm", float, "lowest power", "±50", unit="dBm", scale=100.0, poll="once"),
    Param("power_max_dbm", float, "highest power", "±51", unit="dBm", scale=100.0, poll="once"),
    Param("temperature_c", float, "temperature of the diode", "±43", unit="°C", scale=100.0),
    Param("status_fatal", int, "StatusF", "20"),
    Param("status_warning", int, "StatusW", "21"),
)  # fmt: skip


class ItlaModule(LaserDriver, HasTemperature):
    """One module. ``open`` clears its software enable."""

    PARAMS = PARAMS
    OFF = (Off("emission", False, "software enable cleared", "Use its disable line NOW"),)
    BAUD = 9600
    CODEC = partial(
        FrameCodec, layout=Itla(), probe=Itla.request(NOP), probed=lambda frame: frame[1] == NOP
    )

    class Settings(DriverSettings):
        """An ITLA's settings beside its parameters."""

        msa: Literal["1.2", "1.3"] = Field(
            default="1.2", description="agreement; 1.3 has MHz registers of the frequency"
        )

    _marks = False  # its replies are marked: bit 2 of the first byte

    async def identify(self) -> Identity:
        self._marks = False
        frame = await self._exchange(NOP)
        self._marks = bool(frame[0] & 0x04)
        kind = await self._string(0x01)
        if "ITLA" not in kind:
            raise IdentityError("this is no ITLA module", where=self.name, seen=kind[:80])
        vendor, model, serial = [await self._string(register) for register in (0x02, 0x03, 0x04)]
        return Identity(vendor, model, serial, await self._string(0x06))

    # ---- registers ----
    async def _exchange(self, register: int, data: int | None = None) -> bytes:
        """One frame each way. InstrumentError with the module's error name."""
        request = Itla.request(register, data or 0, write=data is not None)
        frame: bytes = await self.codec.exchange(
            request, lambda f: f[1] == register and (bool(f[0] & 0x04) or not self._marks), bytes
        )
        if frame[0] & 3 == EXECUTION_ERROR:
            nop = await self._exchange(NOP) if register != NOP else frame
            code = nop[3] & 0x0F
            raise InstrumentError(
                f"register 0x{register:02x}: {REFUSALS.get(code, 'refused')}",
                where=self.name, seen=str(code),
            )  # fmt: skip
        return frame

    async def _string(self, register: int) -> str:
        frame = await self._exchange(register)
        count = int.from_bytes(frame[2:], "big")
        if frame[0] & 3 != STRING or count > 80:
            raise InstrumentError(f"register 0x{register:02x} is no string", where=self.name)
        text = b"".join([(await self._exchange(AEA))[2:] for _ in range((count + 1) // 2)])
        return text.partition(b"\0")[0].decode("ascii", "replace").strip()

    async def _number(self, text: str) -> int:
        """A register in the notation of ``PARAMS``."""
        number, _, bit = text.lstrip("±").partition(":")
        frame = await self._exchange(int(number, 16))
        value = int.from_bytes(frame[2:], "big", signed=text.startswith("±"))
        return value >> int(bit) & 1 if bit else value

    async def _put(self, register: int, value: int) -> None:
        frame = await self._exchange(register, value)
        deadline = asyncio.get_running_loop().time() + PENDING_S
        while frame[0] & 3 == PENDING or (frame[1] == NOP and frame[2]):
            if asyncio.get_running_loop().time() > deadline:
                raise InstrumentError("an operation never ends", where=self.name)
            await asyncio.sleep(PENDING_STEP_S)
            frame = await self._exchange(NOP)

    # ---- parameters ----
    @property
    def _steps(self) -> tuple[tuple[int, int, float], ...]:
        """(register to write, to read, per THz) of a frequency's parts."""
        parts = ((0x35, 0x40, 1.0), (0x36, 0x41, 1e4), (0x67, 0x68, 1e6))
        return parts if self.settings.msa == "1.3" else parts[:2]

    async def read(self, param: Param) -> Value:
        if param.name == "frequency_thz":
            return round(sum([await self._number(f"{r:x}") / per for _, r, per in self._steps]), 6)
        return param.parse(str(await self._number(param.get)), self.name)

    async def write(self, param: Param, value: Value) -> None:
        if param.name == "frequency_thz":
            left, whole = round(float(value) * 1e6), 1_000_000
            for register, _, per in self._steps:
                unit = round(whole / per)
                await self._put(register, left // unit)
                left %= unit
            await self._put(CHANNEL, 1)
        elif param.name == "emission":
            await self._put(RESENA, SENA if value else 0)
        else:
            await self._put(int(param.set.lstrip("±"), 16), round(float(param.wire(value))))

    def off_bytes(self) -> bytes:
        """Three times, because the rest of an unfinished frame may take up the first."""
        return Itla.request(RESENA, 0, write=True) * 3

    async def temperature_c(self, channel: int = 1) -> float:
        return await self.params.get_float("temperature_c")
