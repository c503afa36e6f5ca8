"""The control socket of a process that owns a bench: the commands safe, identify and read, no
other.

A Unix socket in :func:`hal.ownership.run_folder`, which only its user can enter. JSON lines:

    {"safe": true}                               everything off; then the owner ends
    {"identify": true}                           who the open instruments are
    {"read": "pump", "parameters": ["…"]}        parameters of one instrument (none named: all)

Each reply has ``ok``; a refusal has ``error``. Nothing here can switch anything on.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

from photonlink.hal.driver import Driver
from photonlink.hal.errors import LinkError, LinkTimeout, PhotonlinkError
from photonlink.hal.foreign import ours
from photonlink.hal.opening import Bench
from photonlink.hal.ownership import Owner

_LINE_MAX = 1 << 16
_CLIENT_S = 30.0


class ControlServer:
    """Answers for one bench. ``end``: called once everything has been switched off on request."""

    def __init__(self, bench: Bench, end: Callable[[str], None]) -> None:
        self._bench, self._end = bench, end

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request; its exception is sent as a refusal."""
        if request.get("safe"):
            steps = await self._bench.safe_state()
            return {"steps": [dataclasses.asdict(step) for step in steps]}
        if request.get("identify"):
            found = self._bench.resolutions.items()
            return {"instruments": {name: dataclasses.asdict(r.identity) for name, r in found}}
        if "read" in request:
            return {"values": await self._read(str(request["read"]), request.get("parameters"))}
        raise PhotonlinkError("unknown request", hint="Known: safe, identify, read")

    async def _read(self, name: str, parameters: Any) -> dict[str, Any]:
        instrument = self._bench.instruments.get(name)
        if instrument is None:
            raise PhotonlinkError(f"no instrument {name!r} is open here")
        if not parameters or not isinstance(instrument, Driver):
            return dict(await instrument.snapshot())
        return {str(p): await instrument.get(str(p)) for p in parameters}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, one request after the other."""
        ended = False
        try:
            async with asyncio.timeout(_CLIENT_S):
                while line := await reader.readline():
                    reply, ended = await self._reply(line)
                    writer.write(json.dumps(reply).encode() + b"\n")
                    await writer.drain()
                    if ended:
                        break
        except (OSError, TimeoutError, ValueError):
            pass  # the client is gone, silent, or sends no lines
        finally:
            writer.close()
            if ended:
                self._end("SAFE")

    async def _reply(self, line: bytes) -> tuple[dict[str, Any], bool]:
        ended = False
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise PhotonlinkError("a request is a JSON object")
            ended = bool(request.get("safe"))
            return {"ok": True} | await self.answer(request), ended
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
            return {"ok": False, "error": str(ours(error, "control", "request"))}, ended


@contextlib.asynccontextmanager
async def control_socket(bench: Bench, end: Callable[[str], None]) -> AsyncIterator[None]:
    """Listen for as long as the body runs. Without Unix sockets: not at all."""
    if not hasattr(asyncio, "start_unix_server"):
        yield
        return
    path = bench.claims.control
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # left by an earlier process with our process id
    server = ControlServer(bench, end)
    running: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(server.serve(reader, writer), name="control")
        running.add(task)
        task.add_done_callback(running.discard)

    listening = await asyncio.start_unix_server(accept, path, limit=_LINE_MAX)
    os.chmod(path, 0o600)
    try:
        yield
    finally:
        listening.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


async def ask_owner(owner: Owner, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """One request to the process that owns an instrument. LinkError: it does not answer, refuses.

    LinkTimeout when the process runs but does not answer.
    """
    writer = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(owner.control, limit=1 << 22)
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
        reply: dict[str, Any] = json.loads(line)
    except TimeoutError:
        raise LinkTimeout(f"{owner} gives no answer", where=owner.control) from None
    except (OSError, ValueError) as error:
        raise LinkError(f"{owner} does not answer: {error}", where=owner.control) from error
    finally:
        if writer is not None:
            writer.close()
    if not reply.get("ok"):
        raise LinkError(f"{owner} refuses: {reply.get('error', '')}", where=owner.instrument)
    return reply
