"""HighFinesse wavemeters (WS5…WS8), through the vendor's ``libwlmData.so``.

The library is a client of the vendor's server program, whose host stands in ``wlmData.ini``. Calls
as QMI 0.54.2 makes them. A getter never waits: it repeats the last value until there is a new one;
values that are not positive are error numbers. Not verified on hardware: all of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from photonlink.hal.driver import Driver
from photonlink.hal.errors import IdentityError, InstrumentError, LinkClosed, LinkNotFound
from photonlink.hal.facets import HasTemperature, Identity, MeasuresWavelength, Reading
from photonlink.hal.links import Address, Tap
from photonlink.hal.links.prototypes import Function, Prototypes
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="highfinesse.wlm",
    title="HighFinesse wavemeter",
    driver="Wlm",
    facets=("HasTemperature", "MeasuresWavelength"),
    transports=("lib",),
    evidence="manual",
    emulator="highfinesse-wlm",
    case={"reply_timeout_s": 2.0},
)

_NUMBERED = "int channel, double zero"
PROTOTYPES = Prototypes(
    (
        Function("GetWLMCount", "int zero", value=True),
        Function("GetWLMVersion", "int part"),
        Function("GetChannelsCount", "int zero"),
        Function("GetOperationState", "unsigned short zero", "unsigned short", value=True),
        Function("Operation", "unsigned short what"),
        Function("GetWavelengthNum", _NUMBERED, "double", value=True),
        Function("GetPowerNum", _NUMBERED, "double", value=True),
        Function("GetTemperature", "double zero", "double", value=True),
        Function("GetPressure", "double zero", "double", value=True),
        Function("GetExposureNum", "int channel, int array, int zero"),
        Function("SetExposureNum", "int channel, int array, int ms"),
    )
)
MEASURE = 2
SERVER_MISSING = -5
MEANINGS = {
    0: "no value yet",
    -1: "no signal",
    -2: "bad signal",
    -3: "signal too low",
    -4: "signal too high",
    -6: "not available",
    -8: "no pulse",
    -10: "no such channel",
    -14: "out of range",
    -1006: "not available",
}


class Wlm(Driver, HasTemperature, MeasuresWavelength):
    """One wavemeter; ``#channel=`` is the switch's input that readings are of (1)."""

    class Settings(DriverSettings):
        """A wavemeter's settings."""

        reply_timeout_s: float = Field(default=5.0, gt=0, le=60)

    PARAMS = (
        Param("exposure_ms", int, "exposure of the first detector array", "GetExposureNum",
              "SetExposureNum", "ms", limits=(1, 9_999),
              ours="no model exposes longer", setting="exposure_ms"),
        Param("measuring", bool, "the server measures", "GetOperationState",
              stops={False: "the wavemeter's server does not measure. Start it there"}),
        Param("wavelength_nm", float, "vacuum wavelength", "GetWavelengthNum", unit="nm"),
        Param("power_uw", float, "relative power, in the unit of the server", "GetPowerNum"),
        Param("temperature_c", float, "inside the instrument", "GetTemperature", unit="°C"),
        Param("pressure_mbar", float, "inside the instrument", "GetPressure"),
    )  # fmt: skip

    def make_codec(self, address: str, tap: Tap | None) -> VendorLibrary:
        place = Address.parse(address).only("serial", "channel")
        self._channel, self._wanted = place.number("channel", 1), place.options.get("serial")
        return VendorLibrary(place, PROTOTYPES, timeout_s=self.settings.reply_timeout_s, tap=tap)

    async def identify(self) -> Identity:
        if await self.codec.call("GetWLMCount", 0) < 1:
            raise LinkNotFound(
                "the library finds no server",
                where=self.address,
                hint="Start the wavemeter's program, and name its host in wlmData.ini",
            )
        kind, serial, revision, build = [
            await self.codec.call("GetWLMVersion", part) for part in range(4)
        ]
        if self._wanted not in (None, str(serial)):
            raise IdentityError(f"{self._wanted} is not here", where=self.name, seen=str(serial))
        if self._channel > await self.codec.call("GetChannelsCount", 0):
            raise IdentityError("it has fewer channels", where=self.name, seen=str(self._channel))
        if await self.codec.call("GetOperationState", 0) == 0:
            await self.codec.call("Operation", MEASURE)
        return Identity("HighFinesse", f"WS{kind}", str(serial), f"{revision}.{build}")

    def _checked(self, value: float, what: str) -> float:
        """The value, unless it is an error number."""
        if value > 0:
            return value
        if round(value) in (SERVER_MISSING, SERVER_MISSING - 1000):
            raise LinkClosed("the wavemeter's server is gone", where=self.name)
        meaning = MEANINGS.get(round(value), "error")
        raise InstrumentError(f"{what}: {meaning}", where=self.name, seen=f"{value:g}")

    async def snapshot(self) -> Mapping[str, Reading]:
        """Without light there is no wavelength; ``signal`` then holds the reason in words."""
        readings = dict(await super().snapshot())
        missing = str(readings.pop("wavelength_nm_error", ""))
        readings.pop("power_uw_error", None)
        return readings | {"signal": missing.partition(": ")[2] or "good"}

    async def read(self, param: Param) -> Value:
        if param.name == "measuring":
            return bool(await self.codec.call(param.get, 0) == MEASURE)
        if param.name == "exposure_ms":
            return int(await self.codec.call(param.get, self._channel, 1, 0))
        numbered = (self._channel,) if param.get.endswith("Num") else ()
        value: float = await self.codec.call(param.get, *numbered, 0.0)
        return value if param.unit == "°C" and value > -273.15 else self._checked(value, param.name)

    async def write(self, param: Param, value: Value) -> None:
        await self.codec.call(param.set, self._channel, 1, int(value))

    async def wavelength_m(self, channel: int = 0) -> float:
        """Of ``channel``, or of the address's."""
        value = await self.codec.call("GetWavelengthNum", channel or self._channel, 0.0)
        return self._checked(value, "wavelength") * 1e-9

    async def temperature_c(self, channel: int = 1) -> float:
        return await self.params.get_float("temperature_c")
