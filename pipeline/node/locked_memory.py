"""Whether this process may lock as much memory as a node's secrets need.

A node refuses to run where it may not: secrets must not reach the swap. The demo and the tests,
whose key protects nothing, print a notice and go on unlocked (docs/core_constant_time.md tells how
to raise the limit).
"""

from __future__ import annotations

import os
from pathlib import Path

from photonlink.pipeline.native.sealing import protect_process

DEBUGGER = ("PHOTONLINK_DEBUGGER", "allowed")
NEEDED_BYTES = 7 << 20
OPT_OUT = ("PHOTONLINK_SECRET_MEMORY", "unlocked")
_CAP_IPC_LOCK = 14


def can_lock(n_bytes: int = NEEDED_BYTES) -> bool:
    """True with the capability to lock any amount, or a hard limit that is large enough."""
    try:
        import resource
    except ImportError:  # this system has no such limits
        return True
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    return hard in (resource.RLIM_INFINITY, -1) or hard >= n_bytes or _has_capability()


def _has_capability() -> bool:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_IPC_LOCK & 1)
    return False


def go_unlocked_if_needed() -> bool:
    """For emulated key only: go on without locked memory, for this process and its children, where
    locking is not possible. Call before the first secret is made. True when it was needed.
    """
    if can_lock():
        return False
    os.environ.setdefault(*OPT_OUT)
    return True


def keep_out_of_core_files() -> None:
    """No core file of this process, and no debugger of the same user, from now on.

    A developer who needs them sets PHOTONLINK_DEBUGGER=allowed (docs/core_constant_time.md).
    """
    name, allowed = DEBUGGER
    if os.environ.get(name) != allowed:
        protect_process()
