"""Emulated sipyco (ARTIQ) controller: a two-channel RF driver of an acousto-optic modulator.

Protocol as ``sipyco/pc_rpc.py`` and ``sipyco/pyon.py`` of m-labs/sipyco have it. Evidence: manual.
A wrong first line, an unknown target and a line that cannot be read end the connection without a
word. The methods are an example of ours; real controllers have their own.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.registers import Refusal, Register
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

LINE_BYTES = 4 << 20
HELLO = b"ARTIQ pc_rpc"
METHODS = ("ping", "get_output", "set_output", "get_frequency", "set_frequency", "get_amplitude",
           "set_amplitude", "get_errors", "close", "__init__")  # fmt: skip


@dataclass
class SipycoSettings(DeviceSettings):
    """target: its name. newer: it offers PYON version 2. reachable: what ``ping`` finds."""

    target: str = "aom"
    newer: bool = True
    reachable: bool = True


def text(value: Any, newer: bool) -> str:
    """One value in PYON."""
    if not newer:
        if isinstance(value, set):
            return "{" + ", ".join(json.dumps(v) for v in sorted(value)) + "}"
        if isinstance(value, dict):
            return "{" + ", ".join(f'"{k}": {text(v, False)}' for k, v in value.items()) + "}"
        return json.dumps(value)
    if isinstance(value, set):
        value = {"__jsonclass__": ["set", [sorted(value)]]}
    return json.dumps(value)


def read(line: bytes, newer: bool) -> Any:
    """What a client sent. ValueError."""
    if newer:
        return json.loads(line, object_hook=_plain)
    words = line.decode("ascii").replace("true", "True").replace("false", "False")
    return ast.literal_eval(words.replace("null", "None").strip())


def _plain(found: dict[str, Any]) -> Any:
    if "__jsonclass__" not in found:
        return found
    name, parts = found["__jsonclass__"]
    if name not in ("tuple", "set"):
        raise ValueError(name)
    return list(parts[0])


class SipycoController(EmulatedDevice):
    """One target."""

    Settings = SipycoSettings
    WIRES = ("tcp",)
    NO_FAULTS = ("wrong-identity",)
    REGISTERS = (
        Register("output", 0, 0, 1),
        Register("frequency", 80e6, 1e6, 4e8, unit="Hz"),
        Register("amplitude", 0.0, 0.0, 1.0),
    )

    def state(self) -> dict[str, Any]:
        return {"output": bool(self.registers["output"])}

    def safe_off(self) -> None:
        self.registers.put("output", 0)

    async def serve(self, session: Session) -> None:
        lines = _Lines(session)
        if await lines.next() != HELLO:
            return
        features = {"features": ["pyon_v2"]} if self.config.newer else {}
        greeting = {"targets": [self.config.target], "description": "AOM driver", **features}
        await session.write(json.dumps(greeting).encode() + b"\n")
        target, _, form = (await lines.next() or b"").decode("latin-1").partition(" ")
        newer = self.config.newer and form == "pyon_v2"
        if target != self.config.target or (form and not newer):
            return
        await session.write(text(set(METHODS), newer).encode() + b"\n")
        while (line := await lines.next()) is not None:
            try:
                request = read(line, newer)
            except (ValueError, SyntaxError, RecursionError, TypeError, MemoryError):
                return
            reply = text(self._answer(request), newer).encode() + b"\n"
            await self.send_reply(session, reply, line + b"\n", b'{"news": 1}\n')

    def _answer(self, request: Any) -> dict[str, Any]:
        try:
            return {"status": "ok", "ret": self._act(request)}
        except _Failed as error:
            kind, message = error.args
            told = {"class": kind, "message": message, "traceback": []}
            return {"status": "failed", "exception": told}
        except Exception as error:  # noqa: BLE001 - never raises for input
            self.broken(error)
            told = {"class": "Exception", "message": "", "traceback": []}
            return {"status": "failed", "exception": told}

    def _act(self, request: Any) -> Any:
        if not isinstance(request, dict) or request.get("action") != "call":
            raise _Failed("ValueError", "Unknown action")
        name, args = request.get("name"), request.get("args", ())
        if name not in METHODS or not isinstance(args, (list, tuple)):
            raise _Failed("AttributeError", f"no attribute {name!r}")
        if name == "ping":
            return bool(self.config.reachable)
        if name in ("get_errors", "close", "__init__"):
            return []
        verb, _, register = str(name).partition("_")
        given = list(args)[1:] if register == "frequency" else list(args)  # the channel
        if verb == "get" and not given:
            value = self.value(register)
            return bool(value) if register == "output" else value
        if verb != "set" or len(given) != 1:
            raise _Failed("TypeError", f"{name}() takes other arguments")
        try:
            self.change(register, int(given[0]) if register == "output" else given[0])
        except (Refusal, TypeError, ValueError) as error:
            raise _Failed("ValueError", str(error)) from None
        return None


class _Failed(Exception):
    """Class and message of what a method raised."""


class _Lines:
    """What one client sends, line by line."""

    def __init__(self, session: Session) -> None:
        self._session, self._data = session, b""

    async def next(self) -> bytes | None:
        """The next line without its end; None when the client is gone."""
        while b"\n" not in self._data:
            more = await self._session.read()
            if more is None or len(self._data) > LINE_BYTES:
                return None
            self._data += more
        line, _, self._data = self._data.partition(b"\n")
        return line


REGISTRATION = Registration(
    "sipyco-controller", "", SipycoController, "sipyco (ARTIQ) controller of an RF driver"
)
