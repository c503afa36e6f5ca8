"""Santec TSL-570: tunable laser, over LAN (raw socket) or a serial line; SCPI, replies end in CR.

Dialect: pymeasure 0.16.0 (``instruments/santec``) and QMI's ``santec/tsl_570.py``; alert numbers
and ranges from the TSL-570 manual as those drivers quote it. Not verified on hardware: the default
TCP port (5000 is common), the wording of alerts, number formats.

The laser's command set (``:SYST:COMM:COD``) decides whether wavelengths are nm or m. It is asked
for when the instrument is opened, and left as it is. The power unit is set to dBm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Off
from photonlink.hal.errors import InstrumentError
from photonlink.hal.facets import Condition, Identity
from photonlink.hal.laser import LaserDriver
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="santec.tsl570",
    title="Santec TSL-570: tunable laser",
    driver="Tsl570",
    facets=("Emits",),
    transports=("tcp", "serial"),
    evidence="manual",
    emulator="santec-tsl570",
    settings={"wavelength_nm": 1550.0, "power_dbm": 0.0},
    case={"place": "alice.laser", "steady": ("wavelength_nm", 1550.0),
          "interlock": "interlock_open"},
)  # fmt: skip

_OWN = "each model has its own range"
NO_ALERTS, INTERLOCK, _MOST_ALERTS = "No alerts.", "No07", 8
STOPPING = {
    "00": "its supply has failed", "02": "its supply has failed", "03": "its supply has failed",
    "07": "the interlock opened: close it, then ask for light again",
    "20": "its temperature is out of range", "21": "its temperature is out of range",
    "22": "its temperature is out of range", "28": "its fan has failed",
}  # fmt: skip
"""Alerts that end or endanger the light, by number."""
SWEEP = {0: "stopped", 1: "running", 3: "waits for trigger", 4: "preparing"}
SPEED = Param("sweep_speed_nm_per_s", int, "speed of a continuous sweep", ":WAV:SWE:SPE?",
              ":WAV:SWE:SPE {}", choices={n: str(n) for n in (1, 2, 5, 10, 20, 50, 100, 200)},
              poll="slow")  # fmt: skip


def params(speed: Param) -> tuple[Param, ...]:
    """The table; models differ in the speeds of a sweep."""
    nm = partial(Param, kind=float, unit="nm", plausible=(300.0, 3000.0))
    return (
        Param("shutter_closed", bool, "shutter before the output", ":POW:SHUT?", ":POW:SHUT {}",
              settle_s=2.0),
        Param("emission", bool, "the diode is on", ":POW:STAT?", ":POW:STAT {}", trips=True,
              settle_s=5.0),
        nm("wavelength_nm", doc="wavelength asked for (vacuum)", get=":WAV?", set=":WAV {}",
           limits=(1240.0, 1680.0), family=_OWN, tolerance=0.0005, setting="wavelength_nm"),
        nm("wavelength_min_nm", doc="shortest wavelength", get=":WAV:MIN?", poll="once"),
        nm("wavelength_max_nm", doc="longest wavelength", get=":WAV:MAX?", poll="once"),
        Param("fine_tuning", float, "fine tuning, own units", ":WAV:FIN?", ":WAV:FIN {}",
              limits=(-100.0, 100.0), tolerance=0.01, setting="fine_tuning"),
        Param("coherence_control", bool, "linewidth broadened on purpose", ":COHC?", ":COHC {}",
              setting="coherence_control"),
        Param("power_dbm", float, "power asked for", ":POW?", ":POW {}", "dBm",
              limits=(-15.0, 13.0), plausible=(-99.0, 99.0), tolerance=0.01, setting="power_dbm"),
        Param("power_act_dbm", float, "power at the monitor", ":POW:ACT?", unit="dBm",
              plausible=(-120.0, 99.0)),
        Param("alerts", str, "what the laser has complained about since light was asked for",
              ":SYST:ALER?"),
        Param("sweep", int, "state of the sweep", ":WAV:SWE?", choices={n: str(n) for n in SWEEP}),
        nm("sweep_start_nm", doc="first wavelength of a sweep", get=":WAV:SWE:STAR?",
           set=":WAV:SWE:STAR {}", limits=(1240.0, 1680.0), family=_OWN, tolerance=0.0005,
           poll="slow"),
        nm("sweep_stop_nm", doc="last wavelength of a sweep", get=":WAV:SWE:STOP?",
           set=":WAV:SWE:STOP {}", limits=(1240.0, 1680.0), family=_OWN, tolerance=0.0005,
           poll="slow"),
        speed,
        Param("sweep_mode", int, "0 stepped, 1 continuous; 2 and 3 the same, both ways",
              ":WAV:SWE:MOD?", ":WAV:SWE:MOD {}", choices={n: str(n) for n in range(4)},
              poll="slow"),
        Param("sweep_cycles", int, "sweeps in a row", ":WAV:SWE:CYCL?", ":WAV:SWE:CYCL {}",
              limits=(0, 999), poll="slow"),
    )  # fmt: skip


class Tsl570(LaserDriver):
    """One TSL-570. ``open`` switches the diode off and closes the shutter."""

    MODEL = "TSL-570"
    PARAMS = params(SPEED)
    OFF = (
        Off("emission", False, "diode off", "Open the interlock NOW"),
        Off("shutter_closed", True, "shutter closed"),
    )
    CODEC = partial(ScpiCodec, end="\r", reply_end="\r", errors=":SYST:ERR?")
    _metres = False

    async def identify(self) -> Identity:
        identity: Identity = await self.codec.identify(key=self.MODEL)
        self._metres, self._seen = await self._scpi_units(), list[str]()
        await self.codec.tell(":POW:UNIT 0")
        return identity

    async def _scpi_units(self) -> bool:
        """Whether the SCPI command set is chosen: wavelengths are then metres."""
        return bool(int(await self.codec.ask(":SYST:COMM:COD?", str)))

    async def read(self, param: Param) -> Value:
        if param.name == "alerts":
            self._seen += [alert for alert in await self._alerts() if alert not in self._seen]
            return "; ".join(self._seen)
        return await super().read(self._wired(param))

    async def write(self, param: Param, value: Value) -> None:
        await super().write(self._wired(param), value)

    def _wired(self, param: Param) -> Param:
        """The parameter in the unit of the chosen command set."""
        return replace(param, scale=1e-9) if self._metres and param.unit == "nm" else param

    async def _alerts(self) -> list[str]:
        """Read the alerts, one per question; each is reported once. Stops when one is repeated."""
        found: list[str] = []
        for _ in range(_MOST_ALERTS):
            text = await self.codec.ask(":SYST:ALER?", str)
            if text.startswith(NO_ALERTS) or text in found:
                break
            found.append(text)
        return found

    def conditions(self, readings: Mapping[str, Value]) -> tuple[Condition, ...]:
        codes = [alert[2:4] for alert in str(readings.get("alerts", "")).split("; ")]
        return super().conditions(readings) + tuple(
            Condition(f"alert_{code}", STOPPING[code]) for code in codes if code in STOPPING
        )

    async def set_emission(self, on: bool) -> None:
        if on:
            self._seen = []
            if any(alert.startswith(INTERLOCK) for alert in await self._alerts()):
                raise InstrumentError("the interlock is open", where=self.name, hint="Close it")
        await super().set_emission(on)
        await self.set("shutter_closed", not on)

    async def emission(self) -> bool:
        return await super().emission() and not await self.get("shutter_closed")

    async def start_sweep(self) -> None:
        """Sweep as the parameters ``sweep_…`` say; the light must be on."""
        await self.codec.tell(":WAV:SWE 1")

    async def stop_sweep(self) -> None:
        await self.codec.tell(":WAV:SWE 0")
