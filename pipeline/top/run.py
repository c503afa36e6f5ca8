"""Runs work beside the full screen on one event loop; the end of the work ends both."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from rich.console import Console

from photonlink.pipeline.top.app import TopApp
from photonlink.pipeline.top.model import Model
from photonlink.pipeline.top.screen import frame

FIRST_LOOK_S = 0.05
CLOSE_S = 5.0
T = TypeVar("T")


async def on_screen(model: Model, work: Coroutine[Any, Any, T], *, on_stderr: bool = False) -> T:
    """Show the model full screen while ``work`` runs. q asks it to end as Ctrl-C would.

    The screen opens with the first event to show: until then a passphrase may be prompted for. A
    screen that fails or is closed does not end the work. The last view stays in the terminal.
    """
    task = asyncio.ensure_future(work)
    app = TopApp(model, lambda: os.kill(os.getpid(), signal.SIGINT))
    showing: asyncio.Task[None] | None = None
    try:
        while not task.done() and not model.changes:
            await asyncio.wait({task}, timeout=FIRST_LOOK_S)
        if not task.done():
            with _logged_to(model):
                showing = asyncio.create_task(app.run_async())
                await asyncio.wait({task, showing}, return_when=asyncio.FIRST_COMPLETED)
                if not showing.done():
                    app.exit()
                    await asyncio.wait({showing}, timeout=CLOSE_S)
        return await task
    finally:
        pending = [t for t in (task, showing) if t is not None]
        for one in pending:
            one.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        console = Console(stderr=on_stderr)
        console.print(frame(model, console.width))


async def while_open(model: Model, listening: Coroutine[Any, Any, None]) -> None:
    """Show the model full screen until q; ``listening`` is then ended too."""
    task = asyncio.ensure_future(listening)
    try:
        with _logged_to(model):
            await TopApp(model).run_async()
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _ToModel(logging.Handler):
    def __init__(self, model: Model) -> None:
        super().__init__(logging.WARNING)
        self._model = model

    def emit(self, record: logging.LogRecord) -> None:
        self._model.say("bad", f"{record.levelname.lower()}: {record.getMessage()}")


@contextlib.contextmanager
def _logged_to(model: Model) -> Iterator[None]:
    """Log records would be written across the screen: they go to its log instead."""
    root = logging.getLogger()
    before, root.handlers = root.handlers, [_ToModel(model)]
    try:
        yield
    finally:
        root.handlers = before
