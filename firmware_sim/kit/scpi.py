"""Instruments that speak SCPI (IEEE 488.2, SCPI-1999) over any wire, streams or messages.

Names of registers, readings and commands are headers as manuals print them: ``SOURce[:POWer]``,
``CHANnel#:DELAy`` (``#``: a numeric suffix, 1 when absent, handed to readings and commands; a
number instead of ``#``: this one alone, so that every channel has its own register).
Short and long forms, any case, ``;`` chains with the path of the command before, queries of one
message joined in one reply, an error queue, ``MIN``/``MAX``, units behind numbers, and definite-
length blocks come with the class.
"""

from __future__ import annotations

import inspect
import re
from collections import deque
from typing import Any, ClassVar

from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.registers import Refusal
from photonlink.firmware_sim.wires.session import Session

ERRORS = {
    "unknown": (-113, "Undefined header"),
    "type": (-104, "Data type error"),
    "range": (-222, "Data out of range"),
    "level": (-203, "Command protected"),
    "missing": (-109, "Missing parameter"),
}
ERROR_QUEUE = 32
_NODE = re.compile(r"(\[)?:?([*A-Za-z][A-Za-z_]*)(#|\d+)?\]?")
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%]*)\s*$")
_PREFIX = {"": 1.0, "N": 1e-9, "U": 1e-6, "M": 1e-3, "K": 1e3, "MA": 1e6, "G": 1e9, "T": 1e12}


def pattern(header: str) -> re.Pattern[str]:
    """A header as a manual prints it → a pattern for all its spellings, without ``?``."""
    parts = []
    for match in _NODE.finditer(header):
        optional, word, number = match.groups()
        short = "".join(c for c in word if not c.islower())
        forms = re.escape(word.upper()) if short == word else f"(?:{word.upper()}|{short})"
        suffix = {None: "", "#": r"(\d*)", "1": "1?"}.get(number, number)
        node = f":{forms}{suffix}"
        parts.append(f"(?:{node})?" if optional else node)
    return re.compile("".join(parts) + r"\Z")


def number(text: str, unit: str = "") -> str:
    """The number of ``10 dB``, ``1550NM`` (unit ``m``), ``ON``; unchanged when it is not a
    number.
    """
    found = _NUMBER.match(text)
    if found is None or not found[2]:
        return text.strip().strip("\"'")
    suffix, base = found[2].upper(), unit.upper()
    if suffix == base or not base:
        return found[1]
    if suffix.endswith(base) and suffix[: -len(base)] in _PREFIX:
        return repr(float(found[1]) * _PREFIX[suffix[: -len(base)]])
    return text


def block(data: bytes) -> bytes:
    """A definite-length arbitrary block (IEEE 488.2, 8.7.9)."""
    length = str(len(data)).encode()
    return b"#" + str(len(length)).encode() + length + data


class ScpiDevice(LineDevice):
    """SCPI on top of lines. A reply is text, or bytes for blocks."""

    TERMINATORS = b"\n\r"
    REPLY_END = "\n"
    UNKNOWN = ""
    IDENTITY: ClassVar[str] = "{serial}"
    """Reply to ``*IDN?``; ``{serial}`` and settings (``{config.model}``) are replaced."""
    JOINER: ClassVar[str] = ";"
    """Between the replies of one message."""
    ALWAYS_REPLY: ClassVar[bool] = False
    """A message without a query is answered too, with an empty reply (REQ/REP wires)."""

    def setup(self) -> None:
        self.errors: deque[tuple[int, str]] = deque()
        names = [*self.registers, *self._readings, *self._commands]
        self._headers = [(pattern(name.rstrip("?")), name) for name in names]

    # ---- messages ------------------------------------------------------------------------------

    async def obey(self, line: str, session: Session) -> None:
        replies: list[bytes] = []
        path = ""
        for unit in _units(line):
            header, _, argument = unit.partition(" ")
            if not header.startswith((":", "*")):
                header = path + ":" + header
            if not header.startswith("*"):
                path = header.rpartition(":")[0]
            reply = await self._unit(header.upper(), argument.strip(), session)
            if reply is not None:
                replies.append(reply)
        if replies or self.ALWAYS_REPLY:
            whole = self.JOINER.encode().join(replies) + self.REPLY_END.encode()
            await self.reply(session, whole, self.encode(line))

    async def _unit(self, header: str, argument: str, session: Session) -> bytes | None:
        try:
            reply = self.dispatch(header, argument, session)
            if inspect.isawaitable(reply):
                reply = await reply
        except Refusal as refusal:
            reply = self.failed(refusal)
        if reply is None or isinstance(reply, bytes):
            return reply
        return str(reply).encode("utf-8", "replace")

    def failed(self, refusal: Refusal) -> str | None:
        """Put a refusal into the error queue. A model that answers with text overrides this."""
        code, text = ERRORS.get(refusal.kind, (-200, "Execution error"))
        self.push_error(refusal.code or code, str(refusal) if refusal.code else text)
        return None

    def push_error(self, code: int, text: str) -> None:
        """Add an error to the queue; the last entry of a full queue reports the overflow
        (SCPI-1999, 21.8.1).
        """
        if len(self.errors) >= ERROR_QUEUE:
            self.errors[-1] = (-350, "Queue overflow")
        else:
            self.errors.append((code, text))

    # ---- headers -------------------------------------------------------------------------------

    def find(self, header: str) -> tuple[str, tuple[int, ...]]:
        """The declared name of a header and its suffixes. Refusal when there is none."""
        plain = header.rstrip("?")
        plain = plain if plain.startswith((":", "*")) else f":{plain}"
        if plain.startswith("*"):
            plain = f":{plain}"
        query = header.endswith("?")
        fitting = [(name, found) for form, name in self._headers if (found := form.match(plain))]
        # A command may exist as a set and as a question; a register's name serves for both.
        fitting = [f for f in fitting if f[0].endswith("?") and query] + [
            f for f in fitting if not f[0].endswith("?")
        ]
        if not fitting:
            raise Refusal("unknown", header)
        name, found = fitting[0]
        return name, tuple(int(n or 1) for n in found.groups())

    def dispatch(self, header: str, argument: str, session: Session) -> Any:
        """One program message unit → reply, None, or a coroutine. Override to add grammar."""
        query = header.endswith("?")
        common = {"*IDN?": self.identity, "*OPC?": lambda: "1", "*CLS": self.errors.clear}
        common |= {"*RST": self._reset, "*OPC": lambda: None, "*WAI": lambda: None}
        common |= {"*ESR?": lambda: "0", "*STB?": lambda: "0", "*TST?": lambda: "0"}
        if header in common:
            return common[header]()
        if header.lstrip(":") in ("SYST:ERR?", "SYSTEM:ERROR?", "SYST:ERR:NEXT?"):
            return '{},"{}"'.format(*(self.errors.popleft() if self.errors else (0, "No error")))
        name, suffixes = self.find(header)
        method = self.method(name)
        if method is not None and query == name.endswith("?"):
            return method(argument, session, *suffixes)
        if query and name in self._readings:
            return self.printed(name, getattr(self, self._readings[name])(*suffixes))
        if name not in self.registers:
            raise Refusal("unknown", header)
        register = self.registers.declared[name]
        limits = {"MIN": register.low, "MAX": register.high, "DEF": register.value}
        if query:
            wanted = limits.get(argument.upper()[:3]) if argument else None
            return register.show(self.registers[name] if wanted is None else wanted)
        if not argument:
            raise Refusal("missing", header)
        self.change(name, limits.get(argument.upper()[:3], number(argument, register.unit)))
        return None

    def printed(self, name: str, value: Any) -> Any:
        """A reading as this instrument prints it."""
        if isinstance(value, float):
            return f"{self.faults.drift(value):.6E}"
        return value

    def identity(self) -> str:
        return self.IDENTITY.format(serial=self.serial_number, config=self.config)

    def _reset(self) -> None:
        self.registers = type(self.registers)(self.declare())
        self.booted()
        self.applied("")


def _units(line: str) -> list[str]:
    """Program message units, cut at ``;`` outside of quotes."""
    units = re.findall(r"""(?:[^;"']|"[^"]*"|'[^']*'|["'])+""", line)
    return [unit.strip() for unit in units if unit.strip()]
