"""Row M13: a store recovers from EIO and ENOSPC without a restart. This tries every seventh call;
``python tests/reliability/store_faults.py`` tries all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("store_faults.py")


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD")
@pytest.mark.parametrize("length", ["1", "5"])
def test_m13_the_store_heals_when_the_disk_does(length: str) -> None:
    command = [sys.executable, str(PROGRAM), "--every", "7", "--length", length]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 went wrong" in done.stdout
