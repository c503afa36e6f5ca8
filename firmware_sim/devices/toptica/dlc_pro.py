"""Emulated Toptica DLC pro: command line and monitoring line over TCP (ports 1998 and 1999 on the
real instrument; the bench file may ask for them, otherwise free ports are taken).

Command language: :mod:`~photonlink.firmware_sim.devices.toptica.decof`; parameters and light:
:mod:`~photonlink.firmware_sim.devices.toptica.dlc_model`. Written from ``facts/instruments.md`` 3.1
(evidence: manual level only). Left out: USB serial line and UDP discovery.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.devices.common import Cable, ReplyFaults, settings, unknown
from photonlink.firmware_sim.devices.toptica.decof import (
    E_ACCESS,
    E_COMMAND,
    E_SYNTAX,
    E_VALUE,
    DecofError,
    Quoted,
    Symbol,
    Value,
    encode,
    execute,
    parse,
)
from photonlink.firmware_sim.devices.toptica.dlc_model import (
    NORMAL,
    READ_ONLY,
    DlcModel,
    DlcSettings,
)
from photonlink.firmware_sim.places import PumpPlace
from photonlink.firmware_sim.wires.tcp import TcpWire

TICK_S = 0.02
DEFAULT_INTERVAL_S = 0.1
MAX_SUBSCRIPTIONS = 200
MONITOR_BACKLOG = 1 << 16  # bytes a slow monitoring client may owe before pushes are dropped
STREAM_COMMANDS = ("service-script", "system-service-report:add-info")


class Client:
    """One client's view of the device: shared parameters, its own user level."""

    def __init__(self, device: DlcPro) -> None:
        self.device = device
        self.level = NORMAL
        self.stream = b""

    def get(self, name: str) -> Value:
        return self.level if name == "ul" else self.device.model.get(name)

    def get_set_value(self, name: str) -> Value:
        """The value that was asked for; of a reading: the reading itself."""
        return self.get(name)

    def display(self, name: str) -> str:
        """``name = value``; of a node: one line for each parameter below it (form unverified)."""
        names = [n for n in self.device.model.names() if n == name or n.startswith(name + ":")]
        return "\n".join(f"{n} = {encode(self.get(n))}" for n in names or [self._known(name)])

    def _known(self, name: str) -> str:
        self.get(name)
        return name

    def set(self, name: str, value: Value) -> int:
        if name == "ul":
            if not isinstance(value, int):
                raise DecofError(E_VALUE, "ul must be an integer")
            if self.change_level(value, "") != value:
                raise DecofError(E_ACCESS, "this user level needs a password")
            return 0
        return self.device.model.set(name, value, self.level, dry=self.device.faults.ignore_sets)

    def change_level(self, level: Value, password: Value) -> int:
        """Levels 3 and 4 are free; lower ones need their password. Returns the level now held."""
        if type(level) is not int or not 0 <= level <= READ_ONLY:
            raise DecofError(E_VALUE, "user level must be 0..4")
        wanted = self.device.model.passwords.get(level)
        if level >= NORMAL or (wanted and password == wanted):
            self.level = level
        return self.level

    def run(self, name: str, args: list[Value]) -> list[str]:
        """A command: the lines it prints, the return value last; ``()`` stands for none."""
        model = self.device.model
        match name, args:
            case "change-ul", [level]:
                return [str(self.change_level(level, ""))]
            case "change-ul", [level, password]:
                return [str(self.change_level(level, password))]
            case "system-summary", []:
                shown = ("serial-number", "system-type", "fw-ver", "laser1:product-name")
                return [*(f"{n}: {encode(model.get(n))}" for n in shown), "()"]
            case "system-connections", []:
                return [*self.device.connections(), str(self.device.client_count())]
            case (("error-log" | "service-log" | "debug-log" | "system-messages:show-all"), []):
                return [*model.messages, "()"]
            case (("service-report" | "system-service-report:print"), []):
                text = "\n".join(f"{n} = {encode(self.get(n))}" for n in model.names())
                return [base64.b64encode(text.encode()).decode(), "()"]
            case (("service-script" | "system-service-report:add-info"), []):
                model.messages.append(f"{model.timestamp()} {len(self.stream)} bytes received")
                return ["()"]
            case (("laser-common:save-all" | "laser-common:load-all" | "buzzer:play-welcome"), []):
                return ["()"]
            case "buzzer:play", [str()]:
                return ["()"]
        raise DecofError(E_COMMAND, f"unknown command '{name}' with {len(args)} arguments")


@dataclass(slots=True)
class Subscription:
    """One monitored parameter: at most every ``interval_s``, changed by at least ``threshold``."""

    interval_s: float
    threshold: float
    sent: Value | None = None
    due_s: float = 0.0

    def wants(self, value: Value) -> bool:
        if self.sent is None:
            return True
        if self.threshold and isinstance(value, int | float) and isinstance(self.sent, int | float):
            return abs(value - self.sent) >= self.threshold
        return value != self.sent


class Monitor:
    """One client of the monitoring line."""

    def __init__(self, device: DlcPro, writer: asyncio.StreamWriter) -> None:
        self._client = Client(device)
        self._writer = writer
        self._subscriptions: dict[str, Subscription] = {}

    def request(self, text: str) -> None:
        """``(add 'name [interval_ms [threshold]])``, ``(remove 'name)``, ``(change-ul …)``."""
        name = ""
        try:
            match parse(text):
                case [Symbol("add"), Quoted("'", Symbol(name)), *rest] if len(rest) <= 2:
                    self._add(name, rest)
                case [Symbol("remove"), Quoted("'", Symbol(name))]:
                    self._subscriptions.pop(name, None)
                case [Symbol("change-ul"), int() as level, str() as password]:
                    self._client.change_level(level, password)
                case _:
                    raise DecofError(E_SYNTAX, "unknown monitoring command")
        except DecofError as error:
            self._push_error(name, error)

    def _add(self, name: str, rest: list[Any]) -> None:
        for item in rest:
            if isinstance(item, bool) or not isinstance(item, int | float) or item < 0:
                raise DecofError(E_VALUE, "interval and threshold must be numbers")
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS and name not in self._subscriptions:
            raise DecofError(E_VALUE, "too many subscriptions")
        self._client.get(name)
        interval_s = rest[0] / 1000 if rest else DEFAULT_INTERVAL_S
        self._subscriptions[name] = Subscription(interval_s, rest[1] if len(rest) > 1 else 0.0)
        self.push(time.monotonic())

    def push(self, now: float) -> None:
        """Send what has changed and is due; a client that does not read misses updates."""
        if self._writer.transport.get_write_buffer_size() > MONITOR_BACKLOG:
            return
        for name, sub in self._subscriptions.items():
            if now < sub.due_s:
                continue
            value = self._client.get(name)
            if sub.wants(value):
                stamp = self._client.device.model.timestamp()
                self._writer.write(f"({stamp} '{name} {encode(value)})\r\n".encode())
                sub.sent, sub.due_s = value, now + sub.interval_s

    def _push_error(self, name: str, error: DecofError) -> None:
        stamp = self._client.device.model.timestamp()
        text = f"(Error: {error.code} ({stamp} '{name}) {error.args[0]})\r\n"
        self._writer.write(text.encode("utf-8", "replace"))


class DlcPro:
    """The instrument: two TCP ports, any number of clients on each."""

    def __init__(self, name: str, config: DlcSettings, port: PumpPlace, seed: int) -> None:
        self.name = name
        self.address = ""
        self._config = config
        self.model = DlcModel(config, port, seed, time.monotonic)
        self.faults = ReplyFaults(seed)
        self._cable = Cable(self._unplug, self._plug)
        self._command = TcpWire(config.host, config.command_port, self._serve_command)
        self._monitoring = TcpWire(config.host, config.monitoring_port, self._serve_monitor)
        self._monitors: set[Monitor] = set()
        self._ticker: asyncio.Task[None] | None = None

    async def start(self, run_dir: Path) -> None:
        await self._command.plug()
        if not self._config.monitoring_port:
            self._monitoring.port = self._command.port + 1
        with contextlib.suppress(OSError):  # next to the command line, if that is free
            await self._monitoring.plug()
        if not self._monitoring.plugged:
            self._monitoring.port = self._config.monitoring_port
            await self._monitoring.plug()
        self.address = f"tcp://{self._command.host}:{self._command.port}"
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        self._cable.cancel()
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        await self._command.close()
        await self._monitoring.close()

    def safe_off(self) -> None:
        self.model.values["laser1:dl:cc:enabled"] = False
        self.model.refresh()

    def status(self) -> dict[str, Any]:
        model = self.model
        model.refresh()
        return {
            "serial_number": model.serial_number,
            "emission": model.emission,
            "power_mw": model.power_mw,
            "current_ma": model.current_ma,
            "wavelength_nm": model.wavelength_nm,
            "temperature_ready": model.ready,
            "interlock_open": model.interlock_open,
            "frontkey_locked": model.frontkey_locked,
            "plugged": self._command.plugged,
            "clients": self.client_count(),
            "monitoring_port": self._monitoring.port,
        }

    def control(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Reply and cable faults, ``reboot``; set: interlock_open, frontkey_locked, tc_fault
        (bool), ambient_c (float), serial_number (another unit answers)."""
        if self._cable.control(command) or self.faults.arm(command):
            pass
        elif command.get("fault") == "reboot":
            self.model.boot()
            self._cable.control({"fault": "unplug", "for_s": command.get("for_s", 0.1)})
        elif isinstance(command.get("set"), Mapping):
            for key, value in command["set"].items():
                if key in ("interlock_open", "frontkey_locked", "tc_fault"):
                    setattr(self.model, key, bool(value))
                elif key == "ambient_c":
                    self.model.ambient_c = float(value)
                elif key == "serial_number":
                    self.model.serial_number = str(value)
                else:
                    raise unknown(self.name, command, "see the documentation of DlcPro")
            self.model.refresh()
        else:
            raise unknown(self.name, command, "fault (reply, cable, reboot) and set")
        return self.status()

    def client_count(self) -> int:
        return self._command.clients + self._monitoring.clients

    def connections(self) -> list[str]:
        return [f"command {self._command.clients}", f"monitoring {self._monitoring.clients}"]

    def _unplug(self) -> None:
        self._command.unplug()
        self._monitoring.unplug()

    def _plug(self) -> None:
        self._command.plug_soon()
        self._monitoring.plug_soon()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.model.refresh()
            now = time.monotonic()
            for monitor in self._monitors:
                monitor.push(now)

    async def _serve_command(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        client = Client(self)
        writer.write(b"\r\nWelcome to the emulated DLC pro\r\nDeCoF Command Line\r\n> ")
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # longer than any request
                writer.write(f"{DecofError(E_SYNTAX, 'line too long')}\n> ".encode())
                return
            if not line.endswith(b"\n"):
                return
            if self._config.latency_s:
                await asyncio.sleep(self._config.latency_s)
            text = line.decode("utf-8", "replace").strip()
            if any(f"(exec '{c})" == text for c in STREAM_COMMANDS):
                try:
                    client.stream = (await reader.readuntil(b"#"))[:-1]
                except asyncio.LimitOverrunError:
                    return
            reply = (execute(text, client) + "\n> " if text else "> ").encode("utf-8", "replace")
            if client.get("echo") is True:
                writer.write(line)
            self.faults.send(reply, line, writer.write)
            await writer.drain()

    async def _serve_monitor(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        monitor = Monitor(self, writer)
        self._monitors.add(monitor)
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    return
                if not line.endswith(b"\n"):
                    return
                if text := line.decode("utf-8", "replace").strip():
                    monitor.request(text)
                await writer.drain()
        finally:
            self._monitors.discard(monitor)


def create(name: str, config: Mapping[str, Any], port: Any, seed: int) -> DlcPro:
    """Factory for the bench. ValueError names an unknown setting."""
    return DlcPro(name, settings(DlcSettings, name, config), port, seed)
