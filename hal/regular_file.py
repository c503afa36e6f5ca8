"""Reads files that a user names, with a bound; anything but a regular file is refused, with its
kind.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError

_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip
_REASONS = {
    errno.ENOENT: "no such file",
    errno.ELOOP: "its symbolic links go in a circle",
    errno.EEXIST: "there is something of this name already",
    errno.ENOTDIR: "a part of this path is no folder",
    errno.EISDIR: "this is a folder, not a file",
    errno.ENXIO: "nobody has the other end of this pipe open",
}


class FileError(PhotonlinkError, ValueError):
    """A file that is absent, no regular file, too large, or not the text it should be."""


def require_regular(path: Path, *, at_most: int | None = None) -> os.stat_result:
    """What the system says of a regular file. FileError: absent, of another kind, too large.

    at_most: bytes. A pipe or a device is refused before it is opened, which could wait for ever.
    """
    try:
        found = Path(path).stat()
    except OSError as error:
        raise FileError(reason(error), where=str(path)) from None
    for test, words in _KINDS:
        if test(found.st_mode):
            raise FileError(f"this is {words}, not a file", where=str(path))
    if at_most is not None and found.st_size > at_most:
        raise FileError(
            f"the file has {found.st_size:,} bytes", where=str(path),
            hint=f"At most {at_most:,} are read",
        )  # fmt: skip
    return found


def read_bytes(path: Path, *, at_most: int) -> bytes:
    """All bytes of a regular file. FileError says why not."""
    require_regular(path, at_most=at_most)
    try:
        with Path(path).open("rb") as file:
            data = file.read(at_most + 1)
    except OSError as error:
        raise FileError(reason(error), where=str(path)) from error
    if len(data) > at_most:
        raise FileError(f"the file has more than {at_most:,} bytes", where=str(path))
    return data


def read_text(path: Path, *, at_most: int) -> str:
    """All of a regular UTF-8 file, without a byte order mark. FileError names the line."""
    data = read_bytes(path, at_most=at_most)
    where = str(path)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise FileError("this is UTF-16 text", where=where, hint="Save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileError(
            f"byte 0x{data[error.start]:02x} is not UTF-8", where=f"{where}:{line}",
            hint="Save it as UTF-8",
        ) from error  # fmt: skip


def reason(error: OSError) -> str:
    """Why the system refused, in plain words."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)
