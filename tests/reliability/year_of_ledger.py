"""Time to open the store of a busy link after a year.

    python tests/reliability/year_of_ledger.py [--days 365] [--period 30] [--held-days 1]

A block every PERIOD seconds, each written as a node writes it (open, reserve, prepared, released,
delivered after HELD_DAYS); the year is written through the ledger itself, without waiting for the
disk. Prints the size of the file and the time of three openings.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))


def write_year(folder: Path, blocks: int, held: int) -> None:
    from stores import open_ledger

    ledger = open_ledger(folder)
    ledger.bind("ab" * 16, (0, 1 << 15))
    waiting: deque[int] = deque()
    for number in range(1, blocks + 1):
        block = {"t": "block", "block": number}
        ledger.append(block | {"status": "open", "sifted_bits": 200_000, "session": "ab" * 32})
        ledger.append({"t": "reserve", "block": number,
                       "pads": {"alice": 16 * number, "bob": 16 * number}})  # fmt: skip
        ledger.append(
            block
            | {"status": "prepared", "secret_bits": 50_000, "leak_bits": 20_000, "epsilon": 1e-10}
            | {"provenance": "real", "key_seal": "ab" * 16, "pad_seal": "ab" * 16}
            | {"refill_block_bytes": 16}
        )
        ledger.append(block | {"status": "released"})
        waiting.append(number)
        if len(waiting) > held:
            ledger.append({"t": "delivered", "block": waiting.popleft()})
    ledger.close()


def main() -> None:
    from stores import open_ledger

    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=float, default=365)
    parser.add_argument("--period", type=float, default=30)
    parser.add_argument("--held-days", type=float, default=1)
    options = parser.parse_args()
    blocks = int(options.days * 86400 / options.period)
    held = int(options.held_days * 86400 / options.period)
    os.fsync = lambda descriptor: None  # type: ignore[assignment]  # no crash is tested here
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = time.perf_counter()
        write_year(folder, blocks, held)
        spent = time.perf_counter() - begin
        took = []
        for _ in range(3):
            begin = time.perf_counter()
            ledger = open_ledger(folder)
            took.append(time.perf_counter() - begin)
            ledger.close()
        size = (folder / "ledger.log").stat().st_size
    print(f"{blocks} blocks written in {spent:.0f} s; {held} held; {size / 1e6:.1f} MB")
    print(f"opens in {statistics.median(took):.2f} s ({min(took):.2f} to {max(took):.2f})")


if __name__ == "__main__":
    main()
