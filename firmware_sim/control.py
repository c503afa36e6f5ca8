"""The control socket: one JSON object per line over a Unix socket, beside the instruments' wires.

Requests ``{"get": path | [paths]}``, ``{"set": {path: value}}``, ``{"device": name, …command}``,
``{"status": true}``, ``{"truth": true}``, ``{"addresses": true}``, ``{"stop": true}``; a request's
``id`` is repeated in the reply. Replies ``{"ok": true, …}`` or ``{"ok": false, "error": "…"}``.
Only ``stop`` ends the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MAX_LINE = 1 << 16
MAX_CLIENTS = 16
CLIENT_TIMEOUT_S = 5.0

Handler = Callable[[Mapping[str, Any]], dict[str, Any]]


def answer(line: bytes, handler: Handler) -> dict[str, Any]:
    """One request line → its reply object; never raises for any request."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"ok": False, "error": f"not a JSON object: {error}"}
    if not isinstance(request, dict):
        return {"ok": False, "error": "not a JSON object"}
    tag = {"id": request.pop("id")} if "id" in request else {}
    try:
        reply = {"ok": True, **handler(request)}
    except Exception as error:  # noqa: BLE001 - whatever a request meets, the bench runs on
        reply = {"ok": False, "error": str(error) or type(error).__name__}
    return {**reply, **tag}


class TableControlServer:
    """Listens on a Unix socket that only this user may open."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self.path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def refuse_if_taken(self) -> None:
        """OSError when another bench answers at this path: its links must not be stolen."""
        with contextlib.suppress(FileNotFoundError, ConnectionError):
            _, writer = await asyncio.open_unix_connection(str(self.path))
            writer.close()
            raise FileExistsError(f"another bench is running in {self.path.parent}")

    async def start(self) -> None:
        """Bind. OSError for a path that is too long or taken."""
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(
            self._serve, path=str(self.path), limit=MAX_LINE
        )
        self.path.chmod(0o600)

    async def stop(self) -> None:
        """Close all connections and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 1.0)
        self._server = None
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= MAX_CLIENTS:
            writer.close()
            return
        self._writers.add(writer)
        try:
            while line := await self._line(reader, writer):
                if not line.strip():
                    continue
                reply = json.dumps(answer(line, self._handler), default=str)
                writer.write(reply.encode() + b"\n")
                async with asyncio.timeout(CLIENT_TIMEOUT_S):
                    await writer.drain()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    @staticmethod
    async def _line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        try:
            return await reader.readline()
        except ValueError:
            writer.write(b'{"ok": false, "error": "line longer than 65536 bytes"}\n')
            return b""


def ask(path: str | Path, request: Mapping[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """One request, one reply, blocking. OSError when nobody answers; ValueError for a reply that
    is no JSON object."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(timeout_s)
        s.connect(str(path))
        s.sendall(json.dumps(dict(request)).encode() + b"\n")
        buffer = bytearray()
        while not buffer.endswith(b"\n"):
            part = s.recv(1 << 16)
            if not part:
                raise ConnectionError(f"{path}: closed before a reply")
            buffer += part
    reply = json.loads(buffer)
    if not isinstance(reply, dict):
        raise ValueError(f"{path}: reply is not a JSON object")
    return reply


def parse_words(words: list[str]) -> dict[str, Any]:
    """Command line → request: ``set a.b=6 …``, ``get a.b …``, ``device NAME key=value …``,
    ``status``, ``truth``, ``addresses``, ``stop``. ValueError for anything else."""
    if not words:
        raise ValueError("say one of: get, set, device, status, truth, addresses, stop")
    verb, rest = words[0], words[1:]
    if verb in ("status", "truth", "addresses", "stop") and not rest:
        return {verb: True}
    if verb == "get" and rest:
        return {"get": rest[0] if len(rest) == 1 else rest}
    if verb == "set" and rest:
        return {"set": parse_assignments(rest)}
    if verb == "device" and len(rest) >= 2:
        return {"device": rest[0], **parse_assignments(rest[1:])}
    raise ValueError(f"cannot read {' '.join(words)!r}")


def parse_assignments(words: list[str]) -> dict[str, Any]:
    """``KEY=VALUE …`` → values, read as JSON where they are. ValueError without a ``=``."""
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"expected KEY=VALUE, got {word!r}")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values
