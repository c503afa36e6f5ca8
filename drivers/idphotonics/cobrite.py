"""ID Photonics CoBrite DX/MX: tunable lasers in a chassis, over TCP port 2000.

Dialect: the vendor-backed ``cobrite`` 2.2.0 and the CoBrite user manual, page 41. Commands and
replies end in ``;``, every command is answered. One driver is one laser, named by chassis, slot and
device; several may share a chassis. Not verified on hardware: the text of acknowledgements, how
long a laser is busy.
"""

from __future__ import annotations

import asyncio
from functools import partial

from pydantic import Field

from photonlink.hal.codecs.lines import LineCodec, Probe
from photonlink.hal.driver import Off
from photonlink.hal.errors import IdentityError, InstrumentError
from photonlink.hal.facets import HasTemperature, Identity
from photonlink.hal.laser import LaserDriver
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="idphotonics.cobrite",
    title="ID Photonics CoBrite DX/MX: tunable laser",
    driver="Cobrite",
    facets=("Emits", "HasTemperature"),
    transports=("tcp",),
    evidence="manual",
    emulator="idphotonics-cobrite",
    settings={"wavelength_nm": 1550.0, "power_dbm": 8.0},
    case={"place": "bob.laser", "steady": ("power_dbm", 8.0), "interlock": "interlock_open"},
)

_OWN = "each laser has its own range"
MONITOR = ("temperature_chip_c", "temperature_base_c", "current_a", "tec_current_a")
"""Parameters in the order of the reply to ``MON?``."""
BUSY_STEP_S = 0.05


def params(at: str) -> tuple[Param, ...]:
    """The table of the laser ``at`` chassis,slot,device."""
    return (
        Param("emission", bool, "the laser is on", f"STAT? {at}", f"STAT {at},{{}}", trips=True,
              settle_s=5.0),
        Param("interlock_open", bool, "interlock circuit open", "INTL?",
              stops={True: "the interlock is open: there is no light. Close it, then ask again"}),
        Param("wavelength_nm", float, "wavelength asked for (vacuum)", f"WAV? {at}",
              f"WAV {at},{{}}", "nm", limits=(1500.0, 1640.0), family=_OWN,
              plausible=(1000.0, 2000.0), tolerance=0.002, setting="wavelength_nm"),
        Param("power_dbm", float, "power asked for", f"POW? {at}", f"POW {at},{{}}", "dBm",
              limits=(-10.0, 20.0), family=_OWN, plausible=(-99.0, 99.0), tolerance=0.02,
              setting="power_dbm"),
        Param("power_act_dbm", float, "power measured", f"APOW? {at}", unit="dBm",
              plausible=(-120.0, 99.0)),
        Param("offset_ghz", float, "fine tuning in GHz", f"OFF? {at}", f"OFF {at},{{}}",
              limits=(-12.0, 12.0), tolerance=0.002, setting="offset_ghz"),
        Param("dither", int, "stabilising dither; -1 where there is none", f"DIT? {at}",
              f"DIT {at},{{}}", limits=(0, 1), plausible=(-1, 1)),
        Param("alarm", int, "alarm register of the laser, 0 is well", f"LALAR? {at}", poll="slow"),
        Param("busy", bool, "it is still tuning", f"BUSY? {at}"),
        Param(MONITOR[0], float, "temperature of the diode", f"MON? {at}", unit="°C"),
        Param(MONITOR[1], float, "temperature of the housing", f"MON? {at}", unit="°C"),
        Param(MONITOR[2], float, "diode current", f"MON? {at}", unit="A", scale=1000.0),
        Param(MONITOR[3], float, "current of the cooler", f"MON? {at}", unit="A", scale=1000.0),
    )  # fmt: skip


class Cobrite(LaserDriver, HasTemperature):
    """One laser of a chassis. ``open`` switches it off, and no other."""

    PARAMS = params("1,1,1")
    OFF = (Off("emission", False, "laser off", "Open the interlock NOW"),)
    CODEC = partial(
        LineCodec, question_end=";", command_end=";", reply_end=";", sets_answer=True,
        refusal=r"^ERR\b", wake="", resync=Probe("*IDN?", "(?s).*CoBrite.*"),
    )  # fmt: skip

    class Settings(DriverSettings):
        """A CoBrite's settings beside its parameters."""

        laser: str = Field(
            default="1,1,1", pattern=r"[1-9]\d*,[1-9]\d*,[1-9]\d*",
            description="chassis, slot and device of the laser",
        )  # fmt: skip
        busy_timeout_s: float = Field(
            default=30.0, gt=0, le=300, description="longest time that tuning may take"
        )

    def parameters(self) -> tuple[Param, ...]:
        return params(self.settings.laser)

    async def identify(self) -> Identity:
        text = await self.codec.ask("*IDN?", str)
        if "cobrite" not in text.lower():
            raise IdentityError(
                "another instrument answers here",
                where=f"{self.name} ({self.address})",
                seen=text[:80],
                hint="The reply to *IDN? should contain CoBrite",
            )
        parts = [*(part.strip() for part in text.split(",")), "", "", ""]
        await self.codec.ask(f"TYP? {self.settings.laser}", str)  # refused when there is none
        return Identity(parts[0], parts[1], parts[2], parts[3])

    async def read(self, param: Param) -> Value:
        if param.name not in MONITOR:
            return await super().read(param)
        fields: list[str] = await self.codec.ask(param.get, lambda text: text.split(","))
        if len(fields) != len(MONITOR):
            raise InstrumentError(
                f"{param.name}: unreadable reply", where=self.name, seen=",".join(fields)[:80]
            )
        return param.parse(fields[MONITOR.index(param.name)], self.name)

    async def write(self, param: Param, value: Value) -> None:
        """Set, then wait while the laser is busy."""
        await super().write(param, value)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.busy_timeout_s
        while await self.get("busy"):
            if loop.time() > deadline:
                raise InstrumentError(
                    f"still busy {self.settings.busy_timeout_s:g} s after {param.name} was set",
                    where=self.name,
                )
            await asyncio.sleep(BUSY_STEP_S)

    async def temperature_c(self, channel: int = 1) -> float:
        return await self.params.get_float(MONITOR[0])
