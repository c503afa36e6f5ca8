"""A Model Context Protocol server on standard input and output, with the official package.

Its specification: https://modelcontextprotocol.io. The package is optional (extra ``mcp``).
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.agents.audit import AuditLog
from photonlink.pipeline.agents.desk import Desk
from photonlink.pipeline.bench.target import with_sim

_INSTRUCTIONS = """\
A quantum key distribution bench. Reading switches nothing. Ask `plan` before `set`; what a person
has not allowed is refused. Light, bias and outputs are never switched on here."""


def tools(desk: Desk, *, setting: bool) -> list[Callable[..., Awaitable[Any]]]:
    """The offered tools; without anything allowed, no tool that sets is listed."""
    reading: list[Callable[..., Awaitable[Any]]] = [
        desk.instruments,
        desk.parameters,
        desk.identify,
        desk.read,
        desk.readiness,
    ]
    return [*reading, desk.plan, desk.set] if setting else [*reading, desk.plan]


def server_of(desk: Desk, *, setting: bool) -> Any:
    """The package's server with these tools. PhotonlinkError when the package is missing."""
    try:
        package: Any = importlib.import_module("mcp.server.mcpserver")
        failed: Any = importlib.import_module("mcp.server.mcpserver.exceptions").ToolError
    except ImportError as error:
        raise PhotonlinkError(
            "the package mcp is not installed", seen=str(error),
            hint="pip install 'photonlink[mcp]'",
        ) from None  # fmt: skip
    server = package.MCPServer(
        "photonlink", instructions=_INSTRUCTIONS, version=metadata.version("photonlink"),
        log_level="WARNING",
    )  # fmt: skip
    for tool in tools(desk, setting=setting):
        server.add_tool(_telling(tool, failed), name=tool.__name__)
    return server


def _telling(tool: Callable[..., Awaitable[Any]], failed: type[Exception]) -> Any:
    """A tool whose named errors are passed to the agent in full; other errors are not."""
    import functools

    @functools.wraps(tool)
    async def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return await tool(*args, **kwargs)
        except PhotonlinkError as error:
            raise failed(str(error)) from None

    return told


async def serve(
    station: Path, allow: Sequence[str], audit: Path, *, real: bool = False, sim: bool = False
) -> None:
    """Until standard input ends. sim: the emulators of the station's [sim] run meanwhile."""
    with closing(AuditLog(audit)) as log, with_sim(str(station), start=sim):
        desk = Desk(station, allow, log, real=real)
        await server_of(desk, setting=bool(allow)).run_stdio_async()
        log.write("end")
