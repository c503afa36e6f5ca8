"""Lake Shore 336: temperature controller of a cold stage, four inputs, two heaters.

Dialect: the vendor's ``lakeshore`` 1.10.0 (``model_336.py``, ``generic_instrument.py``). Not
tried on hardware. Heaters are read-only unless ``heaters_armed`` is set: heat harms a cold stage.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import LimitError
from photonlink.hal.facets import HasOutput, HasTemperature, Identity
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="lakeshore.model336",
    title="Lake Shore 336: temperature controller",
    driver="Model336",
    facets=("HasOutput", "HasTemperature"),
    transports=("tcp",),
    evidence="manual",
    emulator="lakeshore-model336",
    settings={"heaters_armed": True, "heater_range_1": "low", "setpoint_1_k": 3.0},
    case={"steady": ("name_a", "STAGE")},
)
INPUTS = ("a", "b", "c", "d")
RANGES: dict[Value, str] = {"off": "0", "low": "1", "medium": "2", "high": "3"}
ZERO_C_K = 273.15
_STATUS = {1: "invalid reading", 16: "below its range", 32: "above its range",
           64: "sensor at zero", 128: "sensor beyond its range"}  # fmt: skip
_HEATERS = (1, 2)


class Model336(Driver, HasOutput, HasTemperature):
    """One controller. ``open`` switches both heaters off; inputs A to D are channels 1 to 4."""

    PARAMS = (
        Param("temperature_{ch}_k", float, "temperature at input {ch}", "KRDG? {ch}",
              unit="K", channels=INPUTS, plausible=(-1.0, 2000.0)),
        Param("status_{ch}", int, "reading of input {ch}: 0 is well", "RDGST? {ch}",
              channels=INPUTS),
        Param("name_{ch}", str, "name of input {ch}", "INNAME? {ch}", channels=INPUTS),
        Param("heater_{ch}_percent", float, "output of heater {ch}", "HTR? {ch}", unit="%",
              channels=_HEATERS),
        Param("heater_range_{ch}", str, "range of heater {ch}", "RANGE? {ch}", "RANGE {ch},{}",
              choices=RANGES, channels=_HEATERS, setting="heater_range_{ch}", deferred=True),
        Param("setpoint_{ch}_k", float, "temperature asked of loop {ch}", "SETP? {ch}",
              "SETP {ch},{}", "K", limits=(0.0, 400.0), tolerance=0.001, channels=_HEATERS,
              setting="setpoint_{ch}_k"),
    )  # fmt: skip
    OFF = (
        Off("heater_range_1", "off", "heater 1 off", "Switch the controller off NOW"),
        Off("heater_range_2", "off", "heater 2 off", "Switch the controller off NOW"),
    )
    # *ESR? reports errors of earlier commands, like an error queue, and is 0 once it was read.
    CODEC = partial(ScpiCodec, reply_end="\r\n", errors="*ESR?")

    class Settings(DriverSettings):
        """Beside the parameters."""

        heaters_armed: bool = Field(
            default=False, description="heaters may be switched on from here"
        )

    async def connect(self) -> None:
        """Read the event register once, since it may hold earlier events, and drop the value."""
        await super().connect()
        await self.codec.ask("*ESR?", str)

    async def identify(self) -> Identity:
        identity: Identity = await self.codec.identify(key="MODEL336")
        return identity

    async def write(self, param: Param, value: Value) -> None:
        heats = param.name.startswith("heater_range") and value != "off"
        if heats and not self.settings.heaters_armed:
            raise LimitError(
                "heaters are not armed", where=self.name,
                hint="Set heaters_armed = true in the station file; nothing was changed",
            )  # fmt: skip
        await super().write(param, value)

    @property
    def output_channels(self) -> tuple[int, ...]:
        return _HEATERS

    async def set_output(self, on: bool, channel: int = 1) -> None:
        """A heater to the range of the settings (low without one), or off; read back."""
        self._known(channel, _HEATERS)
        wanted = getattr(self.settings, f"heater_range_{channel}") or "low"
        await self.set(f"heater_range_{channel}", wanted if on else "off")

    async def output(self, channel: int = 1) -> bool:
        self._known(channel, _HEATERS)
        return await self.get(f"heater_range_{channel}") != "off"

    async def temperature_k(self, channel: int = 1) -> float:
        """Input A to D (1 to 4) in kelvin; an invalid reading raises an error with the reason."""
        self._known(channel, (1, 2, 3, 4))
        letter = INPUTS[channel - 1]
        bits = int(await self.get(f"status_{letter}"))
        words = ", ".join(text for bit, text in _STATUS.items() if bits & bit)
        if bits:
            raise LimitError(f"input {letter.upper()}: {words or bits}", where=self.name)
        return await self.params.get_float(f"temperature_{letter}_k")

    async def temperature_c(self, channel: int = 1) -> float:
        return await self.temperature_k(channel) - ZERO_C_K

    def _known(self, channel: int, channels: tuple[int, ...]) -> None:
        if channel not in channels:
            raise LimitError(f"there is no channel {channel}", where=self.name,
                             hint=f"Known: {channels}")  # fmt: skip
