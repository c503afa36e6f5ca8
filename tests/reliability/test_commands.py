"""Short runs of the commands of this folder on real nodes; options make them longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PATIENCE = ("--p95", "600")  # recovery time depends on the machine


@pytest.mark.parametrize(
    "words",
    [
        ("kills.py", "--kills", "2", *PATIENCE),
        ("wire_faults.py", "--faults", "3"),
        ("altered_segments.py", "--count", "3000", "--conversations", "2"),
        ("node_store_faults.py", "--every", "60"),
        ("memory_scan.py", "--blocks", "2"),
    ],
    ids=lambda words: words[0],
)
def test_a_short_run(words: tuple[str, ...]) -> None:
    command = [sys.executable, str(HERE / words[0]), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
