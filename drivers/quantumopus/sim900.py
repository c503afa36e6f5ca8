"""Questions to a module in an SRS SIM900 mainframe: sent through it, read from its buffer.

``SNDT port,"text"`` sends, ``NINP? port`` counts what came, ``RAWN? port,n`` reads it (QMI
``stanford_research_systems/sim900.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.errors import LinkDesync, LinkTimeout
from photonlink.hal.params import Param, Value

T = TypeVar("T")
_POLL_S = 0.02
_LONGEST = 1024


class Sim900Codec(ScpiCodec):
    """SCPI with the mainframe; ``module`` asks the module at ``port``.

    Old replies in the buffer are read and dropped before the next question."""

    def __init__(self, address: str, **more: Any) -> None:
        super().__init__(address, errors="", **more)
        self.port = 1
        self._one = asyncio.Lock()

    async def module(self, question: str, parse: Callable[[str], T]) -> T:
        """One question to the module and its line."""
        async with self._one:
            await self._take()
            await self.tell(f'SNDT {self.port},"{question}"')
            deadline = asyncio.get_running_loop().time() + self.timeout_s
            text = ""
            while not text.endswith("\n"):
                if asyncio.get_running_loop().time() > deadline:
                    raise LinkTimeout(f"no reply of the module in slot {self.port}",
                                      where=self.link.uri, seen=ascii(text))  # fmt: skip
                await asyncio.sleep(_POLL_S)
                text += await self._take()
            if text.count("\n") != 1:
                raise LinkDesync("more than one reply", where=self.link.uri, seen=ascii(text)[:80])
            return parse(text.strip())

    async def _take(self) -> str:
        """The content of the mainframe's buffer for this port."""
        count = await self.ask(f"NINP? {self.port}", self._count)
        if not count:
            return ""
        async with self.link.transaction(self.resync):
            await self._send(f"RAWN? {self.port},{count}")
            raw: bytes = await self.link.read_exactly(count, self.timeout_s)  # type: ignore[union-attr]
            return raw.decode("ascii", "replace")

    def _count(self, text: str) -> int:
        if not text.isdecimal() or int(text) > _LONGEST:
            raise LinkDesync("no number of bytes", where=self.link.uri, seen=text[:40])
        return int(text)

    async def get(self, param: Param) -> Value:
        return await self.module(param.get, lambda text: self.value(param, text))

    async def set(self, param: Param, value: Value) -> None:
        async with self._one:
            await self.tell(self._sent(param, value))

    def command_bytes(self, param: Param, value: Value) -> bytes:
        return f"\n{self._sent(param, value)}\n".encode("ascii")

    def _sent(self, param: Param, value: Value) -> str:
        wired = param.wire(value)
        whole = int(wired) if isinstance(wired, bool) else round(float(wired))
        return f'SNDT {self.port},"{param.set.format(whole)}"'
