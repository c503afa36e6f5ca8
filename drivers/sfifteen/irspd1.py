"""S-Fifteen IRSPD1: an InGaAs single-photon detector, over its USB serial line.

Protocol: shared fact sheet, section 4.1 (the subset that the vendor's ``s15lib`` uses). Not
verified on hardware: the full ``*idn?`` text, ranges of voltages, what ``pvolt`` is beside the
Peltier drive, and whether ``hvolt?`` is a measurement; its read-back is therefore given 1 V.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from photonlink.drivers.sfifteen.identity import identify
from photonlink.hal.codecs.text import LineCodec
from photonlink.hal.errors import PhotonlinkError, ReadbackMismatch
from photonlink.hal.instruments import (
    DarkCommand,
    DetectorReading,
    Identity,
    SafetyStep,
    SinglePhotonDetector,
)
from photonlink.hal.links import Tap, make_link
from photonlink.hal.params import Limits, Param, Parameters, Value
from photonlink.hal.registry import DriverSettings

_BIAS_OFF = b"\r\nhvolt 0\r\n"

PARAMS = (
    Param(
        "bias_v",
        float,
        "bias of the diode; 0 is off",
        "hvolt?",
        "hvolt {}",
        unit="V",
        limits=(0.0, 300.0),
        plausible=(-5.0, 1_000.0),
        tolerance=1.0,
    ),
    Param(
        "threshold_v",
        float,
        "discriminator level",
        "threshvolt?",
        "threshvolt {}",
        unit="V",
        limits=(-5.0, 5.0),
        tolerance=0.01,
    ),
    Param("temperature_act_c", float, "temperature of the diode", "temp?", unit="°C"),
    Param(
        "temperature_set_c",
        float,
        "temperature asked for",
        "settemp?",
        "settemp {}",
        unit="°C",
        limits=(-100.0, 40.0),
        tolerance=0.1,
    ),
    Param("temperature_loop", bool, "temperature loop closed", "loop?", "loop {}"),
    Param("loop_p", float, "proportional constant of the loop", "constp?", "constp {}"),
    Param("loop_i", float, "integral constant of the loop", "consti?", "consti {}"),
    Param("peltier_v", float, "Peltier drive", "pvolt?", unit="V"),
    Param(
        "gate_ms",
        int,
        "gate of a count",
        "time?",
        "time {}",
        unit="ms",
        limits=(1, 65_535),
        plausible=(0, 1e7),
    ),
)

GATE_MARGIN_S = 0.6
"""The reply to ``counts?`` is due 0.1 s after the gate; a busy host gets half a second more."""


def leading_float(text: str) -> str:
    """The number of replies like ``-20.1 C``."""
    return text.split()[0] if text else text


class Irspd1(SinglePhotonDetector):
    """One detector. ``open`` takes the bias off; ``set_bias(True)`` applies ``bias_v``."""

    evidence = "manual"

    class Settings(DriverSettings):
        """detector: the analyser output this detector sits at."""

        detector: Literal["H", "V", "D", "A"] | None = None
        bias_v: float = Field(gt=0, le=300)
        threshold_v: float | None = None
        temperature_c: float | None = None
        settle_s: float = Field(default=3.0, gt=0, le=60)
        reply_timeout_s: float = Field(default=1.0, gt=0, le=30)

    def __init__(
        self,
        name: str,
        address: str,
        settings: Settings,
        *,
        limits: Mapping[str, Limits] | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.name, self.settings = name, settings
        self._gate_ms = 1000
        self._link = make_link(address, tap=tap)
        self._codec = LineCodec(
            self._link,
            nonce_set="time {}",
            nonce_get="time?",
            restore=lambda: f"time {self._gate_ms}",
            question_end=";",
            timeout_s=settings.reply_timeout_s,
        )
        self._params = Parameters(PARAMS, self._read, self._write, where=name, limits=limits)

    async def _read(self, param: Param) -> Value:
        return await self._codec.ask(
            param.get, lambda text: param.parse(leading_float(text), self.name)
        )

    async def _write(self, param: Param, value: Value) -> None:
        text = str(int(value)) if param.kind is bool else str(value)
        await self._codec.tell(param.set.format(text))

    async def open(self) -> Identity:
        self._params.wanted.clear()
        await self._link.open(self.settings.reply_timeout_s)
        try:
            # A half-written command of an earlier owner ends here; its reply is thrown away.
            await self._link.write(b"\r\n", self.settings.reply_timeout_s)
            await self._link.drain(0.05, self.settings.reply_timeout_s + 1.0)
            identity = await self._codec.ask("*idn?", self._identity)
            await self.set_bias(False)
        except BaseException:
            await self._link.close()
            raise
        return identity

    def _identity(self, text: str) -> Identity:
        where = f"{self.name} ({self._link.uri})"
        return identify(text, key="SPD", model="IRSPD1", where=where)

    async def configure(self) -> None:
        wanted = self.settings
        if wanted.threshold_v is not None:
            await self._params.set("threshold_v", wanted.threshold_v)
        if wanted.temperature_c is not None:
            await self._params.set("temperature_set_c", wanted.temperature_c)
            await self._params.set("temperature_loop", True)
        await self._params.set("gate_ms", self._gate_ms)

    async def close(self) -> None:
        if self._link.is_open:
            await self.safe_state()
        await self._link.close()

    def deviation(self, readings: Mapping[str, Value]) -> str:
        return self._params.deviation(readings)

    async def snapshot(self) -> Mapping[str, Value]:
        return await self._params.snapshot()

    async def count(self, gate_s: float) -> DetectorReading:
        """Clicks within ``gate_s`` (1 ms to 65 s), counted by the detector itself."""
        gate_ms = round(gate_s * 1000)
        self._params.table["gate_ms"].check(gate_ms, where=self.name)
        self._gate_ms = self._params.wanted["gate_ms"] = gate_ms
        # One write: nobody else's gate comes between the two.
        counts = await self._codec.ask(
            f"time {gate_ms};counts?",
            lambda text: _COUNTS.parse(text, self.name),
            timeout_s=gate_ms / 1000 + GATE_MARGIN_S + self.settings.reply_timeout_s,
        )
        return DetectorReading(int(counts), gate_ms / 1000)

    async def set_bias(self, on: bool) -> None:
        """Bias on (``bias_v`` of the settings) or off, confirmed by ``hvolt?``."""
        goal = self.settings.bias_v if on else 0.0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.settle_s
        while True:
            try:
                await self._params.set("bias_v", goal)
            except ReadbackMismatch:
                # The supply may need a moment, above all to discharge.
                if loop.time() > deadline:
                    raise
                await asyncio.sleep(0.1)
            else:
                return

    async def safe_state(self) -> tuple[SafetyStep, ...]:
        action = f"{self.name}: bias off"
        try:
            await self.set_bias(False)
        except PhotonlinkError as error:
            return (SafetyStep(action, False, str(error)),)
        return (SafetyStep(action, True, "off"),)

    def dark_command(self) -> DarkCommand:
        return DarkCommand(self._link.uri, _BIAS_OFF)

    def emergency_off(self) -> None:
        self._link.send_blocking(_BIAS_OFF)


_COUNTS = Param("counts", int, "clicks", plausible=(0, 1e10))
