"""The end of a command that failed: one message, one status."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from photonlink.hal.errors import PhotonlinkError, first_error
from photonlink.hal.regular_file import reason
from photonlink.pipeline.cli.exit_status import ExitStatus

TRACEBACK = "PHOTONLINK_TRACEBACK"  # environment variable: show where an error came from


def end_with(error: BaseException) -> NoReturn:
    """Print the error on stderr and exit with a status of :class:`ExitStatus`.

    Of tasks that failed together the first is reported. With PHOTONLINK_TRACEBACK=1 in the
    environment the error is raised as it is.
    """
    error = first_error(error)
    if isinstance(error, SystemExit) or os.environ.get(TRACEBACK):
        raise error
    if isinstance(error, KeyboardInterrupt):
        sys.exit(ExitStatus.INTERRUPTED)
    # the reader is gone; Python would print an error at its end
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitStatus.FAILURE)
    say(_sentence(error))
    if getattr(error, "causes", ()):  # addresses that were tried: a hint for each
        from photonlink.pipeline.bench.hints import hints_of

        assert isinstance(error, PhotonlinkError)  # noqa: S101 - it has causes
        for hint in hints_of(error):
            say(hint, "  hint: ")
    sys.exit(ExitStatus.FAILURE)


def _sentence(error: BaseException) -> str:
    if isinstance(error, PhotonlinkError):
        return str(error)
    if isinstance(error, OSError):  # a missing folder, an existing file, a full disk
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{reason(error)}"
    if isinstance(error, MemoryError):
        return "not enough memory for this"
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    place = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at is not None else "?"
    return (
        f"{place}: this is a fault of photonlink: {type(error).__name__}: {error}. "
        f"Please report it with the output of the same command under {TRACEBACK}=1"
    )


def say(text: str, before: str = "photonlink: ") -> None:
    """A line on stderr."""
    print(before + printable(text), file=sys.stderr)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """An error of the system names the file that is being written."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def printable(text: str) -> str:
    """Control characters, as of a file's name, spelled out: a terminal must not obey them."""
    return "".join(
        c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )
