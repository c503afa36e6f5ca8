"""Emulated Single Quantum EOS with the classic WebSQ server: control (12000) and counts (12345).

Objects as ``qcodes_contrib_drivers`` 0.24.1 ``drivers/SingleQuantum/SingleQuantum.py`` and
``NQCP/NQCP-Phot-Git-Drivers`` (WebSQControl) speak them. Evidence: manual. Unverified, chosen here:
properties beside ``value``, which labels are broadcast (a set's own, to everybody), the text of
errors, unit of ``BiasVoltage`` (V), limits, length of a calibration, the time column (unix time).
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.physics.nanowire import Nanowire
from photonlink.firmware_sim.wires.session import Session, Wire
from photonlink.firmware_sim.wires.tcp import TcpWire

END = b"\x17"
COUNTS_ABOVE = 345
DETECTORS = 4
LONGEST = 1 << 16
LISTS = {"SetAllBiasCurrents": "BiasCurrent", "SetAllTriggerLevels": "TriggerLevel",
         "DarkCountsAutoIV": "DarkCountsAutoIV"}  # fmt: skip
LIMITS = {"BiasCurrent": (0.0, 50.0), "TriggerLevel": (-1000.0, 1000.0),
          "DarkCountsAutoIV": (0.0, 1e6), "InptMeasurementPeriod": (10.0, 10_000.0)}  # fmt: skip
UNITS = {"BiasCurrent": "uA", "TriggerLevel": "mV", "BiasVoltage": "V",
         "InptMeasurementPeriod": "ms"}  # fmt: skip
SCANS = ("IVScanEnable", "IVScanStart", "IVScanEnd", "IVScanIncrement")


@dataclass
class EosSettings(DeviceSettings):
    """counts_port: 0 takes the control port and 345, or a free one.  switching_ua: of all wires at
    2.5 K."""

    counts_port: int = 0
    switching_ua: float = 20.0
    calibration_s: float = 1.0


class Eos(EmulatedDevice):
    """Four nanowires on one cold stage."""

    Settings = EosSettings
    WIRES = ("tcp",)
    TICK_S = 0.02

    def setup(self) -> None:
        self.wires = [Nanowire(self.config.switching_ua * 1e-6) for _ in range(DETECTORS)]
        self._clients: set[Session] = set()
        self._listeners: set[Session] = set()
        self._counted = [c.clicks_total() for c in self.place.channels]
        self._due_s = 0.0
        self.booted()

    def booted(self) -> None:
        self.labels: dict[str, Any] = {
            "NumberOfDetectors": DETECTORS, "InptMeasurementPeriod": 100,
            "BiasCurrent": [0.0] * DETECTORS, "TriggerLevel": [50.0] * DETECTORS,
            "DetectorEnable": False, "StartAutoIV": False, "DarkCountsAutoIV": [100.0] * DETECTORS,
            "IVHistory": [], "TemperatureHistory": [], **dict.fromkeys(SCANS, 0),
        }  # fmt: skip
        self._act()

    # ---- wires ---------------------------------------------------------------------------------

    def make_wires(self, run_dir: Path) -> dict[str, Wire]:
        wires = super().make_wires(run_dir)
        self._counts = TcpWire(self.serve_counts, "127.0.0.1", self.config.counts_port)
        return wires

    async def start(self, run_dir: Path) -> None:
        await super().start(run_dir)
        control = self.lines["command"]
        if isinstance(control, TcpWire) and not self.config.counts_port:
            self._counts.host, self._counts.port = control.host, control.port + COUNTS_ABOVE
            with contextlib.suppress(OSError, OverflowError):
                await self._counts.plug()
            if not self._counts.plugged:
                self._counts.port = 0
        await self._counts.plug()
        self.lines["counts"] = self._counts

    async def serve_counts(self, session: Session) -> None:
        self._listeners.add(session)
        try:
            while await session.read() is not None:
                pass
        finally:
            self._listeners.discard(session)

    async def serve(self, session: Session) -> None:
        self._clients.add(session)
        rest = ""
        try:
            while (data := await session.read()) is not None:
                rest = (rest + data.decode("utf-8", "replace"))[-LONGEST:]
                messages, rest = self._messages(rest)
                for message in messages:
                    await self._obey(message, session)
        finally:
            self._clients.discard(session)

    @staticmethod
    def _messages(text: str) -> tuple[list[dict[str, Any]], str]:
        """Objects, and what may become one. What cannot begin an object is skipped."""
        found: list[dict[str, Any]] = []
        while (at := text.find("{")) >= 0:
            text = text[at:]
            try:
                value, end = json.JSONDecoder().raw_decode(text)
            except RecursionError:
                return found, ""
            except json.JSONDecodeError as error:
                if error.pos >= len(text.rstrip()) or "Unterminated" in error.msg:
                    return found, text
                text = text[1:]
                continue
            found.append(value)
            text = text[end:]
        return found, ""

    async def _obey(self, message: dict[str, Any], session: Session) -> None:
        try:
            answers = self._answers(message)
        except Exception as error:  # noqa: BLE001 - whatever a client sent, the server lives on
            self.broken(error)
            return
        if not answers:
            return
        data = b"".join(json.dumps(a).encode() + END for a in answers)
        extra = b'{"label": "Extra", "value": 0}' + END
        await self.send_reply(session, data, json.dumps(message).encode(), extra)

    # ---- objects -------------------------------------------------------------------------------

    def _answers(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        request = message.get("request")
        if request == "labelProps":
            return [self._properties(label) for label in (*self.labels, "BiasVoltage")]
        if isinstance(request, str):
            if request not in self.labels and request != "BiasVoltage":
                return [{"label": "Error", "value": f"unknown request {request:.40}"}]
            return [{"label": request, "value": self._value(request)}]
        command = message.get("command")
        if not isinstance(command, str):
            return [{"label": "Error", "value": "no request and no command"}]
        return self._command(command, message)

    def _command(self, command: str, message: dict[str, Any]) -> list[dict[str, Any]]:
        label = LISTS.get(command) or {"SetMeasurementPeriod": "InptMeasurementPeriod"}.get(command)
        label = label or (command if command in ("DetectorEnable", *SCANS) else "")
        value = message.get("value")
        if command == "AutoCaliBiasCurrents":
            if not self.faults.use("ignore-sets"):
                self.labels["StartAutoIV"] = True
                self.clock.call_later(self.config.calibration_s, self._calibrated)
            return []
        if not label or not self._fits(label, value):
            return [{"label": "Error", "value": f"{command:.40}: not understood or out of range"}]
        if not self.faults.use("ignore-sets"):
            self.labels[label] = value
            self._act()
            self._broadcast(label)
        return []

    def _fits(self, label: str, value: Any) -> bool:
        if label == "DetectorEnable":
            return isinstance(value, bool)
        low, high = LIMITS.get(label, (-math.inf, math.inf))
        numbers = value if isinstance(value, list) else [value]
        if isinstance(value, list) is not isinstance(self.labels[label], list):
            return False
        wanted = len(self.labels[label]) if isinstance(value, list) else 1
        return len(numbers) == wanted and all(
            type(x) in (int, float) and math.isfinite(x) and low <= x <= high for x in numbers
        )

    def _properties(self, label: str) -> dict[str, Any]:
        low, high = LIMITS.get(label, (None, None))
        return {"label": label, "value": {"value": self._value(label), "min": low, "max": high,
                                          "unit": UNITS.get(label, "")}}  # fmt: skip

    def _value(self, label: str) -> Any:
        if label == "BiasVoltage":
            return [round(self.faults.drift(w.voltage_v), 6) for w in self.wires]
        return self.labels[label]

    def _broadcast(self, label: str) -> None:
        data = json.dumps({"label": label, "value": self._value(label)}).encode() + END
        for client in self._clients:
            client.send(data)

    def _calibrated(self) -> None:
        """Bias of every wire for the dark counts asked for: here 0.9 of its switching current."""
        self.labels["StartAutoIV"] = False
        self.labels["BiasCurrent"] = [round(w.switching_now_a * 0.9e6, 3) for w in self.wires]
        self._act()
        self._broadcast("BiasCurrent")

    # ---- detectors -----------------------------------------------------------------------------

    def _act(self) -> None:
        on = self.labels["DetectorEnable"]
        for wire, current_ua, level_mv, place in zip(
            self.wires, self.labels["BiasCurrent"], self.labels["TriggerLevel"],
            self.place.channels, strict=True,
        ):  # fmt: skip
            wire.update(current_ua * 1e-6 if on else 0.0, place.stage_k())
            place.set_excess_bias_v(wire.excess_v)
            place.set_threshold_mv(abs(level_mv))

    def tick(self) -> None:
        self._act()
        now_s = self.clock.now_s()
        if now_s < self._due_s:
            return
        self._due_s = now_s + self.labels["InptMeasurementPeriod"] / 1000.0
        totals = [c.clicks_total() for c in self.place.channels]
        counts = [a - b for a, b in zip(totals, self._counted, strict=True)]
        self._counted = totals
        line = ",".join(map(str, (round(now_s, 3), *counts))) + "\n"
        for listener in self._listeners:
            listener.send(line.encode())

    def safe_off(self) -> None:
        self.labels["BiasCurrent"] = [0.0] * DETECTORS
        self.labels["DetectorEnable"] = False
        self._act()

    def applied(self, name: str) -> None:
        self._act()

    def state(self) -> dict[str, Any]:
        return {
            "bias": bool(self.labels["DetectorEnable"] and any(self.labels["BiasCurrent"])),
            "latched": [w.latched for w in self.wires],
            "clicks_total": sum(c.clicks_total() for c in self.place.channels),
            "counts_port": self._counts.port if self.lines else 0,
        }

    @fault("latch", "the nanowire of a channel becomes normal", "channel")
    def _latch(self, order: Mapping[str, Any]) -> Callable[[], object] | None:
        channel = int(order.get("channel", 1))
        if not 1 <= channel <= DETECTORS:
            raise ValueError(f"{self.name}: channel must be 1 to {DETECTORS}")
        self.wires[channel - 1].latched = True
        self._act()
        return None


REGISTRATION = Registration(
    "singlequantum-eos", "detector-array", Eos, "Single Quantum EOS, four nanowire detectors"
)
