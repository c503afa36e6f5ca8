"""Reads text files that a user names: only a regular file of limited size, else one sentence."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

_REASONS = {
    errno.ENOENT: "no such file",
    errno.ELOOP: "its symbolic links go in a circle",
    errno.EEXIST: "there is something of this name already",
    errno.ENOTDIR: "a part of this path is no folder",
}


class FileRefused(ValueError):
    """The message names the file and its fault."""


def read_text(path: Path, *, at_most: int) -> str:
    """UTF-8 text of at most ``at_most`` bytes, without a byte order mark. A pipe is not opened."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a socket or a device"
            raise FileRefused(f"{path}: this is {kind}, not a file")
        if found.st_size > at_most:
            raise FileRefused(f"{path}: larger than {at_most:,} bytes")
        with path.open("rb") as file:
            data = file.read(at_most)
    except OSError as error:
        raise FileRefused(f"{path}: {reason(error)}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileRefused(f"{path}: not UTF-8 at byte {error.start}") from None


def reason(error: OSError) -> str:
    """Why the system refused, without its number."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)
