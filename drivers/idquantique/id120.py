"""ID Quantique ID120: a silicon single-photon detector, SCPI over USBTMC.

Dialect: ``Instrumental`` ``drivers/spad/id120.py``. Not tried on hardware. That source names the
unit of the dead time inconsistently (taken as ns); it shows no error queue, so everything set is
read back.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Driver, Off
from photonlink.hal.facets import Biased, Cools, CountsPhotons, Identity, PhotonCounts
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="idquantique.id120",
    title="ID Quantique ID120: silicon single-photon detector",
    driver="Id120",
    facets=("Biased", "Cools", "CountsPhotons", "HasTemperature"),
    transports=("visa", "tcp"),
    usb=("1ddc:0330",),
    evidence="manual",
    emulator="idquantique-id120",
    emulator_wire="tcp",
    settings={"bias_v": 200.0},
    case={"steady": ("gate_ms", 1000)},
)
STEPS = {"threshold_mv": 500, "dead_time_ns": 40, "bias_v": 80_000}
"""What the wire counts in: µV, ns, µV."""
_MARGIN_S = 0.1


class Id120(Driver, Biased, Cools, CountsPhotons):
    """One detector. ``open`` takes the bias off; ``set_bias(True)`` applies ``bias_v``."""

    PARAMS = (
        Param("bias_v", float, "bias of the diode; 0 is off", "BIAS:VOLTAGE?", "BIAS:VOLTAGE",
              "V", limits=(0.0, 250.0), plausible=(-5.0, 1000.0), scale=1e6, tolerance=0.08,
              settle_s=3.0, setting="bias_v", deferred=True, required=True),
        Param("bias_failed", bool, "the bias supply reports an error", "BIAS:ERROR_STATUS?",
              stops={True: "the bias supply reports an error: look at the diode"}),
        Param("threshold_mv", float, "discriminator level", "THRESHOLD:VOLTAGE?",
              "THRESHOLD:VOLTAGE", "mV", limits=(0.0, 1047.0), scale=1e3, tolerance=0.5,
              setting="threshold_mv"),
        Param("dead_time_ns", int, "dead time after a click", "DEADTIME:TIME?", "DEADTIME:TIME",
              "ns", limits=(40, 1_000_000), tolerance=40, setting="dead_time_ns"),
        Param("temperature_act_c", float, "temperature of the diode", "REG:MEASURED_TEMP?",
              unit="°C", scale=1e3, plausible=(-100.0, 100.0)),
        Param("temperature_set_c", float, "temperature asked for", "REG:TEMP_SET_POINT?",
              "REG:TEMP_SET_POINT", "°C", limits=(-50.0, -10.0), scale=1e3, tolerance=0.01,
              setting="temperature_c"),
        Param("cooling", bool, "temperature loop runs", "REG:RUN?", "REG:RUN"),
        Param("cooling_state", str, "the loop in its own words", "REG:STATE?"),
        Param("gate_ms", int, "integration time of the counter", "COUNTERS:INTEGRATION_TIME?",
              "COUNTERS:INTEGRATION_TIME", "ms", limits=(200, 100_000), plausible=(0, 1e8)),
        Param("rate_hz", float, "clicks per second", "COUNTERS:DETECTION_FREQ?", unit="Hz",
              of_clicks=True),
        Param("counts", int, "clicks of the last integration", "COUNTERS:DETECTION_COUNT?",
              plausible=(0, 1e10), of_clicks=True),
        Param("output_polarity", str, "pulses of output 1", "OUTPUT1:POLARITY?",
              "OUTPUT1:POLARITY", choices={"positive": "POSITIVE", "negative": "NEGATIVE"},
              setting="output_polarity"),
    )  # fmt: skip
    OFF = (Off("bias_v", 0.0, "bias off"),)
    CODEC = partial(ScpiCodec, errors="")

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self._counting = asyncio.Lock()

    async def identify(self) -> Identity:
        identity: Identity = await self.codec.identify(key="ID120")
        return identity

    async def configure(self) -> None:
        await super().configure()
        if "temperature_set_c" in self.params.wanted:
            await self.set_cooling(True)

    async def write(self, param: Param, value: Value) -> None:
        await super().write(*_on_the_wire(param, value))

    def command_bytes(self, param: Param, value: Value) -> bytes:
        return super().command_bytes(*_on_the_wire(param, value))

    async def set_bias(self, on: bool, channel: int | None = None) -> None:
        """Bias on (``bias_v`` of the settings) or off, read back."""
        await self.set("bias_v", self.settings.bias_v if on else 0.0)

    async def set_cooling(self, on: bool) -> None:
        await self.set("cooling", on)

    async def temperature_c(self, channel: int = 1) -> float:
        return await self.params.get_float("temperature_act_c")

    async def count(self, gate_s: float) -> PhotonCounts:
        """Clicks within ``gate_s`` (0.2 to 100 s). The counter integrates without pause: the first
        integration that surely began after the question is the second one, so it takes two."""
        gate_ms = self.params["gate_ms"].whole(gate_s * 1000, where=self.name)
        async with self._counting:
            await self.set("gate_ms", gate_ms)
            await asyncio.sleep(2 * gate_ms / 1000 + _MARGIN_S)
            counts = int(await self.get("counts"))
        return PhotonCounts({1: counts}, gate_ms / 1000)


def _on_the_wire(param: Param, value: Value) -> tuple[Param, Value]:
    """The parameter and value as this wire has them: whole steps, TRUE and FALSE."""
    if param.kind is bool:
        return replace(param, choices={True: "TRUE", False: "FALSE"}), value
    if not param.numeric:
        return param, value
    step = STEPS.get(param.name, 1)
    whole = round(float(value) * param.scale / step) * step
    return replace(param, kind=int, scale=1.0), whole
