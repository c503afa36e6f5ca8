"""The table of faults in ``docs/instruments/emulators.md`` has every fault of every emulator."""

from __future__ import annotations

import re
from pathlib import Path

from photonlink.firmware_sim.kit.registration import models

PAGE = Path(__file__).resolve().parents[2] / "docs" / "instruments" / "emulators.md"


def test_every_fault_has_a_row_and_no_row_is_of_another_time() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## Faults")[2].partition("## Wires")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    written = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row.split("(")[0])}
    written |= {name for row in rows for name in re.findall(r"`([a-z-]+)`(?=,|$| )", row)}
    faults = {name for entry in models().values() for name in entry.device.fault_names()}
    assert faults <= written, faults - written
    keys = {"delay_s", "per_s", "before", "events", "bytes", "code", "nm", "word", "counts", "at"}
    assert written - faults <= keys | {"channel", "packets"}, written - faults
