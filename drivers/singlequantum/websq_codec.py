"""Objects of WebSQ (classic): JSON both ways, no delimiter to the instrument, 0x17 from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from photonlink.hal.codecs.base import Codec, Wanted
from photonlink.hal.errors import InstrumentError, LinkDesync, LinkError, LinkTimeout
from photonlink.hal.links import StreamLink, Tap, make_stream
from photonlink.hal.params import Param, Value

T = TypeVar("T")
END = b"\x17"
_LONGEST = 1 << 20
_FENCE = "NumberOfDetectors"
"""A label that never changes, so that nothing but its own question makes it come."""
_PLAIN = json.JSONDecoder()


def objects(text: str) -> Iterator[dict[str, Any]]:
    """The objects of one piece between two separators. ValueError for anything else."""
    at = 0
    while at < len(text := text.strip()):
        found, at = _PLAIN.raw_decode(text, at)
        if not isinstance(found, dict):
            raise ValueError("no object")
        yield found


class WebsqCodec(Codec):
    """A question by label, and a second one behind it: the answer is the last object with that
    label before the second reply. So neither a broadcast nor a reply that it overtook remains for
    the next question. ``label/n`` is the n-th of a list."""

    def __init__(
        self, address: str, *, tap: Tap | None, where: str, timeout_s: float, wanted: Wanted
    ) -> None:
        link = make_stream(address, tap=tap)
        super().__init__(link, where=where, timeout_s=timeout_s, wanted=wanted)
        self.link: StreamLink

    async def connect(self) -> None:
        await self.link.open(self.timeout_s)

    async def label(self, label: str, parse: Callable[[Any], T] = lambda value: value) -> T:
        """The present value of a label, parsed within the transaction."""
        return await self._talk({"request": label}, label, parse)

    async def properties(self, label: str) -> Any:
        """One label out of the list that every client asks for first."""
        return await self._talk({"request": "labelProps", "value": "None"}, label, _same)

    async def command(self, command: str, label: str, value: Any) -> None:
        """Send a set; the caller reads the value back."""
        message = {"command": command, "label": label, "value": value}
        async with self.link.transaction(self.resync):
            await self.link.write(json.dumps(message).encode(), self.timeout_s)

    async def _talk(self, message: dict[str, Any], label: str, parse: Callable[[Any], T]) -> T:
        loop, refused = asyncio.get_running_loop(), ""
        fences = 1 + (label == _FENCE)  # replies of the fence's label that must come
        async with self.link.transaction(self.resync):
            deadline = loop.time() + self.timeout_s
            data = json.dumps(message) + json.dumps({"request": _FENCE})
            await self.link.write(data.encode(), self.timeout_s)
            answer: Any = None
            while fences:
                for found in await self._piece(max(0.001, deadline - loop.time())):
                    if "Error" in str(found.get("label", "")):
                        refused = str(found.get("value", "no reason"))
                    elif found.get("label") == label:
                        answer = found.get("value")
                    fences -= found.get("label") == _FENCE
            if not refused:
                if answer is None:
                    raise LinkTimeout(f"no reply about {label}", where=self.link.uri)
                return parse(answer.get("value") if isinstance(answer, dict) else answer)
        raise InstrumentError(f"{label} was refused", where=self.where, seen=refused[:200])

    async def _piece(self, timeout_s: float) -> list[dict[str, Any]]:
        raw = await self.link.read_until(END, timeout_s, _LONGEST)
        try:
            return list(objects(raw[:-1].decode("utf-8")))
        except (ValueError, RecursionError):
            raise LinkDesync(
                "the reply is no JSON", where=self.link.uri, seen=ascii(raw)[:80]
            ) from None

    async def resync(self) -> None:
        """Drop broadcasts that came meanwhile, which are no fault; after a fault open a new
        connection.
        """
        if not self.link.dirty:
            while self.link.pending:
                await self.link.read_some(65_536, self.timeout_s)
            return
        try:
            await self.link.open(self.timeout_s)
        except LinkError:
            await self.link.close()
            raise

    async def get(self, param: Param) -> Value:
        label, _, number = param.get.partition("/")
        return await self.label(label, lambda value: self._value(param, value, number))

    def _value(self, param: Param, value: Any, number: str) -> Value:
        if number:
            value = self.listed(value, param.name)[int(number) - 1 :][:1]
            value = value[0] if value else None
        if param.kind is bool and value in (True, False, 0, 1):
            return bool(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InstrumentError(f"{param.name}: unreadable reply", where=self.where,
                                  seen=repr(value)[:80])  # fmt: skip
        return param.parse(repr(value), self.where)

    def listed(self, value: Any, name: str) -> list[float]:
        """A value that must be a list of numbers."""
        if not isinstance(value, list) or not all(type(x) in (int, float) for x in value):
            raise InstrumentError(f"{name}: no list of numbers", where=self.where,
                                  seen=repr(value)[:80])  # fmt: skip
        return value

    async def set(self, param: Param, value: Value) -> None:
        command, _, label = param.set.partition("/")
        await self.command(command, label, param.wire(value))

    def command_bytes(self, param: Param, value: Value) -> bytes:
        command, _, label = param.set.partition("/")
        message = {"command": command, "label": label, "value": param.wire(value)}
        return json.dumps(message).encode()


def _same(value: Any) -> Any:
    return value
