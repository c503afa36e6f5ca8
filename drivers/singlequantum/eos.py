"""Single Quantum EOS: nanowire detectors behind the classic WebSQ server (TCP 12000 and 12345).

Dialect: ``qcodes_contrib_drivers`` 0.24.1 ``drivers/SingleQuantum/SingleQuantum.py`` (© Single
Quantum) and ``NQCP/NQCP-Phot-Git-Drivers`` WebSQControl. Not tried on hardware; the unit of
``BiasVoltage`` (taken as V) and a request for ``DetectorEnable`` are not verified.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import Field

from photonlink.drivers.singlequantum.websq_codec import WebsqCodec
from photonlink.hal.driver import Off
from photonlink.hal.errors import IdentityError, LinkDesync
from photonlink.hal.facets import CountsPhotons, Identity, PhotonCounts
from photonlink.hal.links import Address, make_stream
from photonlink.hal.nanowires import NanowireDriver, NanowireSettings
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="singlequantum.eos",
    title="Single Quantum EOS: nanowire detectors, classic WebSQ",
    driver="Eos",
    facets=("Biased", "CountsPhotons"),
    transports=("tcp",),
    evidence="manual",
    emulator="singlequantum-eos",
    settings={"bias_1_a": 18e-6, "bias_2_a": 18e-6, "bias_3_a": 18e-6, "bias_4_a": 18e-6},
    case={"steady": ("period_ms", 100)},
)
_OWN = "each driver board has its own range"
COUNTS_ABOVE = 345
"""12345 is 12000 and this: where the counts are when the address names no ``counts`` port."""
_HIGHEST_A = 100e-6
_LONGEST_LINE = 4096


def params(channels: int) -> tuple[Param, ...]:
    """The parameters of a system with so many detectors."""
    each = tuple(range(1, channels + 1))
    return (
        Param("enabled", bool, "detectors enabled", "DetectorEnable",
              "DetectorEnable/DetectorEnable"),
        Param("bias_max_a", float, "highest bias of all channels; setting it sets all",
              "BiasCurrent", "SetAllBiasCurrents/BiasCurrent", "A", limits=(0.0, _HIGHEST_A),
              family=_OWN, scale=1e6, tolerance=5e-8),
        Param("bias_{ch}_a", float, "bias of channel {ch}", "BiasCurrent/{ch}",
              "SetAllBiasCurrents/BiasCurrent/{ch}", "A", limits=(0.0, _HIGHEST_A),
              family=_OWN, scale=1e6, tolerance=5e-8, channels=each,
              setting="bias_{ch}_a", deferred=True),
        Param("voltage_{ch}_v", float, "voltage across channel {ch}", "BiasVoltage/{ch}", unit="V",
              channels=each, of_clicks=True),
        Param("trigger_{ch}_mv", float, "trigger level of channel {ch}", "TriggerLevel/{ch}",
              "SetAllTriggerLevels/TriggerLevel/{ch}", "mV", limits=(-1000.0, 1000.0),
              tolerance=0.5, channels=each, setting="trigger_{ch}_mv"),
        Param("period_ms", int, "time of one count", "InptMeasurementPeriod",
              "SetMeasurementPeriod/InptMeasurementPeriod", "ms", limits=(10, 10_000),
              plausible=(0, 1e7)),
    )  # fmt: skip


class Eos(NanowireDriver, CountsPhotons):
    """One system. ``open`` takes all bias off and disables the detectors."""

    PARAMS = params(4)
    OFF = (Off("bias_max_a", 0.0, "bias off"), Off("enabled", False, "detectors disabled"))
    CODEC = WebsqCodec
    OPTIONS = ("counts",)

    class Settings(NanowireSettings):
        """Beside the parameters."""

        detectors: int = Field(default=4, ge=1, le=64, description="detectors in the system")

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._list_lock = asyncio.Lock()

    def parameters(self) -> tuple[Param, ...]:
        return params(self.settings.detectors)

    @property
    def bias_channels(self) -> tuple[int, ...]:
        return tuple(range(1, self.settings.detectors + 1))

    count_channels = bias_channels

    async def identify(self) -> Identity:
        """WebSQ reports no serial number: only the number of detectors can be compared."""
        found = await self.codec.properties("NumberOfDetectors")
        if found != self.settings.detectors:
            raise IdentityError(
                "another number of detectors answers here", where=f"{self.name} ({self.address})",
                seen=repr(found)[:40], hint="Set detectors to what the system has",
            )  # fmt: skip
        return Identity("Single Quantum", f"EOS, {found} detectors", "")

    async def enable(self) -> None:
        await self.set("enabled", True)

    async def read(self, param: Param) -> Value:
        if param.name != "bias_max_a":
            return await super().read(param)
        currents = await self._list("BiasCurrent")
        return param.parse(repr(max(currents, default=0.0)), self.name)

    async def write(self, param: Param, value: Value) -> None:
        """WebSQ sets a list as a whole: one channel is changed in what it holds."""
        if param.unit == "A":  # earlier requests for the others, or for all, are no longer valid
            overlap = ["bias_max_a"] if param.name != "bias_max_a" else list(self.params.wanted)
            for name in overlap:
                if name.startswith("bias_"):
                    self.params.wanted.pop(name, None)
        command, label, number = (*param.set.split("/"), "")[:3]
        if param.name == "bias_max_a":
            await self.codec.command(command, label, self._all(param, value))
        elif not number:
            await super().write(param, value)
        else:
            async with self._list_lock:
                held = await self._list(label)
                held[int(number) - 1] = float(param.wire(value))
                await self.codec.command(command, label, held)

    def command_bytes(self, param: Param, value: Value) -> bytes:
        if param.name != "bias_max_a":
            return super().command_bytes(param, value)
        text = ", ".join(map(repr, self._all(param, value)))
        return b'{"command": "SetAllBiasCurrents", "label": "BiasCurrent", "value": [%s]}' % (
            text.encode()
        )

    def _all(self, param: Param, value: Value) -> list[float]:
        return [float(param.wire(value))] * int(self.settings.detectors)

    async def _list(self, label: str) -> list[float]:
        found: list[float] = await self.codec.label(
            label, lambda value: self.codec.listed(value, label)
        )
        if len(found) != self.settings.detectors:
            raise LinkDesync(f"{label} has another length", where=self.name, seen=str(len(found)))
        return list(found)

    async def count(self, gate_s: float) -> PhotonCounts:
        """Clicks of every channel in one period of ``gate_s`` (10 ms to 10 s). The period that
        runs when the counts are listened to began earlier and is not used."""
        period_ms = self.params["period_ms"].whole(gate_s * 1000, where=self.name)
        await self.set("period_ms", period_ms)
        address = Address.parse(self.address)
        port = address.number("counts", address.port + COUNTS_ABOVE)
        link = make_stream(f"tcp://{address.host}:{port}")
        timeout_s = 2 * period_ms / 1000 + self.settings.reply_timeout_s
        try:
            await link.open(self.settings.reply_timeout_s)
            await link.read_until(b"\n", timeout_s, _LONGEST_LINE)
            line = await link.read_until(b"\n", timeout_s, _LONGEST_LINE)
        finally:
            await link.close()
        fields = line.decode("ascii", "replace").strip().split(",")
        try:
            counts = [int(float(field)) for field in fields[1:]]
        except (ValueError, OverflowError):
            counts = []
        if len(counts) != self.settings.detectors or min(counts) < 0:
            raise LinkDesync("unreadable line of counts", where=link.uri, seen=ascii(line)[:80])
        return PhotonCounts(dict(enumerate(counts, 1)), period_ms / 1000)
