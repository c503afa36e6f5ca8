"""A node refuses to run where secrets cannot be locked; the demo prints a notice and continues."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from photonlink.pipeline.node import locked_memory

CHILD = """
import resource, sys
from photonlink.pipeline.node import locked_memory
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
locked_memory._has_capability = lambda: False
print(locked_memory.go_unlocked_if_needed())
from photonlink.pipeline.native.secret import SecretBits, secret_memory_locked
SecretBits(8 << 20).close()
print(secret_memory_locked())
"""


def test_too_small_a_limit_is_seen_and_opted_out_of() -> None:
    environment = {k: v for k, v in os.environ.items() if k != locked_memory.OPT_OUT[0]}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["True", "False"]


def test_a_large_limit_or_the_capability_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, 1 << 30))
    assert locked_memory.can_lock()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, 65536))
    monkeypatch.setattr(locked_memory, "_has_capability", lambda: False)
    assert not locked_memory.can_lock()
    monkeypatch.setattr(locked_memory, "_has_capability", lambda: True)
    assert locked_memory.can_lock()
