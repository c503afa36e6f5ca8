"""Output of commands: as wide as the terminal, uncut in a pipe, without failures of the
encoding.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS = 1000  # a table in a file or a pipe is as wide as its text


def console(*, stderr: bool = False) -> Console:
    """A console for tables and text. In a pipe nothing is cut, wrapped or coloured."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty() or "COLUMNS" in os.environ:
        return Console(stderr=stderr)
    return Console(stderr=stderr, width=PIPE_COLUMNS, soft_wrap=True)


def print_any_encoding() -> None:
    """A letter that the terminal's encoding lacks becomes ``?``; it never ends a command.

    A standard stream that the parent has closed is replaced by the null device: otherwise the next
    file that is opened would take its number, and Python has no object to print to.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="replace")


def readable(value: float) -> str:
    """Four significant digits, never a power of ten between 0.001 and 10^15."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:.4g}"


def finite(value: float | None) -> float | None:
    """Callback of options in seconds and the like: no ``inf``, no ``nan``."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value
