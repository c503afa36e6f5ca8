"""Faults of the wire between two real nodes: the link recovers, and keys stay equal.

    python tests/reliability/wire_faults.py [--faults 60] [--seed 1]

A frame is changed by a bit, cut short, left out, repeated, or the line breaks before it, after it
or inside it; then the wire works again. Prints the times to the next block at both ends. Exits with
1 when keys differ, a pad is used for two tags, or no key is made again.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_link import SIDES, Link, Outcome, small_link

KINDS = ("bit", "short", "left out", "twice", "before", "after", "inside")


class Fault:
    """Damages one frame, a few frames from now, and then nothing more."""

    def __init__(self, rng: random.Random) -> None:
        self.kind, self._rng, self._left = rng.choice(KINDS), rng, rng.randrange(40)
        self.done = threading.Event()
        self._break_next = False

    def __call__(self, frame: bytes) -> bytes | None:
        if self._break_next:
            self._break_next = False
            self.done.set()
            return None
        if self.done.is_set() or self._left > 0:
            self._left -= 1
            return frame
        if self.kind in ("short", "inside", "after"):
            self._break_next, self._left = True, 1 << 30
            at = len(frame) if self.kind == "after" else self._rng.randrange(1, len(frame))
            return frame[:at]
        self.done.set()
        if self.kind == "bit":
            at = self._rng.randrange(8 * len(frame))
            changed = bytearray(frame)
            changed[at // 8] ^= 1 << at % 8
            return bytes(changed)
        return {"left out": b"", "twice": frame + frame, "before": None}[self.kind]


def one(link: Link) -> tuple[str, float]:
    """Cause a fault; the seconds from it to the next block at both ends."""
    fault = Fault(link.rng)
    link.wire.harm = fault
    if not fault.done.wait(30.0):
        link.outcome.wrong.append(f"{fault.kind}: no frame came to do harm to")
    since = time.time()
    took = link.wait_for_key(since)
    link.wire.harm = None
    return fault.kind, took


def run(faults: int, seed: int, tell: Callable[[str], None] | None = None) -> Outcome:
    with (
        tempfile.TemporaryDirectory(prefix="photonlink-wire-") as name,
        small_link(Path(name), seed, 16_000) as link,
    ):
        link.wait_for_key(link.start(*SIDES))
        for number in range(faults):
            kind, took = one(link)
            link.outcome.recovery_s.append(took)
            if tell:
                tell(f"{number + 1}: {kind}, key again after {took:.2f} s")
        link.end()
    return link.outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    outcome = run(options.faults, options.seed, lambda text: print(text, flush=True))
    print(
        f"{options.faults} faults: {outcome.compared} keys compared, {outcome.pads} pads seen, key "
        f"again after at most {max(outcome.recovery_s):.1f} s; load {os.getloadavg()[0]:.1f}"
    )
    for text in outcome.wrong:
        print(f"wrong: {text}")
    return int(bool(outcome.wrong))


if __name__ == "__main__":
    sys.exit(main())
