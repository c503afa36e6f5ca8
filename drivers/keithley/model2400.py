"""Keithley 2400: source-measure unit on SCPI, as bias of a detector.

Dialect: ``pymeasure`` 0.16 ``keithley/keithley2400.py``. Not tried on hardware. It sources current
with a limit of voltage (nanowires) or voltage with a limit of current (diodes): ``source``.
"""

from __future__ import annotations

from functools import partial

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import InstrumentError, LimitError
from photonlink.hal.facets import HasOutput, Identity
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="keithley.model2400",
    title="Keithley 2400: source-measure unit",
    driver="Model2400",
    facets=("HasOutput",),
    transports=("visa", "serial", "tcp"),
    evidence="manual",
    emulator="keithley-model2400",
    emulator_wire="tcp",
    settings={"source": "current", "current_a": 18e-6, "compliance_v": 1.0},
    case={"steady": ("source", "current")},
)
_READ = "output is off: nothing is measured"


class Model2400(Driver, HasOutput):
    """One unit. ``open`` switches the output off and takes both levels to zero."""

    PARAMS = (
        Param("output", bool, "output on", "OUTP?", "OUTP {}"),
        Param("source", str, "what is sourced", ":SOUR:FUNC?", ":SOUR:FUNC {}",
              choices={"current": "CURR", "voltage": "VOLT"}, setting="source"),
        Param("compliance_v", float, "highest voltage while current is sourced",
              ":SENS:VOLT:PROT?", ":SENS:VOLT:PROT {}", "V", limits=(2e-4, 210.0),
              tolerance=1e-3, setting="compliance_v"),
        Param("compliance_a", float, "highest current while voltage is sourced",
              ":SENS:CURR:PROT?", ":SENS:CURR:PROT {}", "A", limits=(1e-9, 1.05),
              tolerance=1e-9, setting="compliance_a"),
        Param("current_a", float, "current asked for", ":SOUR:CURR?", ":SOUR:CURR {}", "A",
              limits=(-1.05, 1.05), tolerance=1e-9, setting="current_a", deferred=True),
        Param("voltage_v", float, "voltage asked for", ":SOUR:VOLT?", ":SOUR:VOLT {}", "V",
              limits=(-210.0, 210.0), tolerance=1e-4, setting="voltage_v", deferred=True),
    )  # fmt: skip
    OFF = (
        Off("output", False, "output off"),
        Off("current_a", 0.0, "current zero"),
        Off("voltage_v", 0.0, "voltage zero"),
    )
    CODEC = partial(ScpiCodec)

    async def identify(self) -> Identity:
        identity: Identity = await self.codec.identify(key="MODEL 24")
        return identity

    async def write(self, param: Param, value: Value) -> None:
        if param.name == "source" and await self.get("output"):
            raise InstrumentError("the output is on: switch it off before the source is changed",
                                  where=self.name, hint="Nothing was changed")  # fmt: skip
        await super().write(param, value)

    async def set_output(self, on: bool, channel: int = 1) -> None:
        """The level of the settings and the output on, or the output off and the level zero."""
        if channel != 1:
            raise LimitError(f"there is no channel {channel}", where=self.name, hint="Known: 1")
        level = "current_a" if await self.get("source") == "current" else "voltage_v"
        wanted = getattr(self.settings, level)
        if on and wanted is None:
            raise LimitError(f"the settings give no {level}: there is none to apply",
                             where=self.name)  # fmt: skip
        if not on:
            await self.set("output", False)
        await self.set(level, wanted if on else 0.0)
        if on:
            await self.set("output", True)

    async def output(self, channel: int = 1) -> bool:
        return bool(await self.get("output"))

    async def measure(self) -> tuple[float, float]:
        """(voltage in V, current in A) at the terminals. InstrumentError while the output is off:
        a reading would switch it on."""
        if not await self.get("output"):
            raise InstrumentError(_READ, where=self.name)
        await self.codec.tell(":FORM:ELEM VOLT,CURR")
        text = await self.codec.ask(":READ?", str)
        try:
            volts, amps = (float(field) for field in text.split(","))
        except ValueError:
            raise InstrumentError("unreadable measurement", where=self.name, seen=text) from None
        return volts, amps
