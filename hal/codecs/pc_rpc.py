"""Calls of a sipyco (ARTIQ) controller: TCP, one PYON document a line (``sipyco/pc_rpc.py``).

A reply carries no number, so after anything unexpected the line is given up and opened again.
"""

from __future__ import annotations

import ast
import difflib
from typing import Any

from photonlink.hal.codecs import pyon
from photonlink.hal.codecs.base import Codec, Wanted
from photonlink.hal.errors import IdentityError, InstrumentError, LinkDesync, LinkError
from photonlink.hal.links import StreamLink, Tap, make_stream
from photonlink.hal.params import Param, Value

HELLO = b"ARTIQ pc_rpc\n"
V2 = "pyon_v2"
LONGEST = 4 << 20


def parse_call(text: str) -> tuple[str, tuple[Any, ...]]:
    """``name`` or ``name(1, "x")`` → the method and its first arguments. ValueError."""
    node = ast.parse(text, mode="eval").body
    if isinstance(node, ast.Name):
        return node.id, ()
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return node.func.id, tuple(ast.literal_eval(a) for a in node.args)
    raise ValueError(f"{text!r} is no call: write name or name(1, 'x')")


class PcRpcCodec(Codec):
    """``call("set_frequency", 80e6)``. A parameter's ``get`` and ``set`` are calls; the value of a
    set is the last argument. target: which of the controller's targets, "" for its only one."""

    def __init__(
        self,
        address: str,
        *,
        tap: Tap | None,
        where: str,
        timeout_s: float,
        wanted: Wanted,
        target: str = "",
    ) -> None:
        link = make_stream(address, tap=tap)
        super().__init__(link, where=where, timeout_s=timeout_s, wanted=wanted)
        self.link: StreamLink
        self.target, self._asked = target, target
        self.description, self.methods = "", frozenset[str]()
        self._encode = pyon.encode

    async def connect(self) -> None:
        """Greet, choose the target, learn its methods."""
        await self.link.open(self.connect_timeout_s)
        await self.link.write(HELLO, self.timeout_s)
        found = await self._line(self.connect_timeout_s)
        targets = found.get("targets") if isinstance(found, dict) else None
        if not isinstance(targets, (list, tuple)):
            raise IdentityError("no sipyco controller answers here", where=self.where)
        names = [str(name) for name in targets]
        if self._asked not in names and (self._asked or len(names) != 1):
            near = difflib.get_close_matches(self._asked, names, 1, 0.5)
            raise IdentityError(
                f"the controller has no target {self._asked!r}" if self._asked
                else "the controller has several targets: name one", where=self.where,
                seen=", ".join(names), hint=f"Did you mean {near[0]!r}?" if near else "",
            )  # fmt: skip
        self.target = self._asked or names[0]
        self.description = str(found.get("description") or "")
        newer = V2 in (found.get("features") or ())
        self._encode = pyon.encode if newer else pyon.encode_1
        chosen = f"{self.target} {V2}\n" if newer else f"{self.target}\n"
        await self.link.write(chosen.encode(), self.timeout_s)
        methods = await self._line(self.connect_timeout_s)
        if not isinstance(methods, (set, frozenset, list, tuple)):
            raise LinkDesync("no list of methods came", where=self.link.uri)
        self.methods = frozenset(map(str, methods))

    async def call(self, name: str, *args: Any) -> Any:
        """What the method returned. InstrumentError when it failed there."""
        request = {"action": "call", "name": name, "args": tuple(args), "kwargs": {}}
        data = self._encode(request).encode() + b"\n"
        async with self.link.transaction(self.resync):
            await self.link.write(data, self.timeout_s)
            reply = await self._line(self.timeout_s)
            status = reply.get("status") if isinstance(reply, dict) else None
            if status not in ("ok", "failed"):
                raise LinkDesync("this is no reply", where=self.link.uri, seen=repr(reply)[:80])
        if status == "ok":
            return reply.get("ret")
        told = reply.get("exception")
        told = told if isinstance(told, dict) else {}
        raise InstrumentError(
            f"{name} failed: {told.get('message', 'no reason given')}",
            where=self.where, seen=str(told.get("class", "")),
        )  # fmt: skip

    async def _line(self, timeout_s: float) -> Any:
        return pyon.decode(await self.link.read_until(b"\n", timeout_s, LONGEST))

    async def resync(self) -> None:
        try:
            await self.connect()
        except LinkError:
            await self.link.close()
            raise

    async def get(self, param: Param) -> Value:
        name, args = parse_call(param.get)
        value = await self.call(name, *args)
        if param.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, param.kind) or isinstance(value, bool) != (param.kind is bool):
            raise InstrumentError(
                f"{param.name}: a value of another kind", where=self.where, seen=repr(value)[:80]
            )
        return value

    async def set(self, param: Param, value: Value) -> None:
        name, args = parse_call(param.set)
        await self.call(name, *args, value)

    def command_bytes(self, param: Param, value: Value) -> bytes:
        """A whole conversation: it goes over a connection of its own."""
        name, args = parse_call(param.set)
        request = {"action": "call", "name": name, "args": (*args, value), "kwargs": {}}
        newer = self._encode is pyon.encode
        chosen = f"{self.target} {V2}\n" if newer else f"{self.target}\n"
        return HELLO + chosen.encode() + self._encode(request).encode() + b"\n"
