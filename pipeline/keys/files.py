"""How the store writes files: whole or not at all, synced, private, and wiped when removed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_CHUNK = 1 << 20


def sync_folder(folder: Path) -> None:
    """Sync the directory entries of ``folder``."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def replace(
    path: Path, data: bytes, *, then: Callable[[int], None] | None = None, wipe_old: bool = False
) -> None:
    """Replace ``path`` by ``data`` (mode 0600); after a failure it holds its old content.

    then: writes further bytes to the descriptor. wipe_old: overwrite the old bytes. Raises OSError.
    """
    new = path.with_name(path.name + ".new")
    old = None
    if wipe_old and path.exists():
        old = os.open(path, os.O_RDWR | _FLAGS)
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
        try:
            write_all(descriptor, data, 0)
            if then is not None:
                os.lseek(descriptor, len(data), os.SEEK_SET)
                then(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, path)
        sync_folder(path.parent)
        if old is not None:
            _overwrite(old)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    finally:
        if old is not None:
            os.close(old)


def wipe(path: Path) -> None:
    """Overwrite, sync and delete a file, if it exists. Raises OSError.

    On flash and journalling file systems old copies may survive.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | _FLAGS)
    except FileNotFoundError:
        return
    try:
        _overwrite(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    sync_folder(path.parent)


def _overwrite(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    for at in range(0, size, _CHUNK):
        write_all(descriptor, bytes(min(_CHUNK, size - at)), at)
    os.fsync(descriptor)
