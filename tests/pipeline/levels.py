"""The ``fingerprint`` of a test file at every SIMD level of this machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

from photonlink.pipeline.native.hashing import simd_level

LEVELS = {
    "x86_64": ("portable", "sse", "avx2", "vpclmul", "avx512"),
    "aarch64": ("portable", "neon"),
}.get(platform.machine(), ("portable",))


def fingerprints(script: str) -> set[str]:
    """Run ``script`` once per forced SIMD level; it prints its level and its fingerprint."""
    found = set()
    for level in LEVELS[: LEVELS.index(simd_level()) + 1]:
        done = subprocess.run(
            [sys.executable, script],
            env={**os.environ, "PHOTONLINK_SIMD": level},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.startswith(level)
        found.add(done.stdout.split()[1])
    return found
