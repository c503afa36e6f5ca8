"""Keysight N7776C and relatives (N777xC, 8160x family): tunable laser, SCPI over LAN (port 5025).

Dialect: pymeasure 0.16.0, ``instruments/keysight/keysightN7776C.py``; port 5025 is usual. Not
verified on hardware. Wavelengths are metres on the wire; the power unit is set to dBm when it is
opened.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Off
from photonlink.hal.facets import Identity
from photonlink.hal.laser import LaserDriver
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="keysight.n777x",
    title="Keysight N777xC: tunable laser",
    driver="N777x",
    facets=("Emits",),
    transports=("tcp", "visa"),
    evidence="manual",
    emulator="keysight-n777x",
    settings={"wavelength_nm": 1550.0, "power_dbm": 3.0},
    case={"place": "", "steady": ("wavelength_nm", 1550.0), "interlock": "interlock_open"},
)

_NM = partial(Param, kind=float, unit="nm", scale=1e-9, plausible=(300.0, 3000.0), tolerance=0.001,
              limits=(1240.0, 1680.0), family="each model has its own range")  # fmt: skip
_LOCKED = "the laser is locked: set the parameter `locked` to false, then ask for light again"


class N777x(LaserDriver):
    """One laser module. ``open`` switches it off."""

    PARAMS = (
        Param("emission", bool, "laser on", "SOUR0:POW:STAT?", "SOUR0:POW:STAT {}", trips=True,
              settle_s=5.0),
        Param("locked", bool, "locked by its password", ":LOCK?", ":LOCK {}", trips=True,
              stops={True: _LOCKED}),
        _NM("wavelength_nm", doc="wavelength asked for (vacuum)", get="SOUR0:WAV?",
            set="SOUR0:WAV {}", setting="wavelength_nm"),
        Param("power_dbm", float, "power asked for", "SOUR0:POW?", "SOUR0:POW {} DBM", "dBm",
              limits=(-20.0, 20.0), family="each model has its own range",
              plausible=(-99.0, 99.0), tolerance=0.02, setting="power_dbm"),
        _NM("sweep_start_nm", doc="first wavelength of a sweep", get="SOUR0:WAV:SWE:STAR?",
            set="SOUR0:WAV:SWE:STAR {}", poll="slow"),
        _NM("sweep_stop_nm", doc="last wavelength of a sweep", get="SOUR0:WAV:SWE:STOP?",
            set="SOUR0:WAV:SWE:STOP {}", poll="slow"),
        Param("sweep_speed_nm_per_s", float, "speed of a continuous sweep", "SOUR0:WAV:SWE:SPE?",
              "SOUR0:WAV:SWE:SPE {}", scale=1e-9, limits=(0.5, 200.0), tolerance=0.01,
              poll="slow"),
        Param("sweep_mode", str, "kind of sweep", "SOUR0:WAV:SWE:MODE?", "SOUR0:WAV:SWE:MODE {}",
              choices={"stepped": "STEP", "manual": "MAN", "continuous": "CONT"}, poll="slow"),
        Param("sweep", int, "0 at rest, 1 running, 2 paused", "SOUR0:WAV:SWE?"),
    )  # fmt: skip
    OFF = (Off("emission", False, "laser off", "Open the interlock NOW"),)
    CODEC = partial(ScpiCodec)

    class Settings(DriverSettings):
        """An N777x's settings beside its parameters."""

        lock_code: str = Field(
            default="1234", pattern=r"\d{4}", description="code of `locked`; 1234 from the factory"
        )

    async def identify(self) -> Identity:
        identity: Identity = await self.codec.identify(key="N77")
        await self.codec.tell("SOUR0:POW:UNIT 0")
        return identity

    async def write(self, param: Param, value: Value) -> None:
        if param.name == "locked":
            await self.codec.tell(f":LOCK {int(bool(value))},{self.settings.lock_code}")
        else:
            await super().write(param, value)

    async def start_sweep(self) -> None:
        """Sweep as the parameters ``sweep_…`` say; the light must be on."""
        await self.codec.tell("SOUR0:WAV:SWE 1")

    async def stop_sweep(self) -> None:
        await self.codec.tell("SOUR0:WAV:SWE 0")
