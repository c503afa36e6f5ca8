"""The password of the broker's user: one line of a file that only its owner can read."""

from __future__ import annotations

import os
from pathlib import Path

from photonlink.hal.errors import StationError
from photonlink.hal.regular_file import FileError, read_text, require_regular

MAX_BYTES = 4096


class PasswordFileError(StationError):
    """The file of the broker's password is absent, open to others, or holds no password."""


def read_password(path: Path) -> str:
    """The first line. PasswordFileError; no message holds a byte of the file."""
    try:
        mode = require_regular(path).st_mode
        if os.name == "posix" and mode & 0o077:
            raise PasswordFileError(
                "others can read the broker's password", where=str(path), hint=f"chmod 600 {path}"
            )
        text = read_text(path, at_most=MAX_BYTES)
    except FileError as error:
        raise PasswordFileError(
            f"the broker's password cannot be read: {error.what}",
            where=error.where,
            hint="The file holds one line of UTF-8 text; in a station file its name is relative to "
            "that file",
        ) from None
    if not text.strip():
        raise PasswordFileError("there is no password in this file", where=str(path))
    return text.splitlines()[0].strip()
