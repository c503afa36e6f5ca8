"""Emulated Toptica DLC pro: command line and monitoring line over TCP (ports 1998 and 1999 on the
real instrument), or the command line on a serial port.

Command language: :mod:`.decof`; parameters and light: :mod:`.dlc_model`. Line ends, the echo, the
``0`` line of ``param-disp`` and ``-20 unavailable`` are those of printed output of a real unit in a
public notebook (2020); everything else is from clients (``toptica-lasersdk`` 3.3.0). Evidence:
manual. Left out: UDP discovery.
"""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.devices.toptica.decof import (
    E_ACCESS,
    E_COMMAND,
    E_SYNTAX,
    E_VALUE,
    DecofError,
    Value,
    encode,
    execute,
)
from photonlink.firmware_sim.devices.toptica.dlc_model import (
    NORMAL,
    READ_ONLY,
    DlcModel,
    DlcSettings,
)
from photonlink.firmware_sim.devices.toptica.dlc_monitor import Monitor
from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.wires.session import Session, Wire
from photonlink.firmware_sim.wires.tcp import TcpWire

MONITOR_BACKLOG = 1 << 14  # bytes of room a monitoring client must have left to be sent updates
STREAM_COMMANDS = tuple(
    f"(exec '{name})".encode() for name in ("service-script", "system-service-report:add-info")
)
BANNER = b"\r\nWelcome to the emulated DLC pro\r\nDeCoF Command Line"
ATTENTION = b"\x12\x03"  # the first bytes of the vendor's client on a serial line


class Client:
    """One client's view of the device: shared parameters, its own user level and echo."""

    def __init__(self, device: DlcPro) -> None:
        self.device = device
        self.level = NORMAL
        self.echo = bool(device.config.echo)
        self.stream = b""

    def get(self, name: str) -> Value:
        own = {"ul": self.level, "echo": self.echo}
        return own[name] if name in own else self.device.model.get(name)

    def get_set_value(self, name: str) -> Value:
        """The requested value; of a reading: the reading itself."""
        return self.get(name)

    def display(self, name: str) -> str:
        """``name = value``; of a node: one line for each parameter below it; then ``0``."""
        names = [n for n in self.device.model.names() if n == name or n.startswith(name + ":")]
        lines = [f"{n} = {encode(self.get(n))}" for n in names or [self._known(name)]]
        return "\n".join([*lines, "0"])

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
        if name == "echo":
            if not isinstance(value, bool):
                raise DecofError(E_VALUE, "echo must be a boolean")
            self.echo = value
            return 0
        dry = self.device.faults.use("ignore-sets")
        return self.device.model.set(name, value, self.level, dry=dry)

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
        model.check_command(name)
        raise DecofError(E_COMMAND, f"unknown command '{name}' with {len(args)} arguments")


class DlcPro(LineDevice):
    """The instrument: two lines, any number of clients on each."""

    Settings = DlcSettings
    WIRES = ("tcp", "serial")
    WORLD = (
        ("interlock_open", bool),
        ("frontkey_locked", bool),
        ("tc_fault", bool),
        ("ambient_c", float),
    )
    TERMINATORS = b"\n"
    BLANK_LINES = True
    TICK_S = 0.02

    def setup(self) -> None:
        self.model = DlcModel(self.config, self.place, self.seed, self.clock, self._identity)
        self._monitors: set[Monitor] = set()
        self._command: Wire | None = None
        self._monitoring: Wire | None = None

    def make_serial(self, seed: int) -> str:
        return f"DLC PRO_{seed % 10**6:06}"

    def _identity(self) -> str:
        return self.serial_number

    # ---- lines ---------------------------------------------------------------------------------

    def make_wires(self, run_dir: Path) -> dict[str, Wire]:
        lines = super().make_wires(run_dir)
        self._command = lines["command"]
        if isinstance(self._command, TcpWire):
            if self.config.command_port:
                self._command.port = self.config.command_port
            self._monitoring = TcpWire(
                self.serve_monitor, self._command.host, self.config.monitoring_port
            )
        return lines

    async def start(self, run_dir: Path) -> None:
        await super().start(run_dir)
        monitoring, command = self._monitoring, self._command
        if not isinstance(monitoring, TcpWire) or not isinstance(command, TcpWire):
            return
        if not self.config.monitoring_port:
            monitoring.port = command.port + 1
            with contextlib.suppress(OSError):  # next to the command line, if that is free
                await monitoring.plug()
            if not monitoring.plugged:
                monitoring.port = 0
        await monitoring.plug()
        self.lines["monitoring"] = monitoring

    def greeting(self, session: Session) -> bytes:
        """The banner that a TCP client gets. A serial line has no connection to greet."""
        session.state = Client(self)
        return BANNER + self.prompt if isinstance(self._command, TcpWire) else b""

    @property
    def prompt(self) -> bytes:
        return f"{self.config.line_end}> ".encode()

    def split(self, data: bytes) -> list[bytes]:
        """Lines; a command that takes a stream comes with it, up to ``#``."""
        pieces: list[bytes] = []
        data = data.replace(ATTENTION, b"\x12\n\x03\n")
        while (end := data.find(b"\n")) >= 0:
            if data[:end].strip() in STREAM_COMMANDS:
                end = data.find(b"#", end)
                if end < 0:
                    break
            pieces.append(data[:end])
            data = data[end + 1 :]
        return [*pieces, data]

    async def obey(self, line: str, session: Session) -> None:
        client = session.state
        if self.config.latency_s:
            await self.clock.sleep(self.config.latency_s)
        if line in ("\x12", "\x03"):
            hello = BANNER if line == "\x12" and self.config.serial_welcome else b""
            await session.write(hello + self.prompt)
            return
        command, _, stream = line.partition("\n")
        client.stream = stream.encode()
        if len(line) >= self.COMMAND_LIMIT:
            reply = str(DecofError(E_SYNTAX, "line too long"))
        else:
            reply = execute(command, client) if command else ""
        end = self.config.line_end
        echo = f"{command}{end}" if client.echo else ""
        text = (echo + reply.replace("\n", end)).encode("utf-8", "replace")
        request = f"{command}{end}".encode("utf-8", "replace")
        await self.send_reply(session, text + self.prompt, request, f"note{end}".encode())

    async def serve_monitor(self, session: Session) -> None:
        """The monitoring line: subscriptions of one client."""
        monitor = Monitor(Client(self), session, MONITOR_BACKLOG)
        self._monitors.add(monitor)
        try:
            async for text in self.commands(session):
                if text:
                    self.guard(lambda text=text: monitor.request(text))  # type: ignore[misc]
        finally:
            self._monitors.discard(monitor)

    # ---- life ----------------------------------------------------------------------------------

    def tick(self) -> None:
        self.model.refresh()
        for monitor in list(self._monitors):
            monitor.push(self.clock.now_s())

    def applied(self, name: str) -> None:
        for key, _ in self.WORLD:
            if hasattr(self, key):
                setattr(self.model, key, getattr(self, key))
        self.model.refresh()

    def safe_off(self) -> None:
        self.model.values["laser1:dl:cc:enabled"] = False
        self.model.refresh()

    def reboot(self) -> None:
        """Power-on values; connections are cut and the lines come back after a moment."""
        self.model.boot()
        self.unplug()
        self.clock.call_later(0.1, self.replug)

    def state(self) -> dict[str, Any]:
        model = self.model
        model.refresh()
        monitoring = self._monitoring
        return {
            "emission": model.emission,
            "power_mw": model.power_mw,
            "current_ma": model.current_ma,
            "wavelength_nm": model.wavelength_nm,
            "temperature_ready": model.ready,
            "interlock_open": model.interlock_open,
            "frontkey_locked": model.frontkey_locked,
            "monitoring_port": monitoring.port if isinstance(monitoring, TcpWire) else 0,
        }

    def client_count(self) -> int:
        return sum(wire.clients for wire in self.lines.values())

    def connections(self) -> list[str]:
        return [f"{name} {wire.clients}" for name, wire in self.lines.items()]


REGISTRATION = Registration(
    "toptica-dlc-pro", "pump", DlcPro, "Toptica DLC pro with one CTL laser head"
)
