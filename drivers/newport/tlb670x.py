"""Newport / New Focus TLB-6700: tunable laser of the Velocity family, through the vendor's
``usbdll``.

Calls as in QMI 0.54.2 (``newport/tlb670x.py``) and public MATLAB clients; the commands are text, a
set answers ``OK``. Not verified on hardware. A reply that an earlier program left in the queue is
thrown away when the laser is opened; after an error of the library it is initialised again.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

from pydantic import Field

from photonlink.hal.driver import Off
from photonlink.hal.errors import (
    IdentityError,
    InstrumentError,
    LinkClosed,
    LinkNotFound,
    PhotonlinkError,
)
from photonlink.hal.facets import Identity
from photonlink.hal.laser import LaserDriver
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.prototypes import Function, Prototypes, nonzero_fails
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="newport.tlb670x",
    title="Newport TLB-6700: tunable laser",
    driver="Tlb670x",
    facets=("Emits",),
    transports=("lib",),
    usb=("104d:100a",),
    evidence="manual",
    emulator="newport-tlb670x",
    settings={"wavelength_nm": 1550.0, "current_ma": 80.0},
    case={"place": "", "reply_timeout_s": 2.0, "interlock": "interlock_open"},
)

_OWN = "each laser head has its own range"
PRODUCT, REPLY_BYTES = 0x100A, 64
PROTOTYPES = Prototypes(
    (
        Function("newp_usb_init_product", "int product"),
        Function("newp_usb_get_device_info", "out text[1024] info"),
        Function("newp_usb_send_ascii", "long device, text command, unsigned long length"),
        Function("newp_usb_get_ascii",
                 "long device, out text[65] reply, unsigned long length, out unsigned long read"),
        Function("newp_usb_uninit_system"),
    ),
    fails=nonzero_fails,
)  # fmt: skip
_MOST_STALE = 8
_STOPS: dict[Value, str] = {
    501: "the interlock is open: close it, then ask for light again",
    902: "the key switch is off: turn it, then ask for light again",
    424: "the cooler is too hot",
    524: "the laser is too hot",
}
"""Numbers of ``ERRSTR?`` that end or forbid light."""


class Tlb670x(LaserDriver):
    """One controller with its head. ``open`` switches emission off."""

    PARAMS = (
        Param("emission", bool, "laser on", "OUTPut:STATe?", "OUTPut:STATe {}", trips=True,
              settle_s=5.0),
        Param("wavelength_nm", float, "wavelength asked for", "SOURce:WAVElength?",
              "SOURce:WAVElength {}", "nm", limits=(400.0, 2500.0), family=_OWN, tolerance=0.01,
              setting="wavelength_nm"),
        Param("wavelength_act_nm", float, "wavelength measured", "SENSe:WAVElength", unit="nm"),
        Param("tracking", bool, "motor follows the wavelength; off when it has arrived",
              "OUTPut:TRACk?", "OUTPut:TRACk {}", trips=True),
        Param("constant_power", bool, "constant power instead of constant current",
              "SOURce:CPOWer?", "SOURce:CPOWer {}", setting="constant_power"),
        Param("current_ma", float, "diode current asked for", "SOURce:CURRent:DIODe?",
              "SOURce:CURRent:DIODe {}", "mA", limits=(0.0, 500.0), family=_OWN, tolerance=0.06,
              setting="current_ma"),
        Param("current_act_ma", float, "diode current measured", "SENSe:CURRent:DIODe", unit="mA"),
        Param("power_act_mw", float, "power measured, mW", "SENSe:POWer:DIODe"),
        Param("piezo_percent", float, "fine tuning by the piezo", "SOURce:VOLTage:PIEZo?",
              "SOURce:VOLTage:PIEZo {}", "%", limits=(0.0, 100.0), tolerance=0.06,
              setting="piezo_percent"),
        Param("error_code", int, "last error; 0 is well", "ERRSTR?", stops=_STOPS),
    )  # fmt: skip
    OFF = (Off("emission", False, "laser off", "Turn the key switch off NOW"),)

    class Settings(DriverSettings):
        """A TLB-6700's settings beside its parameters."""

        reply_timeout_s: float = Field(default=5.0, gt=0, le=60)
        tune_timeout_s: float = Field(
            default=60.0, gt=0, le=600, description="longest time that the motor may take"
        )

    _device = -1

    def make_codec(self, address: str, tap: Tap | None) -> VendorLibrary:
        self._place = Address.parse(address).only("serial")
        limit_s = self.settings.reply_timeout_s
        return VendorLibrary(self._place, PROTOTYPES, tap=tap, timeout_s=limit_s)

    async def identify(self) -> Identity:
        identity: Identity = await self.codec.run(self._open)
        return identity

    def _open(self) -> Identity:
        wanted = self._place.options.get("serial", "").removeprefix("SN")
        self.codec.status("newp_usb_init_product", PRODUCT)
        info = self.codec.invoke("newp_usb_get_device_info")
        devices = [part.split(",", 1) for part in info.split(";") if "," in part]
        for number, description in devices:
            serial = description.rpartition("SN")[2].strip()
            if wanted in ("", serial):
                self._device = int(number)
                break
        else:
            raise LinkNotFound(
                "no such TLB-6700", where=self._place.uri, seen=info[:80],
                hint="Is it plugged in, and its number in the address right?",
            )  # fmt: skip
        self._drain()
        text = self._ask("*IDN?")
        if "67" not in text:
            raise IdentityError("another instrument answers here", where=self.name, seen=text[:80])
        return Identity("Newport", description.split(" ")[0], serial, text)

    # ---- in the library's thread ----
    def _receive(self) -> str:
        status, (text, _) = self.codec.attempt("newp_usb_get_ascii", self._device, REPLY_BYTES)
        if status:
            raise InstrumentError("no reply", where=self.name, seen=str(status))
        return str(text)

    def _drain(self) -> None:
        """Drop the replies that earlier questions have left."""
        with contextlib.suppress(PhotonlinkError):
            for _ in range(_MOST_STALE):
                self._receive()

    def _ask(self, command: str) -> str:
        """One command, one reply of one line."""
        data = command + "\r\n"
        status = self.codec.status("newp_usb_send_ascii", self._device, data, len(data))
        try:
            if status:
                raise InstrumentError("not sent", where=self.name, seen=str(status))
            lines = [line.strip() for line in self._receive().splitlines() if line.strip()]
        except InstrumentError as error:
            self.codec.status("newp_usb_init_product", PRODUCT)
            self._drain()
            raise LinkClosed(
                f"{command!r} has no answer", where=self._place.uri, seen=error.seen
            ) from None
        return lines[-1] if lines else ""

    async def read(self, param: Param) -> Value:
        text: str = await self.codec.run(partial(self._ask, param.get))
        if param.name == "error_code":
            text = text.partition(",")[0]
        return param.parse(text, self.name)

    async def write(self, param: Param, value: Value) -> None:
        command = param.set.format(param.text(value))
        answer = await self.codec.run(partial(self._ask, command))
        if answer != "OK":
            raise InstrumentError(f"{command!r} was refused", where=self.name, seen=answer[:80])

    async def tune(self, wavelength_nm: float) -> None:
        """Move the motor there, wait until it has arrived, and stop following."""
        await self.set("wavelength_nm", wavelength_nm)
        await self.set("tracking", True)
        deadline = asyncio.get_running_loop().time() + self.settings.tune_timeout_s
        while abs(await self.params.get_float("wavelength_act_nm") - wavelength_nm) > 0.05:
            if asyncio.get_running_loop().time() > deadline:
                raise InstrumentError("the motor does not arrive", where=self.name)
            await asyncio.sleep(0.1)
        await self.set("tracking", False)

    def emergency_off(self) -> None:
        if self._device >= 0:
            self.codec.post(lambda: self._ask("OUTPut:STATe 0"))

    async def release(self) -> None:
        device, self._device = self._device, -1
        try:
            if device >= 0 and self.is_open:
                await self.codec.run(lambda: self.codec.attempt("newp_usb_uninit_system"))
        finally:
            await self.codec.close()
