"""Audit log of an agent's requests, as JSON lines; a request is written before it has any
effect.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from photonlink.hal.errors import PhotonlinkError


class AuditError(PhotonlinkError):
    """The audit log cannot be written, so the request is not carried out."""


class AuditLog:
    """Append-only, mode 0600; a line is on the disk when ``write`` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise AuditError(
                f"the audit log cannot be opened: {error.strerror}", where=str(path),
                hint="Name another with --audit",
            ) from error  # fmt: skip

    def write(self, what: str, **fields: Any) -> None:
        """Write one line; AuditError when it cannot be synced to the disk."""
        line = {"ts": round(time.time(), 3), "pid": os.getpid(), "event": what, **fields}
        data = json.dumps(line, default=str).encode() + b"\n"
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(None, "the disk is full")
            os.fsync(self._file)
        except OSError as error:
            why = error.strerror or str(error)
            raise AuditError(
                f"the audit log cannot be written: {why}", where=str(self._path)
            ) from error

    def close(self) -> None:
        os.close(self._file)
