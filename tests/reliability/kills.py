"""kill -9 of real nodes at random moments: keys stay equal and unique, key making resumes.

    python tests/reliability/kills.py [--kills 200] [--seed 1] [--block-bits 16000] [--json]

Two nodes on an emulated bench make small blocks. Alice, Bob or both are repeatedly killed at a
random moment and started again; sometimes a block is taken from the dead node's store first, and
sometimes that command is killed too. An observer of the wire checks that no pad is used for two
tags. At the end both stores are opened: every block that both hold must be the same key, and no
block may have been delivered twice at one end. Prints the times from the start of the killed node
to the next block at both ends. Exits with 1 on any violation, or when the 95th percentile is over
--p95.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_link import SIDES, Outcome, small_link


def run(
    kills: int, seed: int, block_bits: int, tell: Callable[[int, Outcome], None] | None = None
) -> Outcome:
    with (
        tempfile.TemporaryDirectory(prefix="photonlink-kills-") as name,
        small_link(Path(name), seed, block_bits) as link,
    ):
        link.wait_for_key(link.start(*SIDES))
        for number in range(kills):
            link.kill_once()
            if tell:
                tell(number + 1, link.outcome)
        link.end()
    return link.outcome


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--block-bits", type=int, default=16_000)
    parser.add_argument("--p95", type=float, default=8.0)
    options = parser.parse_args()

    def tell(number: int, outcome: Outcome) -> None:
        print(f"{number}: {outcome.victims[-1]} back after {outcome.recovery_s[-1]:.2f} s, load "
              f"{os.getloadavg()[0]:.1f}", outcome.slow.pop(number - 1, ""), *outcome.wrong,
              flush=True)  # fmt: skip

    outcome = run(options.kills, options.seed, options.block_bits, tell)
    p95 = percentile(outcome.recovery_s, 0.95)
    twice = sum("given twice" in w for w in outcome.wrong)
    differing = sum("two keys" in w for w in outcome.wrong)
    print(
        f"{len(outcome.recovery_s)} kills: {outcome.compared} keys compared, {differing} differ, "
        f"{twice} given twice, {outcome.pads} pads seen; next block at both ends after "
        f"{statistics.median(outcome.recovery_s):.1f} s (median), {p95:.1f} s (95 %), "
        f"{max(outcome.recovery_s):.1f} s (longest)"
    )
    for text in outcome.wrong:
        print(f"wrong: {text}")
    return int(bool(outcome.wrong) or p95 > options.p95)


if __name__ == "__main__":
    sys.exit(main())
