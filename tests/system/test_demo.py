"""The demo with the README's command, and its end by a signal."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
from running import PHOTONLINK, Running, running

FIELDS = {
    "secret_bits", "keys_match", "qber", "sifted_bits", "leak_bits", "f_ec", "epsilon", "skr_bps",
    "emulated", "blocks", "aborts",
}  # fmt: skip


def test_demo_makes_matching_key(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with running(
        *PHOTONLINK, "demo", "--duration", "14", "--seed", "5", "--block-bits", "40000",
        "--folder", str(folder), "--web", "--json",
    ) as demo:  # fmt: skip
        assert demo.finish() == 0, demo.tail()
        result = json.loads(demo.output.strip().splitlines()[-1])
    assert set(result) >= FIELDS
    assert result["keys_match"] is True
    assert result["secret_bits"] > 0
    assert result["emulated"] is True
    assert result["lasers_off"] is True
    assert result["blocks"] >= 1
    assert result["aborts"] == []
    assert result["qber"] == pytest.approx(0.02, abs=0.01)
    assert 1.0 < result["f_ec"] <= 1.15
    assert result["epsilon"] >= 1e-10
    # the live view shows the opened instruments, marked as emulated
    shown = demo.errors.decode()
    for word in ("EMULATED", "page: http:", "DLCpro", "MultiHarp", "assumes HOLD_OFF", "QBER"):
        assert word in shown, word
    # both nodes stored the same number of key bits, in files that only their owner can read
    sizes = []
    for side in ("alice", "bob"):
        keys = sorted((folder / f"{side}-state" / "keys").glob("*.key"))
        assert keys
        assert all(k.stat().st_mode & 0o077 == 0 for k in keys)
        sizes.append([k.stat().st_size for k in keys])
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("moment", ["starting", "acquiring"])
def test_interrupting_the_demo_turns_the_light_off(moment: str, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with running(
        *PHOTONLINK, "demo", "--duration", "600", "--seed", "6", "--folder", str(folder), "--json"
    ) as demo:
        _wait_until(demo, folder, moment)
        demo.interrupt()
        assert demo.finish() == 130, demo.tail()
        result = json.loads(demo.output.strip().splitlines()[-1])
    assert set(result) >= FIELDS
    assert result["lasers_off"] is True
    assert b"light of pump reads" in demo.errors


def _wait_until(demo: Running, folder: Path, moment: str) -> None:
    sign = folder / "run" / "addresses.json" if moment == "starting" else folder / "alice-state"
    deadline = time.monotonic() + 60
    while not sign.exists() and time.monotonic() < deadline:
        assert demo.process.poll() is None, demo.tail()
        time.sleep(0.05)
    if moment == "acquiring":
        with contextlib.suppress(OSError):
            time.sleep(3.0)
