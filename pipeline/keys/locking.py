"""One process per ledger: an advisory lock that dies with its holder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError


class InUseError(PhotonlinkError):
    """Another process holds the lock."""


def lock_exclusively(path: Path, stack: contextlib.ExitStack) -> None:
    """Lock ``path`` until ``stack`` unwinds. Raises InUseError when somebody else has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
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
            "another process uses this directory",
            where=str(path.parent),
            hint="Two nodes must never share a ledger: stop the other one.",
        ) from error


def lock_node(state_dir: Path, stack: contextlib.ExitStack) -> None:
    """One node per state folder, from before its bench is opened until ``stack`` unwinds.

    Raises InUseError: opening the bench a second time would switch off the first one's light.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock_exclusively(state_dir / "node.lock", stack)
