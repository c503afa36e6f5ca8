"""The base of every emulated instrument: identity, registers, faults, wires, status, control.

A dialect (line, SCPI, frames, messages) adds ``serve``; a model declares its registers and
commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from photonlink.firmware_sim.kit import faults, registers
from photonlink.firmware_sim.kit.clock import Clock
from photonlink.firmware_sim.kit.settings import DeviceSettings, fill
from photonlink.firmware_sim.wires.factory import make_wire
from photonlink.firmware_sim.wires.session import Session, Wire

WRONG_SERIAL = "999999"


@dataclass(frozen=True, slots=True)
class Context:
    """The objects that the runner gives to a device."""

    name: str
    settings: Mapping[str, Any]
    place: Any
    """Where it stands on the optical table; what it may do there: ``places.py``."""
    seed: int
    clock: Clock


class EmulatedDevice:
    """One instrument. Everything here runs in the event loop of the emulator program."""

    Settings: ClassVar[type[Any]] = DeviceSettings
    REGISTERS: ClassVar[tuple[registers.Register, ...]] = ()
    WIRES: ClassVar[tuple[str, ...]] = ("serial",)
    """Schemes this instrument can be reached by; the first is the default."""
    WORLD: ClassVar[tuple[tuple[str, type], ...]] = ()
    """Attributes a test may set (``{"set": {…}}``): the world around the instrument."""
    NO_FAULTS: ClassVar[tuple[str, ...]] = ()
    """Common faults that cannot happen to this instrument."""
    TICK_S: ClassVar[float] = 0.0
    """Every so often :meth:`tick` is called; 0: never."""

    def __init__(self, context: Context) -> None:
        self.name, self.place, self.clock = context.name, context.place, context.clock
        self.seed = context.seed
        self.config: Any = fill(self.Settings, context.name, context.settings)
        self._serial = self.config.serial_number or self.make_serial(context.seed)
        self.random = random.Random(context.seed)  # noqa: S311 - noise of readings
        self.faults = faults.Faults(context.seed, context.clock)
        self._own_faults = faults.declared(type(self))
        self._readings = registers.marked(type(self), "reading")
        self._effects = registers.marked(type(self), "effect")
        self._commands = registers.marked(type(self), "command")
        self.registers = registers.Registers(self.declare())
        self.lines: dict[str, Wire] = {}
        self.internal_errors = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.setup()

    # ---- for a model ---------------------------------------------------------------------------

    def setup(self) -> None:
        """Called once, after settings and registers are set and before any wire is opened."""

    def declare(self) -> tuple[registers.Register, ...]:
        """The registers; a model whose ranges depend on its settings overrides this."""
        return self.REGISTERS

    def make_serial(self, seed: int) -> str:
        return f"{seed % 10**6:06}"

    def applied(self, name: str) -> None:
        """After every accepted set: write the settings' effect to the optical table."""

    def booted(self) -> None:
        """Called after the power-on values are restored; output and bias must be off here."""

    def tick(self) -> None:
        """Let time pass (called every TICK_S)."""

    def state(self) -> dict[str, Any]:
        """Entries of ``status`` beside serial number and cable."""
        return {}

    def safe_off(self) -> None:
        """Light and bias off, at once. Idempotent."""

    async def serve(self, session: Session) -> None:
        """Talk to one client until it is gone. Dialects implement it."""
        raise NotImplementedError

    # ---- identity and values -------------------------------------------------------------------

    @property
    def serial_number(self) -> str:
        """The reported serial number; the fault ``wrong-identity`` acts here."""
        return WRONG_SERIAL if self.faults.use("wrong-identity") else self._serial

    def value(self, name: str) -> Any:
        """A register or reading. :class:`~.registers.Refusal` for an unknown name."""
        if name in self._readings:
            value = getattr(self, self._readings[name])()
            return self.faults.drift(value) if type(value) is float else value
        if name in self.registers:
            return self.registers[name]
        raise registers.Refusal("unknown", f"no such parameter: {name}")

    def show(self, name: str) -> str:
        """:meth:`value` as printed text."""
        value = self.value(name)
        if isinstance(value, str):
            return value
        if name in self.registers:
            return self.registers.declared[name].show(value)
        return f"{value:.6g}"

    def change(self, name: str, value: Any) -> None:
        """A client's set, with its side effects. Refusals as :meth:`~.registers.Registers.set`."""
        if name not in self.registers:
            raise registers.Refusal("unknown", f"no such parameter: {name}")
        accepted = self.registers.declared[name].accept(value)
        if self.faults.use("ignore-sets"):
            return
        self.registers.put(name, accepted)
        if name in self._effects:
            getattr(self, self._effects[name])()
        self.applied(name)

    def method(self, word: str) -> Callable[..., Any] | None:
        """The ``@command`` of this name."""
        attribute = self._commands.get(word)
        return getattr(self, attribute) if attribute else None

    # ---- start and stop
    # ----------------------------------------------------------------------------------

    def make_wires(self, run_dir: Path) -> dict[str, Wire]:
        """name → wire; the first is the instrument's main line."""
        address = self.config.address or self.WIRES[0]
        scheme = address.partition(":")[0]
        if scheme not in self.WIRES and not (scheme == "mem" and self.is_stream()):
            raise ValueError(
                f"{self.name}: no wire {scheme!r}; this instrument has: {', '.join(self.WIRES)}"
            )
        return {"command": make_wire(address, self.serve, run_dir / self.name)}

    @classmethod
    def is_stream(cls) -> bool:
        """Whether it speaks in bytes without boundaries, so that any stream can carry them."""
        return bool({"serial", "tcp"} & set(cls.WIRES))

    @property
    def address(self) -> str:
        """Of the main line, once started."""
        return next((w.address for w in self.lines.values()), "")

    def addresses(self) -> dict[str, str]:
        """Of every line, by name."""
        return {name: wire.address for name, wire in self.lines.items()}

    async def start(self, run_dir: Path) -> None:
        """Open every wire. OSError or ValueError when an address cannot be had."""
        self.lines = self.make_wires(run_dir)
        for wire in self.lines.values():
            await wire.plug()
        if self.TICK_S:
            self._tasks.append(asyncio.create_task(self._ticking(), name=f"{self.name} tick"))

    async def stop(self) -> None:
        """Close every wire; called after :meth:`safe_off`."""
        self.faults.cancel()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        for wire in self.lines.values():
            await wire.close()

    async def _ticking(self) -> None:
        while True:
            await self.clock.sleep(self.TICK_S)
            self.guard(self.tick)

    def guard(self, call: Callable[[], object]) -> Any:
        """``call()``; a fault of the emulator itself is reported and counted, never fatal."""
        try:
            return call()
        except registers.Refusal:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a client sent, the device lives on
            self.broken(error)
            return None

    def broken(self, error: BaseException) -> None:
        """Count and report a fault of the emulator itself."""
        self.internal_errors += 1
        if self.internal_errors <= 10:
            with contextlib.suppress(OSError):
                print(f"firmware_sim: {self.name}: internal error {error!r}", file=sys.stderr)

    async def send_reply(
        self, session: Session, reply: bytes, request: bytes = b"", extra: bytes = b""
    ) -> bool:
        """A reply through the armed faults; False: it was not sent.

        request, extra: text that the faults ``echo`` and ``extra`` put before it.
        """
        left = await self.faults.through(reply, request, extra)
        if left is None:
            return False
        if not session.boundaries and self.faults.use("bytewise"):
            for at in range(len(left)):
                await session.write(left[at : at + 1])
                await asyncio.sleep(0)  # a write of its own
        else:
            await session.write(left)
        return True

    # ---- cable and power -----------------------------------------------------------------------

    def unplug(self) -> None:
        """Pull every cable of this instrument."""
        for wire in self.lines.values():
            wire.unplug()

    def replug(self) -> None:
        for wire in self.lines.values():
            wire.plug_soon()

    def reboot(self) -> None:
        """Power off and on."""
        self.registers.boot()
        for wire in self.lines.values():
            wire.discard()
        self.booted()
        self.applied("")

    # ---- status and control --------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """JSON-able state."""
        return {
            "serial_number": self._serial,
            "plugged": any(w.plugged for w in self.lines.values()),
            "clients": sum(w.clients for w in self.lines.values()),
            "internal_errors": self.internal_errors,
            **self.state(),
        }

    def control(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """``{"fault": NAME, …}`` or ``{"set": {…}}``; ValueError names what is unknown."""
        if isinstance(command.get("set"), Mapping) and len(command) == 1:
            self._set_world(command["set"])
        elif "fault" in command:
            self._arm(command)
        else:
            raise ValueError(f"{self.name}: cannot do {dict(command)!r}; say fault or set")
        return self.status()

    @classmethod
    def fault_names(cls) -> dict[str, str]:
        """Every fault of this instrument with its effect."""
        common = {n: doc for n, doc in faults.COMMON.items() if n not in cls.NO_FAULTS}
        return {**common, **{n: doc for n, (_, doc, _) in faults.declared(cls).items()}}

    def _arm(self, command: Mapping[str, Any]) -> None:
        name = command["fault"]
        if name not in self.fault_names():
            known = ", ".join(self.fault_names())
            raise ValueError(f"{self.name}: no fault {name!r}; known: {known}")
        own = self._own_faults.get(name)
        faults.only(command, *faults.KEYS, *(own[2] if own else ()))
        heal: Callable[[], object] | None = None
        if name == "none":
            self.faults.heal()
            return
        if name == "replug":
            self.faults.heal("unplug")
            self.replug()
            return
        if name == "reboot":
            self.reboot()
            return
        if own is not None:
            heal = getattr(self, own[0])(command)
            if heal is None:
                return
        elif name == "unplug":
            self.unplug()
            if "for_s" not in command:
                return
            heal = self.replug
        self.faults.arm(command, heal)

    def _set_world(self, values: Mapping[str, Any]) -> None:
        known = {**dict(self.WORLD), "serial_number": str}
        for key in values:
            if key not in known:
                raise ValueError(f"{self.name}: cannot set {key!r}; known: {', '.join(known)}")
        for key, value in values.items():
            if key == "serial_number":
                self._serial = str(value)
            else:
                setattr(self, key, known[key](value))
        self.applied("")
