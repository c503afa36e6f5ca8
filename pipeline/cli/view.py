"""How a command shows a running link: full screen on a terminal, stamped lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

Plain = Annotated[bool, typer.Option("--plain", help="Lines with time stamps, also on a terminal.")]
T = TypeVar("T")


def with_view(
    title: str,
    work: Callable[[Callable[[Mapping[str, Any]], None]], Coroutine[Any, Any, T]],
    *,
    plain: bool,
    on_stderr: bool = False,
) -> T:
    """Run ``work(show)`` to its end; ``show`` takes the events of nodes.

    on_stderr: standard output belongs to the command's JSON.
    """
    import asyncio

    from photonlink.pipeline.top.lines import Lines, on_terminal
    from photonlink.pipeline.top.model import Model

    model = Model(title)
    if not plain and on_terminal(on_stderr=on_stderr):
        from photonlink.pipeline.top.run import on_screen

        return asyncio.run(on_screen(model, work(model.event), on_stderr=on_stderr))
    lines = Lines(model, sys.stderr if on_stderr else sys.stdout)
    return asyncio.run(work(lines.event))
