"""Aurea SPD_OEM_NIR: InGaAs single-photon detector, through the vendor's ``OEM.so``.

Calls as in Veriqloud kiwi_hw_control 23f2c1b, ``remote/lib/aurea/SPD_OEM.py``. The library opens a
device once in the life of a process, so each opening has a process of its own. Not verified on
hardware: the text of the version, and whether 0 is "output on" (that client says so, another
program of the same vendor's library says the opposite).
"""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from typing import Any

from pydantic import Field

from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import IdentityError, InstrumentError, LinkClosed, LinkNotFound
from photonlink.hal.facets import CountsPhotons, HasOutput, HasTemperature, Identity, PhotonCounts
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.prototypes import Function, Prototypes, nonzero_fails
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="aurea.spd_oem_nir",
    title="Aurea SPD_OEM_NIR: InGaAs single-photon detector",
    driver="SpdOemNir",
    facets=("CountsPhotons", "HasOutput", "HasTemperature"),
    transports=("lib",),
    usb=("04d8:f7b1",),
    evidence="manual",
    emulator="aurea-spd-oem-nir",
    settings={"efficiency_percent": 20, "dead_time_ns": 20_000.0},
    case={"reply_timeout_s": 4.0},
)

_GET, _SET = "short device, out short value", "short device, short value"
_SWITCHES = ("Efficiency", "DetectionMode", "OutputFormat", "OutputState")
PROTOTYPES = Prototypes(
    (
        Function("CPC_openDevice", "short device"),
        Function("CPC_closeDevice", "short device"),
        Function("CPC_getSystemVersion", "short device, out text[64] version"),
        *(Function(f"CPC_get{name}", _GET) for name in _SWITCHES),
        *(Function(f"CPC_set{name}", _SET) for name in _SWITCHES),
        Function("CPC_getDeadTime", "short device, out double us"),
        Function("CPC_setDeadTime", "short device, double us"),
        Function("CPC_getCLKCountData",
                 "short device, out unsigned long clock, out unsigned long detections"),
        Function("CPC_getBodySocketTemp", "short device, out double celsius"),
    ),
    fails=nonzero_fails,
    own_process=True,
)  # fmt: skip
REST_S, ATTEMPTS = 0.6, 3
"""Between closing and opening; another program may have closed it just now."""
_ON = {True: 0, False: 1}
_OWN = "each unit lists its own"


class SpdOemNir(Driver, CountsPhotons, HasOutput, HasTemperature):
    """One detector: ``#index=`` its number, ``#serial=`` what it must be."""

    class Settings(DriverSettings):
        """A detector's settings beside its parameters."""

        reply_timeout_s: float = Field(default=5.0, gt=0, le=60)

    PARAMS = (
        Param("output", bool, "pulses leave the output", "CPC_getOutputState",
              "CPC_setOutputState"),
        Param("efficiency_percent", int, "detection efficiency", "CPC_getEfficiency",
              "CPC_setEfficiency", "%", limits=(1, 50), family=_OWN, setting="efficiency_percent"),
        Param("dead_time_ns", float, "hold-off after a click", "CPC_getDeadTime",
              "CPC_setDeadTime", "ns", limits=(100.0, 1e6), family=_OWN, scale=1e-3,
              tolerance=50.0, setting="dead_time_ns"),
        Param("detection_mode", str, "free running, or gated by the clock input",
              "CPC_getDetectionMode", "CPC_setDetectionMode",
              choices={"continuous": "0", "gated": "1"}, setting="detection_mode"),
        Param("output_format", str, "form of the pulses", "CPC_getOutputFormat",
              "CPC_setOutputFormat", choices={"numeric": "0", "analog": "1", "NIM": "2"},
              setting="output_format"),
        Param("clock_hz", int, "clock input", "CPC_getCLKCountData:0", unit="Hz"),
        Param("detections_hz", int, "clicks in the last second", "CPC_getCLKCountData:1",
              unit="Hz", of_clicks=True),
        Param("body_c", float, "temperature of the socket", "CPC_getBodySocketTemp", unit="°C"),
    )  # fmt: skip
    OFF = (Off("output", False, "output off"),)

    def make_codec(self, address: str, tap: Tap | None) -> VendorLibrary:
        self._place = Address.parse(address).only("serial", "index")
        self._number = self._place.number("index", 0)
        limit_s = self.settings.reply_timeout_s
        return VendorLibrary(self._place, PROTOTYPES, tap=tap, timeout_s=limit_s)

    async def identify(self) -> Identity:
        limit_s = self.settings.reply_timeout_s + ATTEMPTS * REST_S
        version = str(await self.codec.run(self._open, limit_s))
        part, serial, firmware, *_ = [*re.split(r"[\s/,;]+", version.strip()), "", "", ""]
        if self._place.options.get("serial", serial) != serial:
            raise IdentityError("another detector is here", where=self.name, seen=version)
        return Identity("Aurea", part, serial, firmware)

    def _open(self) -> Any:
        for attempt in range(ATTEMPTS):
            if self.codec.status("CPC_openDevice", self._number) == 0:
                return self.codec.invoke("CPC_getSystemVersion", self._number)
            if attempt < ATTEMPTS - 1:
                time.sleep(REST_S)
        raise LinkNotFound(
            "no such detector", where=self._place.uri,
            hint="Is it plugged in, free, and may this user open it (udev rules)?",
        )  # fmt: skip

    async def read(self, param: Param) -> Value:
        """A getter has nothing to refuse: one that fails says that the detector is gone."""
        name, _, which = param.get.partition(":")
        status, values = await self.codec.run(partial(self.codec.attempt, name, self._number))
        if status:
            raise LinkClosed(f"{name}: error {status}", where=self._place.uri)
        value = values[int(which or 0)]
        if param.name == "output":
            return bool(value == _ON[True])
        return param.parse(f"{value:.9g}", self.name)

    async def write(self, param: Param, value: Value) -> None:
        wired: Any = _ON[bool(value)] if param.name == "output" else param.wire(value)
        wired = float(wired) if param.kind is float else int(wired)
        status = await self.codec.run(lambda: self.codec.status(param.set, self._number, wired))
        if status:
            raise InstrumentError(
                f"{param.name} = {value} was refused", where=self.name, seen=str(status),
                hint="Which values there are, the vendor's software lists",
            )  # fmt: skip

    async def set_output(self, on: bool, channel: int = 1) -> None:
        await self.set("output", on)

    async def output(self, channel: int = 1) -> bool:
        return bool(await self.get("output"))

    async def temperature_c(self, channel: int = 1) -> float:
        return await self.params.get_float("body_c")

    async def count(self, gate_s: float) -> PhotonCounts:
        """Clicks in ``gate_s``, a whole number of seconds up to 60: the detector counts seconds."""
        gate = Param("gate_s", int, "gate", "-", unit="s", limits=(1, 60))
        seconds, total = gate.whole(gate_s, where=self.name), 0
        for _ in range(seconds):
            await asyncio.sleep(1.0)
            total += int(await self.get("detections_hz"))
        return PhotonCounts({1: total}, float(seconds))

    def emergency_off(self) -> None:
        self.codec.post(lambda: self.codec.status("CPC_setOutputState", self._number, _ON[False]))

    async def release(self) -> None:
        try:
            if self.is_open:
                await self.codec.run(lambda: self.codec.status("CPC_closeDevice", self._number))
        finally:
            await self.codec.close()
