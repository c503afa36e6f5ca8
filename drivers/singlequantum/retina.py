"""Single Quantum Retina: nanowire detectors behind the newer WebSQ server (JSON-RPC over HTTP).

Dialect: the maker's client ``WebSQController`` (MIT, © 2023 Single Quantum), in
``NQCP/NQCP-Phot-Git-Drivers`` ``photonicdrivers/SNSPDs/FilesFromManufacturer/``. Not tried on
hardware. A channel is a detector's *rank*; ``frontend.rankMap`` says where it is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from photonlink.hal.codecs.json_rpc import JsonRpcCodec
from photonlink.hal.driver import Off
from photonlink.hal.errors import IdentityError, LimitError, LinkDesync, LinkTimeout
from photonlink.hal.facets import CountsPhotons, Identity, PhotonCounts
from photonlink.hal.links import Address
from photonlink.hal.nanowires import NanowireDriver, NanowireSettings
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="singlequantum.retina",
    title="Single Quantum Retina: nanowire detectors, WebSQ over HTTP",
    driver="Retina",
    facets=("Biased", "CountsPhotons"),
    transports=("http",),
    evidence="manual",
    emulator="singlequantum-retina",
    settings={"bias_1_a": 18e-6, "bias_2_a": 18e-6, "bias_3_a": 18e-6, "bias_4_a": 18e-6},
    case={"steady": ("period_ms", 100)},
)
CYCLE_MS = 10
"""Counts are collected in cycles of this length."""
_PER_DRIVER = 12  # channels of one driver unit, where no settings were read yet
_HIGHEST_A = 83e-6
Tree = Mapping[str, Any]
Place = tuple[str, str]


def params(channels: int) -> tuple[Param, ...]:
    """The parameters of a system with so many detectors. ``get``: where it stands in the settings
    (of the channel, or of the whole)."""
    each = tuple(range(1, channels + 1))
    return (
        Param("bias_max_a", float, "largest bias of all channels, either sign; setting it sets all",
              "configuration/biasI", "biasI", "A", limits=(0.0, _HIGHEST_A), tolerance=5e-8),
        Param("bias_{ch}_a", float, "bias of channel {ch}", "configuration/biasI/{ch}",
              "biasI/{ch}", "A", limits=(-_HIGHEST_A, _HIGHEST_A), tolerance=5e-8, channels=each,
              setting="bias_{ch}_a", deferred=True),
        Param("voltage_{ch}_v", float, "voltage across channel {ch}", "data/monitorV/{ch}",
              unit="V", channels=each, of_clicks=True),
        Param("trigger_{ch}_v", float, "trigger level of channel {ch}",
              "configuration/triggerV/{ch}", "triggerV/{ch}", "V", limits=(-10.0, 10.0),
              tolerance=5e-4, channels=each, setting="trigger_{ch}_v"),
        Param("period_ms", int, "time of one count, in steps of 10 ms", "backend/intTime",
              "intTime", "ms", limits=(CYCLE_MS, 10_000), plausible=(0, 1e7)),
        Param("temperature_{ch}_k", float, "thermometer {ch} of the cold stages", "temp{ch}",
              unit="K", channels=(1, 2), poll="slow", plausible=(0.0, 400.0)),
    )  # fmt: skip


class Retina(NanowireDriver, CountsPhotons):
    """One system. ``open`` takes all bias off."""

    PARAMS = params(4)
    OFF = (Off("bias_max_a", 0.0, "bias off"),)
    CODEC = JsonRpcCodec

    class Settings(NanowireSettings):
        """Beside the parameters."""

        detectors: int = Field(default=4, ge=1, le=96, description="detectors in the system")

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._places: dict[int, Place] = {
            ch: (str(1 + (ch - 1) // _PER_DRIVER), str(1 + (ch - 1) % _PER_DRIVER))
            for ch in self.bias_channels
        }

    def parameters(self) -> tuple[Param, ...]:
        return params(self.settings.detectors)

    @property
    def bias_channels(self) -> tuple[int, ...]:
        return tuple(range(1, self.settings.detectors + 1))

    count_channels = bias_channels

    def _link_address(self, address: str) -> str:
        """The server answers below ``/api``; an address may name another path."""
        link = super()._link_address(address)
        return link if Address.parse(link).path.strip("/") else link.rstrip("/") + "/api"

    async def identify(self) -> Identity:
        """WebSQ reports no serial number: only the number of detectors can be compared."""
        found = await self.codec.call("getSettings")
        try:
            ranks = {int(rank): place for rank, place in found["frontend"]["rankMap"].items()}
            places = {ch: (str(mcu), str(cu)) for ch, (mcu, cu) in ranks.items()}
        except (TypeError, KeyError, ValueError, AttributeError):
            raise IdentityError("another instrument answers here", where=self.name,
                                seen=repr(found)[:80]) from None  # fmt: skip
        if set(places) != set(self.bias_channels):
            raise IdentityError(
                "another number of detectors answers here", where=f"{self.name} ({self.address})",
                seen=f"ranks {sorted(places)}"[:80], hint="Set detectors to what the system has",
            )  # fmt: skip
        self._places = places
        return Identity("Single Quantum", f"Retina, {len(places)} detectors", "")

    # ---- parameters ----
    async def read(self, param: Param) -> Value:
        tree = await self.codec.call("getSettings")
        if param.name == "bias_max_a":
            currents = [abs(self._number(tree, param.get, ch)) for ch in self.bias_channels]
            return param.parse(repr(max(currents)), self.name)
        kind, _, rest = param.get.partition("/")
        if kind.startswith("temp"):
            found = self._leaf(tree, "devices", self._places[1][0], "data", kind)
        elif kind == "backend":
            found = self._leaf(tree, kind, rest)
        else:
            path, _, number = param.get.rpartition("/")
            found = self._number(tree, path, int(number))
        if param.kind is int and found == int(found):
            found = int(found)
        return param.parse(repr(found), self.name)

    def _number(self, tree: Tree, path: str, channel: int) -> float:
        mcu, cu = self._places[channel]
        return self._leaf(tree, "devices", mcu, "channels", cu, *path.split("/"))

    def _leaf(self, tree: Any, *path: str) -> float:
        """A number of the settings; LinkDesync when there is none at that place."""
        for key in path:
            tree = tree.get(key) if isinstance(tree, dict) else None
        if isinstance(tree, bool) or not isinstance(tree, int | float) or not abs(tree) < 1e300:
            raise LinkDesync(f"the settings have no number at {'.'.join(path)}", where=self.name,
                             seen=repr(tree)[:40])  # fmt: skip
        return tree

    async def write(self, param: Param, value: Value) -> None:
        if param.unit == "A":  # earlier requests for the others, or for all, are no longer valid
            overlap = ["bias_max_a"] if param.name != "bias_max_a" else list(self.params.wanted)
            for name in overlap:
                if name.startswith("bias_"):
                    self.params.wanted.pop(name, None)
        await self.codec.call("setSettings", self._changes(param, value))

    def command_bytes(self, param: Param, value: Value) -> bytes:
        message = {"jsonrpc": "2.0", "id": 0, "method": "setSettings",
                   "params": self._changes(param, value)}  # fmt: skip
        return json.dumps(message).encode()

    def _changes(self, param: Param, value: Value) -> dict[str, Any]:
        """What is merged into the settings. Channels that are not named keep theirs."""
        name, _, number = param.set.partition("/")
        if name == "intTime":
            if int(value) % CYCLE_MS:
                raise LimitError(f"period_ms goes in steps of {CYCLE_MS}", where=self.name,
                                 seen=str(value), hint="Nothing was changed")  # fmt: skip
            return {"backend": {name: value}}
        devices: dict[str, Any] = {}
        for channel in [int(number)] if number else self.bias_channels:
            mcu, cu = self._places[channel]
            unit = devices.setdefault(mcu, {"channels": {}})
            unit["channels"][cu] = {"configuration": {name: param.wire(value)}}
        return {"devices": devices}

    # ---- counts ----
    async def count(self, gate_s: float) -> PhotonCounts:
        """Clicks of every channel in one period of ``gate_s`` (10 ms to 10 s, in steps of 10 ms).
        The period that runs when the driver begins to look began earlier and is not used."""
        period_ms = self.params["period_ms"].whole(gate_s * 1000, where=self.name)
        await self.set("period_ms", period_ms)
        deadline_s = 4 * period_ms / 1000 + self.settings.reply_timeout_s
        seen: dict[int, list[float]] = {ch: [] for ch in self.bias_channels}
        counts: dict[int, int] = {}
        try:
            async with asyncio.timeout(deadline_s):
                while len(counts) < len(seen):
                    self._periods(await self.codec.call("getSettings"), seen, counts)
                    await asyncio.sleep(min(0.1, period_ms / 4000))
        except TimeoutError as error:
            raise LinkTimeout("no new counts came", where=self.name,
                              seen=f"after {deadline_s:g} s") from error  # fmt: skip
        return PhotonCounts(counts, period_ms / 1000)

    def _periods(self, tree: Tree, seen: dict[int, list[float]], counts: dict[int, int]) -> None:
        """Note the periods that ended; a channel's third is the first that is whole and ours."""
        for channel, times in seen.items():
            end = self._number(tree, "data/time", channel)
            if channel in counts or (times and times[-1] == end):
                continue
            times.append(end)
            if len(times) == 3:
                found = self._number(tree, "data/counts", channel)
                if found < 0 or found != int(found):
                    raise LinkDesync("unreadable counts", where=self.name, seen=repr(found))
                counts[channel] = int(found)
