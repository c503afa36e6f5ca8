"""Faults on demand: the same list for every instrument, plus those it declares itself.

``{"fault": NAME, "count": n, "for_s": t, …}`` arms one: for ``count`` uses (0: until cleared), or
for the next ``for_s`` seconds. ``{"fault": "none"}`` clears all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from photonlink.firmware_sim.kit.clock import Clock

F = TypeVar("F", bound=Callable[..., Any])

COMMON = {
    "silent": "no reply",
    "late": "the reply comes after delay_s",
    "garbled": "one bit of the reply is flipped",
    "truncated": "the reply is cut in the middle, or after `at` bytes (-1: all but the last)",
    "wrong-end": "the reply ends in another byte: CR for LF, LF for CR",
    "twice": "the reply comes twice",
    "bytewise": "the reply comes one byte at a time",
    "echo": "the command comes back before the reply",
    "extra": "a line that nobody asked for comes before the reply",
    "wrong-identity": "another unit's serial number is reported",
    "ignore-sets": "settings are accepted and not executed",
    "drift": "readings move by per_s (relative, per second)",
    "reboot": "power-on values; light and bias off",
    "unplug": "the cable is pulled (back after for_s)",
    "replug": "the cable is in again",
    "none": "everything above heals",
}
REPLY = ("silent", "late", "garbled", "truncated", "wrong-end", "twice", "echo", "extra")
STREAM = ("garbled", "truncated", "wrong-end", "twice", "bytewise", "echo", "extra")
"""What cannot happen to the calls of a vendor's library or package."""
KEYS = {"fault", "count", "for_s", "delay_s", "per_s", "at"}
_ENDS = {0x0A: 0x0D, 0x0D: 0x0A}


def fault(name: str, doc: str, *keys: str) -> Callable[[F], F]:
    """Declare a fault of one model: the method ``(self, command)`` arms it and returns a callable
    that clears it, or None. ``keys``: further keys of the command beside the common ones.
    """

    def mark(function: F) -> F:
        function.kit_fault = (name, doc, keys)  # type: ignore[attr-defined]
        return function

    return mark


def declared(cls: type[Any]) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """name → (attribute, doc, keys) of the faults a class declares."""
    found = {}
    for base in reversed(cls.__mro__):
        for attribute, member in vars(base).items():
            if hasattr(member, "kit_fault"):
                name, doc, keys = member.kit_fault
                found[name] = (attribute, doc, keys)
    return found


def only(command: Mapping[str, Any], *known: str) -> None:
    """ValueError that names the first key of ``command`` that is not ``known``."""
    for key in command:
        if key not in known:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(sorted(known))}")


@dataclass(slots=True)
class _Armed:
    left: int  # uses; 0: until cleared
    heal: Callable[[], object] | None = None
    delay_s: float = 1.0
    per_s: float = 0.01
    at: int | None = None
    since_s: float = 0.0


class Faults:
    """The armed faults of one device."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self._random = random.Random(seed)  # noqa: S311 - faults, no secrets
        self._clock = clock
        self._armed: dict[str, _Armed] = {}
        self._timers: list[Any] = []

    def arm(self, command: Mapping[str, Any], heal: Callable[[], object] | None = None) -> None:
        """Arm ``command["fault"]``; ValueError for an invalid count or time."""
        name = str(command["fault"])
        count, for_s = int(command.get("count", 0)), command.get("for_s")
        if count < 0 or (for_s is not None and not float(for_s) > 0):
            raise ValueError(f"{name}: count must be 0 or more, for_s more than 0")
        if name in REPLY:
            for other in REPLY:  # only one fault of replies at a time
                self.heal(other)
        self.heal(name)
        self._armed[name] = _Armed(
            count,
            heal,
            float(command.get("delay_s", 1.0)),
            float(command.get("per_s", 0.01)),
            None if command.get("at") is None else int(command["at"]),
            self._clock.now_s(),
        )
        if for_s is not None:
            self._timers.append(self._clock.call_later(float(for_s), lambda: self.heal(name)))

    def heal(self, name: str = "") -> None:
        """Clear one fault, or all of them."""
        for each in [name] if name else list(self._armed):
            gone = self._armed.pop(each, None)
            if gone is not None and gone.heal is not None:
                gone.heal()

    def cancel(self) -> None:
        """Cancel all timers."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def armed(self, name: str) -> bool:
        return name in self._armed

    def use(self, name: str) -> bool:
        """True when the fault acts now; counts one use."""
        armed = self._armed.get(name)
        if armed is None:
            return False
        if armed.left:
            armed.left -= 1
            if not armed.left:
                self.heal(name)
        return True

    def drift(self, value: float) -> float:
        """A reading, moved when ``drift`` is armed."""
        armed = self._armed.get("drift")
        if armed is None:
            return value
        return value * (1.0 + armed.per_s * (self._clock.now_s() - armed.since_s))

    async def through(self, reply: bytes, request: bytes, extra: bytes) -> bytes | None:
        """A reply after the armed fault (None: no reply); waits for a late one."""
        name = next((n for n in REPLY if n in self._armed), "")
        if not name:
            return reply
        delay_s, at = self._armed[name].delay_s, self._armed[name].at
        self.use(name)
        if name == "silent":
            return None
        if name == "late":
            await self._clock.sleep(delay_s)
        if not reply:
            return reply
        if name == "garbled":
            spoilt = bytearray(reply)
            spoilt[self._random.randrange(len(spoilt))] ^= 1 << self._random.randrange(8)
            return bytes(spoilt)
        return {
            "truncated": reply[: len(reply) // 2 if at is None else at],
            "wrong-end": reply[:-1] + bytes([_ENDS.get(reply[-1], reply[-1] ^ 0xFF)]),
            "twice": reply + reply,
            "echo": request + reply,
            "extra": extra + reply,
        }.get(name, reply)
