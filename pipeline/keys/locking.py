"""One process per store: an advisory lock that ends with its holder and names the holder."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError

_MAX_NOTE = 512


class InUseError(PhotonlinkError):
    """Another process holds the lock."""


def lock_exclusively(path: Path, stack: contextlib.ExitStack) -> None:
    """Lock ``path`` until ``stack`` unwinds, and write down who holds it.

    Raises InUseError, which names the holder; nothing was changed then.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    stack.callback(os.close, descriptor)
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InUseError(
            f"{_holder(path)} uses this directory",
            where=str(path.parent),
            hint="Two nodes must never share a store: stop the other one. Nothing was touched.",
        ) from error
    with contextlib.suppress(OSError):  # the lock is held even when a full disk prevents the name
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _signature(), 0)


def _signature() -> bytes:
    command = " ".join(sys.orig_argv)
    text = "".join(c if c.isprintable() else "?" for c in command)
    return f"process {os.getpid()} ({text})".encode()[:_MAX_NOTE]


def _holder(path: Path) -> str:
    try:
        note = path.read_bytes()[:_MAX_NOTE].decode("utf-8", "replace")
    except OSError:  # on Windows nobody else can read a locked file
        note = ""
    note = "".join(c if c.isprintable() else "?" for c in note)
    return note if note.startswith("process ") else "another process"


def lock_node(state_dir: Path, stack: contextlib.ExitStack) -> None:
    """Lock a node's store without opening it: for commands that use the bench and no key.

    Raises InUseError: a second process that opens the bench would switch off the first one's light.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InUseError(
            "state_dir is a file, not a folder", where=str(error.filename or state_dir),
            hint="Name a folder of the node's own in [node] state_dir",
        ) from error  # fmt: skip
    lock_exclusively(state_dir / "lock", stack)
