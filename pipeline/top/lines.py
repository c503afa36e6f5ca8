"""The model as lines with time stamps, for pipes, files and simple terminals."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from collections.abc import Mapping
from typing import IO, Any

from photonlink.pipeline.top.marks import percent, quantity
from photonlink.pipeline.top.model import Model
from photonlink.pipeline.watch.board import tile

FIGURES_EVERY_S = 10.0


def on_terminal(*, on_stderr: bool = False) -> bool:
    """Whether a full screen can be drawn (textual does so on stderr) and keys can be read.

    on_stderr: standard output may be a pipe, it carries JSON.
    """
    ends = (sys.stdin, sys.stderr) if on_stderr else (sys.stdin, sys.stdout, sys.stderr)
    whole = all(end is not None and end.isatty() for end in ends)
    return whole and os.environ.get("TERM", "dumb") != "dumb"


class Lines:
    """The model as lines with time stamps: events, and the figures every ten seconds."""

    def __init__(self, model: Model, out: IO[str]) -> None:
        self._model, self._out = model, out
        self._told = 0
        self._trouble = ""
        self._figures_s = model.clock()

    def event(self, event: Mapping[str, Any]) -> None:
        self._model.event(event)
        self.tell()

    def tell(self) -> None:
        """Print new lines. A closed output is ignored."""
        model, now = self._model, self._model.clock()
        trouble = model.trouble()
        if trouble != self._trouble:
            self._trouble = trouble
            self._print(now, f"broker: {trouble}" if trouble else "broker: connected")
        new = min(model.logged - self._told, len(model.log))
        self._told = model.logged
        for line in list(model.log)[len(model.log) - new :]:
            self._print(line.t, line.text)
        if now - self._figures_s >= FIGURES_EVERY_S:
            self._figures_s = now
            for key, nodes in sorted(model.board.links().items()):
                found = tile(key, nodes, now)
                rate = quantity(found["skr_bps"], "bit/s")
                badge = ", EMULATED" if found["emulated"] else ""
                self._print(
                    now, f"{key}: {found['words']}, {rate}, QBER {percent(found['qber'])}{badge}"
                )

    def _print(self, t: float, said: str) -> None:
        stamp = dt.datetime.fromtimestamp(t).astimezone().isoformat(timespec="milliseconds")
        with contextlib.suppress(OSError, ValueError):
            print(f"{stamp} {said}", file=self._out, flush=True)
