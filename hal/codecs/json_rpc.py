"""JSON-RPC 2.0: over messages (``http``, ``zmq``) or as lines over a stream. Replies carry the
number of their question, so a late one is recognised and thrown away."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from photonlink.hal.codecs.base import Codec, Wanted
from photonlink.hal.errors import InstrumentError, LinkDesync, LinkError
from photonlink.hal.links import MessageLink, StreamLink, Tap, make_link
from photonlink.hal.params import Param, Value

_LONGEST_REPLY = 16 << 20


class JsonRpcCodec(Codec):
    """``call("method", [1, 2])``. A parameter's ``get`` and ``set`` are names of methods."""

    def __init__(
        self,
        address: str,
        *,
        tap: Tap | None,
        where: str,
        timeout_s: float,
        wanted: Wanted,
        end: str = "\n",
    ) -> None:
        link = make_link(address, tap=tap)
        super().__init__(link, where=where, timeout_s=timeout_s, wanted=wanted)
        self.link: StreamLink | MessageLink
        self._end = end.encode("ascii")
        self._numbers = itertools.count(1)

    async def connect(self) -> None:
        await self.link.open(self.connect_timeout_s)

    async def call(
        self,
        method: str,
        params: Sequence[Any] | Mapping[str, Any] = (),
        *,
        timeout_s: float | None = None,
    ) -> Any:
        """The result. InstrumentError for an error reply."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        number = next(self._numbers)
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method}
        if params:
            request["params"] = params
        data = json.dumps(request, separators=(",", ":")).encode()
        async with self.link.transaction(self.resync):
            reply = await self._exchange(data, number, limit)
        error = reply.get("error")
        if error is not None:
            words = error.get("message", error) if isinstance(error, dict) else error
            code = str(error.get("code", "")) if isinstance(error, dict) else ""
            raise InstrumentError(f"{method} was refused: {words}", where=self.where, seen=code)
        if "result" not in reply:
            raise InstrumentError(f"{method}: neither result nor error", where=self.where)
        return reply["result"]

    async def _exchange(self, data: bytes, number: int, timeout_s: float) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        if isinstance(self.link, MessageLink):
            await self.link.send(data, timeout_s)
        else:
            await self.link.write(data + self._end, timeout_s)
        while True:
            left_s = max(0.001, deadline - loop.time())
            if isinstance(self.link, MessageLink):
                raw = await self.link.receive(left_s)
            else:
                raw = await self.link.read_until(self._end, left_s, _LONGEST_REPLY)
            try:
                reply = json.loads(raw)
            except (ValueError, RecursionError):
                raise LinkDesync("the reply is no JSON", where=self.link.uri) from None
            if not isinstance(reply, dict):
                raise LinkDesync("the reply is no JSON-RPC", where=self.link.uri)
            if reply.get("id") == number or (reply.get("id") is None and "error" in reply):
                return reply  # another number: a late reply to an earlier question

    async def resync(self) -> None:
        try:
            await self.link.open(self.connect_timeout_s)
        except LinkError:
            await self.link.close()
            raise

    async def get(self, param: Param) -> Value:
        value = await self.call(param.get)
        if param.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if param.choices is not None or isinstance(value, str):
            return param.parse(str(value), self.where)
        if not isinstance(value, param.kind) or isinstance(value, bool) != (param.kind is bool):
            raise InstrumentError(
                f"{param.name}: a reply of the wrong kind", where=self.where, seen=repr(value)
            )
        return value / param.scale if isinstance(value, float) else value

    async def set(self, param: Param, value: Value) -> None:
        await self.call(param.set, [param.wire(value)])

    def command_bytes(self, param: Param, value: Value) -> bytes:
        request = {"jsonrpc": "2.0", "id": 0, "method": param.set, "params": [param.wire(value)]}
        return json.dumps(request).encode() + self._end
