"""Instruments of a bench as targets of a sipyco server: what an allow-list names, and no more.

Protocol: ``sipyco/pc_rpc.py`` (m-labs/sipyco). A wrong first line, an unknown target and a line
that cannot be read end the connection, as there. A target's methods are fixed here; no attribute of
an object is looked up by a name that came over the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from photonlink.hal.codecs import pyon
from photonlink.hal.codecs.pc_rpc import HELLO, V2
from photonlink.hal.errors import LimitError, LinkDesync, PhotonlinkError, StationError
from photonlink.hal.facets import Emits, Instrument
from photonlink.hal.foreign import ours
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.registry import load_driver
from photonlink.hal.safety import guard
from photonlink.hal.station import BenchStation, InstrumentEntry
from photonlink.pipeline.bench.target import parse_target, with_sim

METHODS = ("get", "ping", "safe_state", "set", "snapshot")
LINE_BYTES = 4 << 20
CLIENTS = 16
IDLE_S = 3600.0


def allowed(station: BenchStation, words: Sequence[str]) -> dict[str, frozenset[str]]:
    """Instrument → parameters that may be set. StationError for what is not there or may never be
    offered: what the safe state switches off."""
    found: dict[str, set[str]] = {}
    for word in words:
        name, _, parameter = word.partition(".")
        if name not in station.instruments:
            raise _unknown(f"no instrument is called {name!r}", name, list(station.instruments))
        found.setdefault(name, set())
        if parameter:
            _may_be_offered(name, station.instruments[name], parameter)
            found[name].add(parameter)
    return {name: frozenset(names) for name, names in found.items()}


def _may_be_offered(name: str, entry: InstrumentEntry, parameter: str) -> None:
    kind: Any = load_driver(entry.driver)
    settings = kind.Settings.model_validate(entry.settings)
    instrument: Any = kind(name, entry.address or entry.emulator or "", settings)  # closed
    table = getattr(getattr(instrument, "params", None), "table", {})
    settable = [p.name for p in table.values() if p.set]
    if parameter not in settable:
        raise _unknown(f"{name} has no parameter {parameter!r} to set", parameter, settable)
    off = {step.param for step in getattr(instrument, "OFF", ())}
    if parameter in off or (isinstance(instrument, Emits) and parameter == "emission"):
        raise StationError(
            f"{name}.{parameter} switches light, bias or an output: it is never offered",
            where="--allow", hint="Switch it from here, under a lease: photonlink light",
        )  # fmt: skip


def _unknown(what: str, name: str, known: Sequence[str]) -> StationError:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known) or 'none'}"
    return StationError(what, where="--allow", hint=hint)


class PcRpcServer:
    """Serves a bench. ``start``, then clients come; ``stop``."""

    def __init__(self, bench: Bench, allow: Mapping[str, frozenset[str]]) -> None:
        self._bench, self._allow = bench, allow
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[Any]] = set()
        self._one_at_a_time = asyncio.Lock()
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen. OSError when the address is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=LINE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
        try:
            if len(self._clients) <= CLIENTS:
                with contextlib.suppress(OSError, ValueError, LinkDesync, TimeoutError):
                    await self._talk(reader, writer)
        except asyncio.CancelledError:
            pass  # the server ends
        finally:
            writer.close()
            if task is not None:
                self._clients.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await _line(reader) != HELLO:
            return
        hello = {"targets": sorted(self._allow), "description": "photonlink", "features": [V2]}
        await _send(writer, pyon.encode(hello))
        name, _, form = (await _line(reader)).decode("utf-8").rstrip("\n").partition(" ")
        if name not in self._allow or form not in ("", V2):
            return
        encode = pyon.encode if form else pyon.encode_1
        await _send(writer, encode(set(METHODS)))
        while line := await _line(reader):
            reply = await self._answer(name, pyon.decode(line))
            try:
                text = encode(reply)
            except LinkDesync as error:
                text = encode(_failed(error))
            await _send(writer, text)

    async def _answer(self, name: str, request: Any) -> dict[str, Any]:
        try:
            if not isinstance(request, dict):
                raise ValueError("this is no request")
            if request.get("action") == "get_rpc_method_list":
                return {"status": "ok", "ret": _described()}
            if request.get("action") != "call":
                raise ValueError("Unknown action")
            args, named = request.get("args", ()), request.get("kwargs", {})
            if not isinstance(args, (list, tuple)) or named:
                raise TypeError("arguments are given in order")
            async with self._one_at_a_time:
                found = await self._call(name, request.get("name"), list(args))
            return {"status": "ok", "ret": found}
        except Exception as error:  # noqa: BLE001 - told to the client, whatever it is
            return _failed(error)

    async def _call(self, name: str, method: Any, args: list[Any]) -> Any:
        if method not in METHODS:
            raise AttributeError(f"no method {method!r}")
        wanted = {"get": 1, "set": 2}.get(method, 0)
        if len(args) != wanted or (args and not isinstance(args[0], str)):
            raise TypeError(f"{method} takes {wanted} argument(s), a parameter's name first")
        instrument: Any = self._bench.instruments[name]
        if method == "ping":
            await instrument.snapshot()
            return True
        if method == "snapshot":
            return dict(await instrument.snapshot())
        if method == "safe_state":
            return [[s.action, s.ok, s.readback] for s in await instrument.safe_state()]
        if method == "get":
            return await instrument.get(args[0])
        if args[0] not in self._allow[name]:
            raise LimitError(f"{name}.{args[0]} may not be set from here", where=name)
        await instrument.set(args[0], args[1])
        return None


def _failed(error: Exception) -> dict[str, Any]:
    """Class and message; no traceback: it would name files of this machine."""
    plain = isinstance(error, (PhotonlinkError, AttributeError, TypeError, ValueError))
    told = error if plain else ours(error, "", "call")
    return {
        "status": "failed",
        "exception": {"class": type(told).__name__, "message": str(told), "traceback": []},
    }


def _described() -> dict[str, Any]:
    none: dict[str, Any] = {
        "defaults": None,
        "varargs": None,
        "varkw": None,
        "kwonlyargs": [],
        "kwonlydefaults": [],
    }
    args = {"get": ["self", "name"], "set": ["self", "name", "value"]}
    about = {name: ({"args": args.get(name, ["self"]), **none}, "") for name in METHODS}
    return {"docstring": Instrument.__doc__, "methods": about}


async def _line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(IDLE_S):
        return await reader.readline()


async def _send(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(text.encode() + b"\n")
    await writer.drain()


async def serve(
    path: Path,
    allow: Sequence[str],
    host: str,
    port: int,
    *,
    sim: bool,
    told: Callable[[str], None],
) -> None:
    """Open the bench and serve it until a signal or ``photonlink safe`` ends it; then the bench is
    made safe and KeyboardInterrupt raised. told: hears the address."""
    words = allowed(parse_target(str(path)).station, allow)
    with with_sim(str(path), start=sim):
        bench = await open_bench(parse_target(str(path)).only())
        server = PcRpcServer(bench, words)
        async with guard(bench) as state:
            try:
                await server.start(host, port)
                told(f"{host}:{server.port} {' '.join(sorted(words))}")
                await asyncio.Event().wait()
            finally:
                await server.stop()
    raise KeyboardInterrupt(state.signal)
