"""The monitoring line of a DLC pro: subscriptions of one client, pushed when they change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from photonlink.firmware_sim.devices.toptica.decof import (
    E_SYNTAX,
    E_VALUE,
    DecofError,
    Quoted,
    Symbol,
    Value,
    encode,
    parse,
)
from photonlink.firmware_sim.wires.session import Session

DEFAULT_INTERVAL_S = 0.1
MAX_SUBSCRIPTIONS = 200


class View(Protocol):
    """A client's view of the device."""

    device: Any

    def get(self, name: str) -> Value: ...
    def change_level(self, level: Value, password: Value) -> int: ...


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
    """One client. room: bytes that must be free before it is sent updates; or none are."""

    def __init__(self, client: View, session: Session, room: int) -> None:
        self._client, self._session, self._room = client, session, room
        self._model = client.device.model
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
        self.push(self._client.device.clock.now_s())

    def push(self, now_s: float) -> None:
        """Send changed values that are due; a client that does not read misses updates."""
        for name, sub in self._subscriptions.items():
            if now_s < sub.due_s or self._session.free < self._room:
                continue
            value = self._client.get(name)
            if sub.wants(value):
                stamp = self._model.timestamp()
                self._session.send(f"({stamp} '{name} {encode(value)})\r\n".encode())
                sub.sent, sub.due_s = value, now_s + sub.interval_s

    def _push_error(self, name: str, error: DecofError) -> None:
        stamp = self._model.timestamp()
        text = f"(Error: {error.code} ({stamp} '{name}) {error.args[0]})\r\n"
        self._session.send(text.encode("utf-8", "replace"))
