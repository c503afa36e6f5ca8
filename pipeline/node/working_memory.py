"""Memory that a node gives back and needs again at once stays with it.

Buffers of a piece of tags or of an announcement have some 100 KB to some MB. glibc takes each from
the system and returns it, and the pages cost more to touch for the first time than what is done
with them.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of mallopt(3)
KEPT_BYTES, LARGEST_BYTES = 128 << 20, 32 << 20


def keep_memory() -> bool:
    """For the whole process: up to KEPT_BYTES that nobody uses stay, in blocks of up to
    LARGEST_BYTES. False where the C library has no such setting."""
    if sys.platform != "linux":
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    return bool(set_option(_MAP, LARGEST_BYTES) and set_option(_TRIM, KEPT_BYTES))
