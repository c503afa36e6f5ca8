"""What all device emulators share: typed settings from the bench file and faults of the replies."""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
import random
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def settings(cls: type[T], device: str, config: Mapping[str, Any]) -> T:
    """Fill the dataclass ``cls`` from ``config``; ValueError names what is unknown or mistyped."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    defaults = cls()
    values: dict[str, Any] = {}
    for key, value in config.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            raise ValueError(f"{device}: unknown setting {key!r}{hint}")
        kind = type(getattr(defaults, key))
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ValueError(f"{device}: setting {key!r} must be {kind.__name__}, not {value!r}")
        values[key] = value
    return cls(**values)


REPLY_FAULTS = ("silent", "late", "garbled", "truncated", "echo")


class ReplyFaults:
    """Faults between a device's decision and its wire: what leaves is not what was meant.

    ``silent`` no reply, ``late`` after ``delay_s``, ``garbled`` one byte changed, ``truncated``
    the second half (and the line end) missing, ``echo`` the command comes back before the reply.
    ``count`` replies suffer (0: all until healed), or those of the next ``for_s`` seconds.
    ``ignore_sets``: commands that change something are answered as usual but not executed.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - faults, no secrets
        self.mode = ""
        self.delay_s = 0.0
        self.ignore_sets = False
        self._left = 0
        self._healing: asyncio.TimerHandle | None = None

    def arm(self, command: Mapping[str, Any]) -> bool:
        """Take ``{"fault": …}`` if it is one of these (or ``none``); False: not mine."""
        fault = command.get("fault")
        if fault == "none":
            self.heal()
            return True
        if fault not in (*REPLY_FAULTS, "ignore-sets"):
            return False
        only(command, "fault", "for_s", "count", "delay_s")
        self._stop_healing()
        if fault == "ignore-sets":
            self.ignore_sets = True
        else:
            self.mode = str(fault)
            self._left = int(command.get("count", 0))
            self.delay_s = float(command.get("delay_s", 1.0))
        if "for_s" in command:
            loop = asyncio.get_running_loop()
            self._healing = loop.call_later(float(command["for_s"]), self.heal)
        return True

    def heal(self) -> None:
        self._stop_healing()
        self.mode, self.ignore_sets = "", False

    def _stop_healing(self) -> None:
        if self._healing is not None:
            self._healing.cancel()
            self._healing = None

    def send(self, reply: bytes, command: bytes, write: Callable[[bytes], object]) -> None:
        """Pass ``reply`` to ``write`` through the armed fault."""
        mode = self.mode
        if mode and self._left:
            self._left -= 1
            if not self._left:
                self.mode = ""
        if mode == "silent" or not reply:
            return
        if mode == "late":
            asyncio.get_running_loop().call_later(self.delay_s, write, reply)
            return
        if mode == "garbled":
            spoilt = bytearray(reply)
            spoilt[self._random.randrange(len(spoilt))] ^= 1 << self._random.randrange(8)
            reply = bytes(spoilt)
        elif mode == "truncated":
            reply = reply[: len(reply) // 2]
        elif mode == "echo":
            reply = command + reply
        write(reply)


class Cable:
    """Unplug and replug as control commands, with an optional time until it is back."""

    def __init__(self, unplug: Callable[[], None], plug: Callable[[], None]) -> None:
        self._unplug, self._plug = unplug, plug
        self._timer: asyncio.TimerHandle | None = None

    def control(self, command: Mapping[str, Any]) -> bool:
        """``{"fault": "unplug"[, "for_s": x]}`` or ``{"fault": "replug"}``; False: not mine."""
        fault = command.get("fault")
        if fault not in ("unplug", "replug"):
            return False
        only(command, "fault", "for_s")
        self.cancel()
        if fault == "replug":
            self._plug()
            return True
        self._unplug()
        if "for_s" in command:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(float(command["for_s"]), self._plug)
        return True

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def only(command: Mapping[str, Any], *known: str) -> None:
    """ValueError that names the first key of ``command`` that is not ``known``."""
    for key in command:
        if key not in known:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(known)}")


def unknown(device: str, command: Mapping[str, Any], known: str) -> ValueError:
    """The error for a control command no part of the device understood."""
    return ValueError(f"{device}: cannot do {dict(command)!r}; known: {known}")
