"""PicoQuant Taiko PDL M1: pulsed diode laser, through the vendor's ``PDLM_Lib``.

Calls, status bits and error numbers as in the vendor's public header and demos (``PDLM_Lib.h``),
and ``plesty_taiko_pdl_m1``. Not verified on hardware. The laser is dark while it is locked; power
can only be set while it is not, and unlocking brings back the last power: see the page.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import Field

from photonlink.hal.driver import Off
from photonlink.hal.errors import InstrumentError, LinkClosed, LinkNotFound
from photonlink.hal.facets import HasTemperature, Identity
from photonlink.hal.laser import LaserDriver
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.prototypes import Function, Prototypes, nonzero_fails
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="picoquant.taiko",
    title="PicoQuant Taiko PDL M1: pulsed diode laser",
    driver="Taiko",
    facets=("Emits", "HasTemperature"),
    transports=("lib",),
    evidence="manual",
    emulator="picoquant-taiko",
    settings={"frequency_hz": 10_000_000, "pulse_power_permille": 200},
    case={"place": "", "reply_timeout_s": 2.0, "interlock": "interlock_open"},
)

_UINT, _TEXT = "int device, out unsigned int value", "int device, out text[256] text, int length"
_TEMPERATURE = "int device, int scale, out float value"
PROTOTYPES = Prototypes(
    (
        Function("PDLM_OpenDevice", "int device, out text[32] serial"),
        Function("PDLM_CloseDevice", "int device"),
        Function("PDLM_DecodeError", "int code, out text[256] text, unsigned int *length"),
        Function("PDLM_GetFWVersion", _TEXT),
        Function("PDLM_GetHardwareInfo", _TEXT),
        *(Function(f"PDLM_Get{n}", _UINT) for n in (
            "SystemStatus", "Locked", "LaserMode", "Frequency", "PulsePowerPermille",
            "CwPowerPermille")),
        *(Function(f"PDLM_Set{n}", "int device, unsigned int value") for n in (
            "SoftLock", "LaserMode", "Frequency", "PulsePowerPermille", "CwPowerPermille")),
        *(Function(f"PDLM_Get{n}", "int device, out float value") for n in (
            "PulsePower", "CwPower", "LHWavelength")),
        *(Function(f"PDLM_GetLH{n}Temp", _TEMPERATURE) for n in ("Target", "Current", "Case")),
        Function("PDLM_SetLHTargetTemp", "int device, int scale, float value"),
    ),
    fails=nonzero_fails,
)  # fmt: skip
MAX_DEVICES, CELSIUS = 8, 0
BUSY = -17
GONE = (-2, -20, -22, -23, -24, -41, -42)
"""Errors that mean that the device is no longer there."""
POWERS = ("pulse_power_permille", "cw_power_permille")
_STATUS = {
    "interlock_open": (27, "the interlock is open: close it, then ask for light again"),
    "key_locked": (25, "the key switch is locked: turn it, then ask for light again"),
    "button_off": (23, "the button at the front has switched the laser off: press it"),
    "head_missing": (12, "no laser head is connected"),
    "diode_too_hot": (18, "the laser diode is too hot"),
    "case_too_hot": (19, "the laser head is too hot"),
}


class Taiko(LaserDriver, HasTemperature):
    """One driver with its head. ``open`` locks the laser."""

    PARAMS = (
        Param("emission", bool, "not locked: the laser emits", "PDLM_GetLocked",
              "PDLM_SetSoftLock", trips=True, settle_s=2.0),
        *(Param(name, bool, f"status bit {bit}", f"PDLM_GetSystemStatus:{bit}", stops={True: text})
          for name, (bit, text) in _STATUS.items()),
        Param("mode", int, "0 continuous, 1 pulsed, 2 bursts", "PDLM_GetLaserMode",
              "PDLM_SetLaserMode", limits=(0, 2), setting="mode"),
        Param("frequency_hz", int, "pulses per second", "PDLM_GetFrequency", "PDLM_SetFrequency",
              "Hz", limits=(1_000_000, 100_000_000), setting="frequency_hz"),
        Param(POWERS[0], int, "power of pulses in permille of the head's highest",
              "PDLM_GetPulsePowerPermille", "PDLM_SetPulsePowerPermille", limits=(0, 1000),
              setting=POWERS[0], deferred=True),
        Param(POWERS[1], int, "continuous power in permille of the head's highest",
              "PDLM_GetCwPowerPermille", "PDLM_SetCwPowerPermille", limits=(0, 1000),
              setting=POWERS[1], deferred=True),
        Param("pulse_power_w", float, "mean power of pulses", "PDLM_GetPulsePower", unit="W"),
        Param("cw_power_w", float, "continuous power", "PDLM_GetCwPower", unit="W"),
        Param("temperature_set_c", float, "diode temperature asked for", "PDLM_GetLHTargetTemp",
              "PDLM_SetLHTargetTemp", "°C", limits=(5.0, 50.0),
              family="each laser head has its own range", tolerance=0.06,
              setting="temperature_c"),
        Param("temperature_act_c", float, "diode temperature", "PDLM_GetLHCurrentTemp", unit="°C"),
        Param("case_c", float, "temperature of the head", "PDLM_GetLHCaseTemp", unit="°C"),
        Param("wavelength_nm", float, "as calibrated at this temperature", "PDLM_GetLHWavelength",
              unit="nm"),
    )  # fmt: skip
    OFF = (Off("emission", False, "laser locked", "Turn the key switch NOW"),)

    class Settings(DriverSettings):
        """A Taiko's settings beside its parameters."""

        reply_timeout_s: float = Field(default=5.0, gt=0, le=60)

    _device = -1

    def make_codec(self, address: str, tap: Tap | None) -> VendorLibrary:
        self._place = Address.parse(address).only("serial", "index")
        limit_s = self.settings.reply_timeout_s
        return VendorLibrary(self._place, PROTOTYPES, tap=tap, timeout_s=limit_s)

    async def identify(self) -> Identity:
        self._wanted_power = {p: v for p in POWERS if (v := getattr(self.settings, p)) is not None}
        identity: Identity = await self.codec.run(self._open)
        return identity

    def _open(self) -> Identity:
        wanted, index = self._place.options.get("serial", ""), self._place.number("index", -1)
        seen = []
        for device in range(MAX_DEVICES) if index < 0 else (index,):
            status, (serial,) = self.codec.attempt("PDLM_OpenDevice", device)
            if status == 0 and wanted in ("", serial):
                self._device = device
                model = self._call("PDLM_GetHardwareInfo", 256)
                return Identity("PicoQuant", model, serial, self._call("PDLM_GetFWVersion", 256))
            if status == 0:
                self.codec.attempt("PDLM_CloseDevice", device)
                seen.append(serial)
            elif status == BUSY:
                seen.append(f"number {device} is in use by another program")
        raise LinkNotFound(
            "no such Taiko", where=self._place.uri, seen=", ".join(seen),
            hint="Is it plugged in, and its number in the address right?",
        )  # fmt: skip

    def _call(self, name: str, *args: Any) -> Any:
        """One call for this device, in the library's thread; its value."""
        status, values = self.codec.attempt(name, self._device, *args)
        if status in GONE:
            raise LinkClosed(f"{name}: the device is gone ({status})", where=self._place.uri)
        if status:
            length = self.codec.ffi.new("unsigned int *", 256)
            text = self.codec.attempt("PDLM_DecodeError", status, length)[1][0]
            raise InstrumentError(f"{name}: {text}", where=self.name, seen=str(status))
        return values[0] if values else None

    async def read(self, param: Param) -> Value:
        name, _, bit = param.get.partition(":")
        scale = (CELSIUS,) if name.endswith("Temp") else ()
        value = await self.codec.run(partial(self._call, name, *scale))
        if bit:
            value = value >> int(bit) & 1
        elif param.name == "emission":
            value = 1 - value
        return param.parse(f"{value:.9g}", self.name)

    async def write(self, param: Param, value: Value) -> None:
        scale = (CELSIUS,) if param.set.endswith("Temp") else ()
        wired: Any = not value if param.name == "emission" else value
        wired = float(wired) if param.kind is float else int(wired)
        await self.codec.run(partial(self._call, param.set, *scale, wired))

    async def set(self, name: str, value: Value) -> None:
        """Like every driver's. A power is stored until the light is on, since a locked laser
        refuses it.
        """
        if name in POWERS:
            self.params[name].check(value, self.params.limits.get(name), where=self.name)
            self._wanted_power[name] = int(value)
            if not await self.emission():
                return
        await super().set(name, value)

    async def set_emission(self, on: bool) -> None:
        await super().set_emission(on)
        for name, value in self._wanted_power.items() if on else ():
            await super().set(name, value)

    async def temperature_c(self, channel: int = 1) -> float:
        return await self.params.get_float("temperature_act_c")

    def emergency_off(self) -> None:
        if self._device >= 0:
            self.codec.post(lambda: self.codec.status("PDLM_SetSoftLock", self._device, 1))

    async def release(self) -> None:
        device, self._device = self._device, -1
        try:
            if device >= 0 and self.is_open:
                await self.codec.run(lambda: self.codec.status("PDLM_CloseDevice", device))
        finally:
            await self.codec.close()
