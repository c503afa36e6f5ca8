"""Emulated Single Quantum Retina: the newer WebSQ server, JSON-RPC 2.0 by POST to ``/api``.

Methods and the tree of settings: the maker's client ``WebSQController`` (MIT, © 2023 Single
Quantum) in ``NQCP/NQCP-Phot-Git-Drivers`` ``photonicdrivers/SNSPDs/FilesFromManufacturer/``.
Evidence: manual. Unverified, chosen here: what getDevices, getBackend, getLog and rebootSystem
answer, codes and texts of errors, refusal of settings that are not known, the range of ``intTime``,
``time`` as the end of a period. No sweeps, no recording and no counts over a WebSocket.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.message import JsonRpcDevice
from photonlink.firmware_sim.kit.registers import Refusal, command
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.physics.nanowire import BASE_K, Nanowire
from photonlink.firmware_sim.wires.messages import HttpSession
from photonlink.firmware_sim.wires.session import Session

DETECTORS = 4
MCU = "1"
LIMITS = {"biasI": (-83e-6, 83e-6), "triggerV": (-10.0, 10.0)}
PERIOD_MS = (10, 10_000)
CYCLE_MS = 10


@dataclass
class RetinaSettings(DeviceSettings):
    """switching_ua: of all wires at 2.5 K."""

    switching_ua: float = 20.0


class Retina(JsonRpcDevice):
    """Four nanowires on one cold stage, all at one driver unit."""

    Settings = RetinaSettings
    TICK_S = 0.005

    def setup(self) -> None:
        self.wires = [Nanowire(self.config.switching_ua * 1e-6) for _ in range(DETECTORS)]
        self._counted = [c.clicks_total() for c in self.place.channels]
        self.booted()

    def booted(self) -> None:
        self.channels = [{"biasI": 0.0, "triggerV": 0.05} for _ in range(DETECTORS)]
        self.period_ms = 100
        self._counts, self._ended_s = [0] * DETECTORS, 0.0
        self._started_s = self.clock.now_s()
        self._due_s = self._started_s + self.period_ms / 1000.0
        self._act()

    # ---- JSON-RPC ------------------------------------------------------------------------------

    def handle(self, message: bytes, session: Session) -> bytes | None:
        if isinstance(session, HttpSession):
            method, target = session.state
            if target.partition("?")[0].rstrip("/") != "/api" or method != "POST":
                session.status = "404 Not Found"
                return b"{}"
        return super().handle(message, session)

    @staticmethod
    def _error(number: Any, code: int, text: str) -> bytes:
        """The maker's client reads the text in ``data``."""
        error = {"code": code, "message": text, "data": {"message": text}}
        return json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode()

    @command("getSettings")
    def _settings(self, _: Any, __: Session) -> dict[str, Any]:
        stage_k = self.place.channels[0].stage_k() or BASE_K
        channels = {
            str(n): {
                "rank": n,
                "configuration": {**held, "cuStatus": 0, "rank": n},
                "data": {"counts": count, "time": self._ended_s,
                         "monitorV": round(self.faults.drift(self._monitor_v(n)), 6)},
            }
            for n, (held, count) in enumerate(zip(self.channels, self._counts, strict=True), 1)
        }  # fmt: skip
        return {
            "devices": {MCU: {"data": {"temp1": stage_k, "temp2": 40.0}, "channels": channels}},
            "frontend": {"rankMap": {str(n): [int(MCU), n] for n in range(1, DETECTORS + 1)}},
            "backend": {"intTime": self.period_ms},
        }

    def _monitor_v(self, number: int) -> float:
        return math.copysign(self.wires[number - 1].voltage_v, self.channels[number - 1]["biasI"])

    @command("setSettings")
    def _set(self, params: Any, _: Session) -> Any:
        """Merge, or refuse all of it. The answer is what was sent."""
        wanted = _tree(params, "backend", "devices")
        backend = _tree(wanted.get("backend", {}), "intTime")
        period_ms = backend.get("intTime", self.period_ms)
        if type(period_ms) is not int or not PERIOD_MS[0] <= period_ms <= PERIOD_MS[1]:
            raise Refusal("range", "intTime is out of range")
        if period_ms % CYCLE_MS:
            raise Refusal("range", f"intTime goes in steps of {CYCLE_MS} ms")
        changes = self._changes(_tree(wanted.get("devices", {}), MCU))
        if self.faults.use("ignore-sets"):
            return params
        for number, change in changes.items():
            self.channels[number - 1].update(change)
        if period_ms != self.period_ms:
            self.period_ms = period_ms
            self._begin()
        self._act()
        return params

    @staticmethod
    def _changes(devices: Mapping[str, Any]) -> dict[int, dict[str, float]]:
        unit = _tree(devices.get(MCU, {}), "channels")
        numbers = tuple(str(n) for n in range(1, DETECTORS + 1))
        found: dict[int, dict[str, float]] = {}
        for number, channel in _tree(unit.get("channels", {}), *numbers).items():
            held = _tree(_tree(channel, "configuration").get("configuration", {}), *LIMITS)
            for name, value in held.items():
                low, high = LIMITS[name]
                if type(value) not in (int, float) or not low <= value <= high:
                    raise Refusal("range", f"{name} is out of range")
            found[int(number)] = {name: float(value) for name, value in held.items()}
        return found

    @command("getDevices")
    def _devices(self, params: Any, session: Session) -> Any:
        return self._settings(params, session)["devices"]

    @command("getBackend")
    def _backend(self, params: Any, session: Session) -> Any:
        return self._settings(params, session)["backend"]

    @command("getLog")
    def _log(self, _: Any, __: Session) -> list[str]:
        return []

    @command("rebootSystem")
    def _reboot(self, _: Any, __: Session) -> str:
        self.booted()
        return "Success"

    # ---- detectors -----------------------------------------------------------------------------

    def _act(self) -> None:
        for wire, held, place in zip(self.wires, self.channels, self.place.channels, strict=True):
            wire.update(held["biasI"], place.stage_k())
            place.set_excess_bias_v(wire.excess_v)
            place.set_threshold_mv(abs(held["triggerV"]) * 1000.0)

    def _begin(self) -> None:
        """A period begins."""
        self._counted = [c.clicks_total() for c in self.place.channels]
        self._due_s = self.clock.now_s() + self.period_ms / 1000.0

    def tick(self) -> None:
        self._act()
        now_s = self.clock.now_s()
        if now_s < self._due_s:
            return
        totals = [c.clicks_total() for c in self.place.channels]
        self._counts = [a - b for a, b in zip(totals, self._counted, strict=True)]
        self._ended_s = round(now_s - self._started_s, 6)
        self._begin()

    def safe_off(self) -> None:
        for held in self.channels:
            held["biasI"] = 0.0
        self._act()

    def applied(self, name: str) -> None:
        self._act()

    def state(self) -> dict[str, Any]:
        return {
            "bias": any(held["biasI"] for held in self.channels),
            "latched": [w.latched for w in self.wires],
            "clicks_total": sum(c.clicks_total() for c in self.place.channels),
        }

    @fault("latch", "the nanowire of a channel becomes normal", "channel")
    def _latch(self, order: Mapping[str, Any]) -> Callable[[], object] | None:
        channel = int(order.get("channel", 1))
        if not 1 <= channel <= DETECTORS:
            raise ValueError(f"{self.name}: channel must be 1 to {DETECTORS}")
        self.wires[channel - 1].latched = True
        self._act()
        return None


def _tree(value: Any, *known: str) -> dict[str, Any]:
    """One level of settings, with these keys only."""
    if not isinstance(value, dict):
        raise Refusal("type", "settings are nested objects")
    for key in value:
        if key not in known:
            raise Refusal("unknown", f"no such setting: {key:.40}")
    return value


REGISTRATION = Registration(
    "singlequantum-retina", "detector-array", Retina,
    "Single Quantum Retina, four nanowire detectors, WebSQ over HTTP",
)  # fmt: skip
