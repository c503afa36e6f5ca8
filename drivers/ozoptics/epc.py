"""OZ Optics EPC: four fibre squeezers on a serial line (9600 8N1).

Dialect: ``pylablib`` 1.4.5 (EPC04) and QMI 0.54.2 (``epc_driver.py``): one line, then ``Done``. A
squeezer turns the state about its axis by an angle that grows with its voltage; the factor is a
setting, because it depends on unit and wavelength. Not tried on hardware.
"""

from __future__ import annotations

import re
from functools import partial

from pydantic import Field

from photonlink.hal.codecs.lines import LineCodec, Probe
from photonlink.hal.driver import Driver
from photonlink.hal.errors import IdentityError, InstrumentError
from photonlink.hal.facets import Identity, Retarder, Rotates
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="ozoptics.epc",
    title="OZ Optics EPC: electric polarization controller, four squeezers",
    driver="Epc",
    facets=("Rotates",),
    transports=("serial", "tcp"),
    evidence="manual",
    emulator="ozoptics-epc",
    settings={"deg_per_v": 90.0},
    case={"place": "bob.waveplates3", "steady": ("mode", "dc")},
)
_CHANNELS = (1, 2, 3, 4)


class Epc(Driver, Rotates):
    """Four axes; angles are the turn on the Poincaré sphere. ``open`` changes no voltage."""

    class Settings(DriverSettings):
        """How far a squeezer turns."""

        deg_per_v: float = Field(90.0, gt=0, le=1000, description="turn of a squeezer per volt")

    PARAMS = (
        Param("voltage{ch}_v", float, "voltage of squeezer {ch}", "V? {ch}", "V{ch},", "V",
              limits=(-5.0, 5.0), tolerance=0.002, channels=_CHANNELS, setting="voltage{ch}_v"),
        Param("frequency{ch}_hz", int, "scrambling of squeezer {ch}", "F? {ch}", "F{ch},", "Hz",
              limits=(0, 100), channels=_CHANNELS, poll="slow"),
        Param("mode", str, "fixed voltages or scrambling", "M?", "M",
              choices={"dc": "DC", "ac": "AC"}, setting="mode"),
        Param("waveform", str, "of the scrambling", "WF?", "WF",
              choices={"sine": "SINE", "triangle": "TRIANGLE"}, poll="slow"),
    )  # fmt: skip
    PACE_S = 0.02
    CODEC = partial(
        LineCodec,
        status="^Done$",
        refusal="^Error!$",
        sets_answer=True,
        resync=Probe("M?", ".*Mode.*"),
    )

    @property
    def axes(self) -> tuple[int, ...]:
        return _CHANNELS

    @property
    def retarders(self) -> tuple[Retarder, ...]:
        """Squeezers at 45° and 0° in turn."""
        reach = 5.0 * self.settings.deg_per_v
        return tuple(Retarder(None, 45.0 if n % 2 else 0.0, -reach, reach) for n in _CHANNELS)

    async def identify(self) -> Identity:
        """It has no identity; it is recognised by its line of voltages."""
        text = await self.codec.ask("V?", str)
        if len(_numbers(text)) != len(_CHANNELS):
            raise IdentityError("another instrument answers here", where=self.name, seen=text[:80])
        return Identity("OZ Optics", "EPC", "")

    async def read(self, param: Param) -> Value:
        question, _, channel = param.get.partition(" ")
        text: str = await self.codec.ask(question, str)
        if not channel:
            return param.parse((text.upper().split() or [""])[-1], self.name)
        numbers = _numbers(text)
        if len(numbers) != len(_CHANNELS):
            raise InstrumentError(f"{param.name}: unreadable reply", where=self.name, seen=text)
        number = int(numbers[int(channel) - 1])
        return number / 1000.0 if param.kind is float else number

    async def write(self, param: Param, value: Value) -> None:
        if param.name == "waveform":
            text = f"WF{1 if value == 'sine' else 2}"
        elif param.kind is float:
            text = f"{param.set}{round(float(value) * 1000)}"
        else:
            text = param.set + param.text(value)
        await self.codec.tell(text)

    async def home(self, axis: int = 1) -> None:
        """Set all voltages to zero."""
        await self.set(f"voltage{axis}_v", 0.0)

    async def move_to_deg(self, angle: float, axis: int = 1) -> None:
        await self.set(f"voltage{axis}_v", round(angle / self.settings.deg_per_v, 3))

    async def angle_deg(self, axis: int = 1) -> float:
        return await self.params.get_float(f"voltage{axis}_v") * float(self.settings.deg_per_v)

    async def stop_motion(self) -> None:
        """Scrambling ends; voltages stay."""
        await self.set("mode", "dc")


def _numbers(text: str) -> list[str]:
    return re.findall(r"CH\d\s*([+-]?\d+)", text)
